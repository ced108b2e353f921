"""How each chat platform gets its video: the forms of `delivery_plan.py`, one after the other.

A send ends as sent, refused or unknown; after an unknown one no video is sent any more, because it may have arrived.
"""

import asyncio
import base64
import logging
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from astrbot.api.event import AstrMessageEvent, MessageChain
from astrbot.api.message_components import BaseMessageComponent, File, Plain, Reply, Video
from astrbot.api.star import Context

from . import qq
from .config import Settings
from .delivery_plan import Form, limit_of, mapped, planned, platform_of, takes_videos
from .emoji_feedback import EmojiFeedback
from .errors import Failure, Undelivered, Why
from .job_ledger import JobLedger, LedgerFailed
from .models import Job, State
from .outbox import Mood, Parcel, Sending
from .send_outcome import Complaints, outcome_of
from .shrink import Shrinker
from .texts import Texts
from .transport import MB
from .utils import routing
from .video_manager import VideoManager

logger = logging.getLogger("astrbot")

SLOWEST_LINE = 256 * 1024  # bytes a second
SEND_SECONDS = 600.0  # longer than any adapter's own limit: theirs says more
WEBCHAT_SECONDS = 60.0
_REPEATS = 2  # of words that may have been lost


class _PathVideo(Video):
    """A Video of a path that only the other side can open; the host's own would look for it here."""

    async def to_dict(self) -> dict[str, Any]:
        """As the bridge gets it."""
        return {"type": "video", "data": {"file": self.file}}


class _PathFile(File):
    """A File of a path that only the other side can open."""

    def __init__(self, name: str, address: str) -> None:
        super().__init__(name=name, file=address)

    async def to_dict(self) -> dict[str, Any]:
        """As the bridge gets it."""
        return {"type": "file", "data": {"name": self.name, "file": self.file_}}


class Delivery:
    """The way to the chats; implements `Outbox`.

    Args:
        context: the host.
        emoji: puts marks on messages.
        videos: keeps files from being pruned while they are sent.
        ledger: remembers what a platform refused.
        public_base: reads the host's ``callback_api_base``, with which it replaces file contents by links of its own.
    """

    def __init__(
        self,
        context: Context,
        settings: Settings,
        texts: Texts,
        emoji: EmojiFeedback,
        videos: VideoManager,
        ledger: JobLedger,
        public_base: Callable[[], str],
    ) -> None:
        self._context, self._settings, self._texts = context, settings, texts
        self._emoji, self._videos, self._ledger, self._public_base = emoji, videos, ledger, public_base
        self._shrinker, self._complaints = Shrinker(), Complaints()
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
        self._emoji.show_typing(job.destination, event, lambda: self._events.get(job.id) is event)

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
        how = self._settings.video.acknowledge
        if how == "emoji":
            return
        line = self._texts.say("queued" if position else "accepted", number=job.number, position=position)
        text = self._texts.join(line, *notes)
        if how == "text" or position or notes or marked is None or not self._emoji.can_mark(job.destination):
            await self.say(job, text)
        else:
            self.spawn(self._text_unless(marked, job, text))

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
        self._complaints.close()
        await self._emoji.close()

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
        text, began = self._texts.failed(job.number, why, link, job.backend), time.time()
        outcome = await self.say(job, text)
        for _ in range(_REPEATS):
            if outcome is not Sending.UNKNOWN or job.destination.platform != "aiocqhttp":
                break
            # The line broke, perhaps with these words on it: silence is worse than to say them twice.
            outcome = Sending.SENT if await self._said(job, text, began) else await self.say(job, text)
        return outcome

    async def say(self, job: Job, text: str, *, quote: bool = False) -> Sending:
        """Send words, quoting the request where others read along.

        Args:
            quote: quote it anyway.
        """
        chain: list[BaseMessageComponent] = [Plain(text)]
        destination = job.destination
        if (destination.group or quote) and destination.message_id and platform_of(destination.platform).quotes:
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
        too_large = ""
        for form in await self._plan(job, parcel):
            if form in (Form.URL, Form.LINK):
                outcome = await self._send_link(job, parcel, form, reachable=reachable, too_large=too_large)
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
                with self._videos.using(path):
                    fitting = await self._fitting(job, form, path)
                    if fitting is None:
                        too_large = f"{path.stat().st_size / MB:.0f}"
                        continue
                    await parcel.sending()
                    with self._videos.using(fitting):
                        outcome = await self._send_file(job, form, fitting)
            await self._learn(job, form, outcome)
            if outcome is Sending.SENT and form is not Form.LINK:
                self._caption(job)
            if outcome is not Sending.REFUSED:
                return outcome
            logger.info("job %s: %s did not take the video as %s", job.id, job.destination.platform, form)
        if parcel.link is None:
            cause = "too_large" if too_large else "private"
            raise Undelivered(cause, file=(await parcel.file()).name, size=too_large)
        return Sending.REFUSED

    # ---- what a diagnosis asks for ----

    def testable(self, job: Job) -> list[Form]:
        """The forms in which a file of ours may be offered to a job's chat."""
        name, base = job.destination.platform, self._public_base()
        forms = planned(name, mode="file", public_base=base, ffmpeg=_has_ffmpeg())
        return [form for form in Form if form in forms]

    async def offer(self, job: Job, form: Form, path: Path) -> Sending:
        """Send a file in this form, and remember how it went."""
        outcome = await self._send_file(job, form, path)
        await self._learn(job, form, outcome)
        return outcome

    def forget(self, job: Job) -> None:
        """Let the live event go."""
        self._events.pop(job.id, None)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something besides, which ends at the latest with this plugin."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # ---- what to try ----

    async def _plan(self, job: Job, parcel: Parcel) -> list[Form]:
        try:
            refused = await self._ledger.refused_forms(_instance(job))
        except LedgerFailed:
            refused = set()
        name, mode, base = job.destination.platform, self._settings.video.send_mode, self._public_base()
        return planned(name, mode=mode, link=parcel.link, public_base=base, refused=refused, ffmpeg=_has_ffmpeg())

    async def _learn(self, job: Job, form: Form, outcome: Sending) -> None:
        """What a platform refused definitely is tried last the next time."""
        if form is not Form.LINK and outcome in (Sending.SENT, Sending.REFUSED):
            with suppress(LedgerFailed):
                await self._ledger.note_form(_instance(job), form, refused=outcome is Sending.REFUSED)

    async def _fitting(self, job: Job, form: Form, path: Path) -> Path | None:
        """The video no larger than the platform takes: as it is, or shrunk; None where that cannot be."""
        limit, size = limit_of(job.destination.platform, form), path.stat().st_size
        if limit is None or size <= limit:
            return path
        shrinks = form is not Form.BASE64 and (
            form is not Form.ATTACHMENT or not takes_videos(job.destination.platform)
        )
        if not shrinks or self._settings.delivery.shrink == "never":
            return None
        return await self._shrinker.shrink(path, limit)

    # ---- how ----

    async def _send_link(self, job: Job, parcel: Parcel, form: Form, *, reachable: bool, too_large: str) -> Sending:
        """The link: as a Video for the other side to fetch, or as words for the person to open."""
        assert parcel.link
        await parcel.sending()
        if form is Form.URL:
            return await self._send(job, [Video.fromURL(parcel.link)])
        sentence = "link_large" if too_large else "link" if reachable else "link_unreachable"
        return await self.say(job, self._texts.say(sentence, number=job.number, url=parcel.link, size=too_large))

    async def _send_file(self, job: Job, form: Form, path: Path) -> Sending:
        on_qq = job.destination.platform == "aiocqhttp"
        name = self._texts.say("file_name", number=job.number) + path.suffix
        theirs = Path(mapped(str(path), self._settings.delivery.path_mapping)).as_uri() if on_qq else ""
        match form:
            case Form.FILE:
                part: BaseMessageComponent = _PathVideo(file=theirs) if on_qq else Video.fromFileSystem(str(path))
            case Form.SERVICE:
                part = Video.fromFileSystem(str(path))  # the host puts its link in the path's place
            case Form.STREAM:
                handed = await self._handed_over(job, path, name)
                if handed is None:
                    return Sending.REFUSED
                part = _PathVideo(file=handed)
            case Form.ATTACHMENT:
                plain = on_qq and not self._public_base()
                part = _PathFile(name, theirs) if plain else File(name=name, file=str(path))
            case _:
                part = Video.fromBase64(await asyncio.to_thread(_coded, path))
        return await self._send(job, [part], size=path.stat().st_size)

    async def _handed_over(self, job: Job, path: Path, name: str) -> str | None:
        """The file's address at the bridge; None where it does not take files in pieces. Nothing is in the chat yet."""
        import aiocqhttp.exceptions  # type: ignore[import-untyped]

        try:
            bot = self._emoji.bot_of(job.destination, self._events.get(job.id))
            there = await qq.hand_over(bot, path, name, routing(self._events.get(job.id)))
        except (aiocqhttp.exceptions.Error, StopIteration, TimeoutError, ValueError, OSError) as error:
            logger.info("job %s: the bridge takes no file in pieces: %s", job.id, _brief(error))
            return None
        return there if "://" in there else f"file://{there}"

    def _caption(self, job: Job) -> None:
        """Say in a line of its own whose video that was, and what it took."""
        wanted = self._settings.delivery.caption and self._settings.video.acknowledge != "emoji"
        if not wanted or not platform_of(job.destination.platform).quotes or not job.destination.message_id:
            return
        cost = ""
        if job.result and job.result.cost is not None:
            cost = f" · {self._texts.cost(job.result.cost, job.result.currency)}"
        seconds = round(job.ready_at - job.submitted_at)
        text = self._texts.say("caption", number=job.number, model=job.model, seconds=seconds, cost=cost)
        self.spawn(self.say(job, text, quote=True))

    async def _send(self, job: Job, chain: list[BaseMessageComponent], *, size: int = 0) -> Sending:
        """Send, and find out what became of it.

        Args:
            size: bytes of the file in it: a large one takes longer.
        """
        event, began = self._events.get(job.id), time.time()
        is_media = not isinstance(chain[-1], Plain)
        if job.destination.platform == "webchat" and job.state is not State.ACCEPTED:
            # An open request drops a Video, and loses everything that comes just before its end. Once it is over, the
            # chat's history takes both. No await may come between this and the send: the next request may open.
            event = None
            if not await _webchat_idle(job) and isinstance(chain[0], Video):
                return Sending.REFUSED
        try:
            with self._complaints.listening() as complaints:
                async with asyncio.timeout(SEND_SECONDS + size / SLOWEST_LINE):
                    if event is not None:
                        await event.send(MessageChain(chain))
                        outcome = Sending.SENT
                    else:
                        found = await self._context.send_message(job.destination.conversation, MessageChain(chain))
                        outcome = Sending.SENT if found else Sending.ABSENT
        except Exception as error:  # noqa: BLE001 (adapters raise whatever their libraries raise; `outcome_of` names it)
            outcome = outcome_of(error)
            logger.warning("job %s: sending on %s: %s: %s", job.id, job.destination.platform, outcome, _brief(error))
            if outcome is Sending.UNKNOWN and is_media and await self._arrived(job, chain[0], size, began):
                return Sending.SENT
            return outcome
        if outcome is Sending.SENT and complaints and is_media:
            logger.warning("job %s: %s says sent and complains: %s", job.id, job.destination.platform, complaints[0])
            return await self._doubted(job)
        return outcome

    async def _arrived(self, job: Job, part: BaseMessageComponent, size: int, since: float) -> bool:
        """Whether an unclear video is in the chat after all, where the platform can be asked."""
        if job.destination.platform != "aiocqhttp":
            return False
        event = self._events.get(job.id)
        source = part.file if isinstance(part, Video) else part.file_ if isinstance(part, File) else ""
        path = None if size else self._videos.find(job.destination.conversation, job.number)
        video = qq.Sent(source or "", path.stat().st_size if path else size, since)
        try:
            bot = self._emoji.bot_of(job.destination, event)
        except StopIteration:  # its platform is gone
            return False
        return await qq.arrived(bot, job.destination, video, routing(event))

    async def _said(self, job: Job, text: str, since: float) -> bool:
        event = self._events.get(job.id)
        try:
            bot = self._emoji.bot_of(job.destination, event)
        except StopIteration:  # its platform is gone
            return False
        return await qq.said(bot, job.destination, text, since, routing(event))

    async def _doubted(self, job: Job) -> Sending:
        """The adapter logged an error and reported success: no second video, but the link as words does no harm."""
        result = job.result
        if result is None or result.private or not result.url.startswith("http"):
            return Sending.UNKNOWN
        return await self.say(job, self._texts.say("link", number=job.number, url=result.url))


_OURS = frozenset({"download", "disk"})  # why we have no file while the link may be good


def _instance(job: Job) -> str:
    """Which of the host's platforms a job belongs to."""
    return job.destination.conversation.partition(":")[0]


def _has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


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
