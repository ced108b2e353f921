# mypy: ignore-errors
# A plugin as most people write them; AstrBot imports it, we never do.
import asyncio
import json
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import astrbot.api.message_components as Comp
from astrbot.api import AstrBotConfig, FunctionTool
from astrbot.api.event import AstrMessageEvent, MessageChain, filter
from astrbot.api.star import Context, Star, StarTools
from pydantic import Field
from pydantic.dataclasses import dataclass


@dataclass
class BackgroundTool(FunctionTool):
    name: str = "rig_background"
    description: str = "A tool that AstrBot itself is asked to run in the background."
    parameters: dict = Field(default_factory=lambda: {"type": "object", "properties": {"n": {"type": "number"}}})
    is_background_task: bool = True

    async def call(self, context, **kwargs):
        await asyncio.sleep(float(kwargs.get("n", 1)))
        return "background result 42"


class RigProbe(Star):
    def __init__(self, context: Context, config: AstrBotConfig):
        super().__init__(context)
        self.config = config
        self.tasks: set[asyncio.Task] = set()
        self.diary = Path(StarTools.get_data_dir("astrbot_plugin_rigprobe")) / "diary"
        self.context.add_llm_tools(BackgroundTool())

    def note(self, what: str) -> None:
        with self.diary.open("a") as file:
            file.write(f"{time.time():.3f} {what}\n")

    async def initialize(self):
        self.note("initialized")

    async def terminate(self):
        self.note("terminating")
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.note("terminated")

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    @filter.command("rig_hello")
    async def hello(self, event: AstrMessageEvent):
        yield event.plain_result(self.config["greeting"])

    @filter.command("rig_get")
    async def get(self, event: AstrMessageEvent, url: str):
        """Fetch a link, and say what came and which address the name has."""
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                size = len(await answer.read())
                [first, *_] = await asyncio.get_running_loop().getaddrinfo(answer.url.host, answer.url.port)
                words = f"{size} bytes from {first[4][0]}"
        except aiohttp.ClientError as error:
            words = type(error).__name__
        yield event.plain_result(words)

    @filter.command("rig_facts")
    async def facts(self, event: AstrMessageEvent):
        """Say what the event carries."""

        def describe(part: Comp.BaseMessageComponent) -> dict[str, Any]:
            shown = {"type": type(part).__name__}
            shown |= {name: getattr(part, name) for name in ("url", "path", "qq") if hasattr(part, name)}
            if isinstance(part, Comp.Reply):
                shown["chain"] = [describe(inner) for inner in part.chain or []]
            return shown

        facts = {
            "umo": event.unified_msg_origin,
            "chain": [describe(part) for part in event.get_messages()],
            "has_bot": hasattr(event, "bot"),
            "own_react": "react" in type(event).__dict__,
        }
        yield event.plain_result("FACTS " + json.dumps(facts, default=str))

    @filter.command("rig_react")
    async def react(self, event: AstrMessageEvent, emoji: str):
        await event.react(emoji)
        event.stop_event()

    @filter.command("rig_send")
    async def send(self, event: AstrMessageEvent, kind: str, source: str, via: str = "event", delay: float = 0.3):
        """/rig_send video|url|file <source> event|umo [delay]: send from a background task (delay -1: inline)."""
        event.should_call_llm(True)
        make = {
            "video": Comp.Video.fromFileSystem,
            "url": Comp.Video.fromURL,
            "file": lambda path: Comp.File(name="v.mp4", file=path),
        }[kind]

        async def job():
            await asyncio.sleep(max(0, delay))
            began = time.time()
            try:
                if via == "umo":
                    result = await self.context.send_message(event.unified_msg_origin, MessageChain([make(source)]))
                else:
                    result = await event.send(MessageChain([make(source)]))
            except BaseException as error:
                self.note(f"send failed: {type(error).__name__}: {error} after {time.time() - began:.3f} s")
                raise
            self.note(f"sent {kind} via {via}: {result!r}")

        if delay < 0:
            await job()
        else:
            self.spawn(job())

    @filter.command("rig_sleep")
    async def sleep(self, event: AstrMessageEvent, seconds: float):
        async def job():
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                self.note("sleep cancelled")
                raise

        self.spawn(job())
        yield event.plain_result("sleeping")

    @filter.llm_tool(name="rig_make_video")
    async def make_video(self, event: AstrMessageEvent, prompt: str):
        """Make a video.

        Args:
            prompt(string): What it shows.
        """
        try:
            await asyncio.sleep(self.config["tool_seconds"])
        except asyncio.CancelledError:
            self.note("tool cancelled")
            raise
        return f"video of {prompt} is ready"
