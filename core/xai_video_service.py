"""Backend: xAI's own video API, and the gateways that speak it to the letter (upstreams.md §3, §2.5).

To the letter, because one of them refuses a body with any field it does not know, and xAI itself passes over a
picture under another name without a word: a video without the picture, at full price.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .body import Body, DataUrl
from .capabilities import Capabilities, Mode, filled, fit, mode_of
from .config import XaiSettings
from .envelope import read_json
from .errors import Refused
from .models import Pending, VideoRequest, VideoResult
from .tickets import read_created, read_job, read_looked, status_of, unwrapped
from .transport import Transport
from .upstream import Upstream

_TICKS = 10**10  # of the bill, in one US dollar
_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
_BASE = Capabilities(references=7, durations=tuple(range(1, 16)), aspect_ratios=_RATIOS, resolutions=("480p", "720p"))
_LATER = replace(_BASE, resolutions=("480p", "720p", "1080p"))
_OTHER = Capabilities(references=7)  # an alias: the upstream says what it takes
_WITH_REFERENCES = tuple(range(1, 11))  # seconds; on the base model


def _capabilities(model: str) -> Capabilities:
    name = model.strip().lower()
    if name == "grok-imagine-video":
        return _BASE
    return _LATER if name.startswith("grok-imagine-video-1.5") else _OTHER


def build(request: VideoRequest, model: str, settings: XaiSettings) -> dict[str, Any]:
    """The request's JSON (upstreams.md §3).

    Raises:
        BadInput: the model does not make so long a video of references.
    """
    can, mode = _capabilities(model), mode_of(request.references)
    if can is _BASE and mode is Mode.REFERENCES:
        can = replace(can, durations=_WITH_REFERENCES)
    request, _ = fit(request, can)
    request = filled(request, _defaults(settings, mode), can)
    payload: dict[str, Any] = {"model": model.strip(), "prompt": request.prompt}
    pictures = [{"url": DataUrl(Path(one.path), one.mime)} for one in request.references]
    if mode is Mode.REFERENCES:
        payload["reference_images"] = pictures
    elif pictures:
        payload["image"] = pictures[0]
    chosen = {name: getattr(request, name) for name in ("duration", "aspect_ratio", "resolution")}
    return payload | {name: value for name, value in chosen.items() if value}


def _defaults(settings: XaiSettings, mode: Mode) -> dict[str, Any]:
    """The panel's choices, as far as they make sense here."""
    defaults = settings.model_dump(include={"duration", "aspect_ratio", "resolution"})
    if mode is Mode.IMAGE or defaults["aspect_ratio"].lower() == "auto":
        del defaults["aspect_ratio"]  # it follows the picture; and xAI knows no "auto"
    if mode is Mode.REFERENCES and defaults["resolution"] == "1080p":
        defaults["resolution"] = "720p"  # the most that the Go gateway makes of references
    return defaults


class XaiVideoService(Upstream):
    """The panel's section ``xai``."""

    def __init__(self, settings: XaiSettings, transport: Transport) -> None:
        super().__init__(settings, transport)
        self._xai = settings

    def capabilities(self, model: str) -> Capabilities:
        """See `Backend.capabilities`."""
        return _capabilities(model)

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """See `Backend.submit`."""
        payload = build(request, model, self._xai)
        answer = await self.create("/v1/videos/generations", Body.of_json(payload), key=key)
        return read_created(answer, self._read, "request_id", "id", "task_id")

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """See `TicketBackend.poll`. A refusal may say what it took: it is billed as a video is (upstreams.md §3)."""
        answer = await self.look(f"/v1/videos/{quote(ticket, safe='')}", key=key)
        try:
            return read_looked(answer, self._read)
        except Refused as refused:
            body = read_json(answer.text)
            cost = _cost(body) if isinstance(body, dict) else None
            if not cost:
                raise
            raise Refused("billed", refused.why.reason, cost=f"{cost:.4g} USD") from None

    def _read(self, body: dict[str, Any]) -> VideoResult | Pending:
        """A job. Early ones had no status, and some gateways wrap xAI's own answer into theirs.

        Raises:
            Refused: it is done, and what it made is not to be seen.
        """
        seen = read_job(body, self.root)
        job = unwrapped(body)
        inner = job.get("data")
        layers = [layer for layer in (job, inner) if isinstance(layer, dict)]
        video = next((one for layer in layers if isinstance(one := layer.get("video"), dict)), {})
        empty = isinstance(seen, Pending) and seen.finished and video.get("url") == ""
        over = isinstance(seen, VideoResult) or seen.finished or not status_of(job)
        if empty or (over and video.get("respect_moderation") is False):
            raise Refused("after_work")
        if isinstance(seen, VideoResult):
            cost = next((paid for layer in layers if (paid := _cost(layer)) is not None), None)
            return replace(seen, cost=cost, currency="USD" if cost is not None else "")
        return seen


def _cost(job: dict[str, Any]) -> float | None:
    """US dollars; None where it says nothing."""
    usage = job.get("usage")
    ticks = usage.get("cost_in_usd_ticks") if isinstance(usage, dict) else None
    if isinstance(ticks, bool) or not isinstance(ticks, int | float) or not 0 <= ticks < 10**6 * _TICKS:
        return None
    return ticks / _TICKS
