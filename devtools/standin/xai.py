"""xAI's own API (upstreams.md §3), as strict as the Go gateway: a field it does not know is refused."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, linked_picture, one_of, ratio_of, read_json, short

if TYPE_CHECKING:
    from PIL import Image

    from .server import StandIn


class Xai:
    """Answers the first look at a ticket with an empty 202, as xAI does."""

    MODELS: tuple[str, ...] = ("grok-imagine-video", "grok-imagine-video-1.5")
    FIELDS = frozenset({"model", "prompt", "image", "reference_images", "duration", "aspect_ratio", "resolution"})
    RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
    MOST_REFERENCES = 7

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._takes: dict[str, Take] = {}
        self._looked_at: set[str] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/videos/generations", self._create), web.get("/v1/videos/{id}", self._look)]

    async def _create(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        if request.content_type != "application/json":
            return _error(415, "unsupported-media-type", "the body is to be application/json")
        try:
            order = await self._read(await read_json(request))
        except Rejected as no:
            return _error(404 if no.code == "not-found" else 400, no.code or "invalid-argument", no.message)
        ticket = str(uuid.uuid4())
        self._takes[ticket] = self.stand_in.studio.shoot(order)
        return web.json_response({"request_id": ticket})

    async def _look(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts(request):
            return self._wrong_key()
        ticket = request.match_info["id"]
        take = self._takes.get(ticket)
        if take is None:
            return _error(404, "not-found", "no such video")
        if not take.done:
            if ticket not in self._looked_at:
                self._looked_at.add(ticket)
                return web.Response(status=202)
            return web.json_response({"status": "pending", "progress": take.progress}, status=202)
        video = {
            "url": self.stand_in.video_url(take),
            "duration": round(take.order.seconds),
            "respect_moderation": True,
        }
        return web.json_response({"status": "done", "video": video, "model": self.MODELS[0], "progress": 100})

    async def _read(self, body: dict[str, Any]) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        for name in body:
            if name not in self.FIELDS:
                raise Rejected(f'json: unknown field "{name}"')
        if body.get("model") not in self.MODELS:
            raise Rejected(f"The model {body.get('model')} does not exist", "not-found")
        image, references = body.get("image"), body.get("reference_images") or []
        if image and references:
            raise Rejected("image and reference_images exclude each other")
        if not body.get("prompt") and not image:
            raise Rejected("prompt is required")
        if len(references) > self.MOST_REFERENCES:
            raise Rejected(f"Too many reference images: {len(references)}. Maximum allowed is {self.MOST_REFERENCES}.")
        longest = 10 if references and body["model"] == self.MODELS[0] else 15
        duration, ratio = body.get("duration", 8), body.get("aspect_ratio")
        sizes = ("480p", "720p", *(("1080p",) if body["model"] == self.MODELS[1] and not references else ()))
        one_of(duration, range(1, longest + 1), "duration")
        one_of(ratio, self.RATIOS, "aspect_ratio")
        one_of(body.get("resolution"), sizes, "resolution")
        sent = [("image", image)] if image else [("reference_images", one) for one in references]
        pictures = [await self._picture(one, name) for name, one in sent]
        ratio = ratio_of(ratio) if ratio or image else 16 / 9
        return Order(
            str(body.get("prompt", "")), pictures[0] if pictures else None, ratio, tuple(pictures[1:]), short(duration)
        )

    @staticmethod
    async def _picture(sent: Any, field: str) -> Image.Image:
        if not isinstance(sent, dict) or set(sent) != {"url"}:
            raise Rejected(f"{field} wants exactly one of url and file_id")
        try:
            return await linked_picture(sent["url"], f"{field}.url")
        except Rejected as no:
            raise Rejected(no.message) from None

    @staticmethod
    def _wrong_key() -> web.Response:
        return _error(400, "Client specified an invalid argument", "Incorrect API key provided")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "error": message}, status=status)
