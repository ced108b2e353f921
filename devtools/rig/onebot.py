"""A fake QQ bridge (OneBot v11, NapCat's dialect) that dials AstrBot's reverse WebSocket.

It behaves like the real thing where a plugin can notice, and loses answers or connections on request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from .faults import Fault, FaultBook, FaultKind
from .net import LOOPBACK, HostMap
from .qq import QQ, ApiError, Media, Params, Segment, Sent, text
from .timeline import Timeline, until

__all__ = ["Media", "OneBot", "Segment", "Sent", "at", "image", "reply", "text", "video"]


def image(url: str, **data: Any) -> Segment:
    return {"type": "image", "data": {"file": "rig.png", "sub_type": 0, "url": url, "file_size": "1024", **data}}


def video(url: str) -> Segment:
    return {"type": "video", "data": {"file": "rig.mp4", "url": url, "file_size": "4096"}}


def at(user: int | str) -> Segment:
    return {"type": "at", "data": {"qq": str(user)}}


def reply(message_id: int) -> Segment:
    return {"type": "reply", "data": {"id": str(message_id)}}


class OneBot(QQ):
    """People write with :meth:`group` and :meth:`private`; what the bot sends is in ``sent``."""

    def __init__(self, timeline: Timeline, hosts: HostMap) -> None:
        super().__init__(timeline, hosts)
        self.faults = FaultBook()
        self.connections = 0
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

    async def redeliver(self, message_id: int) -> None:
        """Hand AstrBot a message once more, as a bridge may after it reconnected."""
        await self._emit(self.messages[message_id])

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
            data = {"message_id": next(self._ids)} if kind == "silent" else await self.do(action, params)
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
