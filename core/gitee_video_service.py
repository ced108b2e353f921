"""Backend: Gitee AI, also known as moark (upstreams.md §7).

Videos of a text and of a picture are made at different addresses, by different models. Each model has parameters of its
own, and most of them nobody has written down: what is not named there is left to the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from .body import Attachment, Body
from .capabilities import Capabilities, Mode, filled, fit, mode_of
from .config import GiteeSettings
from .models import Pending, VideoRequest, VideoResult
from .tickets import read_created, read_job, read_looked, unwrapped
from .transport import Transport
from .upstream import Upstream

_FRAMES_A_SECOND = 16  # 81 frames are 5 seconds and the picture they begin with


@dataclass(frozen=True)
class _Model:
    """What a model takes.

    Attributes:
        pictures: whether it makes videos of a picture; None = not ours to know.
        length: the parameter that says how long the video is; empty where nobody knows one.
        durations: seconds.
        ratio: whether it takes ``aspect_ratio``.
        more: what it needs besides.
    """

    pictures: bool | None
    length: Literal["", "num_frames", "duration_seconds"] = ""
    durations: tuple[int, ...] = ()
    ratio: bool = False
    more: tuple[tuple[str, str], ...] = ()

    def can(self) -> Capabilities:
        return Capabilities(
            text=not self.pictures,
            first_frame=self.pictures is not False,
            durations=self.durations,
            aspect_ratios=None if self.ratio else (),
            resolutions=(),
        )


def _seconds(fewest: int, most: int) -> tuple[int, ...]:
    """The whole seconds between two numbers of frames."""
    return tuple(second for second in range(1, 60) if fewest <= _frames(second) <= most)


def _frames(seconds: int) -> int:
    return seconds * _FRAMES_A_SECOND + 1


_MODELS = {
    "wan2.1-t2v-14b": _Model(False, "num_frames", _seconds(1, 81), ratio=True),
    "minimax-h3": _Model(False, "duration_seconds", tuple(range(4, 16)), more=(("task", "t2va"),)),
    "wan2_2-i2v-a14b": _Model(True, "num_frames", _seconds(25, 50)),
    "wan2.1-i2v-14b-720p": _Model(True),
    "ltx-2": _Model(True),
}
_OTHER = _Model(None, ratio=True)


def _named(model: str) -> _Model:
    return _MODELS.get(model.strip().lower(), _OTHER)


def _for_pictures(model: str, settings: GiteeSettings) -> str:
    """Which model makes a video of a picture, where this one is in use."""
    other = settings.image_model
    return other if other and not _named(model).pictures and _named(other).pictures is not False else model


def _capabilities(model: str, settings: GiteeSettings) -> Capabilities:
    """What a model makes of a text, and the one that takes over for it makes of a picture; `build` tells them apart."""
    can, other = _named(model).can(), _for_pictures(model, settings)
    if other == model:
        only_pictures = can.first_frame and model == settings.image_model != settings.model
        return replace(can, text=False, aspect_ratios=()) if only_pictures else can
    theirs = _named(other).can()
    return replace(
        can,
        first_frame=True,
        # One list for both, where both have one; `build` has each model's own.
        durations=tuple(sorted({*can.durations, *theirs.durations}))
        if can.durations and theirs.durations
        else can.durations,
        siblings={Mode.IMAGE: other},
    )


def build(request: VideoRequest, model: str, settings: GiteeSettings) -> dict[str, Any]:
    """The request's fields, but for the picture.

    Raises:
        BadInput: the model that makes it offers other lengths than the one asked for.
    """
    if mode_of(request.references) is Mode.IMAGE:
        model = _for_pictures(model, settings)
    known = _named(model)
    request, _ = fit(request, known.can())
    request = filled(request, settings.model_dump(), known.can())
    fields: dict[str, Any] = {"model": model.strip(), "prompt": request.prompt, **dict(known.more)}
    if request.aspect_ratio and not request.references:  # a picture brings its own
        fields["aspect_ratio"] = request.aspect_ratio
    if request.duration and known.length:
        frames = known.length == "num_frames"
        fields[known.length] = _frames(request.duration) if frames else request.duration
    return fields


def read(body: dict[str, Any], root: str) -> VideoResult | Pending:
    """What a task says, and what it took.

    Raises:
        Refused, UpstreamFailed: there will be no video.
    """
    seen = read_job(body, root)
    if not isinstance(seen, VideoResult):
        return seen
    job = unwrapped(body)
    try:
        cost = float(job["price"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return seen
    return replace(seen, cost=cost, currency=str(job.get("currency") or "")) if isfinite(cost) else seen


class GiteeVideoService(Upstream):
    """The panel's section ``gitee``."""

    check_path = "/v1/tasks/available-quota"

    def __init__(self, settings: GiteeSettings, transport: Transport) -> None:
        # Else a dearer provider may take over (upstreams.md §7); the panel's extra_headers can allow it.
        super().__init__(settings, transport, headers={"X-Failover-Enabled": "false"})
        self._gitee = settings

    def capabilities(self, model: str) -> Capabilities:
        """See `Backend.capabilities`."""
        return _capabilities(model, self._gitee)

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """See `Backend.submit`."""
        fields = build(request, model, self._gitee)
        path, body = "/v1/async/videos/generations", Body.of_json(fields)
        if request.references:
            # A picture inside JSON is dropped without a word, and then missed.
            picture = request.references[0]
            form = [(name, str(value)) for name, value in fields.items()]
            body = Body.of_form([*form, ("image", Attachment(Path(picture.path), picture.mime))])
            path = "/v1/async/videos/image-to-video"
        return read_created(await self.create(path, body, key=key), self._read, "task_id", "id")

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """See `TicketBackend.poll`."""
        return read_looked(await self.look(f"/v1/task/{quote(ticket, safe='')}", key=key), self._read)

    def _read(self, body: dict[str, Any]) -> VideoResult | Pending:
        return read(body, self.root)
