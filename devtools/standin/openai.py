"""OpenAI's video API, which gateways speak, too (upstreams.md §5): a form, a job, ``/content`` behind the key."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, linked_picture, one_of, picture, ratio_of, read_json, short

if TYPE_CHECKING:
    from PIL import Image

    from .server import StandIn

DEFAULT_SIZE = "720x1280"


class OpenAi:
    """Its picture comes as a file of the form; in JSON as an object with ``image_url``."""

    MODELS: tuple[str, ...] = ("sora-2", "sora-2-pro")
    SECONDS = ("4", "8", "12")
    SIZES = ("720x1280", "1280x720", "1024x1792", "1792x1024")

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._takes: dict[str, Take] = {}
        self._jobs: dict[str, dict[str, Any]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/videos", self._create),
            web.get(r"/v1/videos/{id:video_\w+}", self._look),
            web.get(r"/v1/videos/{id:video_\w+}/content", self._content),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        try:
            fields = await self._fields(request)
            order = await self._read(fields)
        except Rejected as no:
            return _error(404 if no.code == "model_not_found" else 400, no.message, no.code or None, no.param or None)
        ticket = f"video_{secrets.token_hex(16)}"
        self._takes[ticket] = self.stand_in.studio.shoot(order)
        self._jobs[ticket] = {
            "id": ticket,
            "object": "video",
            "created_at": int(time.time()),
            "model": fields["model"],
            "seconds": fields.get("seconds", "4"),
            "size": fields.get("size", DEFAULT_SIZE),
            "prompt": fields["prompt"],
            "error": None,
        }
        return web.json_response(self._jobs[ticket] | {"status": "queued", "progress": 0})

    async def _look(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        ticket = request.match_info["id"]
        take = self._takes.get(ticket)
        if take is None:
            return self._gone(ticket)
        status = "completed" if take.done else "in_progress" if take.progress else "queued"
        return web.json_response(self._jobs[ticket] | {"status": status, "progress": take.progress})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        ticket = request.match_info["id"]
        take = self._takes.get(ticket)
        if take is None:
            return self._gone(ticket)
        if not take.done:
            return _error(409, "the video is not ready yet", "video_not_ready")
        return self.stand_in.studio.serve(f"{take.name}.mp4")

    async def _fields(self, request: web.Request) -> dict[str, Any]:
        """The form, or the JSON."""
        if not request.content_type.startswith("multipart/"):
            return await read_json(request)
        return dict(await request.post())

    async def _read(self, fields: dict[str, Any]) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        model, prompt, size = fields.get("model"), fields.get("prompt"), fields.get("size")
        if model not in self.MODELS:
            raise Rejected(f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        if not isinstance(prompt, str) or not prompt.strip():
            raise Rejected("Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
        one_of(fields.get("seconds"), self.SECONDS, "seconds")
        one_of(size, self.SIZES, "size")
        sent = fields.get("input_reference")
        first = None if sent is None else await self._picture(sent)
        if first and size and first.size != tuple(map(int, size.split("x"))):
            raise Rejected("Inpaint image must match the requested width and height", param="input_reference")
        return Order(prompt, first, ratio_of(size or DEFAULT_SIZE), seconds=short(int(fields.get("seconds", 4))))

    @staticmethod
    async def _picture(sent: Any) -> Image.Image:
        if isinstance(sent, web.FileField):
            with sent.file:
                return await picture(sent.file.read(), "input_reference")
        if isinstance(sent, dict):
            return await linked_picture(sent.get("image_url"), "input_reference.image_url")
        raise Rejected("input_reference is neither a file nor an object", "invalid_type", "input_reference")

    @staticmethod
    def _gone(ticket: str) -> web.Response:
        return _error(404, f"Video with id '{ticket}' not found.", None)

    @staticmethod
    def _wrong_key() -> web.Response:
        return _error(401, "Incorrect API key provided.", "invalid_api_key")


def _error(status: int, message: str, code: str | None, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)
