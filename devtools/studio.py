"""Films orders and serves the clips: what every protocol of the stand-in sells in its own words."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from PIL import Image

from .film import make_film, paint_backdrop


@dataclass(frozen=True)
class Order:
    """What somebody wants filmed."""

    prompt: str
    picture: Image.Image | None = None
    ratio: float | None = None  # width to height; without one the picture's own is kept
    more: tuple[Image.Image, ...] = ()  # last frame or references: counted, not filmed
    seconds: float = 5.0


@dataclass
class Take:
    """One order being filmed: never faster than ``render_seconds``, so that there is something to wait for."""

    order: Order
    name: str
    render_seconds: float
    work: asyncio.Task[int]
    began: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def done(self) -> bool:
        return self.work.done() and self.elapsed >= self.render_seconds

    @property
    def progress(self) -> int:
        """Per cent; 100 only when the clip is there."""
        return 100 if self.done else min(99, int(100 * self.elapsed / max(self.render_seconds, 1)))

    async def finished(self) -> None:
        await asyncio.shield(self.work)  # whoever waits may give up; the film is made all the same
        await asyncio.sleep(self.render_seconds - self.elapsed)


class Studio:
    """Encodes in threads, keeps its clips in a temporary folder, and forgets them when closed."""

    def __init__(self, render_seconds: float) -> None:
        self.render_seconds = render_seconds
        self.takes: list[Take] = []
        self._folder = tempfile.TemporaryDirectory(prefix="standin-")

    def shoot(self, order: Order) -> Take:
        name = secrets.token_hex(8)
        take = Take(order, name, self.render_seconds, asyncio.create_task(asyncio.to_thread(self._film, order, name)))
        self.takes.append(take)
        return take

    def _film(self, order: Order, name: str) -> int:
        picture = order.picture or paint_backdrop(order.prompt)
        path = Path(self._folder.name, f"{name}.mp4")
        return make_film(picture, path, seconds=order.seconds, ratio=order.ratio, seed=order.prompt)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(r"/v1/files/video/{name:[0-9a-f]+\.mp4}", self._file),
            web.get(r"/v1/files/image/{name:[0-9a-f]+\.jpg}", self._file),
        ]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self.serve(request.match_info["name"])

    def serve(self, name: str) -> web.StreamResponse:
        """A clip or its poster, for whoever has another address for it."""
        path = Path(self._folder.name, name)
        return web.FileResponse(path) if path.exists() else web.Response(status=404)

    async def close(self) -> None:
        await asyncio.gather(*(take.work for take in self.takes), return_exceptions=True)
        self._folder.cleanup()
