"""What Google is sent, byte for byte, and what its operations mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.backends import TicketBackend
from core.body import Body
from core.capabilities import Capabilities
from core.config import GeminiSettings
from core.errors import (
    AuthFailed,
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
)
from core.gemini_video_service import GeminiVideoService, build, read
from core.models import Pending, Reference, Role, VideoRequest, VideoResult
from core.transport import Transport, Trust
from tests.scripted_server import RESET, ScriptedServer, answer

ROOT = "https://gw.example.com"
FAST = "veo-3.1-fast-generate-preview"
OPERATION = "models/veo-3.1-fast-generate-preview/operations/abc123"
FILE = f"{ROOT}/v1beta/files/xyz:download?alt=media"
CLIP = "AAAAGGZ0eXBtcDQy"
FIRST, LAST, SEEN = Role.FIRST_FRAME, Role.LAST_FRAME, Role.REFERENCE


@pytest.fixture
def pictures(tmp_path: Path) -> Any:
    """Three files, whose base64 is ``YQ==``, ``YmI=`` and ``Y2Nj``."""
    paths = []
    for number, content in enumerate((b"a", b"bb", b"ccc")):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(content)

    def given(*roles: Role) -> tuple[Reference, ...]:
        mimes = ("image/jpeg", "image/png", "image/jpeg")
        paired = zip(paths, mimes, roles, strict=False)
        return tuple(Reference(str(path), mime=mime, role=role) for path, mime, role in paired)

    return given


def service(root: str) -> tuple[GeminiVideoService, Transport]:
    transport = Transport(Trust.of([root]))
    return GeminiVideoService(GeminiSettings(base_url=root), transport), transport


# ---- what is sent ----

A, B, C = (
    '{"bytesBase64Encoded": "YQ==", "mimeType": "image/jpeg"}',
    '{"bytesBase64Encoded": "YmI=", "mimeType": "image/png"}',
    '{"bytesBase64Encoded": "Y2Nj", "mimeType": "image/jpeg"}',
)
ALL_OF_THEM = '"parameters": {"aspectRatio": "9:16", "durationSeconds": 4, "resolution": "720p"}'
EIGHT = '"parameters": {"durationSeconds": 8}'
LARGE = '"parameters": {"durationSeconds": 8, "resolution": "1080p"}'
ASKED = {"duration": 4, "aspect_ratio": "9:16", "resolution": "720p"}
BODIES: list[tuple[str, dict[str, Any], tuple[Role, ...], str, dict[str, Any], str]] = [
    ("words alone", {}, (), FAST, {}, '{"instances": [{"prompt": "动"}]}'),
    ("what was chosen", ASKED, (), FAST, {}, '{"instances": [{"prompt": "动"}], ' + ALL_OF_THEM + "}"),
    ("what the panel chose", {}, (), FAST, ASKED, '{"instances": [{"prompt": "动"}], ' + ALL_OF_THEM + "}"),
    ("the person comes first", ASKED, (), FAST, {"duration": 8, "aspect_ratio": "16:9", "resolution": "1080p"},
     '{"instances": [{"prompt": "动"}], ' + ALL_OF_THEM + "}"),
    ("a panel's choice that the model lacks", {}, (), FAST,
     {"duration": 5, "aspect_ratio": "1:1", "resolution": "480p"}, '{"instances": [{"prompt": "动"}]}'),
    ("one picture begins it", {}, (FIRST,), FAST, {}, '{"instances": [{"prompt": "动", "image": ' + A + "}]}"),
    ("two begin and end it", {}, (FIRST, LAST), FAST, {},
     '{"instances": [{"prompt": "动", "image": ' + A + ', "lastFrame": ' + B + "}]}"),
    ("one reference, and its only length", {}, (SEEN,), FAST, {},
     '{"instances": [{"prompt": "动", "referenceImages": [{"image": ' + A + ', "referenceType": "asset"}]}], '
     + EIGHT + "}"),
    ("three references, whatever length the panel has", {}, (SEEN, SEEN, SEEN), FAST, {"duration": 4},
     '{"instances": [{"prompt": "动", "referenceImages": [{"image": ' + A + ', "referenceType": "asset"}, '
     '{"image": ' + B + ', "referenceType": "asset"}, {"image": ' + C + ', "referenceType": "asset"}]}], '
     + EIGHT + "}"),
    ("a large one has one length", {"resolution": "1080p"}, (), FAST, {"duration": 4},
     '{"instances": [{"prompt": "动"}], ' + LARGE + "}"),
    ("a large one of the panel's", {}, (), FAST, {"resolution": "1080p", "duration": 6},
     '{"instances": [{"prompt": "动"}], ' + LARGE + "}"),
    ("a large one with its length", {"resolution": "4k", "duration": 8}, (), FAST, {},
     '{"instances": [{"prompt": "动"}], "parameters": {"durationSeconds": 8, "resolution": "4k"}}'),
    ("the panel's size gives way to the person's length", {"duration": 6}, (), FAST, {"resolution": "4k"},
     '{"instances": [{"prompt": "动"}], "parameters": {"durationSeconds": 6}}'),
    ("a model we do not know gets what it is given", {"resolution": "1080p", "duration": 5}, (), "veo-9", {},
     '{"instances": [{"prompt": "动"}], "parameters": {"durationSeconds": 5, "resolution": "1080p"}}'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "roles", "model", "panel", "body"), [pytest.param(*case[1:], id=case[0]) for case in BODIES]
)
async def test_the_body(
    pictures: Any, asked: dict[str, Any], roles: tuple[Role, ...], model: str, panel: dict[str, Any], body: str
) -> None:
    request = VideoRequest("动", pictures(*roles), **asked)
    sent = Body.of_json(build(request, model, GeminiSettings(**panel)))
    assert b"".join([piece async for piece in sent.stream()]).decode() == body


SHORT: list[tuple[str, dict[str, Any], tuple[Role, ...]]] = [
    ("1080p in four seconds", {"duration": 4, "resolution": "1080p"}, ()),
    ("4k in six seconds", {"duration": 6, "resolution": "4k"}, (FIRST,)),
    ("references in six seconds", {"duration": 6}, (SEEN, SEEN)),
]


@pytest.mark.parametrize(("asked", "roles"), [pytest.param(*case[1:], id=case[0]) for case in SHORT])
async def test_a_length_that_does_not_go_with_the_rest_is_refused_before_it_is_sent(
    pictures: Any, asked: dict[str, Any], roles: tuple[Role, ...]
) -> None:
    async with ScriptedServer() as server:
        backend, transport = service(server.url)
        request = VideoRequest("x", pictures(*roles), **asked)
        with pytest.raises(BadInput) as refusal:
            await backend.submit(request, model=FAST, key="k", report=lambda percent: None)
        await transport.close()
    assert refusal.value.why.cause == "duration_not_offered"
    assert refusal.value.why.facts == {"wanted": str(asked["duration"]), "offered": "8"}
    assert server.connections == 0


@pytest.mark.parametrize(
    ("model", "path"),
    [
        pytest.param(FAST, f"/v1beta/models/{FAST}:predictLongRunning", id="as it is"),
        pytest.param(f" models/{FAST}", f"/v1beta/models/{FAST}:predictLongRunning", id="as Google lists it"),
        pytest.param("a/b:c?d", "/v1beta/models/a%2Fb%3Ac%3Fd:predictLongRunning", id="no name leads elsewhere"),
    ],
)
async def test_the_request(model: str, path: str) -> None:
    async with ScriptedServer([answer(json.dumps({"name": OPERATION}).encode())]) as server:
        backend, transport = service(server.url)
        ticket = await backend.submit(VideoRequest("x"), model=model, key="AIza-k", report=lambda percent: None)
        await transport.close()
    assert ticket == OPERATION
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", path)
    assert request.headers["x-goog-api-key"] == "AIza-k"
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


RATIOS = ("16:9", "9:16")
MODELS: list[tuple[str, str, Capabilities]] = [
    ("3.1", "veo-3.1-generate-preview",
     Capabilities(True, True, True, 3, False, (4, 6, 8), RATIOS, ("720p", "1080p", "4k"))),
    ("3.1 fast", FAST, Capabilities(True, True, True, 3, False, (4, 6, 8), RATIOS, ("720p", "1080p", "4k"))),
    ("3.1 lite", "veo-3.1-lite-generate-preview",
     Capabilities(True, True, True, 3, False, (4, 6, 8), RATIOS, ("720p", "1080p"))),
    ("3.0", "Veo-3.0-generate-001", Capabilities(True, True, False, 0, False, (4, 6, 8), RATIOS, ("720p", "1080p"))),
    ("3.0 by its older name", "models/veo-3-fast-generate-preview",
     Capabilities(True, True, False, 0, False, (4, 6, 8), RATIOS, ("720p", "1080p"))),
    ("another", "veo-2.0-generate-001", Capabilities(last_frame=True, references=3)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "can"), [pytest.param(*case[1:], id=case[0]) for case in MODELS])
def test_what_each_model_can_do(model: str, can: Capabilities) -> None:
    backend = GeminiVideoService(GeminiSettings(), None)  # type: ignore[arg-type]
    assert isinstance(backend, TicketBackend)
    assert backend.capabilities(model) == can


# ---- what comes back ----


def done(response: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": OPERATION, "done": True, **({"response": response} if response is not None else {}), **more}


def samples(*uris: str, **more: Any) -> dict[str, Any]:
    return done({"generateVideoResponse": {"generatedSamples": [{"video": {"uri": uri}} for uri in uris], **more}})


WHY = "We could not create the video. You will not be charged for this attempt. Support codes: 58061214"
PRACTICES = "This prompt contains words that violate Google's Responsible AI practices."
LOOKS: list[tuple[str, dict[str, Any], VideoResult | Pending | tuple[type[Failure], str, str]]] = [
    ("no word of being done", {"name": OPERATION}, Pending()),
    ("not done, in so many words", {"name": OPERATION, "done": False, "metadata": {"video": {"uri": FILE}}}, Pending()),
    ("an error before it is done is one of the look", {"error": {"code": 503, "message": "later"}},
     Pending(trouble="later")),
    ("the file needs the key", samples(FILE), VideoResult(FILE, private=True)),
    ("the first of two", samples(FILE, FILE.replace("xyz", "abc")), VideoResult(FILE, private=True)),
    ("one left of two", samples(FILE, raiMediaFilteredCount=1, raiMediaFilteredReasons=[WHY]),
     VideoResult(FILE, private=True)),
    ("a gateway's own root, Google's file", samples("https://google.example.com/v1beta/files/xyz:download?alt=media"),
     VideoResult("https://google.example.com/v1beta/files/xyz:download?alt=media", private=True)),
    ("a file in the open", samples("https://cdn.example.org/v.mp4"), VideoResult("https://cdn.example.org/v.mp4")),
    ("Vertex inline", done({"videos": [{"bytesBase64Encoded": CLIP, "mimeType": "video/mp4"}]}),
     VideoResult(f"data:video/mp4;base64,{CLIP}")),
    ("Vertex in a bucket", done({"videos": [{"gcsUri": "gs://bucket/v.mp4", "mimeType": "video/mp4"}]}),
     VideoResult("gs://bucket/v.mp4")),
    ("filtered, with reasons",
     done({"generateVideoResponse": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [WHY]}}),
     (Refused, "after_work", WHY)),
    ("filtered, only counted", done({"generateVideoResponse": {"raiMediaFilteredCount": 1}}),
     (Refused, "after_work", "")),
    ("filtered, as Vertex says it", done({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [WHY, "more"]}),
     (Refused, "after_work", f"{WHY} more")),
    ("nothing filtered, nothing made",
     done({"generateVideoResponse": {"generatedSamples": [], "raiMediaFilteredCount": 0}}), Pending(finished=True)),
    ("done, and not a word", done(), Pending(finished=True)),
    ("refused as an error", done(error={"code": 3, "message": PRACTICES}), (Refused, "after_work", PRACTICES)),
    ("an error of its own", done(error={"code": 13, "message": "internal server issue"}),
     (UpstreamFailed, "dead", "internal server issue")),
    ("an argument it does not like", done(error={"code": 3, "message": "Unsupported mime type."}),
     (UpstreamFailed, "dead", "Unsupported mime type.")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "outcome"), [pytest.param(*case[1:], id=case[0]) for case in LOOKS])
def test_what_an_operation_says(
    body: dict[str, Any], outcome: VideoResult | Pending | tuple[type[Failure], str, str]
) -> None:
    if not isinstance(outcome, tuple):
        assert read(body, ROOT) == outcome
        return
    with pytest.raises(outcome[0]) as failure:
        read(body, ROOT)
    assert (failure.value.why.cause, failure.value.why.reason) == outcome[1:]


def error(code: int, message: str, **more: Any) -> list[bytes]:
    return [answer(json.dumps({"error": {"code": code, "message": message, **more}}).encode(), code)]


DELAY = {
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "39s"}],
}
QUOTA = "You exceeded your current quota, please check your plan and billing details."
NO_MODEL = "models/veo-9 is not found for API version v1beta, or is not supported for predictLongRunning."
CREATES: list[tuple[str, list[Any], type[Failure], str]] = [
    ("an empty quota that fills again", error(429, QUOTA, **DELAY), Retryable, "busy"),
    ("an empty quota", error(429, QUOTA, status="RESOURCE_EXHAUSTED"), OutOfQuota, ""),
    ("an argument", error(400, "`durationSeconds` is out of bound.", status="INVALID_ARGUMENT"), BadInput, "rejected"),
    ("a wrong key comes as 400", error(400, "API key not valid. Please pass a valid API key."), AuthFailed, ""),
    ("no such model", error(404, NO_MODEL, status="NOT_FOUND"), Misconfigured, "model"),
    ("refused at the door", error(400, PRACTICES), Refused, ""),
    ("trouble of its own", error(500, "Internal error encountered."), UnknownCharge, "http_status"),
    ("no name", [answer(b"{}")], UnknownCharge, "no_ticket"),
    ("half an answer", [answer(b'{"name": "mod', length=99)], UnknownCharge, "cut"),
    ("a web page", [answer(b"<!doctype html><title>hi</title>")], Misconfigured, "web_page"),
    ("the line breaks", [RESET], UnknownCharge, "cut"),
]


@pytest.mark.parametrize(("act", "kind", "cause"), [pytest.param(*case[1:], id=case[0]) for case in CREATES])
async def test_a_create_that_fails(act: list[Any], kind: type[Failure], cause: str) -> None:
    async with ScriptedServer(act) as server:
        backend, transport = service(server.url)
        with pytest.raises(kind) as failure:
            await backend.submit(VideoRequest("x"), model=FAST, key="k", report=lambda percent: None)
        await transport.close()
    assert (type(failure.value), failure.value.why.cause) == (kind, cause)
    assert len(server.requests) == 1, "nothing is sent twice"


async def test_the_pause_google_asks_for_stands_in_the_body() -> None:
    async with ScriptedServer(error(429, QUOTA, **DELAY)) as server:
        backend, transport = service(server.url)
        with pytest.raises(Retryable) as failure:
            await backend.submit(VideoRequest("x"), model=FAST, key="k", report=lambda percent: None)
        await transport.close()
    assert failure.value.retry_after == 39


async def looked(act: list[Any], ticket: str = OPERATION) -> tuple[VideoResult | Pending | Failure, Any]:
    async with ScriptedServer(act) as server:
        backend, transport = service(server.url)
        try:
            seen: VideoResult | Pending | Failure = await backend.poll(ticket, key="AIza-k")
        except Failure as failure:
            seen = failure
        await transport.close()
        return seen, server.requests[0]


async def test_a_look_keeps_the_slashes_of_the_name() -> None:
    seen, request = await looked([answer(json.dumps({"name": OPERATION}).encode())])
    assert seen == Pending()
    assert (request.method, request.target) == ("GET", f"/v1beta/{OPERATION}")
    assert request.headers["x-goog-api-key"] == "AIza-k"


async def test_a_name_does_not_lead_elsewhere() -> None:
    _, request = await looked([answer(b"{}")], "operations/a?key=1#b c")
    assert request.target == "/v1beta/operations/a%3Fkey%3D1%23b%20c"


async def test_an_operation_that_is_gone_is_the_end() -> None:
    seen, _ = await looked(error(404, "Operation not found."))
    assert isinstance(seen, UpstreamFailed)
    assert seen.why.cause == "ticket_gone"


async def test_trouble_with_a_look_says_nothing_about_the_job() -> None:
    for status in (401, 403, 429, 500, 503):
        seen, _ = await looked(error(status, "try later"))
        assert isinstance(seen, Pending), status
        assert "try later" in seen.trouble
