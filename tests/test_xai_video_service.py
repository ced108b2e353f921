"""What xAI and its faithful gateways are sent, byte for byte, and what their own fields mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core.body import Body
from core.capabilities import with_roles
from core.config import XaiSettings
from core.errors import AuthFailed, BadInput, Failure, Refused, Retryable, UpstreamFailed
from core.models import Pending, Reference, Role, VideoRequest, VideoResult
from core.transport import Transport, Trust
from core.xai_video_service import XaiVideoService, build
from tests.scripted_server import Act, ScriptedServer, answer

V = "https://vidgen.example.org/xai-vidgen-bucket/xai-video-1.mp4"
BASE, LATER, ALIAS = "grok-imagine-video", "grok-imagine-video-1.5", "imagine-of-my-gateway"


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Reference, ...]:
    """Seven of them; the first two are ``MQ==`` and ``Mg==``."""
    for number in range(1, 8):
        (tmp_path / f"{number}.png").write_bytes(str(number).encode())
    return tuple(Reference(path=str(tmp_path / f"{number}.png"), mime="image/png") for number in range(1, 8))


async def sent(request: VideoRequest, model: str = BASE, **settings: Any) -> str:
    """The body as it goes out."""
    can = XaiVideoService(XaiSettings(), None).capabilities(model)  # type: ignore[arg-type]
    request = VideoRequest(
        request.prompt,
        with_roles(request.references, can),
        request.duration,
        request.aspect_ratio,
        request.resolution,
    )
    body = Body.of_json(build(request, model, XaiSettings(**settings)))
    return b"".join([piece async for piece in body.stream()]).decode()


# ---- what is sent ----

FULL = {"duration": 8, "aspect_ratio": "9:16", "resolution": "480p"}
HEAD = f'{{"model": "{BASE}", "prompt": "x"'
FIRST = '"image": {"url": "data:image/png;base64,MQ=="}'
TWO = '"reference_images": [{"url": "data:image/png;base64,MQ=="}, {"url": "data:image/png;base64,Mg=="}]'
BODIES: list[tuple[str, int, dict[str, Any], dict[str, Any], str]] = [
    ("words alone: nothing is said for the model", 0, {}, {}, ""),
    ("words with all", 0, {"duration": 6, "aspect_ratio": "16:9", "resolution": "720p"}, {},
     ', "duration": 6, "aspect_ratio": "16:9", "resolution": "720p"'),
    ("the panel's choices", 0, {}, FULL, ', "duration": 8, "aspect_ratio": "9:16", "resolution": "480p"'),
    ("the person's go first", 0, {"duration": 2, "aspect_ratio": "1:1"}, FULL,
     ', "duration": 2, "aspect_ratio": "1:1", "resolution": "480p"'),
    ("a panel's choice that the model lacks", 0, {}, {"duration": 30, "resolution": "1080p"}, ""),
    ("one picture begins it", 1, {}, {}, f", {FIRST}"),
    ("the ratio follows the picture, whatever the panel says", 1, {}, FULL,
     f', {FIRST}, "duration": 8, "resolution": "480p"'),
    ("unless the person chose one", 1, {"aspect_ratio": "3:2"}, FULL,
     f', {FIRST}, "duration": 8, "aspect_ratio": "3:2", "resolution": "480p"'),
    ("two pictures are references", 2, {}, {}, f", {TWO}"),
    ("and take the panel's ratio", 2, {"duration": 10}, FULL,
     f', {TWO}, "duration": 10, "aspect_ratio": "9:16", "resolution": "480p"'),
    ("but not its length, if they cannot be so long", 2, {}, {"duration": 12}, f", {TWO}"),
]  # fmt: skip


@pytest.mark.parametrize(("count", "chosen", "panel", "rest"), [pytest.param(*case[1:], id=case[0]) for case in BODIES])
async def test_the_body_is_the_documented_one_to_the_letter(
    pictures: tuple[Reference, ...], count: int, chosen: dict[str, Any], panel: dict[str, Any], rest: str
) -> None:
    assert await sent(VideoRequest("x", pictures[:count], **chosen), **panel) == f"{HEAD}{rest}}}"


async def test_a_later_model_makes_larger_ones(pictures: tuple[Reference, ...]) -> None:
    assert json.loads(await sent(VideoRequest("x", resolution="1080p"), LATER))["resolution"] == "1080p"
    of_references = json.loads(await sent(VideoRequest("x", pictures[:3]), LATER, resolution="1080p"))
    assert of_references["resolution"] == "720p", "the Go gateway makes no larger ones of references"
    with pytest.raises(BadInput) as refused:
        await sent(VideoRequest("x", resolution="1080p"), BASE)
    assert refused.value.why.facts == {"wanted": "1080p", "offered": "480p 720p"}


async def test_an_alias_gets_whatever_was_asked_for(pictures: tuple[Reference, ...]) -> None:
    wild = VideoRequest("x", pictures, duration=40, aspect_ratio="21:9", resolution="1080p")
    body = json.loads(await sent(wild, ALIAS))
    assert len(body["reference_images"]) == 7
    assert (body["duration"], body["aspect_ratio"], body["resolution"]) == (40, "21:9", "1080p")
    assert "aspect_ratio" not in json.loads(await sent(VideoRequest("x"), ALIAS, aspect_ratio="Auto"))


LENGTHS = [
    ("a base model of references", BASE, 2, 11, "1–10"),
    ("a base model of one that is named a reference", BASE, 1, 15, "1–10"),
    ("a base model of words", BASE, 0, 16, "1–15"),
    ("a later model of references", LATER, 2, 16, "1–15"),
]


@pytest.mark.parametrize(
    ("model", "count", "wanted", "offered"), [pytest.param(*case[1:], id=case[0]) for case in LENGTHS]
)
async def test_what_is_too_long_is_refused_before_it_is_sent(
    pictures: tuple[Reference, ...], model: str, count: int, wanted: int, offered: str
) -> None:
    named = tuple(Reference(path=one.path, mime=one.mime, role=Role.REFERENCE) for one in pictures[:count])
    async with ScriptedServer() as server, at(server.url) as service:
        with pytest.raises(BadInput) as refused:
            await submit(service, VideoRequest("x", named, duration=wanted), model=model)
        assert not server.requests
    assert refused.value.why.cause == "duration_not_offered"
    assert refused.value.why.facts == {"wanted": str(wanted), "offered": offered}
    assert await sent(VideoRequest("x", named, duration=int(offered[2:])), model)


def test_what_it_takes() -> None:
    service = XaiVideoService(XaiSettings(), None)  # type: ignore[arg-type]
    for model in (BASE, LATER, ALIAS):
        can = service.capabilities(model)
        assert can.counts == (0, 1, 2, 3, 4, 5, 6, 7)
        assert not can.last_frame


# ---- the exchange ----


@asynccontextmanager
async def at(url: str, **settings: Any) -> AsyncIterator[XaiVideoService]:
    transport = Transport(Trust.of([url]))
    try:
        yield XaiVideoService(XaiSettings(base_url=url, **settings), transport)
    finally:
        await transport.close()


async def submit(service: XaiVideoService, request: VideoRequest, model: str = BASE) -> VideoResult | str:
    return await service.submit(request, model=model, key="hunter22", report=lambda percent: None)


def said(value: Any, status: int = 200, *headers: str) -> Act:
    return [answer(json.dumps(value).encode(), status, "Content-Type: application/json", *headers)]


async def test_create_and_look(pictures: tuple[Reference, ...]) -> None:
    done = {"status": "done", "video": {"url": V, "duration": 6, "respect_moderation": True}, "model": BASE}
    acts = (said({"request_id": "a:b/c"}), [answer(b"", 202)], said(done))
    async with ScriptedServer(*acts) as server, at(f"{server.url}/v1", extra_headers={"X-Team": "7"}) as service:
        one = Reference(path=pictures[0].path, mime="image/png", role=Role.FIRST_FRAME)
        ticket = await submit(service, VideoRequest("x", (one,)))
        assert ticket == "a:b/c"
        assert await service.poll(ticket, key="hunter22") == Pending()
        assert await service.poll(ticket, key="hunter22") == VideoResult(V)
    create, look, _ = server.requests
    assert (create.method, create.target) == ("POST", "/v1/videos/generations")
    assert create.body.decode() == f"{HEAD}, {FIRST}}}"
    assert create.headers["content-type"] == "application/json"
    assert (look.method, look.target) == ("GET", "/v1/videos/a%3Ab%2Fc")
    assert {one.headers["authorization"] for one in server.requests} == {"Bearer hunter22"}
    assert {one.headers["x-team"] for one in server.requests} == {"7"}


REFUSALS: list[tuple[str, dict[str, Any], int, type[Failure]]] = [
    ("a wrong key is a 400", {"code": "x", "error": "Incorrect API key provided: xa***22."}, 400, AuthFailed),
    ("even in escapes", {"code": "x", "error": "Incorrect%20API%20key%20provided"}, 400, AuthFailed),
    ("one over the limit", {"error": {"message": "上游账号正在冷却", "code": "x", "param": None}}, 429, Retryable),
    ("one field too many", {"error": {"message": 'json: unknown field "seconds"', "code": "x"}}, 400, BadInput),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "failure"), [pytest.param(*case[1:], id=case[0]) for case in REFUSALS])
async def test_a_create_that_is_turned_away(body: dict[str, Any], status: int, failure: type[Failure]) -> None:
    async with ScriptedServer(said(body, status)) as server, at(server.url) as service:
        with pytest.raises(failure):
            await submit(service, VideoRequest("x"))
    assert len(server.requests) == 1


# ---- what a look brings ----

PAID = {"usage": {"cost_in_usd_ticks": 4_200_000_000}}
LOOKS: list[tuple[str, dict[str, Any], VideoResult | Pending | type[Failure]]] = [
    ("done, with its price", {"status": "done", "video": {"url": V}, **PAID}, VideoResult(V, False, 0.42, "USD")),
    ("early ones had no status", {"video": {"url": V, "respect_moderation": True}, "model": BASE}, VideoResult(V)),
    ("sold on", {"code": "success", "data": {"task_id": "1", "status": "SUCCESS", "fail_reason": V, "progress": "100%",
     "data": {"video": {"url": V}, "status": "done", **PAID}}}, VideoResult(V, False, 0.42, "USD")),
    ("a price that is none", {"status": "done", "video": {"url": V}, "usage": {"cost_in_usd_ticks": "42"}},
     VideoResult(V)),
    ("a price beyond numbers", {"status": "done", "video": {"url": V}, "usage": {"cost_in_usd_ticks": 10**400}},
     VideoResult(V)),
    ("a price below", {"status": "done", "video": {"url": V}, "usage": {"cost_in_usd_ticks": -1}}, VideoResult(V)),
    ("no usage", {"status": "done", "video": {"url": V}, "usage": None}, VideoResult(V)),
    ("withheld", {"status": "done", "video": {"url": V, "respect_moderation": False}}, Refused),
    ("withheld, and no status", {"video": {"url": "", "respect_moderation": False}}, Refused),
    ("withheld, sold on", {"code": "success", "data": {"task_id": "1", "status": "SUCCESS", "fail_reason": V,
     "data": {"video": {"url": V, "respect_moderation": False}}}}, Refused),
    ("an empty link", {"status": "done", "video": {"url": "", "respect_moderation": True}}, Refused),
    ("no link, yet", {"status": "done", "video": {"duration": 6}}, Pending(100, finished=True)),
    ("not judged before it is done", {"status": "pending", "progress": 24, "video": {"url": "",
     "respect_moderation": False}}, Pending(24)),
    ("an id and nothing else", {"request_id": "1"}, Pending()),
    ("expired", {"status": "expired"}, UpstreamFailed),
    ("failed by moderation", {"status": "failed", "error": {"code": "invalid_argument",
     "message": "Generated video rejected by content moderation."}}, Refused),
    ("failed otherwise", {"status": "failed", "error": {"code": "internal_error", "message": "x"}}, UpstreamFailed),
]  # fmt: skip


async def looked(act: Act, path: str = "") -> tuple[VideoResult | Pending | Failure, str]:
    async with ScriptedServer(act) as server, at(server.url + path) as service:
        try:
            return await service.poll("1", key="k"), service.root
        except Failure as failure:
            return failure, service.root


@pytest.mark.parametrize(("body", "expected"), [pytest.param(*case[1:], id=case[0]) for case in LOOKS])
async def test_a_look_is_read(body: dict[str, Any], expected: VideoResult | Pending | type[Failure]) -> None:
    seen, _ = await looked(said(body))
    if isinstance(expected, type):
        assert isinstance(seen, expected)
        if isinstance(seen, Refused):
            assert seen.why.cause == "after_work", "xAI bills what it refuses then"
    else:
        assert seen == expected


LINKS = [
    ("the open route, relative", "/v1/media/videos/asset_1", "/v1/media/videos/asset_1", False),
    ("the route behind the key, relative", "/v1/videos/1/content", "/v1/videos/1/content", True),
    ("somewhere else", V, V, False),
]


@pytest.mark.parametrize(("given", "link", "private"), [pytest.param(*case[1:], id=case[0]) for case in LINKS])
@pytest.mark.parametrize("path", ["", "/grok"])
async def test_links_of_gateways_that_do_not_know_their_address(
    given: str, link: str, private: bool, path: str
) -> None:
    seen, root = await looked(said({"status": "done", "video": {"url": given}}), path)
    assert seen == VideoResult(root + link if link.startswith("/") else link, private=private)


async def test_a_video_refused_by_status_is_refused() -> None:
    body = {"code": "Client specified an invalid argument", "error": "Generated video rejected by content moderation."}
    seen, _ = await looked(said({**body, **PAID}, 400))
    assert isinstance(seen, Refused)


async def test_odd_trouble_just_after_the_create_is_no_end() -> None:
    seen, _ = await looked(said({"code": "x", "error": "upstream hiccup"}, 400))
    assert isinstance(seen, Pending)
    assert seen.trouble
