"""Backend: OpenAI's video API and the many gateways that speak it, more or less (upstreams.md §5, §2.4).

Some gateways have only new-api's older route. Which one a ticket belongs to stands in the ticket: it must be found
again after a restart.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageOps

from .body import Attachment, Body, DataUrl
from .capabilities import Capabilities, filled
from .config import OpenaiSettings
from .envelope import name, read_json
from .errors import Misconfigured
from .media_url import content_link
from .models import Pending, Reference, VideoRequest, VideoResult
from .tickets import read_created, read_job, read_looked, ticket_in, unwrapped
from .transport import Answer, Transport
from .upstream import Upstream

_VIDEOS, _GENERATIONS = "videos", "video/generations"  # behind /v1/
_PLACES = {_VIDEOS: ("id", "task_id"), _GENERATIONS: ("task_id", "id")}  # where the ticket stands
_LANDSCAPE, _PORTRAIT = "16:9", "9:16"
_SORA = Capabilities(durations=(4, 8, 12), aspect_ratios=(_LANDSCAPE, _PORTRAIT), resolutions=("720p",))
_SORA_PRO = replace(_SORA, resolutions=("720p", "1080p"))
_OTHER = Capabilities()  # not ours to know: the upstream says what it takes
# Where the pixels are not simply the ratio's: Sora's large ones, and the one square that is documented.
_SIZES = {(_LANDSCAPE, 1080): "1792x1024", (_PORTRAIT, 1080): "1024x1792"}
_SQUARE = {("1:1", 720): "1024x1024"}


def _capabilities(model: str) -> Capabilities:
    """Dated names are OpenAI's own, too; others that only begin alike are somebody else's."""
    if own := re.fullmatch(r"sora-2(-pro)?(-\d{4}-\d\d-\d\d)?", model.strip(), re.IGNORECASE):
        return _SORA_PRO if own[1] else _SORA
    return _OTHER


def build(request: VideoRequest, model: str, settings: OpenaiSettings, shape: str = "") -> dict[str, str]:
    """The request's fields, without the picture (upstreams.md §5).

    Args:
        shape: the ratio that is nearest to the picture; empty without one.
    """
    can = _capabilities(model)
    defaults = settings.model_dump(include={"duration", "aspect_ratio", "resolution"})
    if shape:
        del defaults["aspect_ratio"]  # it follows the picture
    request = filled(request, defaults, can)
    fields = {"prompt": request.prompt, "model": model.strip()}
    if request.duration:
        fields["seconds"] = str(request.duration)
    if size := _size(request, can, shape):
        fields["size"] = size
    return fields


def _size(request: VideoRequest, can: Capabilities, shape: str) -> str:
    """Width and height in pixels; empty where nobody chose anything, so that the model's own counts."""
    if request.resolution and re.fullmatch(r"\d{3,4}x\d{3,4}", request.resolution):
        return request.resolution  # the panel may name pixels
    lines = re.fullmatch(r"(\d{3,4})p", request.resolution or "")
    sides = re.fullmatch(r"[1-9]\d?:[1-9]\d?", request.aspect_ratio or "")
    if not (lines or sides or (shape and can is not _OTHER)):
        return ""
    short, ratio = int(lines[1] if lines else 720), sides[0] if sides else shape or _LANDSCAPE
    fixed = _SQUARE if can is _OTHER else _SIZES
    if (ratio, short) in fixed:
        return fixed[ratio, short]
    across, up = map(int, ratio.split(":"))
    long = 2 * round(short * max(across, up) / min(across, up) / 2)  # no codec takes odd ones
    return f"{long}x{short}" if across > up else f"{short}x{long}"


def shape_of(picture: Path) -> str:
    """Whether a picture lies or stands, as the ratio of a video.

    Raises:
        Misconfigured: it cannot be read.
    """
    try:
        with Image.open(picture) as image:
            return _LANDSCAPE if image.width >= image.height else _PORTRAIT
    except OSError as error:
        raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error


def cropped(reference: Reference, size: str) -> Reference:
    """The middle of a picture in exactly this size: Sora takes no other. It stands beside the picture.

    Raises:
        Misconfigured: the disk does not take it.
    """
    width, height = map(int, size.split("x"))
    path = Path(reference.path)
    target = path.with_name(f"{path.stem}-{size}{path.suffix}")
    try:
        with Image.open(path) as image:
            if image.size == (width, height):
                return reference
            ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS).save(target, quality=92)
    except OSError as error:
        raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error
    return replace(reference, path=str(target))


class OpenaiVideoService(Upstream):
    """The panel's section ``openai``."""

    def __init__(self, settings: OpenaiSettings, transport: Transport) -> None:
        super().__init__(settings, transport)
        self._openai = settings
        self._routes = (_VIDEOS, _GENERATIONS)  # the one that is there comes first

    def capabilities(self, model: str) -> Capabilities:
        """See `Backend.capabilities`."""
        return _capabilities(model)

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """See `Backend.submit`."""
        picture = request.references[0] if request.references else None
        shape = await asyncio.to_thread(shape_of, Path(picture.path)) if picture else ""
        fields = build(request, model, self._openai, shape)
        if picture and _capabilities(model) is not _OTHER:
            picture = await asyncio.to_thread(cropped, picture, fields["size"])
        first, second = self._routes
        route, answer = first, await self.create(f"/v1/{first}", _body(first, fields, picture), key=key)
        if _is_no_route(answer):  # so nothing was taken
            route, answer = second, await self.create(f"/v1/{second}", _body(second, fields, picture), key=key)
            if not _is_no_route(answer):
                self._routes = (second, first)
        created = read_created(answer, self._read, *_PLACES[route])
        return created if isinstance(created, VideoResult) else f"{route}/{created}"

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """See `TicketBackend.poll`."""
        route = _GENERATIONS if ticket.startswith(f"{_GENERATIONS}/") else _VIDEOS
        answer = await self.look(f"/v1/{route}/{quote(_id_in(ticket), safe='')}", key=key)
        seen = read_looked(answer, self._read)
        if isinstance(seen, Pending) and seen.finished and route == _VIDEOS:  # whatever else its answer leaves out
            return VideoResult(f"{self.root}/v1/videos/{quote(_id_in(ticket), safe='')}/content", private=True)
        wait = re.fullmatch(r"\s*(\d{1,7})(\.\d*)?\s*", answer.headers.get("openai-poll-after-ms", ""))
        if isinstance(seen, Pending) and seen.pause is None and wait:
            return replace(seen, pause=int(wait[1]) / 1000)
        return seen

    def _read(self, body: dict[str, Any]) -> VideoResult | Pending:
        """A job; a finished one without a link stands behind the key."""
        seen, job = read_job(body, self.root), unwrapped(body)
        if isinstance(seen, Pending) and seen.finished:
            ticket = quote(ticket_in(job, "id"), safe="")
            if link := content_link({**job, "status": "completed", "id": ticket}, self.root):
                return VideoResult(link, private=True)
        return seen


def _id_in(ticket: str) -> str:
    """The upstream's own id, without the route in front of it."""
    return ticket.removeprefix(f"{_GENERATIONS}/").removeprefix(f"{_VIDEOS}/")


def _body(route: str, fields: dict[str, str], picture: Reference | None) -> Body:
    """The same request, as each route takes it: a form, or JSON with the picture in it."""
    if route == _VIDEOS:
        form: list[tuple[str, str | Attachment]] = list(fields.items())
        return Body.of_form(
            [*form, ("input_reference", Attachment(Path(picture.path), picture.mime))] if picture else form
        )
    payload: dict[str, Any] = {"model": fields["model"], "prompt": fields["prompt"]}
    if picture:
        payload["images"] = [DataUrl(Path(picture.path), picture.mime)]
    if "seconds" in fields:
        payload["duration"] = int(fields["seconds"])
    return Body.of_json(payload | ({"size": fields["size"]} if "size" in fields else {}))


def _is_no_route(answer: Answer) -> bool:
    """Whether the gateway lacks the route, so that nothing was taken. Lacking the model is something else."""
    if answer.status not in (404, 405):
        return False
    body = read_json(answer.text)
    if isinstance(body, dict) and any(ticket_in(unwrapped(body), place) for place in _PLACES[_VIDEOS]):
        return False
    failure = name(answer.status, answer.headers, answer.text)
    return isinstance(failure, Misconfigured) and failure.why.cause == "not_found"
