"""What every end-to-end test has at hand: a video, a picture, and a panel that leads to the fake gateway."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from devtools.rig import Rig, Serve, make_mp4, make_png, ok

MP4 = make_mp4(seed=42)
PICTURE = make_png()
ADMIN = 80_008


def panel(rig: Rig, **video: Any) -> dict[str, Any]:
    """The plugin's panel, pointed at the fake Grok gateway."""
    return {
        "video": {"server_url": rig.up.grok.base, "api_key": "sk-rig-1", "retry_delay": 0.1, **video},
        "delivery": {"caption": False},
    }


def forget(rig: Rig) -> None:
    """Let the plugin forget what a platform refused: one test's refusals must not change another's order."""
    with closing(sqlite3.connect(rig.bot.plugin_data / "jobs.db", timeout=10)) as ledger, ledger:
        ledger.execute("DELETE FROM refused_forms")


def link(rig: Rig) -> str:
    """Where the gateway says its video is: on a public host."""
    return rig.files.link("out.mp4", "cdn.rig.test")


def picture(rig: Rig) -> str:
    """A picture that QQ serves."""
    return rig.files.link("in.png")


async def started(rig: Rig) -> Rig:
    """Serve the video and the picture, and let the gateway answer with the video."""
    rig.files.put("out.mp4", MP4, host="cdn.rig.test")
    rig.files.put("in.png", Serve(PICTURE, content_type="image/png"))
    rig.up.grok.default = ok(link(rig), delay=0.3)
    return rig
