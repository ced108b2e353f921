"""What each command does and answers."""

import hashlib
import time
import uuid
from collections.abc import Mapping
from statistics import median
from unicodedata import normalize

from astrbot.api.event import AstrMessageEvent, MessageChain
from astrbot.api.message_components import Plain

from . import words
from .backends import Configured
from .capabilities import Capabilities, fit, listed
from .config import Settings
from .delivery import Delivery
from .errors import AuthFailed, BadInput, Failure, Misconfigured
from .job_ledger import Denied, JobLedger, LedgerFailed, StaleJob, person_of
from .job_runner import JobRunner
from .models import UNDER_WAY, Destination, Job, State, VideoRequest
from .prompt import Typed, parameter, parse
from .references import ReferenceStore
from .texts import Texts
from .utils import find_images, sources_of, text_without_mentions

_SHOWN = 10
_WITH_VIDEO = (State.DELIVERED, State.UNKNOWN, State.FAILED, State.CANCELLED)


class Commands:
    """The answers to ``/视频`` and its relatives, and to the LLM tool.

    Args:
        backends: by name.
    """

    def __init__(
        self,
        settings: Settings,
        texts: Texts,
        backends: Mapping[str, Configured],
        ledger: JobLedger,
        references: ReferenceStore,
        runner: JobRunner,
        delivery: Delivery,
    ) -> None:
        self._settings, self._texts, self._backends = settings, texts, backends
        self._ledger, self._references, self._runner, self._delivery = ledger, references, runner, delivery

    async def run(self, command: str, event: AstrMessageEvent, text: str = "") -> None:
        """Answer one command, in words whatever happens, and keep the message from the chat's own LLM.

        Args:
            command: its name in `words.COMMANDS`.
            text: what was typed behind it.
        """
        do = {
            "video": self._video,
            "presets": self._presets,
            "jobs": self._jobs,
            "cancel": self._cancel,
            "resend": self._resend,
            "help": self._help,
        }[command]
        try:
            answer = await do(event, text)
        except Failure as failure:
            answer = self._texts.explain(failure.why)
        except LedgerFailed:
            answer = self._texts.explain(Misconfigured("ledger").why)
        event.should_call_llm(True)  # the host's name for "this message needs no LLM any more"
        event.stop_event()  # before the answer: where the bot may not speak, nobody else answers in its place
        if answer:
            await event.send(MessageChain([Plain(answer)]))

    # ---- making a video ----

    async def _video(self, event: AstrMessageEvent, text: str) -> str | None:
        typed = parse(text_without_mentions(event, text), self._settings.video.presets, self._backends)
        return await self._order(event, typed, tool=False, pictures=True)

    async def tool(
        self, event: AstrMessageEvent, prompt: str, mode: str, duration: object, aspect_ratio: str, resolution: str
    ) -> str:
        """The LLM tool: accept the job and say so in one sentence; the video comes by itself.

        Args:
            mode: ``text`` leaves the pictures of the message out.
            duration, aspect_ratio, resolution: as the model wrote them; what makes no sense is left out.
        """
        seconds = f"{str(duration).removesuffix('.0').rstrip('s')}s"
        values = dict(filter(None, (parameter(str(value)) for value in (seconds, aspect_ratio, resolution))))
        if values.get("duration") == 0:
            del values["duration"]
        typed = Typed(" ".join(prompt.split()), **values)  # type: ignore[arg-type]
        try:
            return await self._order(event, typed, tool=True, pictures=mode != "text") or ""
        except Failure as failure:
            return self._texts.explain(failure.why)
        except LedgerFailed:
            return self._texts.explain(Misconfigured("ledger").why)

    async def _order(self, event: AstrMessageEvent, typed: Typed, *, tool: bool, pictures: bool) -> str | None:
        """From what was typed to a job under way.

        Returns:
            What to answer: a refusal, or (for the tool) the acceptance; None when all is said.
        """
        job, can, notes = self._draft(event, typed, tool=tool)
        accepted = await self._runner.accept(job)
        if isinstance(accepted, Denied):
            return self._denied(accepted, tool=tool)
        job = accepted
        self._delivery.begin(job, event)
        launched = None
        try:
            found = await find_images(event, mentioned=True, sender=self._avatar_counts(can)) if pictures else []
            if not found and not can.text:
                raise BadInput("needs_picture")
            launched = await self._runner.launch(job, await self._references.keep(job.id, await sources_of(found)))
        except Failure as failure:
            return self._texts.failed(job.number, failure.why, None)
        except StaleJob:  # cancelled meanwhile
            return self._texts.say("cancelled.free", number=job.number) if tool else None
        finally:
            if launched is None:
                await self._runner.withdraw(job)
        if tool:
            return self._texts.say("tool_accepted", number=job.number)
        if any(one.sender for one in found):
            notes.append(self._texts.say("note_avatar"))
        if job.destination.platform == "webchat":  # its page shows nothing that comes after the request is over
            notes.append(self._texts.say("note_webchat"))
        await self._delivery.acknowledge(launched, self._runner.position_of(launched), tuple(notes))
        return None

    def _draft(self, event: AstrMessageEvent, typed: Typed, *, tool: bool) -> tuple[Job, Capabilities, list[str]]:
        """The job as it would be, checked before anybody pays.

        Returns:
            The job, what its model can do, and what to tell about it.

        Raises:
            Failure: why it cannot be.
        """
        video = self._settings.video
        if not video.enabled:
            raise BadInput("disabled")
        if typed.unknown_backend is not None:
            raise BadInput("unknown_backend", name=typed.unknown_backend, offered=self._backend_names())
        if not typed.prompt:
            raise BadInput("usage")
        name = typed.backend or video.backend
        configured = self._backends[name]
        assert configured.backend.root  # an address that is none is said before the job begins
        if not configured.keys:
            raise AuthFailed("no_key")
        can = configured.backend.capabilities(configured.model)
        request = VideoRequest(
            typed.prompt,
            duration=typed.duration,
            aspect_ratio=typed.aspect_ratio,
            resolution=typed.resolution,
        )
        request, dropped = fit(request, can)
        names = self._texts.say("comma").join(self._texts.say(one) for one in dropped)
        notes = [self._texts.say("note_dropped", names=names)] if dropped else []
        job = Job(
            id=uuid.uuid4().hex,
            backend=name,
            model=configured.model,
            request=request,
            destination=_destination(event),
            message_key=_message_key(event, typed.prompt if tool else ""),
            tool=tool,
            gathering=True,
        )
        return job, can, notes

    def _denied(self, denied: Denied, *, tool: bool) -> str | None:
        if denied.why == "duplicate":
            return self._texts.say("tool_duplicate", number=denied.job.number) if tool else None
        limit = self._settings.video.max_jobs_per_user
        return self._texts.say("too_many", number=denied.job.number, limit=limit)

    def _avatar_counts(self, can: Capabilities) -> bool:
        fallback = self._settings.video.avatar_fallback
        return fallback == "always" or (fallback == "auto" and not can.text)

    # ---- the other commands ----

    async def _presets(self, event: AstrMessageEvent, text: str) -> str:
        presets = self._settings.video.presets
        lines = [self._texts.say("preset_line", name=name, prompt=prompt) for name, prompt in presets.items()]
        return self._texts.say("presets", lines="\n".join(lines)) if lines else self._texts.say("no_presets")

    async def _jobs(self, event: AstrMessageEvent, text: str) -> str:
        """One's own jobs here; admins see everybody's."""
        number = self._number(text, "jobs")
        if number is not None:
            found = [await self._named(event, number)]
            if not self._may(event, found[0]):
                return self._texts.say("not_yours", number=number)
        else:
            person = None if event.is_admin() else _person(event)
            found = await self._ledger.latest(event.unified_msg_origin, person=person, most=_SHOWN)
        if not found:
            return self._texts.say("no_jobs")
        return self._texts.say("jobs", lines="\n".join([await self._line(job) for job in found]))

    async def _cancel(self, event: AstrMessageEvent, text: str) -> str:
        number = self._number(text, "cancel")
        job = await self._named(event, number) if number is not None else await self._newest(event, UNDER_WAY)
        if job is None:
            return self._texts.say("nothing_to_cancel")
        if not self._may(event, job):
            return self._texts.say("not_yours", number=job.number)
        job = await self._runner.cancel(job)
        if job.state is State.CANCELLED and job.error:
            return self._texts.say(f"cancelled.{job.error.cause}", number=job.number)
        return self._texts.say("too_late", number=job.number, state=self._texts.say(f"state_{job.state}"))

    async def _resend(self, event: AstrMessageEvent, text: str) -> str:
        number = self._number(text, "resend")
        job = await self._named(event, number) if number is not None else await self._newest(event, _WITH_VIDEO)
        if job is None:
            return self._texts.say("nothing_to_resend")
        if job.result is None:
            return self._texts.say("no_video_in", number=job.number, state=self._texts.say(f"state_{job.state}"))
        self._delivery.remember(job, event)
        again = job.state.final and self._runner.resend(job)
        return self._texts.say("resending" if again else "being_sent", number=job.number)

    async def _help(self, event: AstrMessageEvent, text: str) -> str:
        """What is configured here can do."""
        video = self._settings.video
        configured = self._backends[video.backend]
        can = configured.backend.capabilities(configured.model)
        abilities = [self._texts.say("able_text" if can.text else "able_picture")]
        choices = {name: getattr(can, f"{name}s") for name in ("duration", "aspect_ratio", "resolution")}
        if all(offered == () for offered in choices.values()):
            abilities.append(self._texts.say("able_fixed"))
        abilities += [
            self._texts.say("able_choice", name=self._texts.say(name), offered=listed(offered))
            for name, offered in choices.items()
            if offered
        ]
        return self._texts.say(
            "help",
            backends=self._backend_names(),
            backend=video.backend,
            model=configured.model,
            abilities=self._texts.say("joint").join(abilities),
            presets=len(video.presets),
            per_user=video.max_jobs_per_user,
            running=video.max_running_jobs,
        )

    # ---- pieces ----

    @staticmethod
    def _number(text: str, command: str) -> int | None:
        """The job's number behind a command.

        Raises:
            BadInput: it is no number.
        """
        typed = normalize("NFKC", text).strip().lstrip("#")
        if not typed:
            return None
        if not typed.isdecimal() or len(typed) > 9:
            raise BadInput("bad_number", command=f"/{words.COMMANDS[command][0]}")
        return int(typed)

    async def _named(self, event: AstrMessageEvent, number: int) -> Job:
        """This conversation's job of that number.

        Raises:
            BadInput: there is none.
        """
        job = await self._ledger.find(event.unified_msg_origin, number)
        if job is None:
            raise BadInput("no_such_job", number=number)
        return job

    async def _newest(self, event: AstrMessageEvent, states: tuple[State, ...]) -> Job | None:
        """One's own newest job in one of these states; of final ones, one that has a video."""
        jobs = await self._ledger.latest(event.unified_msg_origin, person=_person(event), states=states, most=50)
        return next((job for job in jobs if job.result or not job.state.final), None)

    @staticmethod
    def _may(event: AstrMessageEvent, job: Job) -> bool:
        return event.is_admin() or person_of(job) == _person(event)

    async def _line(self, job: Job) -> str:
        """One job in the list: state, percentage, how long so far and how much longer."""
        details: list[str] = []
        now = time.time()
        if job.state in (State.SUBMITTING, State.RUNNING):
            percent = self._runner.progress_of(job)
            if percent is not None:
                details.append(f"{percent}%")
            elapsed = now - job.submitted_at
            details.append(self._texts.say("elapsed", seconds=round(elapsed)))
            past = await self._ledger.waits(job.backend, job.model)
            if past and (left := median(past) - elapsed) > 0:
                details.append(self._texts.say("left", seconds=max(1, round(left))))
        elif job.state is State.ACCEPTED and (position := self._runner.position_of(job)):
            details.append(self._texts.say("position", position=position))
        prompt = job.request.prompt
        return self._texts.say(
            "job_line",
            number=job.number,
            state=self._texts.say(f"state_{job.state}"),
            details="".join(f" · {detail}" for detail in details),
            prompt=prompt if len(prompt) <= 24 else f"{prompt[:23]}…",
        )

    def _backend_names(self) -> str:
        return " ".join(f"@{name}" for name in self._backends)


def _destination(event: AstrMessageEvent) -> Destination:
    return Destination(
        conversation=event.unified_msg_origin,
        platform=event.get_platform_name(),
        user=event.get_sender_id(),
        message_id=str(event.message_obj.message_id or ""),
        group=bool(event.get_group_id()),
    )


def _person(event: AstrMessageEvent) -> str:
    return f"{event.unified_msg_origin.partition(':')[0]}:{event.get_sender_id()}"


def _message_key(event: AstrMessageEvent, prompt: str) -> str:
    """Names a message, and for the tool the prompt too: one message may ask for two different videos."""
    message_id = event.message_obj.message_id
    if not message_id:
        return ""
    whole = "\0".join((event.unified_msg_origin, event.get_sender_id(), str(message_id), prompt))
    return hashlib.sha256(whole.encode()).hexdigest()[:32]
