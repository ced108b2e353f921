"""Backend: Veo, and whatever else is sold, over the unified create/query API (VectorEngine, yunwu, …; upstreams.md §4).

Only the top level of an answer counts. Below it, in ``detail``, stand the pictures that were sent, a smaller clip, and
errors of earlier attempts.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .body import Body, DataUrl
from .capabilities import Capabilities, Mode, filled, mode_of
from .config import VeoSettings
from .errors import Misconfigured
from .models import Pending, Reference, VideoRequest, VideoResult
from .tickets import read_created, read_job, read_looked
from .transport import Transport
from .upstream import Upstream

type Publish = Callable[[Path], Awaitable[str | None]]

# What each of the API's own names makes by itself: text, first frame, last frame, number of references.
_OWN = {
    "veo2": (True, True, False, 0),
    "veo2-fast": (True, True, False, 0),
    "veo2-pro": (True, True, False, 0),
    "veo2-fast-frames": (False, True, True, 0),
    "veo2-fast-components": (False, False, False, 3),
    "veo2-pro-components": (False, False, False, 3),
    # The documentation disagrees on what these three do with a picture; their -frames siblings are sure.
    "veo3": (True, False, False, 0),
    "veo3-fast": (True, False, False, 0),
    "veo3-pro": (True, False, False, 0),
    "veo3-frames": (False, True, True, 0),
    "veo3-fast-frames": (False, True, True, 0),
    "veo3-pro-frames": (False, True, False, 0),
    "veo3.1": (True, True, True, 0),
    "veo3.1-fast": (True, True, True, 0),
    "veo3.1-pro": (True, True, True, 0),
    "veo3.1-4k": (True, True, True, 0),
    "veo3.1-pro-4k": (True, True, True, 0),
    "veo3.1-components": (False, False, False, 3),
    "veo3.1-fast-components": (False, False, False, 3),
}
# Names that people pick, as Google and others write them → the API's own. What is in no table passes through.
_NAMES = {own.replace("veo", "veo-", 1): own for own in _OWN} | {
    "veo-3.1-frames": "veo3.1",  # it adapts by itself
    "veo-3.1-fast-frames": "veo3.1-fast",
    "veo-3.1-pro-frames": "veo3.1-pro",
    "veo-2.0": "veo2",
    "veo-2.0-generate-001": "veo2",
    "veo-2.0-generate-preview": "veo2",
    "veo-3.0": "veo3",
    "veo-3.0-fast": "veo3-fast",
    "veo-3-generate-preview": "veo3",
    "veo-3-fast-generate-preview": "veo3-fast",
    "veo-3.0-generate-preview": "veo3",
    "veo-3.0-fast-generate-preview": "veo3-fast",
    "veo-3.0-generate-001": "veo3",
    "veo-3.0-fast-generate-001": "veo3-fast",
    "veo-3.1-generate-preview": "veo3.1",
    "veo-3.1-fast-generate-preview": "veo3.1-fast",
    "veo-3.1-generate-001": "veo3.1",
    "veo-3.1-fast-generate-001": "veo3.1-fast",
}
_RATIOS = ("16:9", "9:16")
_ENDINGS = ("", "-frames", "-components")
# How some sites spell veo3.1 (upstreams.md §4); its siblings' names nobody has recorded.
_ELSEWHERE = Capabilities(last_frame=True, links=True, durations=(), aspect_ratios=_RATIOS, resolutions=())
_OTHER = Capabilities(last_frame=True, references=9, links=True)  # not ours to know: the upstream says what it takes


def own_name(model: str) -> str:
    """The API's own name of a model as people write it; an unknown one stays as it is."""
    typed = model.strip().lower()
    return typed if typed in _OWN else _NAMES.get(typed, model.strip())


def _family(own: str) -> tuple[str, ...]:
    """A model and its siblings, itself first."""
    base = own.removesuffix("-frames").removesuffix("-components")
    return (own, *(name for ending in _ENDINGS if (name := base + ending) in _OWN and name != own))


def _capabilities(model: str) -> Capabilities:
    """What a model and its siblings make together: which of them does it, `build` decides by the mode."""
    own = own_name(model)
    if own.startswith("veo_3_1"):
        return _ELSEWHERE
    if own not in _OWN:
        return _OTHER
    siblings: dict[Mode, str] = {}
    able: set[Mode] = set()
    for name in _family(own):
        for mode, can in zip(Mode, _OWN[name], strict=True):
            if can and mode not in able:
                able.add(mode)
                siblings |= {mode: name} if name != own else {}
    return Capabilities(
        text=Mode.TEXT in able,
        first_frame=Mode.IMAGE in able,
        last_frame=Mode.FRAMES in able,
        references=3 if Mode.REFERENCES in able else 0,
        links=True,
        durations=(),
        aspect_ratios=() if own.startswith("veo2") else _RATIOS,
        resolutions=(),
        siblings=siblings,
    )


def build(
    request: VideoRequest, model: str, mode: Mode, images: list[str | DataUrl], settings: VeoSettings
) -> dict[str, Any]:
    """The request's JSON."""
    can = _capabilities(model)
    if can is not _OTHER:  # the panel's ratio is Veo's; what others take stands in no table
        request = filled(request, settings.model_dump(), can)
    payload: dict[str, Any] = {"model": can.siblings.get(mode, own_name(model)), "prompt": request.prompt}
    if images:
        payload["images"] = images
    if request.aspect_ratio:
        payload["aspect_ratio"] = request.aspect_ratio
    if request.duration:
        payload["duration"] = request.duration
    return payload | {"enhance_prompt": settings.enhance_prompt, "enable_upsample": settings.enable_upsample}


class VeoVideoService(Upstream):
    """The panel's section ``veo``.

    Args:
        publish: makes a local file reachable from the internet and returns its address, or None where the host cannot.
    """

    def __init__(self, settings: VeoSettings, transport: Transport, publish: Publish) -> None:
        super().__init__(settings, transport)
        self._veo, self._publish = settings, publish

    def capabilities(self, model: str) -> Capabilities:
        """See `Backend.capabilities`."""
        return _capabilities(model)

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """See `Backend.submit`."""
        images = [await self._image(reference) for reference in request.references]
        payload = build(request, model, mode_of(request.references), images, self._veo)
        answer = await self.create("/v1/video/create", Body.of_json(payload), key=key)
        return read_created(answer, self._read, "id", "task_id")

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """See `TicketBackend.poll`."""
        return read_looked(await self.look(f"/v1/video/query?id={quote(ticket, safe='')}", key=key), self._read)

    def _read(self, body: dict[str, Any]) -> VideoResult | Pending:
        return read_job(body, self.root)

    async def _image(self, reference: Reference) -> str | DataUrl:
        """A picture as the API may take it: it fetches links; whether it takes data, nobody has recorded.

        Raises:
            Misconfigured: it has no link, and the panel allows nothing else.
        """
        how = self._veo.image_transport
        if how != "data":
            if reference.url and await self._transport.is_public(reference.url):
                return reference.url
            published = await self._publish(Path(reference.path))
            if published and await self._can_fetch(published):
                return published
            if how == "url":
                raise Misconfigured("picture_needs_link")
        return DataUrl(Path(reference.path), reference.mime)

    async def _can_fetch(self, link: str) -> bool:
        """Whether the upstream reaches this link: one outside our network only what is public."""
        return await self._transport.is_public(link) or not await self._transport.is_public(self.root)
