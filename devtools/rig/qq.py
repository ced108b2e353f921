"""The chats behind the fake QQ: what each action of OneBot does there, and what becomes of media.

QQ *fetches* what it is told to send (http, file://, base64://) and refuses what it cannot read or what is too big.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from .media import sha
from .net import HostMap
from .timeline import Timeline

Segment = dict[str, Any]
Params = dict[str, Any]
Target = tuple[str, int]  # ("group", id) or ("private", id)
MEDIA = ("image", "video", "record", "file")


def text(words: str) -> Segment:
    return {"type": "text", "data": {"text": words}}


@dataclass
class Media:
    """What the fake QQ got when it fetched one piece of media."""

    type: str
    source: str
    size: int = 0
    sha: str = ""
    error: str = ""


@dataclass
class Sent:
    """A message of the bot's that people can see."""

    target: Target
    segments: list[Segment]
    media: list[Media]
    message_id: int
    t: float = field(default_factory=time.time)

    @property
    def text(self) -> str:
        return "".join(s["data"]["text"] for s in self.segments if s["type"] == "text")

    @property
    def videos(self) -> list[Media]:
        return [media for media in self.media if media.type == "video"]

    @property
    def replies_to(self) -> int | None:
        return next((int(s["data"]["id"]) for s in self.segments if s["type"] == "reply"), None)


class ApiError(Exception):
    """``{"status": "failed", …}``"""

    def __init__(self, retcode: int, message: str) -> None:
        self.retcode, self.message = retcode, message


class QQ:
    """The messages that people can see, and one ``api_…`` method for each action of OneBot that is understood."""

    BOT, USER, GROUP = 10001, 20002, 30003

    def __init__(self, timeline: Timeline, hosts: HostMap) -> None:
        self.timeline, self.hosts = timeline, hosts
        self.sent: list[Sent] = []
        self.messages: dict[int, dict[str, Any]] = {}
        self.forwards: dict[str, list[Segment]] = {}  # merged forwards: id -> nodes
        self.max_video_bytes = 100 * 1024 * 1024
        self.shares_filesystem = True  # False: QQ runs in another container, so file:// cannot be read
        self.fetch_timeout = 30.0  # seconds
        self._chunks: dict[str, dict[int, bytes]] = {}  # uploads under way: stream id -> chunks
        self._uploads: dict[str, bytes] = {}  # files on QQ's own disk, by path
        self.apis: dict[str, Callable[[Params], Any]] = {
            name.removeprefix("api_"): getattr(self, name) for name in dir(self) if name.startswith("api_")
        }
        self._ids = itertools.count(700001)

    async def do(self, action: str, params: Params) -> Any:
        if action not in self.apis:
            raise ApiError(1404, f"unsupported action {action}")
        result = self.apis[action](params)
        return await result if inspect.isawaitable(result) else result

    async def _fetch(self, segment: Segment) -> Media:
        source = str(segment["data"].get("file") or segment["data"].get("url") or "")
        media = Media(segment["type"], source if len(source) < 300 else f"{source[:40]}…")
        try:
            data = await self._read(source)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            media.error = str(error) or type(error).__name__
            return media
        media.size, media.sha = len(data), sha(data)
        if not data:
            media.error = "empty file"
        elif media.type == "video" and media.size > self.max_video_bytes:
            media.error = "rich media transfer failed"
        return media

    async def _read(self, source: str) -> bytes:
        if source.startswith("base64://"):
            return base64.b64decode(source[9:])
        if source.startswith(("http://", "https://")):
            timeout = aiohttp.ClientTimeout(total=self.fetch_timeout)
            headers = {"User-Agent": "rig-qq"}
            async with self.hosts.session(timeout=timeout) as http, http.get(source, headers=headers) as answer:
                if answer.status != 200:
                    raise OSError(f"下载文件失败: HTTP {answer.status}")
                return await answer.read()
        path = Path(unquote(urlsplit(source).path) if source.startswith("file://") else source)
        if str(path) in self._uploads:
            return self._uploads[str(path)]
        if not self.shares_filesystem or not path.is_file():
            raise OSError(f"ENOENT: no such file or directory, open '{path}'")
        return await asyncio.to_thread(path.read_bytes)

    async def _deliver(self, target: Target, message: str | list[Segment]) -> dict[str, Any]:
        segments = [text(message)] if isinstance(message, str) else message
        media = [await self._fetch(segment) for segment in segments if segment["type"] in MEDIA]
        for piece in media:
            if piece.error:
                raise ApiError(1200, piece.error)
        if not segments:
            raise ApiError(1400, "消息体无法解析")
        sent = Sent(target, segments, media, next(self._ids))
        self.sent.append(sent)
        kind, place = target
        self.messages[sent.message_id] = {
            "message_id": sent.message_id,
            "message_type": kind,
            "message": segments,
            "user_id": self.BOT,
            "time": int(time.time()),
            "sender": {"user_id": self.BOT, "nickname": "rigbot", "card": ""},
            **({"group_id": place} if kind == "group" else {}),
        }
        self.timeline.add(
            "qq",
            "DELIVERED",
            to=target,
            text=sent.text,
            kinds=[segment["type"] for segment in segments],
            media=[(piece.type, piece.size, piece.sha, piece.source) for piece in media],
            message_id=sent.message_id,
        )
        return {"message_id": sent.message_id}

    # ---- OneBot's own names: one method per action ------------------------------------------------------------------
    async def api_send_group_msg(self, params: Params) -> Any:
        return await self._deliver(("group", int(params["group_id"])), params["message"])

    async def api_send_private_msg(self, params: Params) -> Any:
        return await self._deliver(("private", int(params["user_id"])), params["message"])

    async def api_send_msg(self, params: Params) -> Any:
        return await (self.api_send_group_msg if params.get("group_id") else self.api_send_private_msg)(params)

    async def _forward(self, target: Target, params: Params) -> Any:
        content = [segment for node in params.get("messages", []) for segment in node["data"].get("content", [])]
        return await self._deliver(target, content) | {"forward_id": "rig-forward"}

    async def api_send_group_forward_msg(self, params: Params) -> Any:
        return await self._forward(("group", int(params["group_id"])), params)

    async def api_send_private_forward_msg(self, params: Params) -> Any:
        return await self._forward(("private", int(params["user_id"])), params)

    async def api_upload_group_file(self, params: Params) -> Any:
        return await self._deliver(("group", int(params["group_id"])), [_file(params)])

    async def api_upload_private_file(self, params: Params) -> Any:
        return await self._deliver(("private", int(params["user_id"])), [_file(params)])

    def api_upload_file_stream(self, params: Params) -> Any:
        """NapCat's way for a bridge that cannot see our files: chunks in any order, then ``is_complete``."""
        stream = str(params["stream_id"])
        chunks = self._chunks.setdefault(stream, {})
        if not params.get("is_complete"):
            chunks[int(params["chunk_index"])] = base64.b64decode(params["chunk_data"])
            total = int(params["total_chunks"])
            return {"status": "chunk_received", "received_chunks": len(chunks), "total_chunks": total}
        data = b"".join(chunks[number] for number in range(len(chunks)))
        path = f"/napcat/temp/{stream}"
        self._uploads[path] = data
        digest = hashlib.sha256(data).hexdigest()
        return {"status": "file_complete", "file_path": path, "file_size": len(data), "sha256": digest}

    def api_set_msg_emoji_like(self, params: Params) -> Any:
        if int(params.get("message_id") or 0) not in self.messages:
            raise ApiError(1200, "消息不存在")
        if not str(params.get("emoji_id", "")).isdigit():
            raise ApiError(1400, "emojiId not found")
        return {"result": 0, "errMsg": ""}

    def api_get_msg(self, params: Params) -> Any:
        event = self.messages.get(int(params["message_id"]))
        if event is None:
            raise ApiError(1200, "消息不存在")
        return {name: value for name, value in event.items() if name != "post_type"} | {"self_id": self.BOT}

    def api_delete_msg(self, params: Params) -> Any:
        if self.messages.pop(int(params["message_id"]), None) is None:
            raise ApiError(1200, "消息不存在")

    def api_get_forward_msg(self, params: Params) -> Any:
        return {"messages": self.forwards.get(str(params.get("message_id") or params.get("id")), [])}

    def api_get_group_msg_history(self, params: Params) -> Any:
        group = int(params["group_id"])
        seen = [message for message in self.messages.values() if message.get("group_id") == group]
        return {"messages": seen[-int(params.get("count") or 20) :]}

    def api_get_friend_msg_history(self, params: Params) -> Any:
        """Told apart by the person only among what the bot wrote, which is all that is asked for."""
        user = int(params["user_id"])
        shown = {one.message_id for one in self.sent if one.target == ("private", user)}
        return {"messages": [self.messages[number] for number in shown][-int(params.get("count") or 20) :]}

    def api_get_login_info(self, params: Params) -> Any:
        return {"user_id": self.BOT, "nickname": "rigbot"}

    def api_get_version_info(self, params: Params) -> Any:
        return {"app_name": "NapCat.Onebot", "app_version": "4.8.0", "protocol_version": "v11"}

    def api_get_status(self, params: Params) -> Any:
        return {"online": True, "good": True}

    def api_get_group_member_info(self, params: Params) -> Any:
        user = params["user_id"]
        return {
            "group_id": params["group_id"],
            "user_id": user,
            "nickname": f"user{user}",
            "card": "",
            "role": "member",
        }

    def api_get_group_member_list(self, params: Params) -> Any:
        return [self.api_get_group_member_info({**params, "user_id": user}) for user in (self.BOT, self.USER)]

    def api_get_group_info(self, params: Params) -> Any:
        group = params["group_id"]
        return {"group_id": group, "group_name": f"group{group}", "member_count": 2}

    def api_get_stranger_info(self, params: Params) -> Any:
        name = f"user{params['user_id']}"
        return {"user_id": params["user_id"], "nickname": name, "nick": name}


def _file(params: Params) -> Segment:
    return {"type": "file", "data": {"file": params["file"], "name": params.get("name")}}
