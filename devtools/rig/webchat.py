"""The dashboard as a browser uses it: login, WebChat over SSE, the plugin's config panel."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from .timeline import Timeline

USER, PASSWORD = "rig", "RigPassw0rd"

Part = dict[str, Any]  # one piece of a WebChat message: {"type": "plain", "text": …}, {"type": "file", …}


def dashboard_config(port: int, user: str = USER, password: str = PASSWORD) -> dict[str, Any]:
    """The ``dashboard`` section of cmd_config.json with a known password and no limit on logins."""
    salt, rounds = os.urandom(16), 1000  # AstrBot's own 600 000 rounds would cost each login a fifth of a second
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds).hex()
    return {
        "enable": True,
        "username": user,
        "host": "127.0.0.1",
        "port": port,
        "password": hashlib.md5(password.encode()).hexdigest(),
        "pbkdf2_password": f"pbkdf2_sha256${rounds}${salt.hex()}${digest}",
        "password_storage_upgraded": True,
        "password_change_required": False,
        "auth_rate_limit": {"enable": False, "average_interval": 1.0, "max_burst": 3},
    }


class DashboardError(Exception):
    """The dashboard said no."""


@dataclass
class Chat:
    """One WebChat request: its SSE events with their times of arrival."""

    session_id: str
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def of(self, *types: str) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event.get("type") in types]

    @property
    def text(self) -> str:
        return "".join(str(event.get("data")) for event in self.of("plain"))

    @property
    def ended(self) -> bool:
        return bool(self.of("end"))


class Dashboard:
    """A logged-in browser."""

    def __init__(self, timeline: Timeline, url: str) -> None:
        self.timeline, self.url = timeline, url
        self._token = ""
        self._http: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._http = aiohttp.ClientSession()

    async def stop(self) -> None:
        if self._http:
            await self._http.close()
            self._http = None

    @contextlib.asynccontextmanager
    async def _request(self, method: str, path: str, timeout: float | None = 60, **options: Any) -> Any:
        assert self._http, "start() first"
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        limit = aiohttp.ClientTimeout(total=timeout)
        async with self._http.request(method, self.url + path, headers=headers, timeout=limit, **options) as answer:
            yield answer

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        async with self._request(method, path, **options) as answer:
            text = await answer.text()
            body = json.loads(text) if answer.content_type == "application/json" else {}
            if answer.status != 200 or body.get("status") != "ok":
                raise DashboardError(f"{method} {path}: HTTP {answer.status}: {text[:300]}")
            return body.get("data")

    async def login(self, user: str = USER, password: str = PASSWORD) -> None:
        data = await self._call("POST", "/api/v1/auth/login", json={"username": user, "password": password})
        self._token = data["token"]

    # ---- plugins and their panel: the routes of the bundled dashboard -----------------------------------------------
    async def plugins(self) -> dict[str, dict[str, Any]]:
        return {plugin["name"]: plugin for plugin in await self._call("GET", "/api/v1/plugins")}

    async def failed_plugins(self) -> Any:
        return await self._call("GET", "/api/v1/plugins/failed")

    async def config(self, plugin: str) -> dict[str, Any]:
        """What the panel shows: ``{"config": values, "metadata": schema, …}``."""
        shown: dict[str, Any] = await self._call("GET", "/api/v1/plugins/config", params={"plugin_id": plugin})
        return shown

    async def save_config(self, plugin: str, config: dict[str, Any]) -> None:
        """What the panel's save button does: AstrBot checks, writes, and reloads the plugin."""
        await self._call("PUT", "/api/v1/plugins/config", json={"plugin_id": plugin, "config": config})

    async def reload(self, plugin: str) -> None:
        await self._call("POST", "/api/v1/plugins/reload", json={"plugin_id": plugin})

    async def set_enabled(self, plugin: str, enabled: bool) -> None:
        await self._call("PATCH", "/api/v1/plugins/enabled", json={"plugin_id": plugin, "enabled": enabled})

    # ---- chat -------------------------------------------------------------------------------------------------------
    async def new_session(self) -> str:
        return str((await self._call("GET", "/api/v1/chat/sessions/new"))["session_id"])

    async def upload(self, name: str, data: bytes, content_type: str) -> Part:
        """Upload a file; the answer goes into :meth:`chat` as an attachment."""
        form = aiohttp.FormData()
        form.add_field("file", data, filename=name, content_type=content_type)
        part: Part = await self._call("POST", "/api/v1/files", data=form)
        return part

    async def chat(
        self, text: str, *attachments: Part, session_id: str | None = None, timeout: float = 30, **payload: Any
    ) -> Chat:
        """Send one message and read the answer until AstrBot ends it, or ``timeout`` has passed."""
        chat = Chat(session_id or await self.new_session())
        parts = [{"type": "plain", "text": text}] if text else []
        parts += [{"type": part["type"], "attachment_id": part["attachment_id"]} for part in attachments]
        self.timeline.add("web", "<- chat", session_id=chat.session_id, text=text, attachments=len(attachments))
        body = {"message": parts, "session_id": chat.session_id, **payload}
        try:
            async with asyncio.timeout(timeout), self._request("POST", "/api/v1/chat", None, json=body) as answer:
                if answer.content_type != "text/event-stream":
                    raise DashboardError(f"chat: HTTP {answer.status}: {(await answer.text())[:300]}")
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        event = json.loads(line[5:])
                        chat.events.append((time.time(), event))
                        self.timeline.add("web", str(event.get("type")), data=event.get("data"))
        except TimeoutError:
            self.timeline.add("web", "SSE still open", after=timeout)
        return chat

    async def history(self, session_id: str) -> list[dict[str, Any]]:
        """The saved messages of a conversation, oldest first."""
        rows: list[dict[str, Any]] = (await self._call("GET", f"/api/v1/chat/sessions/{session_id}"))["history"]
        return rows

    async def said(self, session_id: str, who: str = "bot") -> list[Part]:
        """The parts of all messages that ``bot`` or ``user`` has in the history."""
        rows = [row["content"] for row in await self.history(session_id)]
        return [part for content in rows if content["type"] == who for part in content["message"]]

    async def wait_said(
        self, session_id: str, where: Callable[[Part], bool] = lambda part: "attachment_id" in part, timeout: float = 30
    ) -> Part:
        """Wait for a part of the bot's to show up in the history: by default a file, which may come long after the
        request is over."""
        deadline = time.monotonic() + timeout
        while True:
            parts = await self.said(session_id)
            for part in parts:
                if where(part):
                    return part
            assert time.monotonic() < deadline, f"nothing of that kind within {timeout} s, only: {parts}"
            await asyncio.sleep(0.1)

    async def attachment(self, attachment_id: str) -> bytes:
        async with self._request("GET", f"/api/v1/files/{attachment_id}") as answer:
            if answer.status != 200 or answer.content_type == "application/json":
                raise DashboardError(f"attachment {attachment_id}: HTTP {answer.status}: {(await answer.text())[:300]}")
            data: bytes = await answer.read()
            return data
