"""A fake Telegram Bot API server: the part that python-telegram-bot and AstrBot use, with its limits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

from .faults import Fault, FaultBook, FaultKind
from .media import sha
from .net import HostMap, LoopbackServer, drop_connection
from .timeline import Call, Timeline

Params = dict[str, Any]
# The only emoji that a bot may react with; all else is 400 REACTION_INVALID.
_ALLOWED = (
    "👍 👎 ❤ 🔥 🥰 👏 😁 🤔 🤯 😱 🤬 😢 🎉 🤩 🤮 💩 🙏 👌 🕊 🤡 🥱 🥴 😍 🐳 ❤‍🔥 🌚 🌭 💯 🤣 ⚡ 🍌 🏆 💔 🤨 "
    "😐 🍓 🍾 💋 🖕 😈 😴 😭 🤓 👻 👨‍💻 👀 🎃 🙈 😇 😨 🤝 ✍ 🤗 🫡 🎅 🎄 ☃ 💅 🤪 🗿 🆒 💘 🙉 🦄 😘 💊 🙊 😎 "
    "👾 🤷‍♂ 🤷 🤷‍♀ 😡"
)
REACTIONS = frozenset(_ALLOWED.split())
UPLOAD_LIMIT, URL_LIMIT, DOWNLOAD_LIMIT = 50 * 1024**2, 20 * 1024**2, 20 * 1024**2


class ApiError(Exception):
    """``{"ok": false, …}``"""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        self.code, self.description, self.parameters = code, description, parameters


class Telegram(LoopbackServer):
    """People write with :meth:`message`; what the bot does is on the timeline, channel ``tg``."""

    TOKEN, BOT, USER, GROUP = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", 110201543, 50005, -1006006

    def __init__(self, timeline: Timeline, hosts: HostMap) -> None:
        self.timeline, self.hosts, self.faults = timeline, hosts, FaultBook()
        self.files: dict[str, bytes] = {}
        self.avatars: dict[int, bytes] = {}  # by user id
        self.sent: list[Call] = []  # the calls that put something into a chat
        self._updates: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._pending: list[dict[str, Any]] = []
        self._ids = itertools.count(9001)

    def routes(self, app: web.Application) -> None:
        app.router.add_route("*", "/bot{token}/{method}", self._api)
        app.router.add_get("/file/bot{token}/{path:.*}", self._file)

    def platform_config(self) -> dict[str, Any]:
        """The entry for AstrBot's ``platform`` list."""
        return {
            "id": "tg",
            "type": "telegram",
            "enable": True,
            "telegram_token": self.TOKEN,
            "start_message": "hi",
            "telegram_api_base_url": f"{self.url}/bot",
            "telegram_file_base_url": f"{self.url}/file/bot",
            "telegram_command_register": True,
            "telegram_command_auto_refresh": False,
            "telegram_polling_restart_delay": 0.5,
        }

    def fail(
        self,
        method: str,
        kind: FaultKind = "error",
        *,
        code: int = 400,
        description: str = "Bad Request: rig",
        seconds: float = 0,
        times: int = 1,
        when: Callable[[Params], bool] = lambda params: True,
        **parameters: Any,
    ) -> Fault:
        """Plan a failure of one method; see :class:`~devtools.rig.faults.Fault` for the kinds."""
        return self.faults.add(method, Fault(kind, ApiError(code, description, **parameters), seconds, times, when))

    async def wait(self, method: str, **options: Any) -> Call:
        return await self.timeline.wait("tg", method, **options)

    # ---- what people write ------------------------------------------------------------------------------------------
    async def message(
        self,
        text: str = "",
        *,
        photo: bytes | None = None,
        chat: int | None = None,
        user: int | None = None,
        reply_to: dict[str, Any] | None = None,
        **extra: Any,
    ) -> dict[str, Any]:
        """Write to the bot; a negative ``chat`` is a group. The returned message serves as ``reply_to`` of another."""
        user, chat = user or self.USER, chat or self.USER
        number = next(self._ids)
        message: dict[str, Any] = {
            "message_id": number,
            "date": int(time.time()),
            "from": {"id": user, "is_bot": False, "first_name": "Rig", "username": f"user{user}"},
            "chat": {"id": chat, "type": "private", "first_name": "Rig"}
            if chat > 0
            else {"id": chat, "type": "supergroup", "title": "rig group"},
            **extra,
        }
        if photo is not None:
            message |= {"photo": [self._store(f"photo{number}", photo)], "caption": text}
        else:
            message["text"] = text
        if reply_to:
            message["reply_to_message"] = reply_to
        seen = {"chat": chat, "user": user, "text": text, "photo": photo is not None, "message_id": number}
        self.timeline.add("tg", "<- message", **seen)
        self._updates.put_nowait({"update_id": next(self._ids), "message": message})
        return message

    def _store(self, name: str, photo: bytes) -> dict[str, Any]:
        self.files[name] = photo
        return {"file_id": name, "file_unique_id": f"u{name}", "width": 64, "height": 48, "file_size": len(photo)}

    # ---- server -----------------------------------------------------------------------------------------------------
    async def _params(self, request: web.Request) -> Params:
        if request.content_type == "application/json":
            body: Params = await request.json()
            return body
        if not request.content_type.startswith("multipart/"):
            return dict(await request.post() if request.method == "POST" else request.query)
        form: Params = {}
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                with value.file:
                    form[name] = {"filename": value.filename, "bytes": value.file.read()}
            else:
                form[name] = value
        for name, value in list(form.items()):
            if isinstance(value, str) and value.startswith("attach://"):
                form[name] = form.pop(value[9:], None)
        return form

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method, params = request.match_info["method"], await self._params(request)
        call = self.timeline.add("tg", method, **{name: _shown(value) for name, value in params.items()})
        fault = self.faults.take(method, params)
        kind = fault.kind if fault else ""
        try:
            if fault and kind in ("delay", "error"):
                await asyncio.sleep(fault.seconds)
            if fault and fault.reply and kind == "error":
                raise fault.reply
            if kind == "hang":
                await asyncio.sleep(3600)
            if kind == "disconnect":
                call.done("disconnect")
                return drop_connection(request)
            do: Callable[[Params, Call], Awaitable[Any]] | None = getattr(self, f"do_{method}", None)
            result = await do(params, call) if do else True
            if kind == "lost":
                call.done("delivered, answer lost")
                await asyncio.sleep(3600)
        except ApiError as error:
            call.done(f"{error.code} {error.description}")
            answer = {"ok": False, "error_code": error.code, "description": error.description}
            if error.parameters:
                answer["parameters"] = error.parameters
            return web.json_response(answer, status=error.code)
        call.done("ok")
        return web.json_response({"ok": True, "result": result})

    async def _file(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.timeline.add("tg", "file download", path=path)
        data = self.files.get(path.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        return web.Response(body=data, content_type="image/png") if data else web.Response(status=404)

    # ---- methods of the Bot API; any other is answered with true ----------------------------------------------------
    async def do_getMe(self, params: Params, call: Call) -> Any:
        return {
            "id": self.BOT,
            "is_bot": True,
            "first_name": "rig",
            "username": "rig_bot",
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": False,
        }

    async def do_getUpdates(self, params: Params, call: Call) -> Any:
        offset = int(params.get("offset") or 0)
        self._pending = [update for update in self._pending if update["update_id"] >= offset]
        if not self._pending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(float(params.get("timeout") or 0), 20)):
                    self._pending.append(await self._updates.get())
        while not self._updates.empty():
            self._pending.append(self._updates.get_nowait())
        return self._pending

    def _message(self, params: Params, **content: Any) -> dict[str, Any]:
        chat = int(params["chat_id"])
        return {
            "message_id": next(self._ids),
            "date": int(time.time()),
            "from": {"id": self.BOT, "is_bot": True, "first_name": "rig", "username": "rig_bot"},
            "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup", "title": "rig"},
            **content,
        }

    async def do_sendMessage(self, params: Params, call: Call) -> Any:
        text = str(params.get("text", ""))
        if len(text) > 4096:
            raise ApiError(400, "Bad Request: message is too long")
        if not text.strip():
            raise ApiError(400, "Bad Request: message text is empty")
        self.sent.append(call)
        return self._message(params, text=text)

    async def _fetch(self, url: str) -> bytes:
        try:
            async with self.hosts.session() as http, http.get(url, raise_for_status=True) as answer:
                return await answer.read()
        except (aiohttp.ClientError, OSError):
            raise ApiError(400, "Bad Request: failed to get HTTP URL content") from None

    async def _media(self, params: Params, call: Call, field: str) -> Any:
        match params.get(field):
            case {"bytes": bytes(data)}:
                limit = UPLOAD_LIMIT
            case str(url) if url.startswith("http"):
                data, limit = await self._fetch(url), URL_LIMIT
            case _:
                raise ApiError(400, "Bad Request: invalid file HTTP URL specified: URL host is empty")
        if len(data) > limit:
            raise ApiError(413, "Request Entity Too Large")
        call.data["media"] = {"size": len(data), "sha": sha(data)}
        self.sent.append(call)
        file = {"file_id": f"sent{next(self._ids)}", "file_unique_id": "x", "file_size": len(data)}
        file |= {"width": 128, "height": 96}
        return self._message(params, **{field: [file] if field == "photo" else {**file, "duration": 1}})

    async def do_sendVideo(self, params: Params, call: Call) -> Any:
        return await self._media(params, call, "video")

    async def do_sendPhoto(self, params: Params, call: Call) -> Any:
        return await self._media(params, call, "photo")

    async def do_sendDocument(self, params: Params, call: Call) -> Any:
        return await self._media(params, call, "document")

    async def do_sendAnimation(self, params: Params, call: Call) -> Any:
        return await self._media(params, call, "animation")

    async def do_setMessageReaction(self, params: Params, call: Call) -> Any:
        reactions = params.get("reaction") or "[]"
        for reaction in json.loads(reactions) if isinstance(reactions, str) else reactions:
            if reaction.get("type") == "emoji" and reaction["emoji"].replace("\ufe0f", "") not in REACTIONS:
                raise ApiError(400, "Bad Request: REACTION_INVALID")
        return True

    async def do_getFile(self, params: Params, call: Call) -> Any:
        name = params["file_id"]
        data = self.files.get(name)
        if data is None:
            raise ApiError(400, "Bad Request: invalid file_id")
        if len(data) > DOWNLOAD_LIMIT:
            raise ApiError(400, "Bad Request: file is too big")
        return {"file_id": name, "file_unique_id": "u", "file_size": len(data), "file_path": f"photos/{name}.png"}

    async def do_getUserProfilePhotos(self, params: Params, call: Call) -> Any:
        user = int(params["user_id"])
        photos = [[self._store(f"avatar{user}", self.avatars[user])]] if user in self.avatars else []
        return {"total_count": len(photos), "photos": photos}

    async def do_getChat(self, params: Params, call: Call) -> Any:
        chat = {"id": int(params["chat_id"]), "type": "supergroup", "title": "rig"}
        return {**chat, "accent_color_id": 0, "max_reaction_count": 1}

    async def do_getChatMemberCount(self, params: Params, call: Call) -> Any:
        return 2

    async def do_getChatAdministrators(self, params: Params, call: Call) -> Any:
        return []


def _shown(value: Any) -> Any:
    match value:
        case {"filename": name, "bytes": data}:
            return {"filename": name, "size": len(data), "sha": sha(data)}
    return value
