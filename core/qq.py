"""What a OneBot bridge of QQ can do beyond the host: take a file in pieces, and say what stands in a chat."""

import asyncio
import base64
import hashlib
import logging
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .models import Destination

logger = logging.getLogger("astrbot")

PIECE = 1 << 20  # bytes of a file in one call
KEPT = 600_000  # milliseconds in which the bridge keeps a file that was handed to it
PATIENCE = 60.0  # seconds for one call
_LATELY = 20  # messages of a chat that are looked through


async def hand_over(bot: Any, path: Path, name: str, route: dict[str, int]) -> str:
    """Give the bridge a file in pieces, as NapCat takes it (``upload_file_stream``, since 4.8.115).

    Args:
        route: names the account, where an adapter has several.

    Returns:
        The file's path, as the bridge sees it.

    Raises:
        aiocqhttp.exceptions.Error: it does not know how, or the line broke.
        ValueError: it answered something else.
    """
    size = path.stat().st_size
    stream = {"stream_id": uuid.uuid4().hex, **route}
    pieces = max(1, -(-size // PIECE))
    whole = {
        "total_chunks": pieces,
        "file_size": size,
        "expected_sha256": await asyncio.to_thread(_sha256, path),
        "filename": name,
        "file_retention": KEPT,
    }
    for index in range(pieces):
        piece = await asyncio.to_thread(_piece, path, index)
        async with asyncio.timeout(PATIENCE):
            await bot.call_action("upload_file_stream", **stream, **whole, chunk_index=index, chunk_data=piece)
    async with asyncio.timeout(PATIENCE):
        answer = await bot.call_action("upload_file_stream", **stream, is_complete=True)
    there = answer.get("file_path") if isinstance(answer, dict) else None
    if not isinstance(there, str) or not there:
        raise ValueError("the bridge did not say where the file is")
    return there


def _piece(path: Path, index: int) -> str:
    with path.open("rb") as file:
        file.seek(index * PIECE)
        return base64.b64encode(file.read(PIECE)).decode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Sent:
    """A video that may have arrived.

    Attributes:
        source: what the message called it.
        size: bytes; 0 = not known.
        since: when it was sent, seconds since the epoch, by our clock; the bridge's may differ a little.
    """

    source: str
    size: int
    since: float


async def arrived(bot: Any, destination: Destination, video: Sent, route: dict[str, int]) -> bool:
    """Whether this very video of ours stands in the chat; False where the bridge cannot tell."""
    parts = await _ours(bot, destination, video.since, route)
    found = (one.get("data") for one in parts if one.get("type") in ("video", "file"))
    return any(_is(video, data) for data in found if isinstance(data, dict))


async def said(bot: Any, destination: Destination, words: str, since: float, route: dict[str, int]) -> bool:
    """Whether these words of ours stand in the chat; False where the bridge cannot tell."""
    parts = await _ours(bot, destination, since, route)
    found = (one.get("data") for one in parts if one.get("type") == "text")
    return any(words == data.get("text") for data in found if isinstance(data, dict))


async def _ours(bot: Any, destination: Destination, since: float, route: dict[str, int]) -> list[dict[str, Any]]:
    """The parts of what we wrote there since then, as far as the bridge tells."""
    chat = destination.conversation.rpartition(":")[2].rpartition("_")[2]
    if not chat.isdigit():
        return []
    action = "get_group_msg_history" if destination.group else "get_friend_msg_history"
    place = {"group_id": int(chat)} if destination.group else {"user_id": int(chat)}
    import aiocqhttp.exceptions  # type: ignore[import-untyped]

    try:
        async with asyncio.timeout(PATIENCE):
            me = route.get("self_id") or (await bot.call_action("get_login_info", **route)).get("user_id")
            answer = await bot.call_action(action, **place, count=_LATELY, **route)
    except (TimeoutError, OSError, AttributeError, aiocqhttp.exceptions.Error) as error:
        logger.info("the bridge does not tell what stands in the chat: %s", type(error).__name__)
        return []
    messages = answer.get("messages") if isinstance(answer, dict) else None
    ours = [one for one in messages or () if isinstance(one, dict) and _is_ours(one, since, me)]
    return [part for one in ours for part in one["message"] if isinstance(part, dict)]


def _is_ours(message: dict[str, Any], since: float, me: object) -> bool:
    sender, sent_at = message.get("sender"), message.get("time")
    author = message.get("user_id") or (sender.get("user_id") if isinstance(sender, dict) else None)
    recent = isinstance(sent_at, int | float) and sent_at >= since - 5
    return str(author) == str(me) and recent and isinstance(message.get("message"), list)


def _is(video: Sent, data: dict[str, Any]) -> bool:
    """Several videos may be on their way to one chat, and of one name: an address or a size tells them apart."""
    name = video.source.rpartition("/")[2].partition("?")[0]
    names = {str(data.get(key) or "") for key in ("file", "name", "url", "path")}
    if video.source in names:
        return True
    size = str(data.get("file_size") or data.get("size") or "0")
    if video.size > 0 and size != "0":
        return size == str(video.size)
    return any(one.rpartition("/")[2] == name for one in names if one and name)
