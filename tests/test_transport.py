"""The only HTTP: what every ending means for money, and where a link out of an answer may lead."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from email import message_from_bytes
from email.message import Message
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from core import transport as module
from core.body import Attachment, Base64, Body, DataUrl
from core.errors import Failure, Misconfigured, Retryable, UnknownCharge, UpstreamFailed
from core.transport import MB, Answer, Transport, Trust, retry_after
from tests.internet import PUBLIC, Internet
from tests.scripted_server import HANG, KEEP, READ, RESET, UNREAD, Act, ScriptedServer, Step, answer, drip
from tests.tiny_socks import TinySocks
from tests.until import until

BODY = Body.of_json({"prompt": "a cat"})
HELLO = answer(b'{"hello": 1}', 200, "Content-Type: application/json")


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    """Trusts nobody."""
    async with opened() as one:
        yield one


@asynccontextmanager
async def opened(trust: Trust | None = None, proxy: str = "") -> AsyncIterator[Transport]:
    """A transport with settings of its own."""
    one = Transport(trust or Trust(), proxy)
    try:
        yield one
    finally:
        await one.close()


async def create(url: str, using: Transport | None = None, timeout: float = 5, **options: Any) -> Answer:
    """One paid request."""
    options = {"billable": True, "body": BODY, "timeout": timeout} | options
    async with nullcontext(using) if using else opened() as transport:
        return await transport.exchange("POST", url, **options)


async def closed_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


# ---- Body ----


PICTURES = {
    "nothing in it": b"",
    "one byte: two of padding": b"\x00",
    "two bytes: one of padding": b"\xff\xfe",
    "no padding": b"abc",
    "one block": bytes(range(256)) * 768,  # 196 608 = 192 KiB, what is read at once
    "one byte more than a block": bytes(range(256)) * 768 + b"!",
    "two blocks and two bytes": bytes(range(256)) * 1536 + b"!!",
}


@pytest.mark.parametrize("name", PICTURES)
async def test_a_file_becomes_base64_across_block_borders(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name])
    body = Body.of_json({"image": DataUrl(path, "image/png"), "n": 1})
    sent = b"".join([piece async for piece in body.stream()])
    assert len(sent) == body.length()
    head, _, coded = json.loads(sent)["image"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(coded, validate=True) == PICTURES[name]


@pytest.mark.parametrize("name", PICTURES)
async def test_a_file_as_bare_base64(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(PICTURES[name])
    body = Body.of_json({"image": {"bytesBase64Encoded": Base64(path), "mimeType": "image/png"}, "again": Base64(path)})
    sent = b"".join([piece async for piece in body.stream()])
    assert len(sent) == body.length()
    value = json.loads(sent)
    assert value["image"]["mimeType"] == "image/png"
    for coded in (value["image"]["bytesBase64Encoded"], value["again"]):
        assert base64.b64decode(coded, validate=True) == PICTURES[name]


def form_of(content_type: str, sent: bytes) -> list[tuple[str, str | None, str | None, bytes]]:
    """Name, file name, media type and content of each field, as a parser that is not ours reads them."""
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + sent)
    assert whole.get_content_type() == "multipart/form-data"
    assert not whole.defects
    fields = []
    for part in whole.get_payload():
        assert isinstance(part, Message)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        name = part.get_param("name", header="content-disposition")
        fields.append((str(name), part.get_filename(), part["Content-Type"], content))
    return fields


@pytest.mark.parametrize("name", PICTURES)
async def test_a_form_with_files(name: str, tmp_path: Path) -> None:
    """Fields of one name stay in their order; a file's name follows its type, because some upstreams go by it."""
    path, content = tmp_path / "1.raw", PICTURES[name]
    path.write_bytes(content)
    body = Body.of_form(
        [
            ("model", "sora-2"),
            ("prompt", '猫が走る 🐈 --x\r\n\r\n"y"'),
            ("image", Attachment(path, "image/png")),
            ("image", Attachment(path, "image/jpeg")),
            ("empty", ""),
        ]
    )
    sent = b"".join([piece async for piece in body.stream()])
    assert len(sent) == body.length()
    assert form_of(body.content_type, sent) == [
        ("model", None, None, b"sora-2"),
        ("prompt", None, None, '猫が走る 🐈 --x\r\n\r\n"y"'.encode()),
        ("image", "picture.png", "image/png", content),
        ("image", "picture.jpg", "image/jpeg", content),
        ("empty", None, None, b""),
    ]


async def test_half_an_emoji_in_a_form() -> None:
    body = Body.of_form([("prompt", "a \ud83d b")])
    [(_, _, _, content)] = form_of(body.content_type, b"".join([piece async for piece in body.stream()]))
    assert content == b"a ? b"


def test_no_two_forms_have_the_same_border() -> None:
    """A prompt that repeats the border of an answer it saw must not end the form."""
    assert Body.of_form([("a", "b")]).content_type != Body.of_form([("a", "b")]).content_type


KINDS_OF_BODY: dict[str, Callable[[Path], Body]] = {
    "data URL": lambda path: Body.of_json({"image": DataUrl(path, "image/png")}),
    "base64": lambda path: Body.of_json({"image": Base64(path)}),
    "form": lambda path: Body.of_form([("image", Attachment(path, "image/png"))]),
}


@pytest.mark.parametrize("kind", KINDS_OF_BODY)
async def test_no_picture_is_ever_whole_in_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"x" * 3_000_000)
    body = KINDS_OF_BODY[kind](path)
    pieces = [len(piece) async for piece in body.stream()]
    assert sum(pieces) == body.length() >= 3_000_000
    assert max(pieces) <= 300_000


async def test_a_form_arrives_as_a_form(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"\r\n--x\r\n" * 50_000)
    body = Body.of_form([("prompt", "a cat"), ("input_reference", Attachment(path, "image/png"))])
    async with ScriptedServer([HELLO]) as server:
        await create(server.url, body=body)
        [request] = server.requests
    assert request.headers["content-length"] == str(len(request.body)) == str(body.length())
    assert "transfer-encoding" not in request.headers
    [prompt, picture] = form_of(request.headers["content-type"], request.body)
    assert (prompt[3], picture[3]) == (b"a cat", path.read_bytes())


PROMPTS = [
    "plain",
    "猫が走る 🐈‍⬛",
    'quote " backslash \\ slash / newline \n tab \t nul \x00',
    "data:image/png;base64,AAAA",  # looks like what a picture becomes
    '\\u0000 {"image": 1} </script>',
    "\ud83d",  # half an emoji, as some clients cut it
]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_prompt_may_hold_anything(prompt: str, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 4)
    body = Body.of_json({"text": prompt, "images": [DataUrl(path, "image/jpeg") for path in paths], "last": prompt})
    sent = b"".join([piece async for piece in body.stream()])
    value = json.loads(sent)
    assert len(sent) == body.length()
    assert value["text"].encode(errors="replace") == value["last"].encode(errors="replace")
    assert value["text"] == (prompt if prompt != "\ud83d" else value["text"])
    assert [base64.b64decode(one.partition(",")[2])[0] for one in value["images"]] == [0, 1], "in their order"


def test_a_body_takes_json_only() -> None:
    with pytest.raises(TypeError):
        Body.of_json({"path": Path("a")})


async def test_the_length_is_announced_and_true(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"x" * 500_000)
    body = Body.of_json({"image": DataUrl(path, "image/png")})
    async with ScriptedServer([HELLO]) as server:
        await create(server.url, body=body, headers={"Authorization": "Bearer k"})
        [request] = server.requests
    assert request.headers["content-length"] == str(len(request.body)) == str(body.length())
    assert "transfer-encoding" not in request.headers, "some gateways take no chunked body"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["accept-encoding"] == "identity"
    assert json.loads(request.body)["image"].startswith("data:image/png;base64,eHh4")


# ---- exchange: endings that raise ----

# What the server does → what that is for a paid request; for one that costs nothing it is always Retryable.
LOST: dict[str, tuple[Act, type[Failure], str]] = {
    "no answer before the time is over": ([HANG], UnknownCharge, "timeout"),
    "half a head, then nothing": ([b"HTTP/1.1 200 OK\r\nContent-", HANG], UnknownCharge, "timeout"),
    "the line breaks before the answer": ([RESET], UnknownCharge, "cut"),
    "closed before the answer": ([], UnknownCharge, "cut"),
    "half a head, then closed": ([b"HTTP/1.1 200 OK\r\nContent-"], UnknownCharge, "cut"),
    "no HTTP at all": ([b"SSH-2.0-OpenSSH_9.9\r\n\r\n"], UnknownCharge, "cut"),
}


@pytest.mark.parametrize("billable", [True, False])
@pytest.mark.parametrize("name", LOST)
async def test_a_request_that_left_and_brought_nothing(name: str, billable: bool) -> None:
    act, kind, cause = LOST[name]
    async with ScriptedServer(act) as server:
        with pytest.raises(kind if billable else Retryable) as caught:
            await create(server.url, billable=billable, timeout=0.06)
        assert caught.value.why.cause == cause
        assert len(server.requests) == 1, "never repeated by itself"


async def _refused(internet: Internet) -> str:
    return f"http://127.0.0.1:{await closed_port()}"


async def _unknown_name(internet: Internet) -> str:
    return "http://no.such.host.example"


async def _no_host(internet: Internet) -> str:
    return "http://:80/v1"


async def _no_such_port(internet: Internet) -> str:
    return "http://host.example:99999"


# Where the connection is never made, nothing can have been taken.
NEVER_LEFT: dict[str, tuple[Callable[[Internet], Any], type[Failure], str]] = {
    "the port refuses": (_refused, Retryable, "unreachable"),
    "the name does not resolve": (_unknown_name, Retryable, "unreachable"),
    "an address without a host": (_no_host, Misconfigured, "bad_address"),
    "an address with an impossible port": (_no_such_port, Misconfigured, "bad_address"),
}


@pytest.mark.parametrize("name", NEVER_LEFT)
async def test_a_request_that_never_left(name: str, internet: Internet) -> None:
    address, kind, cause = NEVER_LEFT[name]
    with pytest.raises(kind) as caught:
        await create(await address(internet))
    assert (caught.value.why.cause, caught.value.billed) == (cause, "no")


@pytest.mark.parametrize("greeting", [answer(b"", 400), HANG], ids=["plain HTTP", "nothing until the time is over"])
async def test_without_a_tls_handshake_it_never_left(greeting: Step) -> None:
    async with ScriptedServer(greeting=greeting) as server:
        with pytest.raises(Retryable, match="unreachable"):
            await create(f"https://127.0.0.1:{server.port}", timeout=0.1)


async def test_a_configured_upstream_may_be_private_and_others_not(internet: Internet) -> None:
    """An exchange goes where the admin sent it; a name that is not his and leads inside is refused all the same."""
    internet["gateway.lan"] = "192.168.1.20"
    async with ScriptedServer([HELLO]) as server:
        url = server.link("", "gateway.lan")
        with pytest.raises(Retryable) as caught:  # nothing is said about any job: a ticket survives it
            await create(url)
        assert (caught.value.why.cause, caught.value.why.reason) == ("unreachable", "private_address")
        async with opened(Trust.of([url])) as trusting:
            assert (await create(url, trusting)).status == 200


# ---- exchange: answers ----

SSE = b'data: {"x": "\xe4\xbd\xa0\xe5\xa5\xbd"}\n\ndata: [DONE]\n\n'
PACKED = gzip.compress(b"packed " * 1000)

# What comes over the line → status, text, ending. A status is an answer, whatever it says: the backend reads it.
ANSWERS: dict[str, tuple[Act, int, str, str]] = {
    "whole": ([HELLO], 200, '{"hello": 1}', "whole"),
    "an error is an answer": ([answer(b"no", 500)], 500, "no", "whole"),
    "a redirect is an answer: a paid request is not sent on to somewhere else": (
        [answer(b"", 307, "Location: http://127.0.0.1:1/")], 307, "", "whole",
    ),
    "ends with the connection": ([answer(b"to the end", length=-1)], 200, "to the end", "whole"),
    "chunked": ([answer(b"3\r\nabc\r\n0\r\n\r\n", 200, "Transfer-Encoding: chunked")], 200, "abc", "whole"),
    "cut": ([answer(b"half", length=100)], 200, "half", "cut"),
    "cut by a reset": ([answer(b"half", length=100), lambda: asyncio.sleep(0.02), RESET], 200, "half", "cut"),
    "chunked and cut": ([answer(b"5\r\nab", 200, "Transfer-Encoding: chunked")], 200, "ab", "cut"),
    "chunked without its end": ([answer(b"2\r\nab\r\n", 200, "Transfer-Encoding: chunked")], 200, "ab", "cut"),
    "stops in the middle": ([answer(b"half", length=100), HANG], 200, "half", "timeout"),
    "gzip nobody asked for": ([answer(PACKED, 200, "Content-Encoding: gzip")], 200, "packed " * 1000, "whole"),
    "gzip in small pieces": (
        drip(answer(PACKED, 200, "Content-Encoding: gzip"), 16), 200, "packed " * 1000, "whole",
    ),
    "deflate": ([answer(zlib.compress(b"abc"), 200, "Content-Encoding: deflate")], 200, "abc", "whole"),
    "gzip it is not": ([answer(b"plain text", 200, "Content-Encoding: gzip")], 200, "", "cut"),
    "a byte order mark": ([answer(b'\xef\xbb\xbf{"a": 1}')], 200, '{"a": 1}', "whole"),
    "characters split between pieces": (drip(answer("你好🐈".encode()), 1), 200, "你好🐈", "whole"),
    "no UTF-8": ([answer(b"caf\xe9!")], 200, "caf\ufffd!", "whole"),
    "nothing": ([answer(b"")], 200, "", "whole"),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, "", "whole"),
    "an answer before the body was read": ([UNREAD, answer(b"too large", 413)], 413, "too large", "whole"),
    "100 Continue first": ([b"HTTP/1.1 100 Continue\r\n\r\n", HELLO], 200, '{"hello": 1}', "whole"),
}  # fmt: skip


@pytest.mark.parametrize("billable", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
async def test_answers(name: str, billable: bool) -> None:
    act, status, text, ending = ANSWERS[name]
    async with ScriptedServer(act) as server:
        got = await create(server.url, billable=billable, timeout=0.1 if ending == "timeout" else 5)
    assert (got.status, got.text, got.ending) == (status, text, ending)


async def test_a_small_bomb_does_not_unpack_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 2 * MB)
    bomb = gzip.compress(bytes(40 * MB), 1)
    async with ScriptedServer([answer(bomb, 200, "Content-Encoding: gzip")]) as server:
        got = await create(server.url)
    assert got.ending == "cut"
    assert len(got.text) <= 3 * MB


async def test_a_huge_answer_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 1 * MB)
    async with ScriptedServer([answer(b"", length=-1), *[b"x" * MB] * 64]) as server:
        got = await create(server.url)
    assert got.ending == "cut"
    assert len(got.text) < 4 * MB


async def test_done_is_the_end_though_the_line_stays_open() -> None:
    said: list[str] = []

    def on_text(text: str) -> bool:
        said.append(text)
        return "[DONE]" in "".join(said)

    async with ScriptedServer([answer(b"", 200, "Content-Type: text/event-stream", length=-1), SSE, HANG]) as server:
        got = await asyncio.wait_for(create(server.url, on_text=on_text), 2)
    assert got.ending == "whole"
    assert got.text == "".join(said) == SSE.decode()


async def test_text_is_handed_on_as_it_comes() -> None:
    arrived: list[float] = []
    gate = asyncio.Event()
    async with ScriptedServer([answer(b"", length=-1), b"first", gate.wait, b"second"]) as server:

        def on_text(text: str) -> bool:
            arrived.append(time.monotonic())
            gate.set()  # the second piece is sent only after the first was handed on
            return False

        assert (await create(server.url, on_text=on_text)).text == "firstsecond"
    assert len(arrived) == 2


async def test_a_slow_answer_has_time_until_the_deadline_not_longer() -> None:
    async with ScriptedServer([answer(b"", length=-1), *drip(b"." * 100, 1, 0.02)]) as server:
        begun = time.monotonic()
        got = await create(server.url, timeout=0.1)
        assert got.ending == "timeout"
        assert 1 <= len(got.text) < 50, "what came so far is kept"
        assert time.monotonic() - begun < 1


async def test_every_paid_request_has_a_connection_of_its_own(transport: Transport) -> None:
    """A kept one may be closed by the other side just as the request leaves, and nobody knows whether it was taken."""
    async with ScriptedServer([HELLO, KEEP], [HELLO, KEEP], [HELLO, KEEP]) as server:
        for _ in range(3):
            await create(server.url, transport)
        assert [request.connection for request in server.requests] == [1, 2, 3]


async def test_cookies_are_not_kept(transport: Transport, internet: Internet) -> None:
    internet["gw.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", 200, "Set-Cookie: session=1; Path=/")], [HELLO]) as server:
        await create(server.link("/", "gw.example.com"), transport)
        await create(server.link("/", "gw.example.com"), transport)
        assert "cookie" not in server.requests[1].headers


# ---- uploads ----


async def test_four_uploads_at_once_and_the_fifth_waits(transport: Transport, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(bytes(8 * MB))  # more than the line's buffers hold
    body = Body.of_json({"image": DataUrl(picture, "image/png")})
    gate = asyncio.Event()
    async with ScriptedServer(*[[UNREAD, gate.wait, READ, HELLO]] * 6) as server:
        calls = [asyncio.create_task(create(server.url, transport, body=body)) for _ in range(6)]
        await until(lambda: len(server.requests) == 4)
        await asyncio.sleep(0.03)
        assert len(server.requests) == 4
        gate.set()
        assert [one.status for one in await asyncio.gather(*calls)] == [200] * 6


async def test_gateways_that_stop_reading_do_not_hold_up_the_others(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UPLOAD_PATIENCE", 0.1)
    picture = tmp_path / "picture"
    picture.write_bytes(bytes(8 * MB))
    body = Body.of_json({"image": DataUrl(picture, "image/png")})
    async with ScriptedServer(*[[UNREAD, HANG]] * 4) as stuck, ScriptedServer([HELLO]) as sound:
        stalled = [asyncio.create_task(create(stuck.url, transport, body=body, timeout=60)) for _ in range(4)]
        await until(lambda: len(stuck.requests) == 4)
        async with asyncio.timeout(3):
            assert (await create(sound.url, transport, body=body)).status == 200
        for call in stalled:
            call.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)


async def test_a_picture_that_is_gone_takes_no_place_with_it(transport: Transport, tmp_path: Path) -> None:
    body = Body.of_json({"image": DataUrl(tmp_path / "gone", "image/png")})
    async with ScriptedServer([HELLO]) as server:
        for _ in range(module.UPLOADS + 1):
            with pytest.raises(FileNotFoundError):
                await create(server.url, transport, body=body)
        async with asyncio.timeout(2):
            assert (await create(server.url, transport)).status == 200
        assert len(server.requests) == 1


# ---- fetch ----

VIDEO = b"\0\0\0\x18ftypmp42" + b"v" * 100


async def fetch(using: Transport, url: str, **options: Any) -> bytes:
    """A download, whole."""
    async with using.fetch(url, **({"limit": MB} | options)) as response:
        data: bytes = await response.read()
        return data


async def test_a_signed_link_arrives_as_it_was_written(transport: Transport, internet: Internet) -> None:
    """A signature is made over these very characters (upstreams.md §7, §9.8)."""
    internet["cdn.example.com"] = PUBLIC
    targets = [
        "/a%2Fb/%E4%BD%A0.mp4?sig=ab%2Fcd%2B%3D&x=%41&y=a+b&z=1%202",
        "/v.mp4?Signature=a~b!c'd(e)*&Expires=1;2&empty=",
        "/v.mp4?",
        "/%7Euser/v.mp4",
    ]
    async with ScriptedServer(*[[answer(VIDEO)]] * (len(targets) + 1)) as server:
        for target in targets:
            await fetch(transport, server.link(target, "cdn.example.com"))
        await fetch(transport, server.link("/你 好.mp4#t=1", "cdn.example.com"))
        assert [request.target.rstrip("?") for request in server.requests] == [
            *(target.rstrip("?") for target in targets),
            "/%E4%BD%A0%20%E5%A5%BD.mp4",
        ]


async def test_redirects_are_followed_by_hand(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = internet["b.example.com"] = PUBLIC
    async with ScriptedServer() as server:
        server.acts = [
            [answer(b"", 301, "Location: /relative?x=%2F")],
            [answer(b"", 302, f"Location: //a.example.com:{server.port}/scheme")],
            [answer(b"", 303, f"Location: {server.link('/other', 'b.example.com')}")],
            [answer(b"", 307, "Location: sibling")],
            [answer(b"", 308, "Location: ?query=1")],
            [answer(VIDEO)],
        ]
        assert await fetch(transport, server.link("/one", "a.example.com")) == VIDEO
        assert [request.target for request in server.requests] == [
            "/one", "/relative?x=%2F", "/scheme", "/other", "/sibling", "/sibling?query=1",
        ]  # fmt: skip


async def test_endless_redirects_end(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer(*[[answer(b"", 302, "Location: /again")]] * 20) as server:
        with pytest.raises(UpstreamFailed, match="redirects"):
            await fetch(transport, server.link("/", "a.example.com"))
        assert 5 <= len(server.requests) <= 8


KEY = {"Authorization": "Bearer sk-secret"}


async def test_the_key_goes_at_once_where_the_link_needs_it(transport: Transport, internet: Internet) -> None:
    internet["gw.example.com"] = PUBLIC
    async with ScriptedServer([answer(VIDEO)], [answer(VIDEO)]) as server:
        root = server.link("", "gw.example.com")
        await fetch(transport, f"{root}/v1/videos/1/content", key_headers=KEY, key_root=root)
        await fetch(transport, f"{root}/files/video.mp4", key_headers=KEY, key_root=root)
        assert [request.headers.get("authorization") for request in server.requests] == ["Bearer sk-secret", None]


async def test_the_key_is_shown_after_a_401_at_its_own_origin_only(transport: Transport, internet: Internet) -> None:
    internet["gw.example.com"] = internet["evil.example.com"] = PUBLIC
    no = [answer(b"", 401)]
    async with ScriptedServer(no, [answer(VIDEO)], no, no) as server:
        root = server.link("", "gw.example.com")
        assert await fetch(transport, f"{root}/a.mp4", key_headers=KEY, key_root=root) == VIDEO
        with pytest.raises(UpstreamFailed, match="401"):
            await fetch(transport, server.link("/a.mp4", "evil.example.com"), key_headers=KEY, key_root=root)
        keys = ["authorization" in request.headers for request in server.requests]
        assert keys == [False, True, False]


async def test_a_key_that_is_refused_is_not_shown_again_and_again(transport: Transport, internet: Internet) -> None:
    internet["gw.example.com"] = PUBLIC
    async with ScriptedServer(*[[answer(b"", 403)]] * 9) as server:
        root = server.link("", "gw.example.com")
        with pytest.raises(UpstreamFailed, match="403"):
            await fetch(transport, f"{root}/a.mp4", key_headers=KEY, key_root=root)
        assert len(server.requests) == 2


async def test_the_corpus_redirect_keeps_its_signature_and_loses_the_key(
    transport: Transport, internet: Internet
) -> None:
    """``/content`` of a gateway that sends on to a bucket: the bucket must not see the key."""
    [path] = Path(__file__).parent.glob("corpus/*w_content_302_redirect.json")
    case = json.loads(path.read_text())
    internet["newapi.example.com"] = internet["storage.example.org"] = PUBLIC
    async with ScriptedServer() as server:
        root = server.link("", "newapi.example.com")
        bucket = server.link("", "storage.example.org")
        target = case["headers"]["location"].replace("https://storage.example.org", bucket)
        server.acts = [[answer(b"", case["http_status"], f"location: {target}")], [answer(VIDEO)]]
        assert await fetch(transport, root + case["request"]["path"], key_headers=KEY, key_root=root) == VIDEO
        first, second = server.requests
        assert first.headers["authorization"] == "Bearer sk-secret"
        assert "authorization" not in second.headers
        assert second.headers["host"].startswith("storage.example.org")
        assert second.target == case["expect"]["url"].partition(".org")[2], "the %2F stays what it is"


async def test_a_redirect_back_to_the_gateway_may_show_the_key_again(transport: Transport, internet: Internet) -> None:
    internet["gw.example.com"] = internet["other.example.com"] = PUBLIC
    async with ScriptedServer() as server:
        root = server.link("", "gw.example.com")
        server.acts = [
            [answer(b"", 302, f"Location: {server.link('/hop', 'other.example.com')}")],
            [answer(b"", 302, f"Location: {root}/v1/videos/1/content")],
            [answer(VIDEO)],
        ]
        await fetch(transport, f"{root}/v1/videos/1/content", key_headers=KEY, key_root=root)
        assert ["authorization" in request.headers for request in server.requests] == [True, False, True]


# ---- private addresses ----

PRIVATE_LITERALS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001",
    "127.0.0.1.", "0.0.0.0", "0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
    "198.18.0.5", "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "１２７.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "１２７．０．０．１",  # digits and dots that become ASCII ones
    "user:pass@127.0.0.1", "example.com@127.0.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:c0a8:1::1]",
    "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd12::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]",
]  # fmt: skip
PRIVATE_NAMES = {
    "localhost": None, "LOCALHOST": None, "localhost.": "127.0.0.1",
    "router.lan": "192.168.1.1", "metadata.google.internal": "169.254.169.254", "six.lan": "fd00::1",
    "mapped.lan": "::ffff:10.0.0.1", "127.0.0.1.nip.io": "127.0.0.1",
}  # fmt: skip


@pytest.mark.parametrize("proxied", [False, True])
async def test_private_addresses_are_refused(proxied: bool, internet: Internet) -> None:
    for host, address in PRIVATE_NAMES.items():
        if address:
            internet[host.lower()] = address
    through: list[str] = []
    async with (
        ScriptedServer(*[[answer(VIDEO)]] * 99) as server,
        opened(proxy=server.url if proxied else "") as transport,
    ):
        for host in (*PRIVATE_LITERALS, *PRIVATE_NAMES):
            try:
                await fetch(transport, f"http://{host}:{server.port}/v.mp4")
                through.append(host)
            except UpstreamFailed as failure:
                if host in PRIVATE_NAMES and failure.why.cause != "private_address":
                    through.append(f"{host}: {failure}")
            except Retryable:
                pass  # nobody knows such an address: nothing was connected to
        assert through == []
        assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "router.lan", "１２７.0.0.1"])
async def test_a_redirect_to_a_private_address_is_refused(host: str, transport: Transport, internet: Internet) -> None:
    internet["a.example.com"], internet["router.lan"] = PUBLIC, "192.168.1.1"
    async with ScriptedServer() as server:
        server.acts = [[answer(b"", 302, f"Location: http://{host}:{server.port}/admin")], [answer(VIDEO)]]
        with pytest.raises(UpstreamFailed, match="private_address"):
            await fetch(transport, server.link("/", "a.example.com"))
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [[PUBLIC], ["127.0.0.1"]],  # public for whoever looks first, private for who connects
        [[PUBLIC, "127.0.0.1"]],  # both at once: the first may be down, and the second is tried
        [["127.0.0.1", PUBLIC]],
    ],
)
async def test_a_name_that_changes_its_address_gets_nowhere(
    answers: list[list[str]], transport: Transport, internet: Internet
) -> None:
    """Whatever is connected to has been checked, and every try is checked anew."""
    internet["rebind.example.com"] = answers
    async with ScriptedServer([answer(VIDEO)], [answer(VIDEO)]) as server:
        for _ in range(2):
            with suppress(UpstreamFailed):
                await fetch(transport, server.link("/", "rebind.example.com"))
        assert "127.0.0.1" not in internet.connected
        assert set(internet.connected) <= {PUBLIC}


@pytest.mark.parametrize("host", ["127.0.0.1", "gw.lan"])
async def test_the_trusted_gateway_may_be_private(host: str, internet: Internet) -> None:
    internet["gw.lan"] = "192.168.1.9"
    async with (
        ScriptedServer([answer(VIDEO)]) as server,
        opened(Trust.of([server.link("/v1", host)])) as transport,
    ):
        assert await fetch(transport, server.link("/v.mp4", host)) == VIDEO
        with pytest.raises(UpstreamFailed, match="private_address"):  # its host, but not its port
            await fetch(transport, f"http://{host}:{await closed_port()}/v.mp4")


async def test_fake_ip_of_tun_proxies_is_allowed_for_names(transport: Transport, internet: Internet) -> None:
    """Clash and sing-box answer every name from 198.18.0.0/15 and map it back to the real host."""
    internet["cdn.example.com"] = "198.18.3.4"
    async with ScriptedServer([answer(VIDEO)]) as server:
        assert await fetch(transport, server.link("/", "cdn.example.com")) == VIDEO
        assert internet.connected == ["198.18.3.4"]


NO_WEB_ADDRESS = [
    "file:///etc/passwd", "ftp://a.example.com/v.mp4", "gopher://a.example.com/", "data:text/html,x", "javascript:1",
    "http://", "http:///v.mp4", "http:/a.example.com/", "//a.example.com/", "/v.mp4", "v.mp4", "", "http://[::1",
    "http://a.example.com:99999/", "http://a.example.com:x/", "http://a\\b.example.com/", "http://ex\u00adample.com/",
    "http://\ud800.example.com/", "http://a.example.com/\ud800",
]  # fmt: skip


async def test_what_is_no_web_address_is_refused(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    for url in NO_WEB_ADDRESS:
        with pytest.raises(UpstreamFailed, match="not_http"):
            await fetch(transport, url)
    assert internet.connected == []


async def test_a_redirect_to_another_scheme_is_refused(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", 302, "Location: file:///etc/passwd")]) as server:
        with pytest.raises(UpstreamFailed, match="not_http"):
            await fetch(transport, server.link("/", "a.example.com"))


# ---- fetch: statuses and lines ----

STATUSES = {
    204: UpstreamFailed, 206: UpstreamFailed, 304: UpstreamFailed, 400: UpstreamFailed, 401: UpstreamFailed,
    404: UpstreamFailed, 410: UpstreamFailed,
    408: Retryable, 425: Retryable, 429: Retryable, 500: Retryable, 502: Retryable, 503: Retryable, 520: Retryable,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
async def test_a_download_s_status(status: int, transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", status, "Retry-After: 7")]) as server:
        with pytest.raises(STATUSES[status]) as caught:
            await fetch(transport, server.link("/", "a.example.com"))
    if isinstance(caught.value, Retryable):
        assert caught.value.retry_after == 7
    else:
        assert caught.value.why.cause == ("gone" if status in (404, 410) else "http_status")


@pytest.mark.parametrize("name", LOST)
async def test_a_download_that_is_cut_may_be_repeated(name: str, transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    act = LOST[name][0]
    async with ScriptedServer([*act, RESET] if HANG not in act else [RESET]) as server:
        with pytest.raises(Retryable):
            await fetch(transport, server.link("/", "a.example.com"))


async def test_a_download_cut_in_the_middle_may_be_repeated(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"half", length=100)]) as server:
        with pytest.raises(Retryable, match="cut"):
            await fetch(transport, server.link("/", "a.example.com"))


async def test_a_download_that_drips_for_ever_ends(
    transport: Transport, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, the whole never does; its job would occupy the person's place for ever."""
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.06)
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", length=10_000), *drip(b"." * 500, 1, 0.02)]) as server:
        with pytest.raises(Retryable, match="timeout"):
            await asyncio.wait_for(fetch(transport, server.link("/", "a.example.com")), 2)


async def test_an_announced_size_above_the_limit_is_not_read(transport: Transport, internet: Internet) -> None:
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", length=3 * MB), HANG]) as server:
        with pytest.raises(UpstreamFailed, match="too_big"):
            await asyncio.wait_for(fetch(transport, server.link("/", "a.example.com"), limit=2 * MB), 2)


RETRY_AFTER: dict[str, float | None] = {
    "7": 7, " 7 ": 7, "1.5": 1.5, "0": 0, "-3": 0, "": None, "soon": None, "7 seconds": None, "nan": 0,
    formatdate(0, usegmt=True): 0,
    formatdate(32503680000, usegmt=True): 30_000_000_000,  # the year 3000
    "Wed, 32 Nov 2026 99:99:99 GMT": None,
}  # fmt: skip


@pytest.mark.parametrize("value", RETRY_AFTER)
def test_retry_after(value: str) -> None:
    expected, got = RETRY_AFTER[value], retry_after({"Retry-After": value})
    assert got == (None if expected is None else pytest.approx(expected, rel=0.1))


def test_no_retry_after() -> None:
    assert retry_after({}) is None


# ---- proxies ----


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
async def test_an_http_proxy_gets_every_request(scheme: str, internet: Internet) -> None:
    internet["cdn.example.com"] = PUBLIC
    async with ScriptedServer([HELLO], [answer(VIDEO)]) as proxy:
        async with opened(proxy=f"{scheme}://me:secret@127.0.0.1:{proxy.port}") as transport:
            await create("http://gw.example.com/v1", transport)
            assert await fetch(transport, "http://cdn.example.com/v.mp4?a=%2F") == VIDEO
        assert [(one.method, one.target) for one in proxy.requests] == [
            ("POST", "http://gw.example.com/v1"),
            ("GET", "http://cdn.example.com/v.mp4?a=%2F"),
        ]
        assert {one.headers.get("proxy-authorization") for one in proxy.requests} == {"Basic bWU6c2VjcmV0"}


# What a proxy does with a request for a TLS host; in each case nothing reached the upstream.
NO_TUNNEL: dict[str, Act] = {
    "says 502": [answer(b"", 502)],
    "wants a password": [answer(b"", 407)],
    "hangs up": [],
    "breaks": [RESET],
    "says nothing": [HANG],
}


@pytest.mark.parametrize("name", NO_TUNNEL)
async def test_an_http_proxy_that_makes_no_tunnel(name: str) -> None:
    async with ScriptedServer(NO_TUNNEL[name]) as proxy:
        async with opened(proxy=f"http://127.0.0.1:{proxy.port}") as transport:
            with pytest.raises(Retryable):
                await create("https://gw.example.com/v1", transport, timeout=0.1)
        assert [one.method for one in proxy.requests] == ["CONNECT"]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks4", "socks5h", "socks4a", "socks", "SOCKS5"])
async def test_a_proxy_that_is_down(scheme: str, internet: Internet) -> None:
    """Nothing left, and nothing goes around it."""
    internet["gw.example.com"] = PUBLIC
    async with ScriptedServer([HELLO]) as gateway:
        async with opened(proxy=f"{scheme}://127.0.0.1:{await closed_port()}") as transport:
            with pytest.raises(Retryable):
                await create(gateway.link("/", "gw.example.com"), transport)
        assert gateway.connections == 0


async def test_socks_names_are_resolved_by_the_proxy(internet: Internet) -> None:
    """At home the name may not resolve at all, or wrongly."""
    async with ScriptedServer([HELLO], [answer(VIDEO)]) as target, TinySocks(target.port) as proxy:
        async with opened(proxy=f"socks5h://127.0.0.1:{proxy.port}") as transport:
            assert (await create("http://gw.blocked.example/v1", transport)).status == 200
            assert await fetch(transport, "http://cdn.blocked.example/v.mp4") == VIDEO
        assert proxy.asked == ["gw.blocked.example:80", "cdn.blocked.example:80"]
        assert [request.headers["host"] for request in target.requests] == ["gw.blocked.example", "cdn.blocked.example"]


async def test_socks_with_a_password() -> None:
    async with (
        ScriptedServer([HELLO]) as target,
        TinySocks(target.port, login=("me", "p@ss")) as proxy,
        opened(proxy=f"socks5://me:p%40ss@127.0.0.1:{proxy.port}") as transport,
    ):
        assert (await create("http://gw.example.com/v1", transport)).status == 200


@pytest.mark.parametrize("trouble", ["wrong password", "host unreachable", "hangs up", "no socks"])
async def test_socks_that_does_not_connect(trouble: str) -> None:
    async with ScriptedServer([HELLO]) as target, TinySocks(target.port, trouble=trouble) as proxy:
        async with opened(proxy=f"socks5://127.0.0.1:{proxy.port}") as transport:
            with pytest.raises(Retryable):
                await create("http://gw.example.com/v1", transport, timeout=1)
        assert target.connections == 0


async def test_socks_is_not_asked_for_private_hosts(internet: Internet) -> None:
    internet["router.lan"] = "192.168.1.1"
    async with (
        ScriptedServer([answer(VIDEO)]) as target,
        TinySocks(target.port) as proxy,
        opened(proxy=f"socks5://127.0.0.1:{proxy.port}") as transport,
    ):
        for host in ("127.0.0.1", "[::1]", "router.lan", "localhost", "0x7f000001", "１２７.0.0.1"):
            with pytest.raises(UpstreamFailed, match="private_address"):
                await fetch(transport, f"http://{host}:{target.port}/v.mp4")
        assert proxy.asked == []


# Links of pictures → whether others can fetch them.
FETCHABLE: dict[str, bool] = {
    "https://img.example.com/a.jpg": True,
    "http://img.example.com:8080/a.jpg?sig=%2F": True,
    f"https://{PUBLIC}/a.jpg": True,
    "https://only-the-proxy-knows.example.com/a.jpg": True,  # as far as can be told from here
    "https://tun.example.com/a.jpg": True,  # a TUN proxy's made-up address stands for a real one
    "https://nas.example.com/a.jpg": False,
    "https://both.example.com/a.jpg": False,
    "http://gateway.example.com:3000/a.jpg": False,  # ours to ask, and nobody else's to reach
    "http://192.168.1.9:3000/a.jpg": False,
    "http://127.0.0.1/a.jpg": False,
    "http://[::1]/a.jpg": False,
    "http://[fd00::1]/a.jpg": False,
    "http://198.18.0.7/a.jpg": False,
    "http://localhost/a.jpg": False,
    "http://nas/a.jpg": False,
    "file:///etc/passwd": False,
    "ftp://img.example.com/a.jpg": False,
    "data:image/png;base64,AAAA": False,
    "base64://AAAA": False,
    "/a.jpg": False,
    "http://": False,
    "http://[": False,
    "": False,
}


@pytest.mark.parametrize("proxy", ["", "http://proxy.example.com:8080"])
async def test_whether_others_can_fetch_a_link(proxy: str, internet: Internet) -> None:
    internet["img.example.com"] = PUBLIC
    internet["nas.example.com"] = internet["gateway.example.com"] = internet["nas"] = "192.168.1.9"
    internet["both.example.com"] = [[PUBLIC, "10.0.0.1"]]
    internet["tun.example.com"] = "198.18.0.7"
    trust = Trust.of(["http://gateway.example.com:3000", "http://192.168.1.9:3000"])
    async with opened(trust, proxy) as transport:
        assert {link: await transport.is_public(link) for link in FETCHABLE} == FETCHABLE
    assert internet.connected == [], "nothing is asked but the name"


async def test_closing_twice_and_unopened() -> None:
    async with opened() as transport:
        await transport.close()
