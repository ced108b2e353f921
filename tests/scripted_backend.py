"""An upstream without a line to it: every create gets the next step."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

from core.capabilities import Capabilities
from core.models import VideoRequest, VideoResult
from devtools.rig.media import make_mp4

CLIP = make_mp4(0.2)
INLINE = VideoResult("data:video/mp4;base64," + base64.b64encode(CLIP).decode())
Step = BaseException | VideoResult | Callable[[], Awaitable[VideoResult | None]]


class ScriptedBackend:
    """Answers each create by the next step; a step is an answer, an error, or something to await."""

    root = "http://gateway.example"

    def __init__(self, can: Capabilities | None = None) -> None:
        self.can = can or Capabilities()
        self.steps: list[Step] = []
        self.default: Step = INLINE
        self.creates: list[tuple[str, str, int]] = []  # prompt, key, pictures
        self.cancelled = 0
        self.running = self.most_running = 0

    def capabilities(self, model: str) -> Capabilities:
        return self.can

    def key_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": key}

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult:
        self.creates.append((request.prompt, key, len(request.references)))
        assert all(Path(one.path).exists() and one.mime for one in request.references)
        step = self.steps.pop(0) if self.steps else self.default
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(0)
            report(50)
            if callable(step):
                step = await step() or INLINE
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if isinstance(step, BaseException):
            raise step
        return step


class Gate:
    """A create that is under way until it is let go."""

    def __init__(self, ending: Exception | VideoResult = INLINE) -> None:
        self.reached, self.let_go, self.ending = asyncio.Event(), asyncio.Event(), ending

    async def __call__(self) -> VideoResult:
        self.reached.set()
        await self.let_go.wait()
        if isinstance(self.ending, Exception):
            raise self.ending
        return self.ending
