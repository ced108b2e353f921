"""An upstream without a line to it: every create, and every look at a ticket, gets the next step."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from core.capabilities import Capabilities
from core.errors import AuthFailed, Misconfigured
from core.models import Pending, VideoRequest, VideoResult
from devtools.rig.media import make_mp4

CLIP = make_mp4(0.2)
INLINE = VideoResult("data:video/mp4;base64," + base64.b64encode(CLIP).decode())
# A text is a ticket.
Step = BaseException | VideoResult | str | Callable[[], Awaitable[VideoResult | str | None]]
Look = BaseException | VideoResult | Pending | Callable[[], VideoResult | Pending]


class ScriptedBackend:
    """Answers each create by the next step; a step is an answer, an error, or something to await."""

    def __init__(self, can: Capabilities | None = None) -> None:
        self.root = "http://gateway.example"
        self.can = can or Capabilities()
        self.steps: list[Step] = []
        self.default: Step = INLINE
        self.creates: list[tuple[str, str, int]] = []  # prompt, key, pictures
        self.requests: list[VideoRequest] = []
        self.models: list[str] = []
        self.bad_keys: set[str] = set()
        self.cancelled = 0
        self.running = self.most_running = 0

    def capabilities(self, model: str) -> Capabilities:
        return self.can

    def key_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": key}

    async def check(self, *, key: str) -> str:
        if key in self.bad_keys:
            raise AuthFailed()
        return f"{self.root}/v1/models"

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        self.creates.append((request.prompt, key, len(request.references)))
        self.requests.append(request)
        self.models.append(model)
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


NO_ADDRESS = "not an address"


class TicketingBackend(ScriptedBackend):
    """Answers creates by tickets, and each look by the next of its looks."""

    def __init__(self, can: Capabilities | None = None) -> None:
        super().__init__(can)
        self.root = "http://tickets.example"
        self.default = "ticket:1"
        self.looks: list[Look] = []
        self.last_look: Look = INLINE
        self.polls: list[tuple[str, str, str]] = []  # ticket, key, address

    @property  # type: ignore[override]
    def root(self) -> str:
        if self._root == NO_ADDRESS:
            raise Misconfigured("bad_address")
        return self._root

    @root.setter
    def root(self, root: str) -> None:
        self._root = root

    def at(self, root: str) -> Self:
        """The same upstream at another address; what happens there is noted here."""
        other = copy.copy(self)
        other.root = root
        return other

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        self.polls.append((ticket, key, self.root))
        await asyncio.sleep(0)
        look = self.looks.pop(0) if self.looks else self.last_look
        if isinstance(look, BaseException):
            raise look
        return look() if callable(look) else look


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
