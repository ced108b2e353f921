"""The emoji on the person's message: the right one, one after the other, in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiocqhttp.exceptions as onebot
import pytest
import telegram.error

from core import emoji_feedback as module
from core.emoji_feedback import EMOJI, EmojiFeedback
from core.models import Destination
from core.outbox import Mood
from tests.host import Chat, context_of
from tests.until import until


class Board:
    """One chat's messages and their marks."""

    def __init__(self, chat: Chat) -> None:
        self.chat, self.client = chat, chat.client
        self.emoji = EmojiFeedback(context_of(chat))

    async def mark(self, *moods: Mood, live: bool = True, destination: Destination | None = None) -> list[bool]:
        event = self.chat.event() if live else None
        return await asyncio.gather(
            *(self.emoji.mark(destination or self.chat.destination(), mood, event) for mood in moods)
        )

    def on_qq(self) -> list[tuple[str, bool]]:
        return [(call["emoji_id"], call["set"]) for call in self.client.named("set_msg_emoji_like")]

    def on_telegram(self) -> list[str]:
        calls = self.client.named("set_message_reaction")
        return ["".join(one.emoji for one in call["reaction"]) for call in calls]


@pytest.fixture
async def board() -> AsyncIterator[Any]:
    boards: list[Board] = []

    def make(chat: Chat | str = "aiocqhttp") -> Board:
        boards.append(Board(chat if isinstance(chat, Chat) else Chat(chat)))
        return boards[-1]

    yield make
    for one in boards:
        await one.emoji.close()


# ---- what is shown ----

QQ = {
    # processing 125, success 79, failed 106: the numbers users know
    Mood.PROCESSING: [("125", True)],
    Mood.SUCCESS: [("79", True), ("125", False)],
    Mood.FAILED: [("106", True), ("125", False)],
    Mood.NONE: [("125", False)],
}
TELEGRAM = {Mood.PROCESSING: "👀", Mood.SUCCESS: "👍", Mood.FAILED: "👎", Mood.NONE: ""}


@pytest.mark.parametrize("live", [True, False], ids=["live", "after a restart"])
@pytest.mark.parametrize("mood", Mood)
async def test_on_qq(mood: Mood, live: bool, board: Any) -> None:
    one = board()
    assert await one.mark(mood, live=live) == [True]
    assert one.on_qq() == QQ[mood]
    assert {call["message_id"] for call in one.client.named("set_msg_emoji_like")} == {777}


@pytest.mark.parametrize("live", [True, False], ids=["live", "after a restart"])
@pytest.mark.parametrize("mood", Mood)
async def test_on_telegram(mood: Mood, live: bool, board: Any) -> None:
    """A reaction replaces the one before; in a topic the chat's id stands before the #."""
    for chat, chat_id in ((Chat("telegram", "-100123#7"), "-100123"), (Chat("telegram", "42", group=False), "42")):
        one = board(chat)
        assert await one.mark(mood, live=live) == [True]
        assert one.on_telegram() == [TELEGRAM[mood]]
        [call] = one.client.named("set_message_reaction")
        assert (call["chat_id"], call["message_id"]) == (chat_id, 777)


@pytest.mark.parametrize("platform", ["discord", "lark"])
async def test_where_the_host_reacts(platform: str, board: Any) -> None:
    one = board(platform)
    assert await one.mark(Mood.PROCESSING, Mood.SUCCESS, Mood.NONE) == [True] * 3
    expected = [EMOJI[platform][mood] for mood in (Mood.PROCESSING, Mood.SUCCESS)]
    assert [call["emoji"] for call in one.client.named("react")] == expected


@pytest.mark.parametrize("platform", ["webchat", "slack", "qq_official", "kook", "wecom"])
async def test_elsewhere_nothing_is_sent(platform: str, board: Any) -> None:
    """There, the host's `react` would send the emoji as a message."""
    one = board(platform)
    assert await one.mark(*Mood) == [False] * 4
    assert one.client.calls == []


async def test_without_a_message_there_is_nothing_to_mark(board: Any) -> None:
    one = board()
    assert await one.mark(Mood.PROCESSING, destination=one.chat.destination("")) == [False]
    assert not one.emoji.can_mark(one.chat.destination(""))
    assert one.emoji.can_mark(one.chat.destination("777"))


def test_no_emoji_of_another_plugin() -> None:
    """289 and 124 mean something else in many groups."""
    assert not {"289", "124"} & set(EMOJI["aiocqhttp"].values())


# ---- in which order ----


async def test_marks_come_one_after_the_other(board: Any) -> None:
    """A slow first call must not overwrite what came later."""
    one = board("telegram")
    slow = asyncio.Event()

    async def first(**_: Any) -> None:
        await slow.wait()

    one.client.answers["set_message_reaction"] = [first]
    marks = asyncio.create_task(one.mark(Mood.PROCESSING, Mood.SUCCESS))
    await until(lambda: one.client.calls)
    await asyncio.sleep(0.01)
    assert one.on_telegram() == ["👀"]
    slow.set()
    assert await marks == [True, True]
    assert one.on_telegram() == ["👀", "👍"]


async def test_other_messages_are_not_held_up(board: Any) -> None:
    one = board("telegram")

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    one.client.answers["set_message_reaction"] = [never]
    one.emoji.mark_processing(one.chat.destination("1"), one.chat.event())
    await until(lambda: one.client.calls)
    assert await asyncio.wait_for(one.mark(Mood.SUCCESS, destination=one.chat.destination("2")), 1) == [True]


# ---- in nobody's way ----

TROUBLE = [
    onebot.ActionFailed({"retcode": 1404, "wording": "不支持的api"}),
    onebot.ApiNotAvailable(),
    onebot.NetworkError("timeout"),
    telegram.error.BadRequest("Reaction_invalid"),
    telegram.error.TimedOut(),
    RuntimeError("?"),
    KeyError("?"),
]


@pytest.mark.parametrize("platform", ["aiocqhttp", "telegram"])
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda error: type(error).__name__)
async def test_an_emoji_that_fails_is_no_news(platform: str, trouble: Exception, board: Any) -> None:
    one = board(platform)
    one.client.answers = {"set_msg_emoji_like": trouble, "set_message_reaction": trouble}
    assert await one.mark(Mood.PROCESSING, Mood.FAILED) == [False, False]
    one.client.answers.clear()
    assert await one.mark(Mood.SUCCESS) == [True], "the next one is tried all the same"


async def test_a_platform_that_is_gone_is_no_news(board: Any) -> None:
    one = board()
    one.emoji._context.platform_manager.platform_insts.clear()
    assert await one.mark(Mood.SUCCESS, live=False) == [False]


async def test_a_message_id_that_is_no_number_is_no_news(board: Any) -> None:
    one = board()
    assert await one.mark(Mood.SUCCESS, destination=one.chat.destination("abc")) == [False]


async def test_a_slow_emoji_is_given_up(board: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    one = board()

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    one.client.answers["set_msg_emoji_like"] = [never]
    assert await asyncio.wait_for(one.mark(Mood.PROCESSING, Mood.SUCCESS), 1) == [False, True]


async def test_marking_returns_at_once(board: Any) -> None:
    one = board()
    task = one.emoji.mark_failed(one.chat.destination(), one.chat.event())
    assert one.client.calls == []
    assert await task
    assert one.on_qq() == QQ[Mood.FAILED]
    assert await one.emoji.mark_success(one.chat.destination(), None)
    assert one.emoji._latest == {}, "nothing is kept"


async def test_closing_does_not_wait(board: Any) -> None:
    one = board()

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    one.client.answers["set_msg_emoji_like"] = never
    marks = [one.emoji.mark(one.chat.destination(), mood, one.chat.event()) for mood in Mood]
    await until(lambda: one.client.calls)
    await asyncio.wait_for(one.emoji.close(), 1)
    assert all(mark.done() for mark in marks)
