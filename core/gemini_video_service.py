"""Backend: Veo over Google's own API, or Vertex behind the same path (upstreams.md §6).

A create answers with the name of an operation; the operation says nothing until it is ``done``, and then holds either
samples, or what was filtered, or an error.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import media_url
from .body import Base64, Body
from .capabilities import Capabilities, Mode, filled, mode_of
from .config import GeminiSettings
from .envelope import is_refusal, message_of
from .errors import BadInput, Refused, UpstreamFailed
from .models import Pending, Reference, Role, VideoRequest, VideoResult
from .tickets import read_created, read_looked
from .transport import Transport
from .upstream import Upstream

_LONG = 8  # seconds: the only length of a video of references, and of one that is larger than 720p
_LARGE = ("1080p", "4k")
_VEO_30 = Capabilities(durations=(4, 6, _LONG), aspect_ratios=("16:9", "9:16"), resolutions=("720p", "1080p"))
_VEO_31 = replace(_VEO_30, last_frame=True, references=3, resolutions=("720p", *_LARGE))
_VEO_31_LITE = replace(_VEO_31, resolutions=_VEO_30.resolutions)  # the price list knows no 4k of it
_OTHER = Capabilities(last_frame=True, references=3)  # not ours to know: the upstream says what it takes


def _capabilities(model: str) -> Capabilities:
    name = _own_name(model).lower()
    if name.startswith("veo-3.1"):
        return _VEO_31_LITE if "-lite" in name else _VEO_31
    return _VEO_30 if name.startswith(("veo-3.0", "veo-3-")) else _OTHER


def _own_name(model: str) -> str:
    return model.strip().removeprefix("models/")


def build(request: VideoRequest, model: str, settings: GeminiSettings) -> dict[str, Any]:
    """The request's JSON.

    Raises:
        BadInput: the length asked for is none that goes with the size, or with references.
    """
    request = _measured(request, _capabilities(model), settings)
    instance: dict[str, Any] = {"prompt": request.prompt}
    for reference in request.references:
        match reference.role:
            case Role.REFERENCE:
                instance.setdefault("referenceImages", []).append(
                    {"image": _image(reference), "referenceType": "asset"}
                )
            case Role.LAST_FRAME:
                instance["lastFrame"] = _image(reference)
            case _:
                instance["image"] = _image(reference)
    chosen = {
        "aspectRatio": request.aspect_ratio,
        "durationSeconds": request.duration,
        "resolution": request.resolution,
    }
    parameters = {name: value for name, value in chosen.items() if value}
    return {"instances": [instance]} | ({"parameters": parameters} if parameters else {})


def _measured(request: VideoRequest, can: Capabilities, settings: GeminiSettings) -> VideoRequest:
    """The request with the panel's choices where the person made none, in lengths and sizes that go together."""
    whole = filled(request, settings.model_dump(), can)
    of_references = mode_of(request.references) is Mode.REFERENCES
    if can.durations is None or not (of_references or whole.resolution in _LARGE):
        return whole
    if request.duration in (None, _LONG):
        return replace(whole, duration=_LONG)
    if of_references or request.resolution in _LARGE:
        raise BadInput("duration_not_offered", wanted=request.duration, offered=_LONG)
    return replace(whole, resolution=None)  # the panel's size is only a default: the person's length comes first


def _image(reference: Reference) -> dict[str, Any]:
    """Google takes no links to pictures."""
    return {"bytesBase64Encoded": Base64(Path(reference.path)), "mimeType": reference.mime}


def read(body: dict[str, Any], root: str) -> VideoResult | Pending:
    """What an operation says.

    Args:
        root: the API's address without ``/v1beta``.

    Raises:
        Refused, UpstreamFailed: there will be no video.
    """
    error, response = body.get("error"), body.get("response")
    if not body.get("done"):
        return Pending(trouble=message_of(error))  # while it runs, an error is one of the look
    if error:
        said = message_of(error)
        raise Refused("after_work", said) if is_refusal(said) else UpstreamFailed("dead", said)
    if link := media_url.from_json({"response": response}, root):
        # Behind a gateway, the file's own address may be Google's all the same; nobody can open it without a key.
        return VideoResult(
            link, private=media_url.needs_key(link, root) or link.partition("?")[0].endswith(":download")
        )
    if (filtered := _filtered(response)) is not None:
        raise Refused("after_work", filtered)
    return Pending(finished=True)


def _filtered(response: Any) -> str | None:
    """Why nothing is left of the samples; None where nothing was filtered."""
    outer = response if isinstance(response, dict) else {}
    for one in (outer.get("generateVideoResponse"), outer):
        if isinstance(one, dict) and (one.get("raiMediaFilteredReasons") or one.get("raiMediaFilteredCount")):
            reasons = one.get("raiMediaFilteredReasons")
            return " ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons or "")
    return None


class GeminiVideoService(Upstream):
    """The panel's section ``gemini``."""

    check_path = "/v1beta/models?pageSize=1"

    def __init__(self, settings: GeminiSettings, transport: Transport) -> None:
        super().__init__(settings, transport, key_header="x-goog-api-key")
        self._gemini = settings

    def capabilities(self, model: str) -> Capabilities:
        """See `Backend.capabilities`."""
        return _capabilities(model)

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """See `Backend.submit`."""
        payload = build(request, model, self._gemini)
        path = f"/v1beta/models/{quote(_own_name(model), safe='')}:predictLongRunning"
        return read_created(await self.create(path, Body.of_json(payload), key=key), self._read, "name")

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """See `TicketBackend.poll`."""
        return read_looked(await self.look(f"/v1beta/{quote(ticket)}", key=key), self._read)

    def _read(self, body: dict[str, Any]) -> VideoResult | Pending:
        return read(body, self.root)
