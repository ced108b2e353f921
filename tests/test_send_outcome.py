"""How a send ended: by what its adapter raised, and by what it only wrote into the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator

import aiocqhttp.exceptions as onebot
import pytest
import telegram.error

from core.outbox import Sending
from core.send_outcome import Complaints, outcome_of

logger = logging.getLogger("astrbot")

# What an adapter's library raises → what it says about the message.
OUTCOMES: dict[str, tuple[BaseException, Sending]] = {
    "qq: no bridge is connected": (onebot.ApiNotAvailable(), Sending.ABSENT),
    "qq: the bridge says no": (
        onebot.ActionFailed({"retcode": 1200, "wording": "rich media transfer failed"}), Sending.REFUSED,
    ),
    "qq: the bridge cannot open it": (onebot.ActionFailed({"retcode": 1200, "wording": "ENOENT"}), Sending.REFUSED),
    "qq: QQ did not confirm in time": (
        onebot.ActionFailed({"retcode": 1200, "wording": "Timeout: NTEvent sendMsg"}), Sending.UNKNOWN,
    ),
    "qq: no answer for 180 s": (onebot.NetworkError("WebSocket API call timeout"), Sending.UNKNOWN),
    "qq: an http bridge fails": (onebot.HttpFailed(502), Sending.UNKNOWN),
    "tg: no answer": (telegram.error.TimedOut(), Sending.UNKNOWN),
    "tg: the line": (telegram.error.NetworkError("httpx.ReadError: "), Sending.UNKNOWN),
    "tg: no connection was made": (telegram.error.NetworkError("httpx.ConnectError: refused"), Sending.ABSENT),
    "tg: bad request": (telegram.error.BadRequest("Wrong file identifier"), Sending.REFUSED),
    "tg: thrown out": (telegram.error.Forbidden("bot was kicked"), Sending.REFUSED),
    "tg: too many messages": (telegram.error.RetryAfter(5), Sending.ABSENT),
    "tg: above 50 MB": (telegram.error.NetworkError("Request Entity Too Large"), Sending.REFUSED),
    "tg: still starting": (RuntimeError("This HTTPXRequest is not initialized!"), Sending.ABSENT),
    "discord: above 10 MB": (RuntimeError("413 Payload Too Large: Request Entity Too Large"), Sending.REFUSED),
    "the file is gone": (FileNotFoundError(2, "No such file"), Sending.REFUSED),
    "a component it does not take": (ValueError("unsupported"), Sending.REFUSED),
    "an argument it does not take": (TypeError("unexpected keyword"), Sending.REFUSED),
    "the answer cannot be read: it was sent": (json.JSONDecodeError("Expecting value", "<html>", 0), Sending.UNKNOWN),
    "a line that broke": (ConnectionResetError(), Sending.UNKNOWN),
    "no answer in time": (TimeoutError(), Sending.UNKNOWN),
    "something we do not know": (KeyError("message_id"), Sending.UNKNOWN),
    "anything": (Exception("?"), Sending.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_an_exception_says(name: str) -> None:
    error, outcome = OUTCOMES[name]
    assert outcome_of(error) is outcome


# ---- what is only logged ----


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    one = Complaints()
    yield one
    one.close()


async def _child() -> None:
    """As adapters do that send in a task of their own."""
    await asyncio.create_task(_says("error"))


async def _thread() -> None:
    await asyncio.to_thread(logger.error, "in %s", "error")


async def _says(level: str) -> None:
    getattr(logger, level)("in %s", level)


# What an adapter does while it sends → what is heard of it.
HEARD: dict[str, tuple[Callable[[], object], list[str]]] = {
    "an error": (lambda: _says("error"), ["in error"]),
    "worse": (lambda: _says("critical"), ["in critical"]),
    "an error in a task of its own": (_child, ["in error"]),
    "an error in a thread of its own": (_thread, ["in error"]),
    "a warning": (lambda: _says("warning"), []),
    "a remark": (lambda: _says("info"), []),
    "nothing": (lambda: asyncio.sleep(0), []),
}


@pytest.mark.parametrize("name", HEARD)
async def test_what_is_heard(name: str, complaints: Complaints) -> None:
    act, lines = HEARD[name]
    with complaints.listening() as heard:
        await act()  # type: ignore[misc]
    assert heard == lines


async def test_a_long_line_is_cut(complaints: Complaints) -> None:
    with complaints.listening() as heard:
        logger.error("x" * 10_000)
    assert [len(line) for line in heard] == [200]


async def test_each_send_hears_its_own(complaints: Complaints) -> None:
    """Two sends at the same time, and somebody else's task: whoever complains is heard by whom it concerns."""
    turn = asyncio.Event()

    async def send(name: str) -> list[str]:
        with complaints.listening() as heard:
            await turn.wait()
            logger.error(name)
            await asyncio.sleep(0)
        return heard

    async def stranger() -> None:
        await turn.wait()
        logger.error("somebody else")

    sends = [asyncio.create_task(send(name)) for name in "ab"]
    other = asyncio.create_task(stranger())
    await asyncio.sleep(0)
    turn.set()
    assert await asyncio.gather(*sends) == [["a"], ["b"]]
    await other


async def test_what_began_before_is_not_ours(complaints: Complaints) -> None:
    """An adapter's own loop, that was there before the send."""
    turn = asyncio.Event()

    async def loop() -> None:
        await turn.wait()
        logger.error("the adapter's own trouble")

    before = asyncio.create_task(loop())
    with complaints.listening() as heard:
        turn.set()
        await before
    assert heard == []


async def test_only_inside_the_block(complaints: Complaints) -> None:
    with complaints.listening() as heard:
        pass
    logger.error("later")
    assert heard == []


async def test_only_the_host_s_log(complaints: Complaints) -> None:
    with complaints.listening() as heard:
        logging.getLogger("somebody.else").error("no")
    assert heard == []


async def test_closing_stops_it(complaints: Complaints) -> None:
    with complaints.listening() as heard:
        complaints.close()
        logger.error("later")
    assert heard == []
    assert complaints not in logger.handlers


async def test_a_line_that_was_written_wrong_breaks_no_send(complaints: Complaints) -> None:
    """An adapter's ``logger.error("%d", "?")``: what it raised in here would look like the send's own end."""
    with complaints.listening() as heard:
        complaints.emit(logging.LogRecord("astrbot", logging.ERROR, "", 0, "100 %d", ("?",), None))
    assert heard == ["100 %d"]
