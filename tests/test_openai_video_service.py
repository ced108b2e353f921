"""What OpenAI's video API and its gateways are sent, by either route, and what their own answers mean."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core import openai_video_service as module
from core.config import OpenaiSettings
from core.errors import (
    AuthFailed,
    Failure,
    Misconfigured,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
)
from core.models import Pending, Reference, Role, VideoRequest, VideoResult
from core.openai_video_service import OpenaiVideoService, build
from core.transport import Transport, Trust
from tests.scripted_server import RESET, Act, Request, ScriptedServer, answer

V = "https://cdn.example.org/v/1.mp4"
SORA, PRO, OTHER = "sora-2", "sora-2-pro", "veo3.1-fast"
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@asynccontextmanager
async def at(url: str, **settings: Any) -> AsyncIterator[OpenaiVideoService]:
    transport = Transport(Trust.of([url]))
    try:
        yield OpenaiVideoService(OpenaiSettings(base_url=url, **settings), transport)
    finally:
        await transport.close()


async def submit(service: OpenaiVideoService, request: VideoRequest, model: str = SORA) -> VideoResult | str:
    return await service.submit(request, model=model, key="hunter22", report=lambda percent: None)


def said(value: Any, status: int = 200, *headers: str) -> Act:
    return [answer(json.dumps(value).encode(), status, "Content-Type: application/json", *headers)]


def form(request: Request) -> list[tuple[str, bytes, str, str | None]]:
    """Name, content, media type and file name of each field."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts()
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            bytes(part.get_payload(decode=True)),
            part.get_content_type() if "content-type" in part else "",
            part.get_filename(),
        )
        for part in parts
    ]


def striped(path: Path, size: tuple[int, int], mode: str = "RGB") -> Reference:
    """Red, green and blue, in thirds along its longer side."""
    width, height = size
    image = Image.new("RGB", size, GREEN)
    third = (width // 3, height) if width >= height else (width, height // 3)
    image.paste(RED, (0, 0, *third))
    image.paste(BLUE, (width - third[0], height - third[1], width, height))
    image.convert(mode).save(path)
    mime = "image/png" if path.suffix == ".png" else "image/jpeg"
    return Reference(path=str(path), mime=mime, role=Role.FIRST_FRAME)


def alike(one: Any, other: tuple[int, int, int]) -> bool:
    """Whether two colours are the same but for what JPEG makes of them."""
    return all(abs(is_ - to_be) < 9 for is_, to_be in zip(one, other, strict=True))


# ---- what is sent ----

ALL = {"duration": 8, "aspect_ratio": "16:9", "resolution": "720p"}
FIELDS: list[tuple[str, str, dict[str, Any], dict[str, Any], str, dict[str, str]]] = [
    ("nothing chosen: the model's own", SORA, {}, {}, "", {}),
    ("all chosen", SORA, ALL, {}, "", {"seconds": "8", "size": "1280x720"}),
    ("by the panel", SORA, {}, ALL, "", {"seconds": "8", "size": "1280x720"}),
    ("the person's go first", SORA, {"duration": 4, "aspect_ratio": "9:16"}, ALL, "",
     {"seconds": "4", "size": "720x1280"}),
    ("the panel's that it lacks", SORA, {}, {"duration": 5, "aspect_ratio": "1:1", "resolution": "1080p"}, "", {}),
    ("a ratio alone", SORA, {"aspect_ratio": "9:16"}, {}, "", {"size": "720x1280"}),
    ("a resolution alone", PRO, {"resolution": "1080p"}, {}, "", {"size": "1792x1024"}),
    ("large and upright", PRO, {"resolution": "1080p", "aspect_ratio": "9:16"}, {}, "", {"size": "1024x1792"}),
    ("dated", "sora-2-pro-2025-10-06", {"resolution": "1080p"}, {}, "", {"size": "1792x1024"}),
    ("a picture lies", SORA, {}, {"aspect_ratio": "9:16"}, "16:9", {"size": "1280x720"}),
    ("a picture stands", PRO, {"resolution": "1080p"}, {}, "9:16", {"size": "1024x1792"}),
    ("a ratio is chosen for it", SORA, {"aspect_ratio": "16:9"}, {}, "9:16", {"size": "1280x720"}),
    ("others: seconds as they are", OTHER, {"duration": 15}, {}, "", {"seconds": "15"}),
    ("others: a picture says nothing by itself", OTHER, {}, ALL | {"resolution": "", "duration": 0}, "9:16", {}),
    ("others: unless pixels are due", OTHER, {"resolution": "720p"}, {}, "9:16", {"size": "720x1280"}),
    ("others: the documented square", OTHER, {"aspect_ratio": "1:1"}, {}, "", {"size": "1024x1024"}),
    ("others: a large square", OTHER, {"aspect_ratio": "1:1", "resolution": "1080p"}, {}, "", {"size": "1080x1080"}),
    ("others: large", OTHER, {"aspect_ratio": "16:9", "resolution": "1080p"}, {}, "", {"size": "1920x1080"}),
    ("others: small, and even", OTHER, {"aspect_ratio": "9:16", "resolution": "480p"}, {}, "", {"size": "480x854"}),
    ("others: any ratio", OTHER, {"aspect_ratio": "4:3"}, {}, "", {"size": "960x720"}),
    ("others: pixels in the panel", OTHER, {}, {"resolution": "1344x768"}, "", {"size": "1344x768"}),
    ("others: the panel's nonsense", OTHER, {}, {"resolution": "big", "aspect_ratio": "auto"}, "", {}),
    ("others: nonsense beside sense", OTHER, {}, {"resolution": "480p", "aspect_ratio": "0:9"}, "",
     {"size": "854x480"}),
    ("a name that only begins alike", "sora-2-all", {"duration": 15}, {}, "", {"seconds": "15"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "chosen", "panel", "shape", "rest"), [pytest.param(*case[1:], id=case[0]) for case in FIELDS]
)
def test_fields(model: str, chosen: dict[str, Any], panel: dict[str, Any], shape: str, rest: dict[str, str]) -> None:
    fields = build(VideoRequest("x", **chosen), model, OpenaiSettings(**panel), shape)
    assert list(fields.items()) == [("prompt", "x"), ("model", model), *rest.items()]


def test_what_it_takes() -> None:
    service = OpenaiVideoService(OpenaiSettings(), None)  # type: ignore[arg-type]
    sora, pro, other = (service.capabilities(model) for model in (SORA, PRO, OTHER))
    assert sora.counts == pro.counts == other.counts == (0, 1)
    assert (sora.durations, sora.resolutions, pro.resolutions) == ((4, 8, 12), ("720p",), ("720p", "1080p"))
    assert service.capabilities("SORA-2-2025-10-06") == sora
    assert service.capabilities("sora-2-all") == other
    assert other.durations is None


async def test_a_form_goes_out_and_its_ticket_names_its_route(tmp_path: Path) -> None:
    picture = striped(tmp_path / "1.jpg", (100, 50))
    queued = {"id": "video_1", "object": "video", "status": "queued", "progress": 0}
    async with ScriptedServer(said(queued)) as server, at(f"{server.url}/v1/videos") as service:
        assert await submit(service, VideoRequest("动起来", (picture,), duration=5), OTHER) == "videos/video_1"
    (create,) = server.requests
    assert (create.method, create.target) == ("POST", "/v1/videos")
    assert create.headers["authorization"] == "Bearer hunter22"
    boundary = create.headers["content-type"].removeprefix("multipart/form-data; boundary=")
    expected = [
        ('name="prompt"', "动起来".encode()),
        ('name="model"', OTHER.encode()),
        ('name="seconds"', b"5"),
        ('name="input_reference"; filename="picture.jpg"\r\nContent-Type: image/jpeg', Path(picture.path).read_bytes()),
    ]
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in expected
    )
    assert create.body == body + f"--{boundary}--\r\n".encode()


# ---- the picture has the video's size ----

CROPS: list[tuple[str, tuple[int, int], dict[str, Any], str, tuple[int, int], tuple[int, int, int]]] = [
    ("lying", (1200, 200), {}, "RGB", (1280, 720), GREEN),
    ("standing", (200, 1200), {}, "RGB", (720, 1280), GREEN),
    ("lying, but to stand", (1200, 200), {"aspect_ratio": "9:16"}, "RGB", (720, 1280), GREEN),
    ("square lies, and keeps its sides", (600, 600), {}, "RGB", (1280, 720), RED),
    ("large", (1200, 200), {"resolution": "1080p"}, "RGB", (1792, 1024), GREEN),
    ("see-through", (1200, 200), {}, "RGBA", (1280, 720), GREEN),
    ("grey", (1200, 200), {}, "L", (1280, 720), (150, 150, 150)),
]


@pytest.mark.parametrize(
    ("given", "chosen", "mode", "size", "corner"), [pytest.param(*case[1:], id=case[0]) for case in CROPS]
)
async def test_sora_gets_the_middle_of_the_picture_in_the_videos_size(
    tmp_path: Path,
    given: tuple[int, int],
    chosen: dict[str, Any],
    mode: str,
    size: tuple[int, int],
    corner: tuple[int, int, int],
) -> None:
    suffix = "png" if mode == "RGBA" else "jpg"
    picture = striped(tmp_path / f"1.{suffix}", given, mode)
    before = Path(picture.path).read_bytes()
    async with ScriptedServer(said({"id": "1"})) as server, at(server.url) as service:
        await submit(service, VideoRequest("x", (picture,), **chosen), PRO)
    fields = {name: (content, mime) for name, content, mime, _ in form(server.requests[0])}
    assert fields["size"][0].decode() == f"{size[0]}x{size[1]}"
    content, mime = fields["input_reference"]
    assert mime == picture.mime
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == size
        assert image.mode == mode
        rgb = image.convert("RGB")
        middle, edge = rgb.getpixel((size[0] // 2, size[1] // 2)), rgb.getpixel((5, 5))
    assert alike(middle, corner if mode == "L" else GREEN)
    assert alike(edge, corner)
    assert Path(picture.path).read_bytes() == before
    assert {path.parent for path in tmp_path.rglob("*.*")} == {tmp_path}, "its folder is the job's own"


async def test_a_picture_that_fits_goes_out_as_it_is(tmp_path: Path) -> None:
    picture = striped(tmp_path / "1.jpg", (1280, 720))
    async with ScriptedServer(said({"id": "1"})) as server, at(server.url) as service:
        await submit(service, VideoRequest("x", (picture,)))
    assert form(server.requests[0])[-1][1] == Path(picture.path).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["1.jpg"]


async def test_pictures_are_worked_on_beside_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    for name in ("shape_of", "cropped"):
        real = getattr(module, name)

        def watched(*given: Any, real: Any = real) -> Any:
            threads.append(threading.current_thread())
            return real(*given)

        monkeypatch.setattr(module, name, watched)
    async with ScriptedServer(said({"id": "1"})) as server, at(server.url) as service:
        await submit(service, VideoRequest("x", (striped(tmp_path / "1.jpg", (90, 60)),)))
    assert len(threads) == 2
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("what", ["gone", "torn"])
async def test_a_picture_that_is_gone_is_named_and_nothing_is_sent(tmp_path: Path, what: str) -> None:
    picture = striped(tmp_path / "1.jpg", (900, 300))
    if what == "gone":
        Path(picture.path).unlink()
    else:
        Path(picture.path).write_bytes(Path(picture.path).read_bytes()[:700])
    async with ScriptedServer() as server, at(server.url) as service:
        with pytest.raises(Misconfigured) as failure:
            await submit(service, VideoRequest("x", (picture,)))
        assert not server.requests
    assert failure.value.why.cause == "disk"


# ---- the older route ----

NO_ROUTE: Act = [answer(b"404 page not found", 404, "Content-Type: text/plain")]


async def test_a_gateway_with_the_older_route_only_is_asked_there(tmp_path: Path) -> None:
    picture = striped(tmp_path / "1.png", (30, 90))
    looked = {"code": "success", "data": {"task_id": "task_1", "status": "SUCCESS", "fail_reason": V}}
    acts = (NO_ROUTE, said({"task_id": "task_1", "id": 7}), said({"task_id": "t/2"}), said(looked))
    async with ScriptedServer(*acts) as server, at(server.url) as service:
        ticket = await submit(service, VideoRequest("x", (picture,), duration=8, aspect_ratio="9:16"), OTHER)
        assert ticket == "video/generations/task_1"
        assert await submit(service, VideoRequest("y"), OTHER) == "video/generations/t/2", "it remembers"
        assert await service.poll(ticket, key="k") == VideoResult(V)
    targets = [(one.method, one.target) for one in server.requests]
    assert targets == [
        ("POST", "/v1/videos"),
        ("POST", "/v1/video/generations"),
        ("POST", "/v1/video/generations"),
        ("GET", "/v1/video/generations/task_1"),
    ]
    body = json.loads(server.requests[1].body)
    (image,) = body.pop("images")
    assert image.startswith("data:image/png;base64,iVBOR")
    assert list(body.items()) == [("model", OTHER), ("prompt", "x"), ("duration", 8), ("size", "720x1280")]
    assert json.loads(server.requests[2].body) == {"model": OTHER, "prompt": "y"}


async def test_a_gateway_that_changed_its_mind_is_found_again() -> None:
    acts = (NO_ROUTE, said({"task_id": "1"}), NO_ROUTE, said({"id": "2"}), said({"id": "3"}))
    async with ScriptedServer(*acts) as server, at(server.url) as service:
        tickets = [await submit(service, VideoRequest("x"), OTHER) for _ in range(3)]
    assert tickets == ["video/generations/1", "videos/2", "videos/3"]


MODEL_GONE = {"error": {"message": "The model `sora-2` does not exist", "code": "model_not_found"}}
ONCE: list[tuple[str, Act, type[Failure]]] = [
    ("a job by its id", said({"id": "video_1", "message": "not found"}, 404), Misconfigured),
    ("a job in its envelope", said({"code": "x", "data": {"task_id": "1"}}, 405), Misconfigured),
    ("it is the model that is missing", said(MODEL_GONE, 404), Misconfigured),
    ("moderation", said({"error": {"message": "rejected by the safety system"}}, 404), Refused),
    ("the key", said({"error": {"message": "x"}}, 401), AuthFailed),
    ("too much at once", said({"error": {"message": "rate limit"}}, 429), Retryable),
    ("a crash", said({"error": {"message": "x"}}, 500), UnknownCharge),
    ("a page in between", [answer(b"<html>bad gateway</html>", 502)], UnknownCharge),
    ("nobody knows", [RESET], UnknownCharge),
    ("a page where the API should be", [answer(b"<!doctype html><html></html>")], Misconfigured),
    ("no job", said({"object": "video"}), UnknownCharge),
]  # fmt: skip


@pytest.mark.parametrize(("act", "failure"), [pytest.param(*case[1:], id=case[0]) for case in ONCE])
async def test_whatever_may_have_been_taken_is_asked_once(act: Act, failure: type[Failure]) -> None:
    async with ScriptedServer(act, said({"task_id": "paid twice"})) as server, at(server.url) as service:
        with pytest.raises(failure):
            await submit(service, VideoRequest("x"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 405])
async def test_with_neither_route_the_address_is_wrong(status: int) -> None:
    page = [answer(b"<html><title>Not Found</title></html>", status)]
    async with ScriptedServer(page, page, said({"id": "1"})) as server, at(server.url) as service:
        with pytest.raises(Misconfigured) as failure:
            await submit(service, VideoRequest("x"))
        assert failure.value.why.cause == "not_found"
        assert await submit(service, VideoRequest("x")) == "videos/1"


# ---- what a look brings ----

LOOKS: list[tuple[str, str, Any, VideoResult | Pending | type[Failure]]] = [
    ("going", "videos/1", {"id": "1", "status": "in_progress", "progress": 40}, Pending(40)),
    ("nobody knows how far", "videos/1", {"id": "1", "status": "unknown"}, Pending()),
    ("by the older route", "video/generations/1", {"code": "success", "data": {"task_id": "1", "status": "QUEUED",
     "progress": "20%"}}, Pending(20)),
    ("a link in metadata", "videos/1", {"id": "1", "object": "video", "status": "completed",
     "metadata": {"url": V}}, VideoResult(V)),
    ("a link as the result", "video/generations/1", {"code": "success", "data": {"task_id": "1", "status": "SUCCESS",
     "result_url": V, "fail_reason": ""}}, VideoResult(V)),
    ("a link as the reason of failure", "video/generations/1", {"code": "success", "data": {"task_id": "1",
     "status": "SUCCESS", "fail_reason": V}}, VideoResult(V)),
    ("an error in words", "videos/1", {"id": "1", "status": "failed", "error": "safety system rejected this request"},
     Refused),
    ("an error by its code", "videos/1", {"id": "1", "status": "failed", "error": {"code": "moderation_blocked",
     "message": "Your request failed."}}, Refused),
    ("failed", "videos/1", {"id": "1", "status": "failed", "error": {"code": "server_error", "message": "x"}},
     UpstreamFailed),
    ("done by the older route, without a link", "video/generations/1", {"code": "success", "data": {"task_id": "1",
     "status": "SUCCESS", "fail_reason": "", "result_url": ""}}, Pending(100, finished=True)),
]  # fmt: skip


async def looked(act: Act, ticket: str = "videos/1") -> tuple[VideoResult | Pending | Failure, ScriptedServer]:
    async with ScriptedServer(act) as server, at(server.url) as service:
        try:
            return await service.poll(ticket, key="k"), server
        except Failure as failure:
            return failure, server


@pytest.mark.parametrize(("ticket", "body", "expected"), [pytest.param(*case[1:], id=case[0]) for case in LOOKS])
async def test_a_look_is_read(ticket: str, body: Any, expected: VideoResult | Pending | type[Failure]) -> None:
    seen, server = await looked(said(body), ticket)
    assert isinstance(seen, expected) if isinstance(expected, type) else seen == expected
    assert server.requests[0].target == f"/v1/{ticket}"


@pytest.mark.parametrize("status", ["completed", "Completed", "succeeded"])
@pytest.mark.parametrize("own", ["", "/v1/videos/a%2Fb/content"])
async def test_a_finished_video_without_a_public_link_is_behind_the_key(status: str, own: str) -> None:
    job = {"id": "a/b", "object": "video", "status": status, "error": None, **({"url": own} if own else {})}
    seen, server = await looked(said(job), "videos/a/b")
    assert seen == VideoResult(f"{server.url}/v1/videos/a%2Fb/content", private=True)
    assert server.requests[0].target == "/v1/videos/a%2Fb"


async def test_a_video_that_comes_with_the_create() -> None:
    job = {"id": "useless", "object": "video", "status": "completed", "url": V}
    async with ScriptedServer(said(job)) as server, at(server.url) as service:
        assert await submit(service, VideoRequest("x"), OTHER) == VideoResult(V)
    assert len(server.requests) == 1


async def test_a_create_that_failed_at_once_says_why() -> None:
    job = {"id": "1", "status": "failed", "error": {"code": "moderation_blocked", "message": "x"}}
    async with ScriptedServer(said(job)) as server, at(server.url) as service:
        with pytest.raises(Refused):
            await submit(service, VideoRequest("x"), OTHER)
    assert len(server.requests) == 1


PAUSES = [
    ("as asked", {"status": "queued"}, ["openai-poll-after-ms: 2500"], 2.5),
    ("an odd one", {"status": "queued"}, ["openai-poll-after-ms: soon"], None),
    ("a large one", {"status": "queued"}, ["openai-poll-after-ms: 99999999999999"], None),
    ("the common one goes first", {"status": "queued"}, ["openai-poll-after-ms: 2500", "Retry-After: 9"], 9.0),
    ("none", {"status": "queued"}, [], None),
]  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "pause"), [pytest.param(*case[1:], id=case[0]) for case in PAUSES])
async def test_the_pause_it_asks_for(body: Any, headers: list[str], pause: float | None) -> None:
    seen, _ = await looked(said({"id": "1", **body}, 200, *headers))
    assert seen == Pending(pause=pause)


GONE: list[tuple[str, Any]] = [
    ("grok2api", {"error": {"message": "Video id is wrong", "type": "invalid_request_error", "code": "invalid_value"}}),
    ("new-api", {"code": "task_not_exist", "message": "task_not_exist", "data": None}),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in GONE])
async def test_a_job_that_is_not_there_any_more_is_the_end(body: Any) -> None:
    seen, _ = await looked(said(body, 400))
    assert isinstance(seen, UpstreamFailed)
    assert seen.why.cause == "ticket_gone"
