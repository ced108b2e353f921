"""The host's own events, components and adapters, with clients that write down what they are asked for.

Nothing of AstrBot is imitated: messages go through its adapters' code up to the last step, the platform's API.
"""

from __future__ import annotations

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

from astrbot.api.event import AstrMessageEvent, MessageChain
from astrbot.api.message_components import BaseMessageComponent
from astrbot.api.platform import AstrBotMessage, Group, MessageMember, MessageType, PlatformMetadata
from astrbot.api.star import Context
from astrbot.core.platform.sources.aiocqhttp.aiocqhttp_message_event import AiocqhttpMessageEvent
from astrbot.core.platform.sources.telegram.tg_event import TelegramPlatformEvent
from astrbot.core.platform.sources.webchat.webchat_event import WebChatMessageEvent

from core.models import Destination


class RecordingClient:
    """A platform's API: every method exists, is written down, and answers what a test put into ``answers``."""

    username = "the_bot"

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}  # by name; a list is given out one after the other

    async def call_action(self, action: str, /, *args: Any, **params: Any) -> Any:
        self.calls.append((action, {"args": args, **params} if args else params))
        answer = self.answers.get(action)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if isinstance(answer, Exception):
            raise answer
        return await answer(**params) if callable(answer) else answer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self.call_action, name)

    def named(self, *names: str) -> list[dict[str, Any]]:
        return [params for action, params in self.calls if action in names]


class OtherEvent(AstrMessageEvent):
    """Any other platform: what is sent is kept as it is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.client = RecordingClient()

    async def send(self, message: MessageChain) -> None:
        await self.client.call_action("send", chain=message.chain)

    async def react(self, emoji: str) -> None:
        await self.client.call_action("react", emoji=emoji)


class Chat:
    """Where a message came from.

    Args:
        platform: adapter type.
        session: what the host names the chat by.
        user: who writes.
        plain: what the plugin sends is kept as components, before the adapter makes something of it.
    """

    def __init__(
        self,
        platform: str = "aiocqhttp",
        session: str = "1001",
        user: str = "42",
        *,
        group: bool = True,
        plain: bool = False,
    ) -> None:
        self.platform, self.session, self.user, self.group = platform, session, user, group
        self.adapter = "" if plain else platform
        self.kind = MessageType.GROUP_MESSAGE if group else MessageType.FRIEND_MESSAGE
        self.client = RecordingClient()

    @property
    def origin(self) -> str:
        return f"my-{self.platform}:{self.kind.value}:{self.session}"

    def destination(self, message_id: str = "777") -> Destination:
        return Destination(self.origin, self.platform, self.user, message_id, self.group)

    def event(
        self, *chain: BaseMessageComponent, text: str = "", user: str = "", message_id: str = "777", admin: bool = False
    ) -> Any:
        """A message as the host's adapter makes it."""
        message = AstrBotMessage()
        message.type, message.self_id, message.session_id = self.kind, "10000", self.session
        message.message_id, message.message, message.message_str = message_id, list(chain), text
        message.sender = MessageMember(user or self.user, "somebody")
        message.raw_message = None
        message.group = Group(self.session) if self.group else None
        meta = PlatformMetadata(self.platform, "", f"my-{self.platform}")
        event: AstrMessageEvent
        if self.adapter == "aiocqhttp":
            event = AiocqhttpMessageEvent(text, message, meta, self.session, self.client)  # type: ignore[arg-type]
        elif self.adapter == "telegram":
            event = TelegramPlatformEvent(text, message, meta, self.session, self.client)  # type: ignore[arg-type]
        elif self.adapter == "webchat":
            event = WebChatMessageEvent(text, message, meta, self.session)
        else:
            event = OtherEvent(text, message, meta, self.session)
            event.client = self.client
        event.role = "admin" if admin else "member"
        return event


class PlatformOf:
    """A running platform, as the host finds it for a proactive message."""

    def __init__(self, chat: Chat) -> None:
        self._chat, self.client = chat, chat.client

    def meta(self) -> PlatformMetadata:
        return PlatformMetadata(self._chat.platform, "", f"my-{self._chat.platform}")

    def get_client(self) -> Any:
        return self.client

    async def send_by_session(self, session: Any, chain: MessageChain) -> None:
        if self._chat.adapter == "aiocqhttp":
            await AiocqhttpMessageEvent.send_message(
                self.client,  # type: ignore[arg-type]
                chain,
                is_group=session.message_type == MessageType.GROUP_MESSAGE,
                session_id=session.session_id.split("_")[-1],
            )
        elif self._chat.adapter == "telegram":
            await TelegramPlatformEvent.send_with_client(self.client, chain, session.session_id)  # type: ignore[arg-type]
        else:
            await self.client.call_action("send", chain=chain.chain)


def context_of(*chats: Chat) -> Any:
    """The host as a plugin sees it, with these platforms running: `Context.send_message` is the host's own."""
    context = Context.__new__(Context)
    context.platform_manager = SimpleNamespace(platform_insts=[PlatformOf(chat) for chat in chats])  # type: ignore[assignment]
    context.get_config = lambda umo=None: {}  # type: ignore[method-assign,assignment,return-value]
    return context


async def settled() -> None:
    """Let everything run that only waits for its turn."""
    for _ in range(20):
        await asyncio.sleep(0)
