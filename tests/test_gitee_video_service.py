"""What Gitee AI is sent, byte for byte, and what its tasks mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.backends import TicketBackend
from core.capabilities import Capabilities, Mode
from core.config import GiteeSettings
from core.errors import (
    AuthFailed,
    BadInput,
    Failure,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
)
from core.gitee_video_service import GiteeVideoService, build, read
from core.models import Pending, Reference, Role, VideoRequest, VideoResult
from core.transport import Transport, Trust
from tests.scripted_server import RESET, ScriptedServer, answer

ROOT = "https://gw.example.com"
TEXT, PICTURE = "Wan2.1-T2V-14B", "Wan2_2-I2V-A14B"
TASK = "AXA5X0QW3ERT6YUI8OP1ASD2FGH4JKL7"
SIGNED = "https://store.example.org/x/0a.mp4?authorization=bce-auth-v1%2Fk%2F604800%2F%2Fa"
PHOTO = Reference("photo.jpg", mime="image/jpeg", role=Role.FIRST_FRAME)


def service(root: str, **panel: Any) -> tuple[GiteeVideoService, Transport]:
    transport = Transport(Trust.of([root]))
    return GiteeVideoService(GiteeSettings(base_url=root, **panel), transport), transport


# ---- what is sent ----

FIELDS: list[tuple[str, dict[str, Any], bool, str, dict[str, Any], dict[str, Any]]] = [
    ("words alone", {}, False, TEXT, {}, {"model": TEXT, "prompt": "动"}),
    ("16 frames a second, and the one it begins with", {"duration": 5, "aspect_ratio": "9:16"}, False, TEXT, {},
     {"model": TEXT, "prompt": "动", "aspect_ratio": "9:16", "num_frames": 81}),
    ("what the panel chose", {}, False, TEXT, {"duration": 4, "aspect_ratio": "16:9", "resolution": "720p"},
     {"model": TEXT, "prompt": "动", "aspect_ratio": "16:9", "num_frames": 65}),
    ("a panel's length that the model lacks", {}, False, TEXT, {"duration": 10}, {"model": TEXT, "prompt": "动"}),
    ("the person comes first", {"duration": 2}, False, TEXT, {"duration": 4},
     {"model": TEXT, "prompt": "动", "num_frames": 33}),
    ("a model that wants its task named, and counts in seconds", {"duration": 4}, False, "MiniMax-H3", {},
     {"model": "MiniMax-H3", "prompt": "动", "task": "t2va", "duration_seconds": 4}),
    ("a model whose length nobody knows", {"duration": 5, "aspect_ratio": "1:1"}, False, "HunyuanVideo-1.5", {},
     {"model": "HunyuanVideo-1.5", "prompt": "动", "aspect_ratio": "1:1"}),
    ("a picture has a model of its own", {}, True, TEXT, {}, {"model": PICTURE, "prompt": "动"}),
    ("fewer frames fit there, and the picture has its ratio", {"duration": 3, "aspect_ratio": "9:16"}, True, TEXT, {},
     {"model": PICTURE, "prompt": "动", "num_frames": 49}),
    ("the panel's length may be one for texts", {}, True, TEXT, {"duration": 5}, {"model": PICTURE, "prompt": "动"}),
    ("another model for pictures", {"duration": 3}, True, TEXT, {"image_model": "LTX-2"},
     {"model": "LTX-2", "prompt": "动"}),
    ("one that was chosen for pictures", {}, True, "Wan2.1-I2V-14B-720P", {},
     {"model": "Wan2.1-I2V-14B-720P", "prompt": "动"}),
    ("no model for pictures, and the picture has its ratio still", {"aspect_ratio": "1:1"}, True, "kling-v9",
     {"image_model": ""}, {"model": "kling-v9", "prompt": "动"}),
    ("a model for pictures that takes none", {}, True, "kling-v9", {"image_model": TEXT},
     {"model": "kling-v9", "prompt": "动"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "picture", "model", "panel", "fields"), [pytest.param(*case[1:], id=case[0]) for case in FIELDS]
)
def test_the_fields(
    asked: dict[str, Any], picture: bool, model: str, panel: dict[str, Any], fields: dict[str, Any]
) -> None:
    request = VideoRequest("动", (PHOTO,) if picture else (), **asked)
    assert build(request, model, GiteeSettings(**panel)) == fields


async def test_a_length_that_the_other_model_lacks_is_refused_before_it_is_sent() -> None:
    async with ScriptedServer() as server:
        backend, transport = service(server.url)
        for wanted, references, model, offered in (
            (5, (PHOTO,), TEXT, "2 3"),  # the text's model does five seconds, the picture's does not
            (2, (), "MiniMax-H3", "4–15"),  # and here it is the other way round
        ):
            request = VideoRequest("x", references, duration=wanted)
            with pytest.raises(BadInput) as refusal:
                await backend.submit(request, model=model, key="k", report=lambda percent: None)
            assert refusal.value.why.cause == "duration_not_offered"
            assert refusal.value.why.facts == {"wanted": str(wanted), "offered": offered}
        await transport.close()
    assert server.connections == 0


async def sent(request: VideoRequest, model: str = TEXT, **panel: Any) -> Any:
    """The request as it came in; its answer was a ticket."""
    async with ScriptedServer([answer(json.dumps({"task_id": TASK, "status": "waiting"}).encode())]) as server:
        backend, transport = service(server.url, **panel)
        ticket = await backend.submit(request, model=model, key="k-1", report=lambda percent: None)
        await transport.close()
    assert ticket == TASK
    (arrived,) = server.requests
    return arrived


async def test_a_text_goes_as_json() -> None:
    request = await sent(VideoRequest('say "动"', duration=5))
    assert (request.method, request.target) == ("POST", "/v1/async/videos/generations")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer k-1"
    assert request.headers["x-failover-enabled"] == "false"
    assert request.body.decode() == '{"model": "Wan2.1-T2V-14B", "prompt": "say \\"动\\"", "num_frames": 81}'


async def test_a_picture_goes_as_a_form(tmp_path: Path) -> None:
    """Inside JSON it would be dropped without a word."""
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n--x\r\n")
    picture = Reference(str(tmp_path / "1.png"), mime="image/png", role=Role.FIRST_FRAME)
    request = await sent(VideoRequest("动", (picture,), duration=2))
    assert (request.method, request.target) == ("POST", "/v1/async/videos/image-to-video")
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    line, name = f"--{boundary}\r\n".encode(), b"Content-Disposition: form-data; name="
    assert request.body == (
        line + name + b'"model"\r\n\r\nWan2_2-I2V-A14B\r\n'
        + line + name + b'"prompt"\r\n\r\n\xe5\x8a\xa8\r\n'
        + line + name + b'"num_frames"\r\n\r\n33\r\n'
        + line + name + b'"image"; filename="picture.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--x\r\n\r\n'
        + f"--{boundary}--\r\n".encode()
    )  # fmt: skip


async def test_the_panel_may_allow_dearer_providers() -> None:
    request = await sent(VideoRequest("x"), extra_headers={"x-failover-enabled": "true"})
    assert request.headers["x-failover-enabled"] == "true"


RATIO_KNOWN: dict[str, Any] = {"aspect_ratios": None, "resolutions": ()}
FIXED: dict[str, Any] = {"aspect_ratios": (), "resolutions": ()}
TAKES_OVER = {Mode.IMAGE: PICTURE}
MODELS: list[tuple[str, str, dict[str, Any], Capabilities]] = [
    ("a text's model, and the picture's behind it", TEXT, {},
     Capabilities(durations=(1, 2, 3, 4, 5), siblings=TAKES_OVER, **RATIO_KNOWN)),
    ("in small letters", TEXT.lower(), {},
     Capabilities(durations=(1, 2, 3, 4, 5), siblings=TAKES_OVER, **RATIO_KNOWN)),
    ("nobody for pictures", TEXT, {"image_model": ""},
     Capabilities(first_frame=False, durations=(1, 2, 3, 4, 5), **RATIO_KNOWN)),
    ("a text's model for pictures", TEXT, {"image_model": "MiniMax-H3"},
     Capabilities(first_frame=False, durations=(1, 2, 3, 4, 5), **RATIO_KNOWN)),
    ("lengths of both", "MiniMax-H3", {},
     Capabilities(durations=(2, *range(3, 16)), siblings=TAKES_OVER, **FIXED)),
    ("no length of either", "kling-v9", {"image_model": "LTX-2"},
     Capabilities(durations=(), siblings={Mode.IMAGE: "LTX-2"}, **RATIO_KNOWN)),
    ("a picture's model takes no text", PICTURE, {}, Capabilities(text=False, durations=(2, 3), **FIXED)),
    ("another picture's model stays itself", "LTX-2", {}, Capabilities(text=False, durations=(), **FIXED)),
    ("the panel says it is one for pictures", "my-i2v", {"image_model": "my-i2v"},
     Capabilities(text=False, durations=(), **FIXED)),
    ("one for both", "my-own", {"model": "my-own", "image_model": "my-own"},
     Capabilities(durations=(), **RATIO_KNOWN)),
    ("an unknown one alone", "my-own", {"image_model": ""}, Capabilities(durations=(), **RATIO_KNOWN)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "panel", "can"), [pytest.param(*case[1:], id=case[0]) for case in MODELS])
def test_what_each_model_can_do(model: str, panel: dict[str, Any], can: Capabilities) -> None:
    backend = GiteeVideoService(GiteeSettings(**panel), None)  # type: ignore[arg-type]
    assert isinstance(backend, TicketBackend)
    assert backend.capabilities(model) == can


# ---- what comes back ----


def task(status: str, **more: Any) -> dict[str, Any]:
    urls = {"get": f"{ROOT}/api/v1/task/{TASK}", "cancel": f"{ROOT}/api/v1/task/{TASK}/cancel"}
    return {"task_id": TASK, "status": status, "created_at": 1785228158000, "urls": urls, **more}


def made(**more: Any) -> dict[str, Any]:
    return task("success", output={"file_url": SIGNED}, **more)


PNG = SIGNED.replace(".mp4", ".png")
LOOKS: list[tuple[str, dict[str, Any], VideoResult | Pending | tuple[type[Failure], str, str]]] = [
    ("it waits", task("waiting"), Pending()),
    ("it is under way", task("in_progress"), Pending()),
    ("as one client knows it", task("is_process"), Pending()),
    ("a word nobody knows", task("Thinking-Hard"), Pending(word="thinking_hard")),
    ("there it is, signature untouched", made(), VideoResult(SIGNED)),
    ("and what it took", made(price=1.23, currency="CNY"), VideoResult(SIGNED, cost=1.23, currency="CNY")),
    ("it took nothing", made(price=0, currency="CNY"), VideoResult(SIGNED, cost=0.0, currency="CNY")),
    ("a price in quotes, of no currency", made(price="0.5"), VideoResult(SIGNED, cost=0.5)),
    ("no price", made(price=None, currency="CNY"), VideoResult(SIGNED)),
    ("a price that is none", made(price="free", currency="CNY"), VideoResult(SIGNED)),
    ("an endless price", made(price=float("inf")), VideoResult(SIGNED)),
    ("a price longer than numbers are", made(price=10**400), VideoResult(SIGNED)),
    ("a picture is no video", task("success", output={"file_url": PNG}), Pending(100, finished=True)),
    ("nothing to show", task("success", output={}, price=1), Pending(100, finished=True)),
    ("failed, with an object", task("failure", output={"error": {"code": 500, "message": "Service Unavailable"}}),
     (UpstreamFailed, "dead", "Service Unavailable")),
    ("failed, with a text", task("failed", output={"error": "CUDA out of memory"}),
     (UpstreamFailed, "dead", "CUDA out of memory")),
    ("failed, without a word", task("failed"), (UpstreamFailed, "dead", "failed")),
    ("cancelled", task("cancelled"), (UpstreamFailed, "dead", "cancelled")),
    ("refused", task("failure", output={"error": {"code": 400, "message": "输入内容包含敏感信息，请修改后重试"}}),
     (Refused, "after_work", "输入内容包含敏感信息，请修改后重试")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "outcome"), [pytest.param(*case[1:], id=case[0]) for case in LOOKS])
def test_what_a_task_says(
    body: dict[str, Any], outcome: VideoResult | Pending | tuple[type[Failure], str, str]
) -> None:
    if not isinstance(outcome, tuple):
        assert read(body, ROOT) == outcome
        return
    with pytest.raises(outcome[0]) as failure:
        read(body, ROOT)
    assert (failure.value.why.cause, failure.value.why.reason) == outcome[1:]


def said(value: Any, status: int) -> list[bytes]:
    return [answer(json.dumps(value, ensure_ascii=False).encode(), status)]


UNBOUND = "您正在使用的访问令牌尚未绑定到任何资源包，或账号未购买可用的资源包"
CREATES: list[tuple[str, list[Any], type[Failure], str]] = [
    ("a token without a package", said({"error": {"code": "400", "message": UNBOUND}}, 400), OutOfQuota, ""),
    ("a missing field", said({"error": {"code": "400", "message": "必传参数: image"}}, 400), BadInput, "rejected"),
    ("a wrong key", said({"error": {"message": "Unauthorized: invalid access token", "code": "401"}}, 401),
     AuthFailed, ""),
    ("too many at once", said({"message": "Too many concurrent tasks, available quota: 0"}, 429), Retryable, "busy"),
    ("no ticket", said({"status": "waiting"}, 200), UnknownCharge, "no_ticket"),
    ("dead at once", said(task("failure", output={"error": "CUDA out of memory"}), 200), UpstreamFailed, "dead"),
    ("the line breaks", [RESET], UnknownCharge, "cut"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "kind", "cause"), [pytest.param(*case[1:], id=case[0]) for case in CREATES])
async def test_a_create_that_fails(act: list[Any], kind: type[Failure], cause: str) -> None:
    async with ScriptedServer(act) as server:
        backend, transport = service(server.url)
        with pytest.raises(kind) as failure:
            await backend.submit(VideoRequest("x"), model=TEXT, key="k", report=lambda percent: None)
        await transport.close()
    assert (type(failure.value), failure.value.why.cause) == (kind, cause)
    assert len(server.requests) == 1, "nothing is sent twice"


async def looked(act: list[Any], ticket: str = TASK) -> tuple[VideoResult | Pending | Failure, Any]:
    async with ScriptedServer(act) as server:
        backend, transport = service(server.url)
        try:
            seen: VideoResult | Pending | Failure = await backend.poll(ticket, key="k-1")
        except Failure as failure:
            seen = failure
        await transport.close()
        return seen, server.requests[0]


async def test_a_look() -> None:
    seen, request = await looked(said(made(price=1.5, currency="CNY"), 200))
    assert seen == VideoResult(SIGNED, cost=1.5, currency="CNY")
    assert (request.method, request.target) == ("GET", f"/v1/task/{TASK}")
    assert request.headers["authorization"] == "Bearer k-1"


async def test_a_ticket_does_not_lead_elsewhere() -> None:
    _, request = await looked(said({}, 200), "../a/b?c#d")
    assert request.target == "/v1/task/..%2Fa%2Fb%3Fc%23d"


async def test_a_task_that_is_gone_is_the_end() -> None:
    seen, _ = await looked(said({"message": "task not found"}, 404))
    assert isinstance(seen, UpstreamFailed)
    assert seen.why.cause == "ticket_gone"
