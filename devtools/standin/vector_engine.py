"""The unified create/query API of VectorEngine and its relatives (upstreams.md §4)."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, linked_picture, one_of, ratio_of, read_json

if TYPE_CHECKING:
    from .server import StandIn


def _counts() -> dict[str, tuple[int, ...]]:
    """Which numbers of pictures each model makes a video of."""
    only_words = {f"veo{version}{kind}": (0,) for version in (2, 3) for kind in ("", "-fast", "-pro")}
    frames = {"veo2-fast-frames": (1, 2), "veo3-frames": (1, 2), "veo3-fast-frames": (1, 2), "veo3-pro-frames": (1,)}
    newest = {f"veo3.1{kind}": (0, 1, 2) for kind in ("", "-fast", "-pro", "-4k", "-pro-4k")}
    parts = {f"{name}-components": (1, 2, 3) for name in ("veo2-fast", "veo2-pro", "veo3.1", "veo3.1-fast")}
    return {**newest, **only_words, **{name: (0, 1) for name in only_words if name[3] == "2"}, **frames, **parts}


class VectorEngine:
    """Its pictures come as addresses; data URLs are read, too: nobody has recorded what the real one does."""

    COUNTS = _counts()
    MODELS: tuple[str, ...] = ("veo3.1-fast", *(name for name in COUNTS if name != "veo3.1-fast"))
    RATIOS = ("16:9", "9:16")

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._takes: dict[str, Take] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/video/create", self._create), web.get("/v1/video/query", self._query)]

    async def _create(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        try:
            body = await read_json(request)
            order = await self._read(body)
        except Rejected as no:
            if no.code == "model_not_found":
                return _error(503, no.message, no.code)
            return web.json_response({"id": "", "status": "error", "error": no.message})
        ticket = f"{body['model']}:{int(time.time())}-{secrets.token_hex(5)}"
        self._takes[ticket] = self.stand_in.studio.shoot(order)
        return web.json_response(self._job(ticket, "pending", enhanced_prompt=order.prompt))

    async def _query(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        ticket = request.query.get("id", "")
        take = self._takes.get(ticket)
        if take is None:
            return _error(400, "task_not_exist", "task_not_exist")
        url = self.stand_in.video_url(take) if take.done else None
        status = "completed" if take.done else "image_downloading" if take.progress < 25 else "video_generating"
        return web.json_response(self._job(ticket, status, video_url=url, enhanced_prompt=take.order.prompt))

    async def _read(self, body: dict[str, Any]) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        model, links, ratio = body.get("model"), body.get("images") or [], body.get("aspect_ratio")
        if model not in self.COUNTS:
            raise Rejected(f"当前分组 default 下对于模型 {model} 无可用渠道", "model_not_found")
        if not isinstance(body.get("prompt"), str) or not body["prompt"].strip():
            raise Rejected("prompt is required")
        one_of(ratio, self.RATIOS, "aspect_ratio")
        for switch in ("enhance_prompt", "enable_upsample"):
            one_of(body.get(switch), (True, False), switch)
        if not isinstance(links, list) or len(links) not in self.COUNTS[model]:
            raise Rejected(f"{model} takes {' or '.join(map(str, self.COUNTS[model]))} images")
        pictures = [await linked_picture(link, f"images[{place}]") for place, link in enumerate(links)]
        return Order(body["prompt"], pictures[0] if pictures else None, ratio_of(ratio), tuple(pictures[1:]))

    @staticmethod
    def _job(ticket: str, status: str, **more: Any) -> dict[str, Any]:
        return {"id": ticket, "status": status, "status_update_time": int(time.time() * 1000), **more}

    @staticmethod
    def _wrong_key() -> web.Response:
        return _error(401, "无效的令牌", "")


def _error(status: int, message: str, code: str) -> web.Response:
    message += f" (request id: {secrets.token_hex(10)})"
    return web.json_response({"error": {"message": message, "type": "new_api_error", "code": code}}, status=status)
