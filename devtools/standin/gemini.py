"""Google's own Veo (upstreams.md §6): its own key header, pictures as bare base64, a download that redirects."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from devtools.studio import Order, Take

from .wire import Rejected, encoded_picture, one_of, ratio_of, read_json, short

if TYPE_CHECKING:
    from PIL import Image

    from .server import StandIn


class Gemini:
    """Tells no progress: an operation is silent until it is done."""

    MODELS: tuple[str, ...] = (
        "veo-3.1-fast-generate-preview",
        "veo-3.1-generate-preview",
        "veo-3.1-lite-generate-preview",
    )
    RATIOS, SECONDS, SIZES = ("16:9", "9:16"), (4, 6, 8), ("720p", "1080p", "4k")
    MOST_REFERENCES = 3

    def __init__(self, stand_in: StandIn) -> None:
        self.stand_in = stand_in
        self._takes: dict[str, Take] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(r"/v1beta/models/{model:[^/:]+}:predictLongRunning", self._create),
            web.get("/v1beta/models/{model}/operations/{id}", self._look),
            web.get(r"/v1beta/files/{name:[0-9a-f]+}:download", self._download),
            web.get(r"/download/{name:[0-9a-f]+}", self._file),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts_google(request):
            return self._wrong_key()
        model = request.match_info["model"]
        if model not in self.MODELS:
            return _error(404, f"models/{model} is not found", "NOT_FOUND")
        try:
            order = await self._read(await read_json(request))
        except Rejected as no:
            return _error(400, no.message, "INVALID_ARGUMENT")
        name = f"models/{model}/operations/{secrets.token_hex(6)}"
        self._takes[name] = self.stand_in.studio.shoot(order)
        return web.json_response({"name": name})

    async def _look(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts_google(request):
            return self._wrong_key()
        name = request.path.removeprefix("/v1beta/")
        take = self._takes.get(name)
        if take is None:
            return _error(404, "Operation not found.", "NOT_FOUND")
        if not take.done:
            return web.json_response({"name": name})
        link = f"{self.stand_in.url}/v1beta/files/{take.name}:download?alt=media"
        made = {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": link}}]}}
        return web.json_response({"name": name, "done": True, "response": made})

    async def _download(self, request: web.Request) -> web.Response:
        if not self.stand_in.accepts_google(request):
            return self._wrong_key()
        raise web.HTTPFound(f"{self.stand_in.url}/download/{request.match_info['name']}")

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self.stand_in.studio.serve(f"{request.match_info['name']}.mp4")

    async def _read(self, body: dict[str, Any]) -> Order:
        """Understand a request as far as the real one would.

        Raises:
            Rejected: it would be refused there too.
        """
        [instance] = body.get("instances") or [{}]
        wishes = body.get("parameters") or {}
        if not instance.get("prompt"):
            raise Rejected("`prompt` is required")
        seconds, size, ratio = (wishes.get(name) for name in ("durationSeconds", "resolution", "aspectRatio"))
        one_of(seconds, self.SECONDS, "durationSeconds")
        one_of(size, self.SIZES, "resolution")
        one_of(ratio, self.RATIOS, "aspectRatio")
        references = instance.get("referenceImages") or []
        if len(references) > self.MOST_REFERENCES:
            raise Rejected(f"at most {self.MOST_REFERENCES} referenceImages")
        if seconds not in (None, 8) and (references or size in ("1080p", "4k")):
            raise Rejected("`durationSeconds` has to be 8 here")
        if "lastFrame" in instance and "image" not in instance:
            raise Rejected("`lastFrame` wants an `image`")
        sent = [(name, instance[name]) for name in ("image", "lastFrame") if name in instance]
        sent += [("referenceImages", one.get("image")) for one in references]
        pictures = [await self._picture(one, name) for name, one in sent]
        first = pictures[0] if pictures else None
        return Order(instance["prompt"], first, ratio_of(ratio or "16:9"), tuple(pictures[1:]), short(seconds or 8))

    @staticmethod
    async def _picture(sent: Any, field: str) -> Image.Image:
        """Only bytes: the real one takes no addresses."""
        if not isinstance(sent, dict):
            raise Rejected(f"`{field}` holds no picture")
        inline = sent.get("inlineData") or {"data": sent.get("bytesBase64Encoded"), "mimeType": sent.get("mimeType")}
        if not str(inline.get("mimeType", "")).startswith("image/"):
            raise Rejected(f"`{field}` has no `mimeType` of a picture")
        return await encoded_picture(inline.get("data"), field)

    @staticmethod
    def _wrong_key() -> web.Response:
        return _error(403, "The request has no valid API key.", "PERMISSION_DENIED")


def _error(status: int, message: str, word: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message, "status": word}}, status=status)
