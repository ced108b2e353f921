"""What a QQ bridge can do beyond the host: take a file in pieces, and say what stands in a chat."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from pathlib import Path
from typing import Any

import aiocqhttp.exceptions as onebot
import pytest

from core import qq
from core.models import Destination
from core.qq import PIECE, Sent
from tests.host import RecordingClient

ROUTE = {"self_id": 10000}
UNSUPPORTED = onebot.ActionFailed({"retcode": 1404, "wording": "不支持的api"})


# ---- in pieces ----


def bridge(there: Any) -> RecordingClient:
    """A bridge that takes pieces, and says this at the end."""
    client = RecordingClient()

    async def take(**params: Any) -> Any:
        return there if params.get("is_complete") else {"status": "chunk_received"}

    client.answers["upload_file_stream"] = take
    return client


SIZES = {
    "nothing": (0, 1),
    "less than a piece": (7, 1),
    "exactly one": (PIECE, 1),
    "one byte more": (PIECE + 1, 2),
    "exactly three": (3 * PIECE, 3),
}


@pytest.mark.parametrize("name", SIZES)
async def test_a_file_in_pieces(name: str, tmp_path: Path) -> None:
    size, pieces = SIZES[name]
    content = bytes(index * 7 % 251 for index in range(size % PIECE)) + b"\5" * (size - size % PIECE)
    path = tmp_path / "000003.mp4"
    path.write_bytes(content)
    client = bridge({"status": "file_complete", "file_path": "/app/temp/x"})
    assert await qq.hand_over(client, path, "视频_3.mp4", ROUTE) == "/app/temp/x"
    *given, last = client.named("upload_file_stream")
    assert [one["chunk_index"] for one in given] == list(range(pieces)), "in order"
    assert b"".join(base64.b64decode(one["chunk_data"], validate=True) for one in given) == content
    for one in given:
        assert len(base64.b64decode(one["chunk_data"])) <= PIECE
        assert (one["total_chunks"], one["file_size"], one["filename"]) == (pieces, size, "视频_3.mp4")
        assert one["expected_sha256"] == hashlib.sha256(content).hexdigest()
        assert one["file_retention"] >= 60_000, "it must outlast the send"
    assert last == {"stream_id": given[0]["stream_id"], "is_complete": True, **ROUTE}
    assert {one["stream_id"] for one in given} == {last["stream_id"]}
    assert {one["self_id"] for one in given} == {10000}, "an adapter may have several accounts"


async def test_two_files_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "1.mp4"
    path.write_bytes(b"x")
    client = bridge({"file_path": "/x"})
    await asyncio.gather(*(qq.hand_over(client, path, "1.mp4", {}) for _ in range(2)))
    assert len({one["stream_id"] for one in client.named("upload_file_stream")}) == 2


@pytest.mark.parametrize("answer", [None, {}, {"file_path": ""}, {"file_path": 7}, "/x", []], ids=repr)
async def test_an_answer_that_does_not_say_where(answer: Any, tmp_path: Path) -> None:
    path = tmp_path / "1.mp4"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="where the file is"):
        await qq.hand_over(bridge(answer), path, "1.mp4", {})


async def test_a_bridge_that_takes_none_is_asked_once(tmp_path: Path) -> None:
    path = tmp_path / "1.mp4"
    path.write_bytes(b"x" * (PIECE + 1))
    client = RecordingClient()
    client.answers["upload_file_stream"] = UNSUPPORTED
    with pytest.raises(onebot.ActionFailed):
        await qq.hand_over(client, path, "1.mp4", {})
    assert len(client.calls) == 1


async def test_a_bridge_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qq, "PATIENCE", 0.02)
    path = tmp_path / "1.mp4"
    path.write_bytes(b"x")
    client = RecordingClient()

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    client.answers["upload_file_stream"] = never
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(qq.hand_over(client, path, "1.mp4", {}), 2)


# ---- what stands in a chat ----

NOW = 1_800_000_000.0
LINK = "https://cdn.example.com/a/generated.mp4?sig=1"
VIDEO = Sent(LINK, 5000, NOW)


def message(kind: str = "video", author: Any = 10000, at: float = 1.0, **data: Any) -> dict[str, Any]:
    return {"user_id": author, "time": int(NOW + at), "message": [{"type": kind, "data": data}]}


# What stands there → whether that is ours.
HISTORY: dict[str, tuple[Any, bool]] = {
    "its very link": (message(file=LINK), True),
    "its link as the url": (message(file="ABC.mp4", url=LINK), True),
    "its size, as words": (message(file="ABC.mp4", file_size="5000"), True),
    "its size, as a number": (message(file="ABC.mp4", size=5000), True),
    "as a file": (message("file", name="x.mp4", file_size="5000"), True),
    "its name": (message(file="generated.mp4"), True),
    "its name at the end of a path": (message(path="/app/temp/generated.mp4"), True),
    "who wrote it stands in the sender": (
        {"sender": {"user_id": "10000"}, "time": NOW, "message": message(file=LINK)["message"]}, True,
    ),
    "the bridge's clock goes a little after": (message(at=-4, file=LINK), True),
    "somebody else's": (message(author=42, file=LINK, file_size="5000"), False),
    "nobody's": (message(author=None, file=LINK), False),
    "an older one": (message(at=-60, file=LINK), False),
    "without a time": (message(file=LINK) | {"time": None}, False),
    "another video of ours": (message(file="other.mp4", file_size="6000"), False),
    "another one of the same name": (message(file="generated.mp4", file_size="6000"), False),
    "a picture of that size": (message("image", file="x.png", file_size="5000"), False),
    "words": (message("text", text=LINK), False),
    "nothing is known of it": (message(), False),
    "not a list": (message() | {"message": "[CQ:video]"}, False),
    "odd": (message() | {"message": ["?", {"type": "video", "data": "?"}, {"type": "video"}]}, False),
    "no message": ("?", False),
}  # fmt: skip


def place(group: bool = True, session: str = "1001") -> Destination:
    kind = "GroupMessage" if group else "FriendMessage"
    return Destination(f"qq:{kind}:{session}", "aiocqhttp", "42", "777", group)


def told(action: str, *messages: Any) -> RecordingClient:
    client = RecordingClient()
    client.answers[action] = {"messages": list(messages)}
    return client


@pytest.mark.parametrize("name", HISTORY)
async def test_what_stands_in_the_chat(name: str) -> None:
    one, ours = HISTORY[name]
    client = told("get_group_msg_history", one)
    assert await qq.arrived(client, place(), VIDEO, ROUTE) is ours
    assert [action for action, _ in client.calls] == ["get_group_msg_history"]
    assert client.calls[0][1]["group_id"] == 1001


@pytest.mark.parametrize(
    ("one", "there"),
    [
        (message("text", text="⚠️ #3 hello"), True),
        (message("text", text="⚠️ #4 hello"), False),
        (message("text", author=42, text="⚠️ #3 hello"), False),
        (message("text", at=-60, text="⚠️ #3 hello"), False),
        (message(file="⚠️ #3 hello"), False),
    ],
    ids=["ours", "of another job", "somebody quotes it", "said before", "no words"],
)
async def test_words_that_stand_in_the_chat(one: Any, there: bool) -> None:
    client = told("get_group_msg_history", one)
    assert await qq.said(client, place(), "⚠️ #3 hello", NOW, ROUTE) is there


async def test_two_videos_of_ours_at_once() -> None:
    """Each upload is called the same at the upstream; only one arrived."""
    first, second = Sent(LINK, 5000, NOW), Sent(LINK.replace("/a/", "/b/"), 7000, NOW)
    client = told("get_group_msg_history", message(author=42), message(file="generated.mp4", file_size="7000"))
    assert await qq.arrived(client, place(), first, ROUTE) is False
    assert await qq.arrived(client, place(), second, ROUTE) is True


async def test_a_video_whose_size_nobody_knows() -> None:
    unknown = Sent(LINK, 0, NOW)
    for size in ("0", "", "5000"):
        client = told("get_group_msg_history", message(file="other.mp4", file_size=size))
        assert await qq.arrived(client, place(), unknown, ROUTE) is False
    client = told("get_group_msg_history", message(file="generated.mp4", file_size="5000"))
    assert await qq.arrived(client, place(), unknown, ROUTE) is True


@pytest.mark.parametrize(("session", "chat"), [("42", 42), ("qq!9_42", 42)], ids=["alone", "a session per person"])
async def test_a_friend_s_chat(session: str, chat: int) -> None:
    client = told("get_friend_msg_history", message(file=LINK))
    assert await qq.arrived(client, place(False, session), VIDEO, ROUTE) is True
    assert client.calls == [("get_friend_msg_history", {"user_id": chat, "count": 20, **ROUTE})]


async def test_who_we_are_is_asked_where_the_event_is_gone() -> None:
    client = told("get_group_msg_history", message(author="555", file=LINK))
    client.answers["get_login_info"] = {"user_id": 555}
    assert await qq.arrived(client, place(), VIDEO, {}) is True
    client.answers["get_login_info"] = {"user_id": 556}
    assert await qq.arrived(client, place(), VIDEO, {}) is False


TROUBLE: dict[str, Any] = {
    "it does not know how": UNSUPPORTED,
    "it is not there": onebot.ApiNotAvailable(),
    "it does not answer": onebot.NetworkError("timeout"),
    "the line broke": ConnectionResetError(),
    "nothing": None,
    "not a list": {"messages": None},
    "something else": [1],
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_a_bridge_that_cannot_tell(name: str) -> None:
    client = RecordingClient()
    client.answers["get_group_msg_history"] = TROUBLE[name]
    assert await qq.arrived(client, place(), VIDEO, ROUTE) is False


async def test_a_bridge_that_does_not_say_who_we_are() -> None:
    client = told("get_group_msg_history", message(author=None, file=LINK))
    assert await qq.arrived(client, place(), VIDEO, {}) is False


async def test_a_bridge_that_hangs_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qq, "PATIENCE", 0.02)
    client = RecordingClient()

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    client.answers["get_group_msg_history"] = never
    begun = time.monotonic()
    assert await qq.arrived(client, place(), VIDEO, ROUTE) is False
    assert time.monotonic() - begun < 2


async def test_a_chat_without_a_number_is_not_looked_up() -> None:
    client = RecordingClient()
    assert await qq.arrived(client, place(session="guild-x"), VIDEO, ROUTE) is False
    assert client.calls == []
