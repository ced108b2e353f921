"""A fake QQ: an OneBot v11 bridge (NapCat's dialect) that dials AstrBot's reverse WebSocket.

It behaves like the real thing where a plugin can notice: it *fetches* the media it is told to send (http, file://,
base64://), refuses what QQ refuses (too big, unreadable: retcode 1200), answers ``get_msg`` for replies, and loses
answers or connections on request.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from .faults import Fault, FaultBook, FaultKind
from .media import sha
from .net import LOOPBACK, HostMap
from .timeline import Timeline, until

Segment = dict[str, Any]
Params = dict[str, Any]
Target = tuple[str, int]  # ("group", id) or ("private", id)
MEDIA = ("image", "video", "record", "file")


def text(words: str) -> Segment:
    return {"type": "text", "data": {"text": words}}


def image(url: str, **data: Any) -> Segment:
    return {"type": "image", "data": {"file": "rig.png", "sub_type": 0, "url": url, "file_size": "1024", **data}}


def video(url: str) -> Segment:
    return {"type": "video", "data": {"file": "rig.mp4", "url": url, "file_size": "4096"}}


def at(user: int | str) -> Segment:
    return {"type": "at", "data": {"qq": str(user)}}


def reply(message_id: int) -> Segment:
    return {"type": "reply", "data": {"id": str(message_id)}}


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


class OneBot:
    """People write with :meth:`group` and :meth:`private`; what the bot sends is in ``sent``."""

    BOT, USER, GROUP = 10001, 20002, 30003

    def __init__(self, timeline: Timeline, hosts: HostMap) -> None:
        self.timeline, self.hosts, self.faults = timeline, hosts, FaultBook()
        self.sent: list[Sent] = []
        self.messages: dict[int, dict[str, Any]] = {}
        self.forwards: dict[str, list[Segment]] = {}  # merged forwards: id -> nodes
        self.max_video_bytes = 100 * 1024 * 1024
        self.shares_filesystem = True  # False: QQ runs in another container, so file:// cannot be read
        self.fetch_timeout = 30.0  # seconds
        self.connections = 0
        self.apis: dict[str, Callable[[Params], Any]] = {
            name.removeprefix("api_"): getattr(self, name) for name in dir(self) if name.startswith("api_")
        }
        self._ids = itertools.count(700001)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._online = asyncio.Event()

    # ---- connection -------------------------------------------------------------------------------------------------
    async def start(self, port: int, token: str) -> None:
        """Dial, and dial again for as long as nobody answers, as NapCat does."""
        self._dialling = asyncio.create_task(self._dial(f"ws://{LOOPBACK}:{port}/ws", token))

    async def stop(self) -> None:
        tasks = [*self._answering, *([self._dialling] if self._dialling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ready(self, timeout: float = 30) -> None:
        await asyncio.wait_for(self._online.wait(), timeout)

    async def disconnect(self) -> None:
        """Drop the WebSocket; the client dials again at once."""
        if self._socket is not None:
            await self._socket.close()

    async def _dial(self, url: str, token: str) -> None:
        headers = {"X-Self-ID": str(self.BOT), "X-Client-Role": "Universal", "User-Agent": "OneBot/11"}
        headers["Authorization"] = f"Bearer {token}"
        async with aiohttp.ClientSession(headers=headers) as http:
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with http.ws_connect(url, max_msg_size=0) as socket:
                        await self._converse(socket)
                if self._online.is_set():
                    self.timeline.add("qq", "disconnected")
                    self._online.clear()
                self._socket = None
                await asyncio.sleep(0.1)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.connections += 1
        await self._emit({"post_type": "meta_event", "meta_event_type": "lifecycle", "sub_type": "connect"})
        self.timeline.add("qq", "connected", number=self.connections)
        self._online.set()
        async for message in socket:
            if message.type == aiohttp.WSMsgType.TEXT:
                answering = asyncio.create_task(self._answer(socket, json.loads(message.data)))
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)

    async def _emit(self, event: dict[str, Any]) -> None:
        assert self._socket is not None, "the fake QQ is not connected"
        await self._socket.send_str(json.dumps({"time": int(time.time()), "self_id": self.BOT, **event}))

    # ---- what people write ------------------------------------------------------------------------------------------
    async def group(
        self,
        *parts: str | Segment,
        user: int | None = None,
        group: int | None = None,
        role: str = "member",
        **extra: Any,
    ) -> int:
        """Write into a group; returns the message's id."""
        return await self._write("group", parts, user or self.USER, group or self.GROUP, role, extra)

    async def private(self, *parts: str | Segment, user: int | None = None, **extra: Any) -> int:
        """Write to the bot alone; returns the message's id."""
        return await self._write("private", parts, user or self.USER, None, "member", extra)

    async def _write(
        self, kind: str, parts: Sequence[str | Segment], user: int, group: int | None, role: str, extra: dict[str, Any]
    ) -> int:
        segments = [text(part) if isinstance(part, str) else part for part in parts]
        message_id = next(self._ids)
        event = {
            "post_type": "message",
            "message_type": kind,
            "sub_type": "normal" if kind == "group" else "friend",
            "message_id": message_id,
            "message_seq": message_id,
            "real_id": message_id,
            "user_id": user,
            "sender": {"user_id": user, "nickname": f"user{user}", "card": "", "role": role},
            "message": segments,
            "message_format": "array",
            "font": 14,
            "raw_message": "".join(s["data"].get("text", f"[CQ:{s['type']}]") for s in segments),
            **extra,
        }
        if group:
            event |= {"group_id": group, "group_name": f"group{group}"}
        self.messages[message_id] = event
        self.timeline.add("qq", f"<- {kind}", message_id=message_id, user=user, message=event["raw_message"])
        await self._emit(event)
        return message_id

    # ---- what AstrBot asks ------------------------------------------------------------------------------------------
    def fail(
        self,
        action: str,
        kind: FaultKind = "error",
        *,
        retcode: int = 1200,
        message: str = "rich media transfer failed",
        seconds: float = 0,
        times: int = 1,
        when: Callable[[Params], bool] = lambda params: True,
    ) -> Fault:
        """Plan a failure of one API; see :class:`~devtools.rig.faults.Fault` for the kinds."""
        return self.faults.add(action, Fault(kind, ApiError(retcode, message), seconds, times, when))

    async def _answer(self, socket: aiohttp.ClientWebSocketResponse, request: dict[str, Any]) -> None:
        action, params = request.get("action", ""), request.get("params") or {}
        call = self.timeline.add("qq", action, **params)
        fault = self.faults.take(action, params)
        kind = fault.kind if fault else ""
        data: Any = None
        retcode, message = 0, ""
        try:
            if fault and kind in ("delay", "error"):
                await asyncio.sleep(fault.seconds)
            if fault and fault.reply and kind == "error":
                raise fault.reply
            if kind == "hang":
                return call.done("hang")
            if kind == "disconnect":
                call.done("disconnect")
                await socket.close()
                return None
            data = {"message_id": next(self._ids)} if kind == "silent" else await self._do(action, params)
            if kind == "lost":
                return call.done("delivered, answer lost")
        except ApiError as error:
            retcode, message = error.retcode, error.message
        except (LookupError, TypeError, ValueError) as error:  # a malformed request is answered, not left hanging
            retcode, message = 1400, f"rig: {error!r}"
        answer = {"status": "failed" if retcode else "ok", "retcode": retcode, "data": data, "message": message}
        call.done(answer)
        with contextlib.suppress(ConnectionError, RuntimeError, aiohttp.ClientError):
            await socket.send_str(json.dumps({**answer, "wording": message, "echo": request.get("echo")}))
        return None

    async def _do(self, action: str, params: Params) -> Any:
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

    # ---- waiting ----------------------------------------------------------------------------------------------------
    async def wait_sent(
        self, where: Callable[[Sent], bool] = lambda sent: True, *, since: int = 0, timeout: float = 15
    ) -> Sent:
        """Wait for a delivered message; ``since`` is a position in ``sent``."""
        return await until(
            lambda: next((sent for sent in self.sent[since:] if where(sent)), None),
            timeout,
            lambda: f"the fake QQ got no such message within {timeout} s:\n{self.timeline.text()}",
        )

    async def wait_video(self, *, since: int = 0, timeout: float = 30) -> Sent:
        return await self.wait_sent(lambda sent: bool(sent.videos), since=since, timeout=timeout)

    def emojis(self, message_id: int, since: int = 0) -> list[tuple[str, bool]]:
        """The emoji put on a message (id, set or unset), in order."""
        calls = self.timeline.select("qq", "set_msg_emoji_like", since=since)
        mine = [call.data for call in calls if int(call.data.get("message_id") or 0) == message_id]
        return [(str(data.get("emoji_id")), bool(data.get("set", True))) for data in mine]


def _file(params: Params) -> Segment:
    return {"type": "file", "data": {"file": params["file"], "name": params.get("name")}}
