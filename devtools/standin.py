"""Stands in for a paid upstream: speaks its protocol, and answers with a real video of the picture it was sent.

``python -m devtools.standin [--port N]``, or in a test ``async with StandIn() as up``, with ``up.url`` and ``up.key``.

A protocol is one small class: it reads an order, lets the studio shoot it, and answers in its own words. The studio
knows no protocol. To add one, write the class and list it in ``PROTOCOLS``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import itertools
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Protocol, Self

import aiohttp
from aiohttp import web
from PIL import Image

from .film import open_picture
from .rig.net import LoopbackServer
from .studio import Order, Studio, Take

KEY = "stand-in-key"
PORT = 8765
LARGEST_PICTURE = 20 * 1024**2  # bytes


class Wire(Protocol):
    """One upstream's way of talking."""

    def __init__(self, stand_in: StandIn) -> None: ...

    def routes(self) -> list[web.RouteDef]: ...


class Rejected(Exception):
    """An order that the real upstream would not take either."""

    def __init__(self, message: str, code: str, param: str) -> None:
        super().__init__(message)
        self.message, self.code, self.param = message, code, param


class StandIn(LoopbackServer):
    """The server on 127.0.0.1, with the studio behind it.

    Args:
        key: the only bearer key that is accepted.
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

    def accepts(self, request: web.Request) -> bool:
        sent = request.headers.get("Authorization", "")
        return secrets.compare_digest(sent.encode(), f"Bearer {self.key}".encode())

    def video_url(self, take: Take) -> str:
        return f"{self.url}/v1/files/video/{take.name}.mp4"

    def poster_url(self, take: Take) -> str:
        return f"{self.url}/v1/files/image/{take.name}.jpg"


class GrokChat:
    """grok2api's chat completions, as its builds of early 2026 answer: SSE unless ``"stream": false``."""

    MODELS = ("grok-imagine-1.0-video", "grok-imagine-0.9")
    RATIOS = ("2:3", "3:2", "1:1", "9:16", "16:9")

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._numbers = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models)]

    async def _models(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key(request)
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "grok2api"} for name in self.MODELS]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if not self.stand_in.accepts(request):
            return self._wrong_key(request)
        try:
            body = await request.json()
            order = await self._read(body)
        except json.JSONDecodeError:
            return _error(400, "the body is not JSON", code="invalid_json")
        except Rejected as no:
            return _error(400, no.message, code=no.code, param=no.param)
        base = {"id": f"chatcmpl-{next(self._numbers)}", "created": int(time.time()), "model": body["model"]}
        take = self.stand_in.studio.shoot(order)
        if body.get("stream", True):
            return await self._stream(request, take, base)
        await take.finished()
        choice = {"index": 0, "message": {"role": "assistant", "content": self._tag(take)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        return web.json_response({**base, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def _stream(self, request: web.Request, take: Take, base: dict[str, Any]) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await answer.prepare(request)
        async for delta in self._deltas(take):
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
            await answer.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer

    async def _deltas(self, take: Take) -> AsyncIterator[dict[str, str]]:
        yield {"role": "assistant", "content": ""}
        yield {"content": "<think>\n"}
        while not take.done:
            yield {"content": f"正在生成视频中，当前进度{max(take.progress, 1)}%\n"}
            await asyncio.sleep(max(take.render_seconds / 8, 0.1))
        yield {"content": "正在生成视频中，当前进度100%\n"}
        yield {"content": "</think>\n"}
        yield {"content": self._tag(take)}
        yield {}

    def _tag(self, take: Take) -> str:
        video, poster = self.stand_in.video_url(take), self.stand_in.poster_url(take)
        source = f'<source id="mp4" src="{video}" type="video/mp4">'
        return f'<video id="video" controls="" preload="none" poster="{poster}">\n  {source}\n</video>'

    async def _read(self, body: Any) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        if not isinstance(body, dict) or body.get("model") not in self.MODELS:
            raise Rejected("no such model, or it is not yours", "model_not_found", "model")
        try:
            content = body["messages"][-1]["content"]
        except (LookupError, TypeError):
            raise Rejected("there is no message", "empty_messages", "messages") from None
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        prompt = " ".join(part["text"] for part in parts if part["type"] == "text").strip()
        pictures = [part.get("image_url") for part in parts if part["type"] == "image_url"]
        if not prompt and not pictures:
            raise Rejected("the message is empty", "empty_content", "messages")
        wishes = body.get("video_config") or {}
        return Order(
            prompt,
            await self._picture(pictures[0]) if pictures else None,  # of several, the first
            self._ratio(wishes.get("aspect_ratio")),
            self._seconds(wishes.get("video_length", 5)),
        )

    async def _picture(self, image_url: Any) -> Image.Image:
        try:
            return await asyncio.to_thread(open_picture, await _picture_data(image_url))
        except ValueError as error:
            raise Rejected(str(error), "invalid_media", "image_url.url") from None

    def _ratio(self, wish: Any) -> float | None:
        if wish is None:
            return None
        if wish not in self.RATIOS:
            known = ", ".join(self.RATIOS)
            raise Rejected(f"aspect_ratio is one of {known}", "invalid_aspect_ratio", "video_config.aspect_ratio")
        width, height = (int(side) for side in wish.split(":"))
        return width / height

    def _seconds(self, wish: Any) -> float:
        if not isinstance(wish, int) or not 1 <= wish <= 30:
            raise Rejected("video_length is 1 to 30", "invalid_video_length", "video_config.video_length")
        return min(max(wish, 3), 6)  # a stand-in is allowed to be short

    @staticmethod
    def _wrong_key(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return _error(401, f"令牌无效，长度: {len(sent)}" if sent else "缺少认证令牌")


async def _picture_data(image_url: Any) -> bytes:
    """The bytes behind an ``image_url`` part: a data URI with base64, or an address.

    Raises:
        Rejected: there is nothing, or nothing that can be read.
    """
    link = image_url.get("url") if isinstance(image_url, dict) else image_url
    if not isinstance(link, str) or not link:
        raise Rejected("image_url holds no picture", "empty_media", "image_url.url")
    if link.startswith(("http://", "https://")):
        return await _download(link)
    head, _, payload = link.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise Rejected("image_url is neither an address nor a data URI with base64", "invalid_media", "image_url.url")
    try:
        return base64.b64decode(payload, validate=True)
    except binascii.Error:
        raise Rejected("image_url is not base64", "invalid_base64", "image_url.url") from None


async def _download(link: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(link, raise_for_status=True) as answer:
            data = bytearray()
            async for piece in answer.content.iter_chunked(65536):
                data += piece
                if len(data) > LARGEST_PICTURE:
                    raise Rejected("the picture is too large", "invalid_media", "image_url.url")
            return bytes(data)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Rejected(f"the picture cannot be fetched: {error}", "invalid_media", "image_url.url") from None


def _error(status: int, message: str, **more: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", **more}
    return web.json_response({"error": error}, status=status)


PROTOCOLS: list[type[Wire]] = [GrokChat]


async def serve(port: int, key: str, render_seconds: float) -> None:
    async with StandIn(key, render_seconds, port) as up:
        print("替身上游已启动 · stand-in upstream is up (Ctrl-C 结束 / to stop)")
        print(f"  video.server_url  {up.url}")
        print(f"  video.api_key     {up.key}")
        print(f"  video.model       {GrokChat.MODELS[0]}")
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devtools.standin", description="替身上游 · a stand-in upstream")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--seconds", type=float, default=4.0, help="生成耗时（秒） · how long a video takes to make")
    chosen = parser.parse_args()
    try:
        asyncio.run(serve(chosen.port, chosen.key, chosen.seconds))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"端口 {chosen.port} 用不了 · port {chosen.port} cannot be used: {error}")


if __name__ == "__main__":
    main()
