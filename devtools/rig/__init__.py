"""A real AstrBot process that tests drive only through its real channels; see devtools/README.md."""

from . import onebot
from .astrbot_proc import REPOSITORY, AstrBot, plugin_name
from .emulator import Step, cut, drop, empty, error, hang, html_error, lost, moderated, ok, rate_limited
from .files import FileServer, Serve
from .llm import LLM, call_tool, say
from .media import make_mp4, make_png, pad_mp4, sha
from .net import HostMap
from .rig import Rig
from .timeline import Call, Timeline, until
from .upstreams import Upstreams
from .webchat import Dashboard, DashboardError

__all__ = [
    "LLM",
    "REPOSITORY",
    "AstrBot",
    "Call",
    "Dashboard",
    "DashboardError",
    "FileServer",
    "HostMap",
    "Rig",
    "Serve",
    "Step",
    "Timeline",
    "Upstreams",
    "call_tool",
    "cut",
    "drop",
    "empty",
    "error",
    "hang",
    "html_error",
    "lost",
    "make_mp4",
    "make_png",
    "moderated",
    "ok",
    "onebot",
    "pad_mp4",
    "plugin_name",
    "rate_limited",
    "say",
    "sha",
    "until",
]
