"""The emoji on the person's message: processing, success, failed. Never in anybody's way: it may be slow, or fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from astrbot.api.event import AstrMessageEvent
from astrbot.api.star import Context

from .models import Destination
from .outbox import Mood
from .utils import routing

logger = logging.getLogger("astrbot")

PATIENCE = 10.0  # seconds for one call
TYPING = ("telegram", "weixin_oc")
TYPING_SECONDS = 4.5  # Telegram's lasts five
LONGEST_TYPING = 1800.0

# behaviour.md §6. QQ numbers are face ids; Telegram takes only emoji of its own list; Lark has names.
EMOJI: dict[str, dict[Mood, str]] = {
    "aiocqhttp": {Mood.PROCESSING: "125", Mood.SUCCESS: "79", Mood.FAILED: "106"},
    "telegram": {Mood.PROCESSING: "👀", Mood.SUCCESS: "👍", Mood.FAILED: "👎"},
    "discord": {Mood.PROCESSING: "👀", Mood.SUCCESS: "👍", Mood.FAILED: "👎"},
    "lark": {Mood.PROCESSING: "OnIt", Mood.SUCCESS: "DONE", Mood.FAILED: "CrossMark"},
}


class EmojiFeedback:
    """Marks messages; a new mark replaces the old one.

    Args:
        context: the host, to find a platform again when its event is gone.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._latest: dict[str, asyncio.Task[bool]] = {}  # by message
        self._all: set[asyncio.Task[bool]] = set()

    @staticmethod
    def can_mark(destination: Destination) -> bool:
        """Whether this platform has emoji on messages, and there is a message to put one on."""
        return destination.platform in EMOJI and bool(destination.message_id)

    def mark_processing(self, destination: Destination, event: AstrMessageEvent | None) -> asyncio.Task[bool]:
        """Show that work has begun; the task tells whether the platform took it."""
        return self.mark(destination, Mood.PROCESSING, event)

    def mark_success(self, destination: Destination, event: AstrMessageEvent | None) -> asyncio.Task[bool]:
        """Show that the video is there."""
        return self.mark(destination, Mood.SUCCESS, event)

    def mark_failed(self, destination: Destination, event: AstrMessageEvent | None) -> asyncio.Task[bool]:
        """Show that there is none; the reason is said in words besides."""
        return self.mark(destination, Mood.FAILED, event)

    def mark(self, destination: Destination, mood: Mood, event: AstrMessageEvent | None) -> asyncio.Task[bool]:
        """Set the mark in the background, after the one before it, and take that one away."""
        key = f"{destination.conversation}:{destination.message_id}"
        before = self._latest.get(key)
        task = asyncio.create_task(self._marked(destination, mood, event, before))
        self._latest[key] = task
        self._all.add(task)
        task.add_done_callback(lambda done: self._latest.pop(key, None) if self._latest.get(key) is done else None)
        task.add_done_callback(self._all.discard)
        return task

    def show_typing(self, destination: Destination, event: AstrMessageEvent, wanted: Callable[[], bool]) -> None:
        """Show in the chat's head that something is being made, where the platform has that.

        Args:
            wanted: whether it still is.
        """
        if destination.platform in TYPING:
            task = asyncio.create_task(self._typing(destination, event, wanted))
            self._all.add(task)
            task.add_done_callback(self._all.discard)

    async def _typing(self, destination: Destination, event: AstrMessageEvent, wanted: Callable[[], bool]) -> bool:
        for _ in range(int(LONGEST_TYPING / TYPING_SECONDS)):
            if not wanted() or not await _courtesy(destination, event.send_typing()):
                break
            await asyncio.sleep(TYPING_SECONDS)
        return True

    async def close(self) -> None:
        """Stop; a mark more or less does not matter now."""
        tasks = list(self._all)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _marked(
        self,
        destination: Destination,
        mood: Mood,
        event: AstrMessageEvent | None,
        before: asyncio.Task[bool] | None,
    ) -> bool:
        if not self.can_mark(destination):
            return False
        if before:
            await asyncio.wait([before])
        return await _courtesy(destination, self._set(destination, mood, event))

    async def _set(self, destination: Destination, mood: Mood, event: AstrMessageEvent | None) -> None:
        emoji = EMOJI[destination.platform].get(mood)
        if destination.platform == "aiocqhttp":
            await self._set_on_qq(destination, mood, event)
        elif destination.platform == "telegram":
            from telegram import ReactionTypeEmoji

            client = getattr(event, "client", None) or self._platform(destination).client
            await client.set_message_reaction(
                chat_id=_telegram_chat(destination, event),
                message_id=int(destination.message_id),
                reaction=[ReactionTypeEmoji(emoji)] if emoji else [],
            )
        elif event is not None and emoji:
            await event.react(emoji)

    async def _set_on_qq(self, destination: Destination, mood: Mood, event: AstrMessageEvent | None) -> None:
        bot = self.bot_of(destination, event)
        message = {"message_id": int(destination.message_id), **routing(event)}
        if wanted := EMOJI["aiocqhttp"].get(mood):
            await bot.call_action("set_msg_emoji_like", **message, emoji_id=wanted, set=True)
        if mood is not Mood.PROCESSING:
            old = EMOJI["aiocqhttp"][Mood.PROCESSING]
            await bot.call_action("set_msg_emoji_like", **message, emoji_id=old, set=False)

    def bot_of(self, destination: Destination, event: AstrMessageEvent | None) -> Any:
        """The client of a QQ bridge: the event's, else the one of the platform it came from.

        Raises:
            StopIteration: that platform is gone.
        """
        return getattr(event, "bot", None) or self._platform(destination).get_client()

    def _platform(self, destination: Destination) -> Any:
        wanted = destination.conversation.partition(":")[0]
        return next(one for one in self._context.platform_manager.platform_insts if one.meta().id == wanted)


async def _courtesy(destination: Destination, call: Awaitable[None]) -> bool:
    """Make a call that must never be in anybody's way; whether it worked."""
    try:
        async with asyncio.timeout(PATIENCE):
            await call
        return True
    except Exception as error:  # noqa: BLE001 (an emoji is a courtesy: whatever its API does must not reach the job)
        logger.info("no emoji on %s: %s", destination.platform, type(error).__name__)
        return False


def _telegram_chat(destination: Destination, event: AstrMessageEvent | None) -> str:
    """The chat's id; a topic of a supergroup is ``<chat>#<topic>`` to the host and the chat to the Bot API."""
    chat = (event.get_group_id() or event.get_sender_id()) if event else destination.conversation.rpartition(":")[2]
    return chat.partition("#")[0]
