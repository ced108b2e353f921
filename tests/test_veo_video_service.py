"""Which of Veo's models makes what, and what the unified API is sent, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from core.backends import TicketBackend
from core.body import Body, DataUrl
from core.capabilities import Capabilities, Mode, mode_of, with_roles
from core.config import VeoSettings
from core.errors import Failure, Misconfigured, OutOfQuota, UnknownCharge, UpstreamFailed
from core.models import Pending, Reference, Role, VideoRequest, VideoResult
from core.transport import Transport, Trust
from core.veo_video_service import VeoVideoService, build, own_name
from tests.internet import PUBLIC, Internet
from tests.scripted_server import RESET, ScriptedServer, answer

TICKET = "veo3.1-fast:1770350082-AbC123xyz0"
PUBLIC_LINK, PUBLISHED = "https://cdn.example.com/a.png?sig=1%2F2", "https://bot.example.net/file/1"
DATA = "data:image/png;base64,YQ=="
FIRST, LAST, SEEN = Role.FIRST_FRAME, Role.LAST_FRAME, Role.REFERENCE


# ---- names ----

NAMES: list[tuple[str, str, str]] = [
    ("the API's own", "veo3.1-fast", "veo3.1-fast"),
    ("its own, in capitals and blanks", " VEO3.1-Fast ", "veo3.1-fast"),
    ("as the panel has it", "veo-3.1-fast", "veo3.1-fast"),
    ("with frames", "veo-3-fast-frames", "veo3-fast-frames"),
    ("with components", "veo-2-pro-components", "veo2-pro-components"),
    ("with a size", "veo-3.1-pro-4k", "veo3.1-pro-4k"),
    ("Google's preview", "veo-3.1-fast-generate-preview", "veo3.1-fast"),
    ("Google's preview of the better one", "veo-3.1-generate-preview", "veo3.1"),
    ("Google's release", "veo-3.0-fast-generate-001", "veo3-fast"),
    ("Google's older preview", "veo-3.0-generate-preview", "veo3"),
    ("Google's oldest", "veo-2.0-generate-001", "veo2"),
    ("another's spelling of the same is another's", "veo_3_1-fast", "veo_3_1-fast"),
    ("what is in no table", " Sora-2-HD ", "Sora-2-HD"),
]


@pytest.mark.parametrize(("typed", "own"), [pytest.param(*case[1:], id=case[0]) for case in NAMES])
def test_a_name_becomes_the_apis_own(typed: str, own: str) -> None:
    assert own_name(typed) == own


# Which model makes it: of text, of a first frame, of both frames, of references. "." is the model itself.
MAKERS: dict[str, tuple[str, str, str, str]] = {
    "veo2": (".", ".", "", ""),
    "veo2-fast": (".", ".", "veo2-fast-frames", "veo2-fast-components"),
    "veo2-pro": (".", ".", "", "veo2-pro-components"),
    "veo2-fast-frames": ("veo2-fast", ".", ".", "veo2-fast-components"),
    "veo2-fast-components": ("veo2-fast", "veo2-fast", "veo2-fast-frames", "."),
    "veo2-pro-components": ("veo2-pro", "veo2-pro", "", "."),
    "veo3": (".", "veo3-frames", "veo3-frames", ""),
    "veo3-fast": (".", "veo3-fast-frames", "veo3-fast-frames", ""),
    "veo3-pro": (".", "veo3-pro-frames", "", ""),
    "veo3-frames": ("veo3", ".", ".", ""),
    "veo3-fast-frames": ("veo3-fast", ".", ".", ""),
    "veo3-pro-frames": ("veo3-pro", ".", "", ""),
    "veo3.1": (".", ".", ".", "veo3.1-components"),
    "veo3.1-fast": (".", ".", ".", "veo3.1-fast-components"),
    "veo3.1-pro": (".", ".", ".", ""),
    "veo3.1-4k": (".", ".", ".", ""),
    "veo3.1-pro-4k": (".", ".", ".", ""),
    "veo3.1-components": ("veo3.1", "veo3.1", "veo3.1", "."),
    "veo3.1-fast-components": ("veo3.1-fast", "veo3.1-fast", "veo3.1-fast", "."),
}
GIVEN = {Mode.TEXT: (), Mode.IMAGE: (FIRST,), Mode.FRAMES: (FIRST, LAST), Mode.REFERENCES: (SEEN, SEEN, SEEN)}


async def no_publish(path: Path) -> str | None:
    return None


def capabilities(model: str) -> Capabilities:
    backend = VeoVideoService(VeoSettings(), None, no_publish)  # type: ignore[arg-type]
    assert isinstance(backend, TicketBackend)
    return backend.capabilities(model)


@pytest.mark.parametrize("model", MAKERS)
def test_whoever_can_makes_it(model: str) -> None:
    can = capabilities(model)
    makers = {mode: name for mode, name in zip(Mode, MAKERS[model], strict=True) if name}
    assert list(can.modes) == list(makers)
    assert can.siblings == {mode: name for mode, name in makers.items() if name != "."}
    for mode, name in makers.items():
        references = with_roles([Reference(role=role) for role in GIVEN[mode]], can)
        assert mode_of(references) is mode
        images: list[str | DataUrl] = [PUBLIC_LINK] * len(references)
        sent = build(VideoRequest("x", references), model, mode, images, VeoSettings())
        assert sent["model"] == (model if name == "." else name)


@pytest.mark.parametrize("model", MAKERS)
def test_length_and_size_are_fixed_and_the_ratio_is_the_later_ones(model: str) -> None:
    can = capabilities(model)
    assert (can.durations, can.resolutions) == ((), ())
    assert can.aspect_ratios == (() if model.startswith("veo2") else ("16:9", "9:16"))


def test_what_a_stranger_can_do_is_not_ours_to_know() -> None:
    assert capabilities("sora-2-hd") == Capabilities(last_frame=True, references=9, links=True)


# ---- what is sent ----

TAIL = '"enhance_prompt": true, "enable_upsample": false}'
BODIES: list[tuple[str, dict[str, Any], tuple[Role, ...], str, dict[str, Any], str]] = [
    ("words alone", {}, (), "veo-3.1-fast", {},
     '{"model": "veo3.1-fast", "prompt": "动", "aspect_ratio": "16:9", ' + TAIL),
    ("a ratio", {"aspect_ratio": "9:16"}, (), "veo-3.1-fast", {},
     '{"model": "veo3.1-fast", "prompt": "动", "aspect_ratio": "9:16", ' + TAIL),
    ("no ratio", {}, (), "veo-3.1-fast", {"aspect_ratio": ""}, '{"model": "veo3.1-fast", "prompt": "动", ' + TAIL),
    ("a ratio that it lacks", {}, (), "veo-3.1-fast", {"aspect_ratio": "1:1"},
     '{"model": "veo3.1-fast", "prompt": "动", ' + TAIL),
    ("the older ones take no ratio", {}, (), "veo2", {}, '{"model": "veo2", "prompt": "动", ' + TAIL),
    ("switches are booleans", {}, (), "veo2", {"enhance_prompt": False, "enable_upsample": True},
     '{"model": "veo2", "prompt": "动", "enhance_prompt": false, "enable_upsample": true}'),
    ("a picture", {}, (FIRST,), "veo-3.1-fast", {},
     f'{{"model": "veo3.1-fast", "prompt": "动", "images": ["{DATA}"], "aspect_ratio": "16:9", ' + TAIL),
    ("two pictures in their order", {}, (FIRST, LAST), "veo-3-fast", {},
     f'{{"model": "veo3-fast-frames", "prompt": "动", "images": ["{DATA}", "data:image/jpeg;base64,YmI="], '
     '"aspect_ratio": "16:9", ' + TAIL),
    ("a stranger gets what it is given", {"duration": 10, "aspect_ratio": "1:1"}, (), "sora-2", {},
     '{"model": "sora-2", "prompt": "动", "aspect_ratio": "1:1", "duration": 10, ' + TAIL),
]  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., tuple[Reference, ...]]:
    """Two files, whose base64 is ``YQ==`` and ``YmI=``."""
    kept = []
    for name, mime, content in (("a.png", "image/png", b"a"), ("b.jpg", "image/jpeg", b"bb")):
        (tmp_path / name).write_bytes(content)
        kept.append((str(tmp_path / name), mime))

    def given(*roles: Role, url: str = "") -> tuple[Reference, ...]:
        return tuple(Reference(path, url, mime, role) for (path, mime), role in zip(kept, roles, strict=False))

    return given


@pytest.mark.parametrize(
    ("asked", "roles", "model", "panel", "body"), [pytest.param(*case[1:], id=case[0]) for case in BODIES]
)
async def test_the_body(
    pictures: Callable[..., tuple[Reference, ...]],
    asked: dict[str, Any],
    roles: tuple[Role, ...],
    model: str,
    panel: dict[str, Any],
    body: str,
) -> None:
    references = pictures(*roles)
    images: list[str | DataUrl] = [DataUrl(Path(one.path), one.mime) for one in references]
    request = VideoRequest("动", references, **asked)
    sent = Body.of_json(build(request, model, mode_of(references), images, VeoSettings(**panel)))
    assert b"".join([piece async for piece in sent.stream()]).decode() == body


class Published:
    """The host's file service."""

    def __init__(self, link: str | None) -> None:
        self.asked: list[Path] = []
        self._link = link

    async def __call__(self, path: Path) -> str | None:
        self.asked.append(path)
        return self._link


def service(root: str, publish: Callable[[Path], Awaitable[str | None]], **panel: Any) -> Any:
    transport = Transport(Trust.of([root]))
    return VeoVideoService(VeoSettings(base_url=root, **panel), transport, publish), transport


async def submitted(acts: list[Any], request: VideoRequest, publish: Any = no_publish, **panel: Any) -> Any:
    """The outcome of a create, and the server that saw it."""
    async with ScriptedServer(acts) if acts else ScriptedServer() as server:
        backend, transport = service(server.url, publish, **panel)
        try:
            outcome = await backend.submit(request, model="veo-3.1-fast", key="sk-1", report=lambda percent: None)
        except Failure as failure:
            outcome = failure
        await transport.close()
    return outcome, server


TAKEN = [answer(json.dumps({"id": TICKET, "status": "pending", "enhanced_prompt": "…"}).encode())]
PRIVATE_LINK = "http://192.168.1.5/a.png"
WAYS: list[tuple[str, str, str, str | None, str, int]] = [
    ("auto: a public link is enough", "auto", PUBLIC_LINK, PUBLISHED, PUBLIC_LINK, 0),
    ("auto: no link, so the host gives one", "auto", "", PUBLISHED, PUBLISHED, 1),
    ("auto: a link into somebody's network is none", "auto", PRIVATE_LINK, PUBLISHED, PUBLISHED, 1),
    ("auto: a name in somebody's network is none", "auto", "http://nas.example.com/a.png", None, DATA, 1),
    ("auto: a file is none", "auto", "file:///a.png", None, DATA, 1),
    ("auto: neither, so the picture itself", "auto", "", None, DATA, 1),
    ("url: a public link", "url", PUBLIC_LINK, PUBLISHED, PUBLIC_LINK, 0),
    ("url: the host's link", "url", "", PUBLISHED, PUBLISHED, 1),
    ("data: whatever links there are", "data", PUBLIC_LINK, PUBLISHED, DATA, 0),
    ("data: no links", "data", "", None, DATA, 0),
]


@pytest.mark.parametrize(
    ("way", "url", "published", "sent", "asked"), [pytest.param(*case[1:], id=case[0]) for case in WAYS]
)
async def test_how_a_picture_reaches_the_gateway(
    internet: Internet,
    pictures: Callable[..., tuple[Reference, ...]],
    way: str,
    url: str,
    published: str | None,
    sent: str,
    asked: int,
) -> None:
    internet["cdn.example.com"], internet["nas.example.com"] = PUBLIC, "192.168.1.5"
    publish = Published(published)
    (reference,) = pictures(FIRST, url=url)
    outcome, server = await submitted(TAKEN, VideoRequest("x", (reference,)), publish, image_transport=way)
    assert outcome == TICKET
    assert json.loads(server.requests[0].body)["images"] == [sent]
    assert publish.asked == [Path(reference.path)] * asked


@pytest.mark.parametrize("url", ["", PRIVATE_LINK])
async def test_a_picture_that_has_no_link_is_not_sent_as_data_where_only_links_may_be(
    pictures: Callable[..., tuple[Reference, ...]], url: str
) -> None:
    request = VideoRequest("x", pictures(FIRST, url=url))
    outcome, server = await submitted([], request, Published(None), image_transport="url")
    assert isinstance(outcome, Misconfigured)
    assert outcome.why.cause == "picture_needs_link"
    assert server.connections == 0


async def test_the_request() -> None:
    outcome, server = await submitted(TAKEN, VideoRequest("动"), extra_headers={"X-Group": "vip"})
    assert outcome == TICKET
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/v1/video/create")
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.headers["x-group"] == "vip"
    assert request.headers["content-type"] == "application/json"
    assert request.body.decode() == (
        '{"model": "veo3.1-fast", "prompt": "动", "aspect_ratio": "16:9", "enhance_prompt": true, '
        '"enable_upsample": false}'
    )


# ---- what comes back ----


def said(value: Any, status: int = 200) -> list[bytes]:
    return [answer(json.dumps(value, ensure_ascii=False).encode(), status)]


BUSY = "当前分组上游负载已饱和，请稍后再试"
CREATES: list[tuple[str, list[Any], type[Failure], str]] = [
    ("no ticket", said({"id": "", "status": "pending"}), UnknownCharge, "no_ticket"),
    ("an empty balance that is told as a crowd", said({"code": "insufficient_user_quota", "message": BUSY}, 429),
     OutOfQuota, ""),
    ("no such model", said({"error": {"message": "当前分组 default 下对于模型 veo9 无可用渠道"}}, 503),
     Misconfigured, "model"),
    ("the line breaks", [RESET], UnknownCharge, "cut"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "cause"), [pytest.param(*case[1:], id=case[0]) for case in CREATES])
async def test_a_create_that_fails(act: list[Any], kind: type[Failure], cause: str) -> None:
    outcome, server = await submitted(act, VideoRequest("x"))
    assert (type(outcome), outcome.why.cause) == (kind, cause)
    assert len(server.requests) == 1, "nothing is sent twice"


async def looked(act: list[Any]) -> Any:
    """What a look brought, and the request it was."""
    async with ScriptedServer(act) as server:
        backend, transport = service(server.url, no_publish)
        try:
            seen = await backend.poll(TICKET, key="sk-1")
        except Failure as failure:
            seen = failure
        await transport.close()
    return seen, server.requests[0]


async def test_a_look_names_the_ticket_with_its_colon_escaped() -> None:
    seen, request = await looked(said({"id": TICKET, "status": "video_upsampling"}))
    assert seen == Pending()
    assert (request.method, request.target) == ("GET", "/v1/video/query?id=veo3.1-fast%3A1770350082-AbC123xyz0")
    assert request.headers["authorization"] == "Bearer sk-1"


HIGH, LOW = "https://cdn.example.org/hi.mp4", "https://cdn.example.org/low.mp4"
STALE = {"error_message": "[403] reCAPTCHA evaluation failed", "video_generation_error": "unsafe prompt or images"}
INPUT = {"req": {"images": ["https://cdn.example.org/in.mp4"]}, "images": [{"url": "https://cdn.example.org/in.mp4"}]}


async def test_errors_of_earlier_attempts_are_history() -> None:
    detail = {**STALE, **INPUT, "status": "failed", "video_url": LOW, "upsample_video_url": HIGH}
    seen, _ = await looked(said({"id": TICKET, "status": "completed", "video_url": HIGH, "detail": detail}))
    assert seen == VideoResult(HIGH)


async def test_a_smaller_clip_is_no_result_while_it_still_renders() -> None:
    detail = {**INPUT, "status": "completed", "video_url": LOW}
    seen, _ = await looked(said({"id": TICKET, "status": "video_generation_completed", "detail": detail}))
    assert seen == Pending()


async def test_a_job_that_is_dead_says_why() -> None:
    seen, _ = await looked(said({"id": TICKET, "status": "video_generation_failed", "detail": STALE}))
    assert isinstance(seen, UpstreamFailed)
    assert (seen.why.cause, seen.why.reason) == ("dead", "[403] reCAPTCHA evaluation failed")
