"""How each chat platform gets its video.

Some adapters drop what they cannot send and still report success, so the order of forms is a table, decided before
anything is sent (behaviour.md §6). A send ends as sent, refused or unknown; after an unknown one nothing more is sent,
because it may have arrived.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from astrbot.api.event import AstrMessageEvent, MessageChain
from astrbot.api.message_components import BaseMessageComponent, File, Plain, Reply, Video
from astrbot.api.star import Context

from .config import VideoSettings
from .emoji_feedback import EmojiFeedback
from .errors import Failure, Undelivered, Why
from .models import Job, State
from .outbox import Mood, Parcel, Sending
from .texts import Texts
from .transport import MB
from .video_manager import VideoManager

logger = logging.getLogger("astrbot")

SEND_SECONDS = 600.0  # longer than any adapter's own limit: theirs says more
WEBCHAT_SECONDS = 60.0
BASE64_LIMIT = 20 * MB


class Form(StrEnum):
    """In what form a video is handed to an adapter."""

    URL = "url"  # a Video of a link, which the other side fetches
    FILE = "file"  # a Video of a local file
    ATTACHMENT = "attachment"  # a File
    BASE64 = "base64"  # a Video with its content inside the message
    LINK = "link"  # the link as text


_UPLOADS = (Form.FILE, Form.ATTACHMENT, Form.LINK)
_FILES_ONLY = (Form.ATTACHMENT, Form.LINK)  # their adapters ignore a Video and report success
_TEXT_ONLY = (Form.LINK,)
FORMS: dict[str, tuple[Form, ...]] = {
    "aiocqhttp": (Form.URL, Form.FILE, Form.ATTACHMENT, Form.BASE64, Form.LINK),
    "telegram": _UPLOADS,
    "webchat": _UPLOADS,
    "discord": _FILES_ONLY,
    "slack": _FILES_ONLY,
    "misskey": _FILES_ONLY,
    "lark": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "kook": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "satori": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "mattermost": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "wecom": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "weixin_oc": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "qq_official": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "qq_official_webhook": (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK),
    "line": (Form.URL, Form.LINK),
    "dingtalk": _UPLOADS,
    "weixin_official_account": _TEXT_ONLY,
    "wecom_ai_bot": _TEXT_ONLY,
}
_OURS = frozenset({"download", "disk"})  # why we have no file while the link may be good
_QUOTING = frozenset({"aiocqhttp", "telegram", "discord", "lark"})

# What an exception says about the send: matched against ``module.Class`` of it and its bases, most definite first.
_OUTCOMES: tuple[tuple[str, Sending], ...] = (
    ("aiocqhttp.exceptions.ApiNotAvailable", Sending.ABSENT),
    ("aiocqhttp.exceptions.ActionFailed", Sending.REFUSED),
    ("aiocqhttp.exceptions.NetworkError", Sending.UNKNOWN),
    ("telegram.error.TimedOut", Sending.UNKNOWN),
    ("telegram.error.BadRequest", Sending.REFUSED),
    ("telegram.error.Forbidden", Sending.REFUSED),
    ("telegram.error.RetryAfter", Sending.ABSENT),
    ("json.decoder.JSONDecodeError", Sending.UNKNOWN),  # what cannot be read is the answer: the message went out
    ("builtins.FileNotFoundError", Sending.REFUSED),
    ("builtins.ValueError", Sending.REFUSED),
    ("builtins.TypeError", Sending.REFUSED),
)


def outcome_of(error: BaseException) -> Sending:
    """What a send's exception says: definitely not there, or perhaps. What we do not know counts as perhaps."""
    said = str(error)
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__]
    if "Entity Too Large" in said or "file is too big" in said.lower():
        return Sending.REFUSED
    if "not initialized" in said.lower() or said.startswith("httpx.ConnectError"):  # still starting, or out of reach
        return Sending.ABSENT
    outcome = next((outcome for name, outcome in _OUTCOMES if name in names), Sending.UNKNOWN)
    if outcome is Sending.REFUSED and "aiocqhttp.exceptions.ActionFailed" in names and "timeout" in said.lower():
        return Sending.UNKNOWN  # NapCat: QQ did not confirm in time; such messages usually arrived
    return outcome


class Delivery:
    """The way to the chats; implements `Outbox`.

    Args:
        context: the host.
        emoji: puts marks on messages.
        videos: keeps files from being pruned while they are sent.
        public_base: reads the host's ``callback_api_base``, with which it replaces file contents by links of its own.
    """

    def __init__(
        self,
        context: Context,
        settings: VideoSettings,
        texts: Texts,
        emoji: EmojiFeedback,
        videos: VideoManager,
        public_base: Callable[[], str],
    ) -> None:
        self._context, self._settings, self._texts = context, settings, texts
        self._emoji, self._videos, self._public_base = emoji, videos, public_base
        self._events: dict[str, AstrMessageEvent] = {}
        self._begun: dict[str, asyncio.Task[bool]] = {}
        self._background: set[asyncio.Task[Any]] = set()

    # ---- what the commands ask for ----

    def remember(self, job: Job, event: AstrMessageEvent) -> None:
        """Keep the live event until the job is marked: some platforms answer only to it."""
        self._events[job.id] = event

    def begin(self, job: Job, event: AstrMessageEvent) -> None:
        """Show at once that the request was taken."""
        self.remember(job, event)
        self._begun[job.id] = self._emoji.mark_processing(job.destination, event)

    def notes_for(self, job: Job) -> list[str]:
        """What the person should know about this platform."""
        # WebChat's page shows nothing that comes after the request is over.
        return [self._texts.say("note_webchat")] if job.destination.platform == "webchat" else []

    async def acknowledge(self, job: Job, position: int | None, notes: tuple[str, ...]) -> None:
        """Say that the request was taken, where an emoji cannot or does not say enough.

        Args:
            position: in the queue, from 1; None when it starts at once.
            notes: what the person should know about this job.
        """
        marked = self._begun.pop(job.id, None)
        how = self._settings.acknowledge
        if how == "emoji":
            return
        line = self._texts.say("queued" if position else "accepted", number=job.number, position=position)
        text = self._texts.join(line, *notes)
        if how == "text" or position or notes or marked is None or not self._emoji.can_mark(job.destination):
            await self.say(job, text)
        else:
            self._spawn(self._text_unless(marked, job, text))

    async def _text_unless(self, marked: asyncio.Task[bool], job: Job, text: str) -> None:
        """A platform that has emoji in general may not have them here."""
        if not await marked:
            await self.say(job, text)

    async def close(self) -> None:
        """Stop what was started besides."""
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)
        await self._emoji.close()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ---- Outbox ----

    def mark(self, job: Job, mood: Mood) -> None:
        """See `Outbox.mark`."""
        self._begun.pop(job.id, None)
        event = self._events.get(job.id) if mood is Mood.PROCESSING else self._events.pop(job.id, None)
        self._emoji.mark(job.destination, mood, event)

    async def note(self, job: Job) -> None:
        """See `Outbox.note`."""
        history, conversation = self._context.conversation_manager, job.destination.conversation
        current = await history.get_curr_conversation_id(conversation)
        if current and await history.get_conversation(conversation, current):
            state = self._texts.say(f"state_{job.state}")
            asked = {"role": "user", "content": self._texts.say("tool_request", number=job.number)}
            ended = {"role": "assistant", "content": self._texts.say("tool_outcome", number=job.number, state=state)}
            await history.add_message_pair(current, asked, ended)

    async def tell(self, job: Job, why: Why) -> Sending:
        """See `Outbox.tell`."""
        link = None
        shown = why.kind in ("upstream_failed", "undelivered", "unknown_delivery") and why.cause not in (
            "private_address",
            "not_http",
        )
        if shown and job.result and not job.result.private and job.result.url.startswith("http"):
            link = job.result.url
        return await self.say(job, self._texts.failed(job.number, why, link, job.backend))

    async def say(self, job: Job, text: str) -> Sending:
        """Send words, quoting the request where others read along."""
        chain: list[BaseMessageComponent] = [Plain(text)]
        destination = job.destination
        if destination.group and destination.message_id and destination.platform in _QUOTING:
            quoted = await self._send(job, [Reply(id=destination.message_id), *chain])
            if quoted is not Sending.REFUSED:
                return quoted
        return await self._send(job, chain)

    async def deliver(self, job: Job, parcel: Parcel) -> Sending:
        """See `Outbox.deliver`."""
        reachable = True
        try:
            await parcel.looked()
        except Failure as failure:
            if failure.why.cause not in _OURS or not parcel.link:
                raise
            reachable = False  # not from here; the other side may have a better line
        for form in self._forms(job, parcel):
            if form in (Form.URL, Form.LINK):
                outcome = await self._send_link(job, parcel, form, reachable=reachable)
            elif not reachable:
                continue
            else:
                try:
                    path = await parcel.file()
                except Failure as failure:
                    if failure.why.cause not in _OURS or not parcel.link:
                        raise
                    reachable = False
                    continue
                if not path.exists():  # somebody tidied up
                    continue
                if form is Form.BASE64 and (path.stat().st_size > BASE64_LIMIT or self._public_base()):
                    continue
                with self._videos.using(path):
                    outcome = await self._send_file(job, parcel, form, path)
            if outcome is not Sending.REFUSED:
                return outcome
            logger.info("job %s: %s did not take the video as %s", job.id, job.destination.platform, form)
        if parcel.link is None:
            raise Undelivered("private", file=(await parcel.file()).name)
        return Sending.REFUSED

    # ---- how ----

    def _forms(self, job: Job, parcel: Parcel) -> list[Form]:
        forms = FORMS.get(job.destination.platform, _FILES_ONLY)
        match self._settings.send_mode:
            case "url" if parcel.link:
                forms = tuple(form for form in forms if form in (Form.URL, Form.LINK))
            case "file":
                forms = tuple(form for form in forms if form is not Form.URL)
        secure = job.destination.platform != "line" or (parcel.link or "").startswith("https://")
        return [
            form
            for form in forms
            if (form not in (Form.URL, Form.LINK) or parcel.link) and (form is not Form.URL or secure)
        ]

    async def _send_link(self, job: Job, parcel: Parcel, form: Form, *, reachable: bool) -> Sending:
        """The link: as a Video for the other side to fetch, or as words for the person to open."""
        assert parcel.link
        await parcel.sending()
        if form is Form.URL:
            return await self._send(job, [Video.fromURL(parcel.link)])
        text = self._texts.say("link" if reachable else "link_unreachable", number=job.number, url=parcel.link)
        return await self.say(job, text)

    async def _send_file(self, job: Job, parcel: Parcel, form: Form, path: Path) -> Sending:
        if form is Form.FILE:
            part: BaseMessageComponent = Video.fromFileSystem(str(path))
        elif form is Form.ATTACHMENT:
            part = File(name=self._texts.say("file_name", number=job.number) + path.suffix, file=str(path))
        else:
            part = Video.fromBase64(await asyncio.to_thread(_coded, path))
        await parcel.sending()
        return await self._send(job, [part])

    async def _send(self, job: Job, chain: list[BaseMessageComponent]) -> Sending:
        event = self._events.get(job.id)
        if job.destination.platform == "webchat" and job.state is not State.ACCEPTED:
            # An open request drops a Video, and loses everything that comes just before its end. Once it is over, the
            # chat's history takes both. No await may come between this and the send: the next request may open.
            event = None
            if not await _webchat_idle(job) and isinstance(chain[0], Video):
                return Sending.REFUSED
        try:
            async with asyncio.timeout(SEND_SECONDS):
                if event is not None:
                    await event.send(MessageChain(chain))
                    return Sending.SENT
                found = await self._context.send_message(job.destination.conversation, MessageChain(chain))
                return Sending.SENT if found else Sending.ABSENT
        except Exception as error:  # noqa: BLE001 (adapters raise whatever their libraries raise; `outcome_of` names it)
            outcome = outcome_of(error)
            logger.warning("job %s: sending on %s: %s: %s", job.id, job.destination.platform, outcome, _brief(error))
            return outcome


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _coded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


async def _webchat_idle(job: Job) -> bool:
    """Wait until the browser has no request open in this chat; False when one stays open too long."""
    from astrbot.core.platform.sources.webchat.webchat_queue_mgr import webchat_queue_mgr

    chat = job.destination.conversation.rpartition("!")[2]
    for _ in range(int(WEBCHAT_SECONDS / 0.05)):
        if all(request.startswith("ws_sub_") for request in webchat_queue_mgr.list_back_request_ids(chat)):
            return True
        await asyncio.sleep(0.05)
    return False
