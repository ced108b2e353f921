"""The measures in a real AstrBot, between the fakes of `devtools.rig`: one plugin, and people who write to it."""

from __future__ import annotations

import asyncio
import io
import json
import statistics
from pathlib import Path
from typing import Any

from PIL import Image

from devtools.rig import REPOSITORY, Call, Rig, Serve, make_mp4, ok, onebot, plugin_name
from devtools.rig.astrbot_proc import install_plugin
from devtools.rig.onebot import Sent

LIMIT = Path(__file__).parent / "limit_plugin"
PROBE = Path(__file__).parent / "probe_plugin"
FIRST = 40000  # the first person's id; the others count up from it
ASKER = 39999
BACKLOG = 25  # jobs under way at once while many are made


def limit_panel(root: str) -> dict[str, Any]:
    """The barest plugin's panel for an upstream at this address."""
    return {"server_url": root}


def our_panel(root: str) -> dict[str, Any]:
    """Ours: as many at once as the barest takes."""
    return {"video": {"server_url": root, "api_key": "k", "max_running_jobs": 100, "model": "grok-imagine-1.0-video"}}


def small_photo() -> bytes:
    """What the plugin passes on byte for byte, once it has looked at it."""
    return (REPOSITORY / "devtools" / "sample.jpg").read_bytes()


def photo() -> bytes:
    """What a phone sends: larger than we pass on, and turned by its EXIF data, so that normalising has all its work."""
    with Image.open(io.BytesIO(small_photo())) as sample:
        large = sample.resize((2048, 1536), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    large.save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


class Stage:
    """One AstrBot with one plugin, and the people who write to it.

    Args:
        plugin: its folder.
        picture: what they all send.
    """

    def __init__(self, plugin: Path, picture: bytes) -> None:
        self._picture = picture
        panel = limit_panel if plugin == LIMIT else our_panel

        def set_up(rig: Rig) -> dict[str, Any]:
            install_plugin(PROBE, rig.bot.data / "plugins" / plugin_name(PROBE))
            return panel(rig.up.grok.base)

        self.rig = Rig(plugin, plugin_config=set_up, telegram=False)

    async def __aenter__(self) -> Stage:
        await self.rig.__aenter__()
        self.link = self.rig.files.put("v.mp4", make_mp4(), host="cdn.rig.test")
        self.picture = self.rig.files.put("in.jpg", Serve(self._picture, content_type="image/jpeg"))
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.rig.__aexit__(*failure)

    async def one(self, person: int, seconds: float = 0.3) -> dict[str, float]:
        """One video for one person.

        Returns:
            ms until the mark on the message, until the upstream has the whole request, and from its answer to the
            video in the chat.
        """
        rig, since = self.rig, self.rig.timeline.mark()
        rig.up.grok.default = ok(self.link, delay=seconds)
        prompt = f"a cat dances for {person}"
        before = len(rig.qq.sent)
        message = await rig.qq.private(f"/视频 {prompt}", onebot.image(self.picture), user=person)

        def to_person(sent: Sent) -> bool:
            return bool(sent.videos) and sent.target == ("private", person)

        def mark_on_it(call: Call) -> bool:
            return bool(int(call.data["message_id"]) == message)

        def with_prompt(call: Call) -> bool:
            return bool(call.data["body"]["messages"][0]["content"][0]["text"] == prompt)

        video = await rig.qq.wait_sent(to_person, since=before, timeout=60)
        written = await rig.timeline.wait("qq", "<- private", since=since, where=mark_on_it)
        mark = await rig.timeline.wait("qq", "set_msg_emoji_like", since=since, where=mark_on_it)
        create = await rig.timeline.wait("grok", "create", since=since, where=with_prompt)
        assert create.t_end
        times = {"sign": mark.t - written.t, "upstream": create.t - written.t, "video": video.t - create.t_end}
        return {name: took * 1000 for name, took in times.items()}

    async def held(self) -> dict[str, Any]:
        """What AstrBot's process holds, some time after the last job."""
        await asyncio.sleep(2)
        before = len(self.rig.qq.sent)
        await self.rig.qq.private("/probe", user=ASKER)
        said = await self.rig.qq.wait_sent(lambda sent: sent.target == ("private", ASKER), since=before)
        found: dict[str, Any] = json.loads(said.text)
        return found


async def people(plugin: Path, picture: bytes, *, alone: int, crowd: int) -> dict[str, float]:
    """One person, ``alone`` times one after the other (medians); then ``crowd`` people at once."""
    async with Stage(plugin, picture) as stage:
        await stage.one(FIRST)
        singles = [await stage.one(FIRST) for _ in range(alone)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(stage.one(FIRST + 1 + number, 2.0) for number in range(crowd)))
        whole = loop.time() - began
        creates = len(stage.rig.up.grok.creates())
        assert creates == 1 + alone + crowd, f"{creates} creates"
        arrived = sum(bool(sent.videos) for sent in stage.rig.qq.sent)
        assert not stage.rig.bot.tracebacks(), stage.rig.bot.tracebacks()[0]
    sample = {part: statistics.median(one[part] for one in singles) for part in ("sign", "upstream", "video")}
    return {**sample, "crowd_wall": whole, "lost": 1 + alone + crowd - arrived}


async def many(plugin: Path, *, jobs: int) -> dict[str, float]:
    """What AstrBot's process holds after ``jobs``, above what it held after a third of them."""

    async def some(count: int) -> None:
        left = iter(range(count))

        async def person(number: int) -> None:
            for _ in left:
                await stage.one(FIRST + number, 0.1)

        await asyncio.gather(*(person(number) for number in range(BACKLOG)))

    async with Stage(plugin, photo()) as stage:
        await stage.one(FIRST)
        await some(jobs // 3)
        third = await stage.held()
        await some(jobs - jobs // 3)
        last = await stage.held()
    return {
        "rss": last["rss"] - third["rss"],
        "tasks": max(0, sum(last["tasks"].values()) - sum(third["tasks"].values())),
        "sockets": max(0, last["open"].get("socket", 0) - third["open"].get("socket", 0)),
        "files": max(0, _files(last) - _files(third)),
    }


def _files(held: dict[str, Any]) -> int:
    """Open files, without AstrBot's own database, whose pool opens it more often when there is more to do."""
    return sum(count for name, count in held["open"].items() if name.startswith("/") and "/data_v4.db" not in name)
