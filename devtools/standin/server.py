"""The server on 127.0.0.1, with the studio behind it and every protocol in front."""

from __future__ import annotations

import secrets
from typing import Self

from aiohttp import web

from devtools.rig.net import LoopbackServer
from devtools.studio import Studio, Take

from .gemini import Gemini
from .gitee import Gitee
from .grok import GrokChat
from .openai import OpenAi
from .vector_engine import VectorEngine
from .wire import Wire
from .xai import Xai

KEY = "stand-in-key"
# OpenAI's and xAI's tickets are asked after under the same path: OpenAI's, which have a mark, are looked for first.
PROTOCOLS: tuple[type[Wire], ...] = (GrokChat, VectorEngine, OpenAi, Xai, Gemini, Gitee)


class StandIn(LoopbackServer):
    """Speaks every protocol at once.

    Args:
        key: the only key that is accepted.
        render_seconds: how long a video takes at least, in seconds.
        port: 0 for any that is free.
    """

    def __init__(self, key: str = KEY, render_seconds: float = 4.0, port: int = 0) -> None:
        self.key = key
        self.studio = Studio(render_seconds)
        self._wished_port = port

    async def __aenter__(self) -> Self:
        await self.start(self._wished_port)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.stop()
        await self.studio.close()

    def routes(self, app: web.Application) -> None:
        app.add_routes(self.studio.routes())
        for wire in PROTOCOLS:
            app.add_routes(wire(self).routes())

    @property
    def models(self) -> list[str]:
        return [name for wire in PROTOCOLS for name in wire.MODELS]

    def accepts(self, request: web.Request) -> bool:
        return self.is_key(request.headers.get("Authorization", ""), f"Bearer {self.key}")

    def accepts_google(self, request: web.Request) -> bool:
        return self.is_key(request.headers.get("x-goog-api-key", ""), self.key)

    @staticmethod
    def is_key(sent: str, wanted: str) -> bool:
        return secrets.compare_digest(sent.encode(), wanted.encode())

    def video_url(self, take: Take) -> str:
        return f"{self.url}/v1/files/video/{take.name}.mp4"

    def poster_url(self, take: Take) -> str:
        return f"{self.url}/v1/files/image/{take.name}.jpg"
