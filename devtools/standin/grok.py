"""grok2api's chat completions (upstreams.md §2, generation B): one long request, and the clip in its answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, linked_picture, one_of, ratio_of, read_json, short

if TYPE_CHECKING:
    from .server import StandIn


class GrokChat:
    """grok2api's chat completions, as its builds of early 2026 answer: SSE unless ``"stream": false``."""

    MODELS: tuple[str, ...] = ("grok-imagine-1.0-video", "grok-imagine-0.9")
    RATIOS = ("2:3", "3:2", "1:1", "9:16", "16:9")

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._numbers = itertools.count(1)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._models)]

    async def _models(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key(request)
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "stand-in"} for name in self.stand_in.models
        ]
        return web.json_response({"object": "list", "data": models})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if not self.stand_in.accepts(request):
            return self._wrong_key(request)
        try:
            body = await read_json(request)
            order = await self._read(body)
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

    async def _read(self, body: dict[str, Any]) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        if body.get("model") not in self.MODELS:
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
        ratio, length = wishes.get("aspect_ratio"), wishes.get("video_length", 5)
        one_of(ratio, self.RATIOS, "video_config.aspect_ratio", "invalid_aspect_ratio")
        one_of(length, range(1, 31), "video_config.video_length", "invalid_video_length")
        first = await linked_picture(_link(pictures[0]), "image_url.url") if pictures else None  # of several, the first
        return Order(prompt, first, ratio_of(ratio), seconds=short(length))

    @staticmethod
    def _wrong_key(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return _error(401, f"令牌无效，长度: {len(sent)}" if sent else "缺少认证令牌")


def _link(part: Any) -> Any:
    return part.get("url") if isinstance(part, dict) else part


def _error(status: int, message: str, **more: str) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", **more}
    return web.json_response({"error": error}, status=status)
