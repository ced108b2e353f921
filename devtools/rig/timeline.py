"""One record of everything that crossed a wire, so that a failing test can tell its whole story."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Call:
    """One thing that crossed a wire, in either direction."""

    channel: str  # qq, tg, web, llm, grok, xai, ve, files, rig
    name: str  # API action, HTTP method, or event type
    data: dict[str, Any] = field(default_factory=dict)
    t: float = field(default_factory=time.time)
    t_end: float | None = None
    outcome: Any = None  # what the fake answered, or how the call ended

    def done(self, outcome: Any = "ok") -> None:
        self.t_end, self.outcome = time.time(), outcome


async def until[T](probe: Callable[[], T | None], timeout: float, complaint: Callable[[], str]) -> T:
    """Wait for what may still change after it was recorded: that is why this polls.

    Args:
        probe: called every 20 ms; its first true answer is returned.
        timeout: seconds after which an AssertionError with ``complaint()`` is raised.
    """
    deadline = time.monotonic() + timeout
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise AssertionError(complaint())
        await asyncio.sleep(0.02)
    return found


class Timeline:
    """Append-only record of the calls on every channel; tests wait on it and print it."""

    def __init__(self) -> None:
        self.t0 = time.time()
        self.calls: list[Call] = []

    def add(self, channel: str, name: str, /, **data: Any) -> Call:
        call = Call(channel, name, data)
        self.calls.append(call)
        return call

    def mark(self) -> int:
        """A position; pass it as ``since=`` to ignore everything before."""
        return len(self.calls)

    def select(
        self,
        channel: str | None = None,
        name: str | None = None,
        *,
        since: int = 0,
        where: Callable[[Call], bool] = lambda call: True,
    ) -> list[Call]:
        return [c for c in self.calls[since:] if channel in (None, c.channel) and name in (None, c.name) and where(c)]

    async def wait(
        self,
        channel: str | None = None,
        name: str | None = None,
        *,
        since: int = 0,
        where: Callable[[Call], bool] = lambda call: True,
        count: int = 1,
        timeout: float = 10,
    ) -> Call:
        """Return the ``count``-th matching call, or fail with the timeline in the message."""
        found = await until(
            lambda: self.select(channel, name, since=since, where=where)[count - 1 : count],
            timeout,
            lambda: f"no {channel or '*'}/{name or '*'} x{count} within {timeout} s; seen:\n{self.text(since)}",
        )
        return found[0]

    async def quiet(self, seconds: float, channel: str, name: str | None = None, *, since: int = 0) -> None:
        """Fail when anything matching arrives within ``seconds``."""
        before = len(self.select(channel, name, since=since))
        await asyncio.sleep(seconds)
        assert len(self.select(channel, name, since=since)) == before, f"unexpected calls:\n{self.text(since)}"

    def text(self, since: int = 0) -> str:
        """One line per call, without the ones that only say that time passes."""
        return "\n".join(self._line(c) for c in self.calls[since:] if c.name not in ("getUpdates", "get_status"))

    def _line(self, call: Call) -> str:
        took = f" ({call.t_end - call.t:.3f} s -> {shorten(call.outcome, 90)})" if call.t_end else ""
        return f"{call.t - self.t0:9.3f}  {call.channel:5} {call.name:28} {shorten(call.data, 170)}{took}"


def shorten(value: Any, limit: int) -> str:
    """Render a value on one line that never holds a media body."""
    text = value if isinstance(value, str) else json.dumps(_clip(value), ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[:limit] + "…"


def _clip(value: Any) -> Any:
    match value:
        case str() if len(value) > 100:
            return f"{value[:60]}…<{len(value)}>"
        case bytes():
            return f"<{len(value)} bytes>"
        case dict():
            return {k: _clip(v) for k, v in value.items()}
        case list() | tuple():
            return [_clip(v) for v in value[:6]]
    return value
