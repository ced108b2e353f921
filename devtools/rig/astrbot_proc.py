"""A real AstrBot process in a throw-away root, with one plugin folder installed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from .net import LOOPBACK, HostMap, free_port
from .timeline import Timeline, until
from .webchat import PASSWORD, USER, dashboard_config

REPOSITORY = Path(__file__).parents[2]
GUARD = Path(__file__).parent / "guard"
# All that AstrBot gets of our environment: no proxies, no keys, none of the switches that change how it works.
INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
NOT_INSTALLED = {".git", ".venv", ".ci", "build", "tests", "devtools", "bench"}  # at the top of a plugin
NEVER_INSTALLED = {"__pycache__", ".hypothesis", "node_modules"}  # anywhere; .*_cache too
DEAD_END = f"http://{LOOPBACK}:9/"  # where a download must fail, and fail fast
# What AstrBot asks for by itself at every start.
OWN_CHATTER = {"api.soulter.top", "models.dev", "models.opencode.ai", "tickstats.soulter.top"}


def deep_merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid upon it, dictionaries key by key."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def plugin_name(folder: Path) -> str:
    """The name in metadata.yaml, which AstrBot knows the plugin by and which is its folder's name here."""
    found = re.search(r"^name:\s*['\"]?([\w.-]+)", (folder / "metadata.yaml").read_text(encoding="utf-8"), re.M)
    if not found:
        raise ValueError(f"{folder / 'metadata.yaml'} names no plugin")
    return found[1]


def install_plugin(folder: Path, target: Path) -> None:
    """Copy what a user would get, and nothing that only developers have."""

    def skip(inside: str, names: list[str]) -> set[str]:
        unwanted = NEVER_INSTALLED | (NOT_INSTALLED if Path(inside) == folder else set())
        return {name for name in names if name in unwanted or (name.startswith(".") and name.endswith("_cache"))}

    shutil.copytree(folder, target, ignore=skip)


@dataclass
class Watch:
    """The worst that was seen of AstrBot while somebody looked."""

    stall: float = 0.0  # seconds: how long its event loop, which the plugin shares, answered nobody
    rss: float = 0.0  # MB


class AstrBot:
    """prepare() -> start() -> … -> stop() or kill(); start() again re-uses the same root: data survives."""

    def __init__(
        self,
        root: Path,
        plugin: Path | None,
        *,
        timeline: Timeline,
        hosts: HostMap,
        python: str = sys.executable,
        guarded: bool = True,
    ) -> None:
        self.root, self.plugin, self.timeline, self.hosts = root, plugin, timeline, hosts
        self.python, self.guarded = python, guarded
        self.name = plugin_name(plugin) if plugin else ""
        self.port, self.qq_port, self.qq_token = free_port(), free_port(), "rig-token"
        self.log_path, self.egress_log = root / "astrbot.log", root / "egress.jsonl"
        self.process: asyncio.subprocess.Process | None = None
        self.qq_patience = 0.0  # seconds that it waits for an answer of QQ; 0 = its own 180
        self._lifeline = -1

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def plugin_data(self) -> Path:
        return self.data / "plugin_data" / self.name

    # ---- setting up -------------------------------------------------------------------------------------------------
    def prepare(
        self,
        config: dict[str, Any],
        plugin_config: dict[str, Any] | None = None,
        *,
        user: str = USER,
        password: str = PASSWORD,
    ) -> None:
        """Make the root as ``astrbot init`` does, install the plugin, write AstrBot's config and the plugin's."""
        for folder in (self.data / "config", self.data / "plugins", self.data / "temp", self._home, self._tmp):
            folder.mkdir(parents=True, exist_ok=True)
        (self.root / ".astrbot").touch()
        if self.plugin:
            install_plugin(self.plugin, self.data / "plugins" / self.name)
            if plugin_config is not None:
                self.write_plugin_config(plugin_config)
        base = {
            "config_version": 5,
            "dashboard": dashboard_config(self.port, user, password),
            "log_level": "DEBUG",
            "disable_metrics": True,
            "t2i_endpoint": DEAD_END,
            "pypi_index_url": f"{DEAD_END}simple/",  # a plugin whose requirements are missing must fail, not install
            # by default the 31st message of a minute makes a session *wait*, and strangers are not listened to
            "platform_settings": {
                "rate_limit": {"time": 60, "count": 100000, "strategy": "stall"},
                "enable_id_white_list": False,
            },
            "provider_settings": {"enable": True, "streaming_response": False},
        }
        self.write_config(deep_merge(base, config))

    @property
    def _home(self) -> Path:
        return self.root / "home"

    @property
    def _tmp(self) -> Path:
        return self.root / "tmp"

    def qq_platform(self) -> dict[str, Any]:
        """The entry for AstrBot's ``platform`` list."""
        return {
            "id": "qq",
            "type": "aiocqhttp",
            "enable": True,
            "ws_reverse_host": LOOPBACK,
            "ws_reverse_port": self.qq_port,
            "ws_reverse_token": self.qq_token,
        }

    def write_config(self, config: dict[str, Any]) -> None:
        _write_json(self.data / "cmd_config.json", config)

    @property
    def plugin_config_path(self) -> Path:
        return self.data / "config" / f"{self.name}_config.json"

    def write_plugin_config(self, config: dict[str, Any]) -> None:
        """What the panel would have saved; AstrBot fills in what is missing from _conf_schema.json."""
        _write_json(self.plugin_config_path, config)

    def read_plugin_config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.plugin_config_path.read_text(encoding="utf-8-sig"))
        return config

    def _environment(self, lifeline: int) -> dict[str, str]:
        environment = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "HOME": str(self._home),
            "TMPDIR": str(self._tmp),
            "PYTHONPATH": str(GUARD),
            "PYTHONUNBUFFERED": "1",
            "NO_COLOR": "1",
            "RIG_LIFELINE": str(lifeline),
        }
        if self.qq_patience:
            environment["RIG_QQ_PATIENCE"] = str(self.qq_patience)
        if self.guarded:
            environment |= {"RIG_EGRESS_LOG": str(self.egress_log), "RIG_HOSTS": json.dumps(self.hosts.hosts)}
        return environment

    # ---- life -------------------------------------------------------------------------------------------------------
    async def start(self, timeout: float = 60) -> float:
        """Boot, wait until AstrBot says that it has started and its dashboard answers; returns the seconds it took."""
        assert self.process is None, "already running"
        began, mark = time.monotonic(), self.log_mark()
        theirs, self._lifeline = os.pipe()
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits what is ignored
        try:
            with self.log_path.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *(self.python, "-m", "astrbot.cli", "run", "--port", str(self.port)),
                    cwd=self.root,
                    env=self._environment(theirs),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[theirs],
                )
        finally:
            os.close(theirs)
        self.timeline.add("rig", "astrbot start", pid=self.process.pid)
        running = self.process
        try:
            await until(
                lambda: running.returncode is not None or "AstrBot started." in self.log(mark),
                timeout,
                lambda: f"AstrBot did not start within {timeout} s:\n{self.log(mark)[-4000:]}",
            )
            if running.returncode is not None:
                raise AssertionError(f"AstrBot ended at once ({running.returncode}):\n{self.log(mark)[-4000:]}")
            await self._dashboard_answers(began + timeout)
        except BaseException:
            await self.kill()
            raise
        took = time.monotonic() - began
        self.timeline.add("rig", "astrbot up", seconds=round(took, 2))
        return took

    async def _dashboard_answers(self, deadline: float) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"{self.url}/") as answer:
                        if answer.status == 200:
                            return
                assert time.monotonic() < deadline, f"the dashboard does not answer:\n{self.log()[-4000:]}"
                await asyncio.sleep(0.02)

    async def stop(self, timeout: float = 20) -> float:
        """Ctrl-C: the one signal on which AstrBot terminates its plugins. Returns the seconds it took."""
        return await self._end(signal.SIGINT, timeout)

    async def sigterm(self, timeout: float = 20) -> float:
        """What ``docker stop`` sends."""
        return await self._end(signal.SIGTERM, timeout)

    async def kill(self) -> float:
        """kill -9: the crash."""
        return await self._end(signal.SIGKILL, 10)

    async def _end(self, sign: signal.Signals, timeout: float) -> float:
        if self.process is None:
            return 0.0
        began, ending, self.process = time.monotonic(), self.process, None
        self.timeline.add("rig", f"signal {sign.name}", pid=ending.pid)
        with contextlib.suppress(ProcessLookupError):
            ending.send_signal(sign)
        try:
            await asyncio.wait_for(ending.wait(), timeout)
        except TimeoutError:
            raise AssertionError(f"AstrBot ignored {sign.name} for {timeout} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ending.pid, signal.SIGKILL)  # itself, or what it left behind: it leads a session of its own
            await ending.wait()
            os.close(self._lifeline)
        took = time.monotonic() - began
        self.timeline.add("rig", "astrbot gone", code=ending.returncode, seconds=round(took, 2))
        return took

    # ---- looking inside, only at what an administrator could see ----------------------------------------------------
    def log_mark(self) -> int:
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def log(self, since: int = 0) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(since)
            return re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode("utf-8", "replace"))

    async def wait_log(self, pattern: str, since: int = 0, timeout: float = 15) -> re.Match[str]:
        return await until(
            lambda: re.search(pattern, self.log(since)),
            timeout,
            lambda: f"the log never said {pattern!r}:\n{self.log(since)[-3000:]}",
        )

    def tracebacks(self, since: int = 0) -> list[str]:
        """Every traceback in the log, from its first line to the line that names the exception."""
        log = re.sub(r"^\[\d\d:\d\d:\d\d.*?\]: \| ?", "", self.log(since), flags=re.M)  # some it logs line by line
        return re.findall(r"^.*Traceback \(most recent call last\).*\n(?:\s.*\n|\n)*\S.*$", log, re.M)

    def egress(self) -> list[dict[str, Any]]:
        """Every attempt to leave loopback (names and addresses), without AstrBot's own start-up chatter."""
        if not self.egress_log.exists():
            return []
        rows = [json.loads(row) for row in self.egress_log.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row["host"] not in OWN_CHATTER]

    @contextlib.asynccontextmanager
    async def watch(self) -> AsyncIterator[Watch]:
        """Ping the dashboard all along and keep the worst answer time and the most memory."""
        seen, over = Watch(), threading.Event()

        def ping() -> None:  # in a thread: the rig's own event loop may be busy serving a big file
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            while not over.wait(0.02):
                began = time.monotonic()
                with contextlib.suppress(OSError), direct.open(f"{self.url}/api/stat/versions", timeout=30) as answer:
                    answer.read()
                seen.stall = max(seen.stall, time.monotonic() - began)
                seen.rss = max(seen.rss, self.rss_mb())

        thread = threading.Thread(target=ping, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            over.set()
            await asyncio.to_thread(thread.join, 5)

    def rss_mb(self) -> float:
        """Resident memory now, in MB; 0 where there is no /proc."""
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{self.process.pid if self.process else 0}/status").read_text()
            if found := re.search(r"VmRSS:\s+(\d+)", status):
                return int(found[1]) / 1024
        return 0.0


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
