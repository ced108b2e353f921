"""What every backend by ticket shares: where the key goes, and what the admin may add."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import upstream as module
from core.body import Body
from core.config import UpstreamSettings
from core.errors import Misconfigured, Retryable, UnknownCharge
from core.transport import Transport, Trust
from core.upstream import Upstream
from tests.internet import PUBLIC, Internet
from tests.scripted_server import HANG, RESET, ScriptedServer, answer

BODY = Body.of_json({"prompt": "a cat"})
KEY = "sk-secret"


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    one = Transport(Trust())
    yield one
    await one.close()


def made(transport: Any, base_url: str = "https://gw.example.com", **settings: Any) -> Upstream:
    own = {name: settings.pop(name) for name in ("key_header", "headers") if name in settings}
    return Upstream(UpstreamSettings(base_url=base_url, **settings), transport, **own)


# ---- the address ----

ROOTS = {
    "https://gw.example.com": "https://gw.example.com",
    "gw.example.com/v1/": "https://gw.example.com",
    "https://gw.example.com/relay/v1/videos": "https://gw.example.com/relay",
    "http://192.168.1.9:3000": "http://192.168.1.9:3000",
}


@pytest.mark.parametrize("typed", ROOTS)
def test_the_address_is_completed(typed: str) -> None:
    assert made(None, typed).root == ROOTS[typed]


@pytest.mark.parametrize("typed", ["", "not an address", "ftp://gw.example.com"])
async def test_an_address_that_is_none_is_said_before_anything_is_sent(typed: str, transport: Transport) -> None:
    upstream = made(transport, typed)
    for ask in (lambda: upstream.create("/v1/videos", BODY, key=KEY), lambda: upstream.look("/v1/videos/1", key=KEY)):
        with pytest.raises(Misconfigured) as trouble:
            await ask()
        assert trouble.value.why.cause == "bad_address"


# ---- headers ----

# What the backend and the panel say → what arrives; None = nothing of that name.
HEADERS: dict[str, tuple[dict[str, Any], dict[str, str | None]]] = {
    "as a bearer": ({}, {"authorization": f"Bearer {KEY}", "accept": "application/json"}),
    "in a header of its own": ({"key_header": "x-goog-api-key"}, {"x-goog-api-key": KEY, "authorization": None}),
    "what the upstream wants": ({"headers": {"X-Failover-Enabled": "false"}}, {"x-failover-enabled": "false"}),
    "what the gateway wants besides": (
        {"extra_headers": {"X-Tenant": "7"}}, {"x-tenant": "7", "authorization": f"Bearer {KEY}"},
    ),
    "the admin knows better": (
        {"headers": {"X-Failover-Enabled": "false"}, "extra_headers": {"x-failover-enabled": "true", "ACCEPT": "*/*"}},
        {"x-failover-enabled": "true", "accept": "*/*"},
    ),
    "but the key is the key": ({"extra_headers": {"Authorization": "Bearer old"}}, {"authorization": f"Bearer {KEY}"}),
    "however it is written": ({"extra_headers": {"authorization": "Bearer old"}}, {"authorization": f"Bearer {KEY}"}),
    "and in its own header": (
        {"key_header": "x-goog-api-key", "extra_headers": {"X-Goog-Api-Key": "old"}}, {"x-goog-api-key": KEY},
    ),
    "HTTP's own are HTTP's": (
        {"extra_headers": {"Content-Length": "1", "Content-Type": "text/plain", "Host": "evil.example"}},
        {"content-length": str(BODY.length()), "content-type": "application/json"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
async def test_headers(name: str) -> None:
    given, expected = HEADERS[name]
    async with ScriptedServer([answer(b"{}")], [answer(b"{}")]) as server:
        transport = Transport(Trust.of([server.url]))
        upstream = made(transport, server.url, **given)
        await upstream.create("/v1/videos", BODY, key=KEY)
        await upstream.look("/v1/videos/1", key=KEY)
        await transport.close()
    for request in server.requests:
        for header, value in expected.items():
            if request.method == "GET" and header.startswith("content-"):
                continue
            assert [content for name, content in request.lines if name == header] == ([value] if value else []), header
        assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert [request.method for request in server.requests] == ["POST", "GET"]


# ---- requests ----


async def test_the_key_goes_to_its_own_origin_only(transport: Transport, internet: Internet) -> None:
    """Not even where the upstream itself points elsewhere."""
    internet["gw.example.com"] = internet["evil.example.com"] = PUBLIC
    async with ScriptedServer(
        *[
            [answer(b"", status, f"Location: http://evil.example.com:{port}/v1/videos")]
            for status, port in ((307, 1), (302, 1))
        ]
    ) as server:
        upstream = made(transport, server.link("", "gw.example.com"))
        created = await upstream.create("/v1/videos", BODY, key=KEY)
        looked = await upstream.look("/v1/videos/1", key=KEY)
    assert (created.status, looked.status) == (307, 302), "for whoever reads the answer"
    assert [request.headers["host"].split(":")[0] for request in server.requests] == ["gw.example.com"] * 2
    assert set(internet.asked) == {"gw.example.com"}


async def test_a_create_is_sent_once_and_its_unclear_endings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CREATE_SECONDS", 0.2)
    for act, cause in (([RESET], "cut"), ([HANG], "timeout")):
        async with ScriptedServer(act) as server:
            transport = Transport(Trust.of([server.url]))
            with pytest.raises(UnknownCharge) as unclear:
                await made(transport, server.url).create("/v1/videos", BODY, key=KEY)
            assert unclear.value.why.cause == cause
            assert [(one.method, one.target) for one in server.requests] == [("POST", "/v1/videos")]
            await transport.close()


async def test_the_panel_s_time_limit_counts_where_it_is_shorter() -> None:
    async with ScriptedServer([HANG]) as server:
        transport = Transport(Trust.of([server.url]))
        with pytest.raises(UnknownCharge):
            await made(transport, server.url, timeout_seconds=1).create("/v1/videos", BODY, key=KEY)
        await transport.close()


async def test_a_look_that_brings_nothing_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.1)
    for act in ([RESET], [HANG]):
        async with ScriptedServer(act, act) as server:
            transport = Transport(Trust.of([server.url]))
            with pytest.raises(Retryable):
                await made(transport, server.url).look("/v1/videos/a%3A1?x=%2F", key=KEY)
            assert {one.target for one in server.requests} == {"/v1/videos/a%3A1?x=%2F"}
            assert {one.body for one in server.requests} == {b""}
            await transport.close()
