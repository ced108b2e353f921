"""Gitee AI's asynchronous videos (upstreams.md §7): words as JSON, a picture as a form, a signed link."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, one_of, picture, ratio_of, read_json

if TYPE_CHECKING:
    from .server import StandIn


class Gitee:
    """Its link is valid as it was written, and only so: one that lost a ``%2F`` is none."""

    TEXT_MODELS = ("Wan2.1-T2V-14B", "HunyuanVideo-1.5", "ViduQ2-Turbo")
    IMAGE_MODELS = ("Wan2_2-I2V-A14B", "Wan2.1-I2V-14B-720P", "LTX-2")
    MODELS: tuple[str, ...] = (*TEXT_MODELS, *IMAGE_MODELS)
    RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._takes: dict[str, Take] = {}
        self._began: dict[str, int] = {}
        self._links: dict[str, Take] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/async/videos/generations", self._of_words),
            web.post("/v1/async/videos/image-to-video", self._of_picture),
            web.get("/v1/task/{id}", self._look),
            web.get("/api/v1/task/{id}", self._look),
            web.get("/serverless-api/{day}/{name}", self._file),
        ]

    async def _of_words(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        try:
            body = await read_json(request)
            if body.get("model") in self.IMAGE_MODELS:
                raise Rejected("必传参数: image")  # whatever the JSON holds: files in it are dropped
            return self._accepted(self._order(body, self.TEXT_MODELS))
        except Rejected as no:
            return _error(400, no.message)

    async def _of_picture(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        try:
            fields: dict[str, Any] = dict(await request.post()) if request.content_type == "multipart/form-data" else {}
            sent = fields.get("image")
            if not isinstance(sent, web.FileField):
                raise Rejected("必传参数: image")
            with sent.file:
                first = await picture(sent.file.read(), "image")
            frames = fields.get("num_frames")
            one_of(frames, [str(number) for number in range(1, 258)], "num_frames")
            return self._accepted(self._order(fields, self.IMAGE_MODELS, first))
        except Rejected as no:
            return _error(400, no.message)

    def _order(self, fields: dict[str, Any], models: tuple[str, ...], first: Any = None) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        one_of(fields.get("model", ""), models, "model")
        if not fields.get("prompt"):
            raise Rejected("必传参数: prompt")
        ratio = fields.get("aspect_ratio")
        one_of(ratio, self.RATIOS, "aspect_ratio")
        return Order(str(fields["prompt"]), first, ratio_of(ratio))

    def _accepted(self, order: Order) -> web.Response:
        ticket = secrets.token_hex(16).upper()
        self._takes[ticket] = self.stand_in.studio.shoot(order)
        self._began[ticket] = _now_ms()
        return web.json_response(self._task(ticket, "waiting"))

    async def _look(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        ticket = request.match_info["id"]
        take = self._takes.get(ticket)
        if take is None:
            return _error(404, "task not found")
        if not take.done:
            return web.json_response(self._task(ticket, "in_progress" if take.progress > 10 else "waiting"))
        day = time.strftime("%Y-%m-%d")
        link = f"/serverless-api/{day}/{ticket}.mp4?authorization=bce-auth-v1%2Fstandin%2F604800%2F%2F{take.name}"
        self._links[link] = take
        output = {"file_url": f"{self.stand_in.url}{link}"}
        return web.json_response(
            self._task(ticket, "success", output=output, price=1.23, currency="CNY", completed_at=_now_ms())
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        take = self._links.get(request.raw_path)
        if take is None:
            return web.Response(status=403, text="the signature does not match")
        return self.stand_in.studio.serve(f"{take.name}.mp4")

    def _task(self, ticket: str, status: str, **more: Any) -> dict[str, Any]:
        links = {"get": f"{self.stand_in.url}/api/v1/task/{ticket}"}
        return {"task_id": ticket, "status": status, "created_at": self._began[ticket], "urls": links, **more}

    @staticmethod
    def _wrong_key() -> web.Response:
        return _error(401, "Unauthorized: invalid access token", "authentication_error")


def _error(status: int, message: str, kind: str = "invalid_request_error") -> web.Response:
    return web.json_response({"error": {"message": message, "code": str(status), "type": kind}}, status=status)


def _now_ms() -> int:
    return int(time.time() * 1000)
