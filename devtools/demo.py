"""Shows the plugin at work in under a minute: a real AstrBot, a picture, one command, and a video that plays.

``python -m devtools.demo [--once] [--backend NAME]``. Nothing is needed but the development environment: the
upstream is the stand-in, and everything listens on 127.0.0.1. Without ``--once``, in a terminal, AstrBot stays up for
you to try.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import av
from filelock import FileLock, Timeout

from .rig import LLM, REPOSITORY, AstrBot, Dashboard, DashboardError, HostMap, Timeline, say
from .rig.webchat import Part
from .standin import Gemini, Gitee, GrokChat, OpenAi, StandIn, VectorEngine, Wire, Xai

FOLDER = REPOSITORY / "build" / "demo"
VIDEO = FOLDER / "video.mp4"
SAMPLE = Path(__file__).parent / "sample.jpg"
COMMAND = "/视频 让画面动起来"
# The backends that work by ticket; each has a section of its own in the panel. ``grok`` is the section ``video``.
SECTIONS: dict[str, type[Wire]] = {"xai": Xai, "veo": VectorEngine, "openai": OpenAi, "gemini": Gemini, "gitee": Gitee}
BACKENDS = ("grok", *SECTIONS)
PATIENCE = 45.0  # seconds from the command to the video; the stand-in needs four of them
NOISE = ("Config key", "llm_metadata")  # what AstrBot's log is full of at every start
NO_MODEL = "这里没有大模型，请发 /视频 描述 · no language model here, send /视频 and a description"


class Trouble(Exception):
    """Why there is nothing to show, in a sentence for people."""


class Demo:
    """One AstrBot with the plugin, and the conversation that is held with it."""

    def __init__(self, plugin: Path, *, backend: str, stay: bool) -> None:
        self.backend, self.stay, self.began = backend, stay, time.monotonic()
        self.user, self.password = "astrbot", secrets.token_urlsafe(9)
        timeline = Timeline()
        # Whoever stays may want to enter a real key: then, and only then, AstrBot may reach the internet.
        root, hosts = FOLDER / "astrbot", HostMap()
        self.bot = AstrBot(root, plugin, timeline=timeline, hosts=hosts, guarded=not stay)
        self.web = Dashboard(timeline, self.bot.url)
        self.llm = LLM(timeline)
        self.llm.default = say(NO_MODEL)
        self.evidence = ""  # the end of the log, when something went wrong

    def tell(self, words: str) -> None:
        print(f"[{time.monotonic() - self.began:5.1f} s] {words}", flush=True)

    async def run(self) -> None:
        shutil.rmtree(self.bot.root, ignore_errors=True)
        VIDEO.unlink(missing_ok=True)
        async with StandIn() as up:
            try:
                await self.llm.start()
                await self.web.start()
                await self.start(up)
                print(f"\n{await self.make_video()}\n", flush=True)
                if self.stay:
                    await self.linger(up)
            except BaseException:
                lines = [line for line in self.bot.log().splitlines() if not any(noise in line for noise in NOISE)]
                self.evidence = "\n".join([*lines[-25:], *self.bot.tracebacks()[-1:]])
                raise
            finally:
                await self.web.stop()
                await self.bot.stop()
                await self.llm.stop()

    async def start(self, up: StandIn) -> None:
        """Boot AstrBot with the plugin pointed at the stand-in, and log in."""
        self.tell("启动 AstrBot · starting AstrBot")
        config = {"platform": [], "admins_id": [self.user], **self.llm.provider_config()}
        self.bot.prepare(config, panel(up, self.backend), user=self.user, password=self.password)
        await self.bot.start()
        await self.web.login(self.user, self.password)
        mine = (await self.web.plugins()).get(self.bot.name)
        if not mine or not mine["activated"]:
            failure = (await self.web.failed_plugins()).get(self.bot.name) or {}
            raise Trouble(f"插件没有加载 · the plugin did not load: {failure.get('error', '')}")
        if (await self.web.config(self.bot.name))["config"]["video"].get("backend") != self.backend:
            raise Trouble(f"插件没有后端 {self.backend} · the plugin has no backend {self.backend}")
        self.tell(f"AstrBot 已就绪，插件 {mine['version']}，后端 {self.backend} · AstrBot is up with the plugin")

    async def make_video(self) -> str:
        """Send the command, follow the conversation until the video is there, and try it; returns the closing line."""
        session = await self.web.new_session()
        picture = await self.web.upload(SAMPLE.name, SAMPLE.read_bytes(), "image/jpeg")
        asking = asyncio.create_task(self.web.chat(COMMAND, picture, session_id=session, timeout=PATIENCE))
        try:
            part = await self.follow(session, asking)
        finally:
            asking.cancel()
        VIDEO.write_bytes(await self.web.attachment(part["attachment_id"]))
        facts = await asyncio.to_thread(play, VIDEO)
        return f"视频在这里，可以播放 · the video is here and plays: {shown(VIDEO)} ({facts})"

    async def follow(self, session: str, asking: asyncio.Task[Any]) -> Part:
        """Print what is new in the chat's history: a video comes long after the request is over."""
        told: set[tuple[int, int]] = set()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for row in await self.web.history(session):
                who, parts = row["content"]["type"], row["content"]["message"]
                for number, part in enumerate(parts):
                    if (row["id"], number) in told:
                        continue
                    told.add((row["id"], number))
                    self.tell(f"{'机器人 bot' if who == 'bot' else '我 me':<8} | {words(part)}")
                    if who == "bot" and part["type"] in ("file", "video"):
                        return dict(part)
            if asking.done():
                asking.result()  # raises what went wrong
            await asyncio.sleep(0.2)
        raise Trouble(f"{PATIENCE:.0f} 秒内没有等到视频 · no video within {PATIENCE:.0f} s")

    async def linger(self, up: StandIn) -> None:
        print("AstrBot 还开着，去网页里聊聊看 · AstrBot stays up, try it in the browser:")
        print(f"  地址 address   {self.bot.url}")
        print(f"  用户 user      {self.user}")
        print(f"  密码 password  {self.password}")
        print(f"  替身上游 stand-in upstream  {up.url}")
        print(f"  换后端 other backends  /视频 @xai …，/视频模型（{' '.join(BACKENDS)}）")
        print("按 Ctrl-C 结束 · Ctrl-C to stop", flush=True)
        assert self.bot.process
        await self.bot.process.wait()
        raise Trouble("AstrBot 自己退出了 · AstrBot ended by itself")


def panel(up: StandIn, backend: str) -> dict[str, Any]:
    """The plugin's settings: every backend leads to the stand-in, one of them is the default."""
    video = {"server_url": up.url, "api_key": up.key, "model": GrokChat.MODELS[0], "backend": backend}
    sections = {
        name: {"base_url": up.url, "api_key": up.key, "model": wire.MODELS[0], "poll_seconds": 1}
        for name, wire in SECTIONS.items()
    }
    return {"video": video, **sections}


def words(part: Part) -> str:
    """One line for one piece of a message."""
    if part["type"] == "plain":
        return " ⏎ ".join(str(part["text"]).split("\n"))
    kind = {"image": "图片 image", "video": "视频 video", "file": "文件 file"}.get(part["type"], part["type"])
    return f"[{kind}] {part.get('filename') or ''}".strip()


def play(path: Path) -> str:
    """Decode every frame; returns what the video is.

    Raises:
        Trouble: it does not play.
    """
    try:
        with av.open(str(path), "r") as box:
            stream = box.streams.video[0]
            frames = sum(1 for _ in box.decode(stream))
            rate = stream.average_rate
    except (av.FFmpegError, LookupError) as error:
        raise Trouble(f"收到的文件不能播放 · the file does not play: {error}") from error
    if frames < 2 or not rate:
        raise Trouble(f"视频只有 {frames} 帧 · the video has only {frames} frames")
    kilobytes = path.stat().st_size // 1000
    return f"{stream.width}×{stream.height}, {float(frames / rate):.1f} s, {frames} frames, {kilobytes} kB"


def shown(path: Path) -> str:
    """As short as it can be and still be found from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


async def show(plugin: Path = REPOSITORY, *, backend: str = BACKENDS[0], stay: bool = False) -> int:
    """Run the demo; returns the exit code."""
    demo = Demo(plugin, backend=backend, stay=stay)
    try:
        await demo.run()
    except (Trouble, DashboardError, AssertionError, aiohttp.ClientError, OSError) as error:
        reason, *_ = str(error).splitlines() or [type(error).__name__]
        print(f"\n失败 · failed: {reason}\n—— {shown(demo.bot.log_path)}\n{demo.evidence}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devtools.demo", description="看看插件怎么用 · see the plugin work")
    parser.add_argument("--once", action="store_true", help="做完一个视频就退出 · stop after one video")
    parser.add_argument("--backend", default=BACKENDS[0], help=f"后端 · one of {' '.join(BACKENDS)}")
    chosen = parser.parse_args()
    if chosen.backend not in BACKENDS:
        known = " ".join(BACKENDS)
        print(f"没有叫“{chosen.backend}”的后端 · no backend is called that; 可选 choose: {known}", file=sys.stderr)
        return 2
    stay = not chosen.once and sys.stdin.isatty() and sys.stdout.isatty()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(FOLDER / "lock", timeout=0):
            return asyncio.run(show(backend=chosen.backend, stay=stay))
    except Timeout:
        print("演示已经在另一个终端里运行 · the demo already runs in another terminal", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n已结束 · stopped")
        return 0 if VIDEO.exists() else 130


if __name__ == "__main__":
    sys.exit(main())
