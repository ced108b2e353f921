"""What each command does and answers."""

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from unicodedata import normalize

from astrbot.api.event import AstrMessageEvent, MessageChain
from astrbot.api.message_components import BaseMessageComponent, Image, Plain

from . import words
from .backends import Configured
from .capabilities import Capabilities, listed
from .config import Settings
from .delivery import Delivery
from .diagnosis import Diagnosis
from .errors import AuthFailed, BadInput, Failure, Misconfigured
from .job_ledger import JobLedger, LedgerClosed, LedgerFailed, person_of
from .job_runner import JobRunner
from .kept_references import KeptReferences
from .models import UNDER_WAY, Job, Role, State
from .orders import MODES, Orders, destination_of, message_key, owner_of
from .prompt import Typed, parameter, parse
from .texts import Texts
from .utils import find_images, sources_of, text_without_mentions

_SHOWN = 10
CONFIRM_SECONDS = 60.0
_OVER = (State.DELIVERED, State.UNKNOWN, State.FAILED, State.CANCELLED)


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
        kept: KeptReferences,
        runner: JobRunner,
        delivery: Delivery,
        orders: Orders,
    ) -> None:
        self._settings, self._texts, self._backends, self._orders = settings, texts, backends, orders
        self._ledger, self._kept, self._runner, self._delivery = ledger, kept, runner, delivery
        self._diagnosis = Diagnosis(texts, backends, delivery)
        self._asked: dict[tuple[str, str], tuple[float, str]] = {}  # (person, job) → when, at which message

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
            "retry": self._retry,
            "references": self._references,
            "models": self._models,
            "diagnose": self._diagnose,
            "help": self._help,
        }[command]
        try:
            answer = await do(event, text)
        except Failure as failure:
            answer = self._texts.explain(failure.why)
        except LedgerFailed as error:
            answer = self._unsaved(error)
        event.should_call_llm(True)  # the host's name for "this message needs no LLM any more"
        event.stop_event()  # before the answer: where the bot may not speak, nobody else answers in its place
        if answer:
            await event.send(MessageChain([Plain(answer)]))

    # ---- making a video ----

    async def _video(self, event: AstrMessageEvent, text: str) -> str | None:
        typed = parse(text_without_mentions(event, text), self._settings.video.presets, self._backends)
        return await self._orders.take(event, typed)

    async def tool(
        self, event: AstrMessageEvent, prompt: str, mode: str, duration: object, aspect_ratio: str, resolution: str
    ) -> str:
        """The LLM tool: accept the job and say so in one sentence; the video comes by itself.

        Args:
            mode: a key of `MODES`.
            duration, aspect_ratio, resolution: as the model wrote them; what makes no sense is left out.
        """
        seconds = f"{str(duration).removesuffix('.0').rstrip('s')}s"
        values = dict(filter(None, (parameter(str(value)) for value in (seconds, aspect_ratio, resolution))))
        if values.get("duration") == 0:
            del values["duration"]
        typed = Typed(" ".join(prompt.split()), **values)  # type: ignore[arg-type]
        try:
            return await self._orders.take(event, typed, tool=True, mode=mode if mode in MODES else "auto") or ""
        except Failure as failure:
            return self._texts.explain(failure.why)
        except LedgerFailed as error:
            return self._unsaved(error)

    def _unsaved(self, error: LedgerFailed) -> str:
        if isinstance(error, LedgerClosed):  # the panel was saved this moment
            return self._texts.say("starting")
        return self._texts.explain(Misconfigured("ledger").why)

    # ---- pictures and models ----

    async def _references(self, event: AstrMessageEvent, text: str) -> str | None:
        """``/参考图``: keep, show, forget, or make a video of what is kept."""
        owner = owner_of(event)
        typed = text_without_mentions(event, text)
        word = normalize("NFKC", typed).strip().lower()
        if word in words.CLEAR:
            await self._kept.clear(owner)
            return self._texts.say("kept_cleared")
        if word in words.SHOW:
            return await self._show_kept(event, owner)
        head, dashes, prompt = _before_dashes(typed)
        tokens = head.split()
        roles = [Role(words.ROLES[token.lower()]) for token in tokens if token.lower() in words.ROLES]
        others = " ".join(token for token in tokens if token.lower() not in words.ROLES)
        if others and not dashes:
            raise BadInput("kept_usage")
        order = parse(f"{others} {prompt}".strip(), self._settings.video.presets, self._backends)
        if dashes and not order.prompt:
            raise BadInput("kept_usage")
        found = await find_images(event, mentioned=True, sender=False, links=True)
        message = message_key(event, "")
        before = await self._kept.open_list(owner)
        kept = await self._kept.add(owner, await sources_of(found), roles, message=message) if found else ()
        if dashes:
            refusal: str | None = ""
            try:
                refusal = await self._orders.take(event, order, only_kept=True)
            finally:
                if refusal is not None and found:  # the person will send it again, pictures and all
                    await self._kept.put_back(owner, before)
            return refusal
        if not found:
            return await self._show_kept(event, owner)
        role = self._texts.say("kept_as", role=self._texts.say(f"role_{roles[0]}")) if len(roles) == 1 else ""
        return self._texts.say("kept", count=len(kept), role=role)

    async def _show_kept(self, event: AstrMessageEvent, owner: str) -> str | None:
        kept, left = await self._kept.of(owner)
        if not kept:
            return self._texts.say("kept_none")
        lines = [self._texts.say("kept_now", count=len(kept), minutes=max(1, round(left / 60)))]
        pictures: list[BaseMessageComponent] = []
        for place, one in enumerate(kept, 1):
            lines.append(self._texts.say("kept_line", place=place, role=self._texts.say(f"role_{one.role or 'open'}")))
            with suppress(OSError):
                pictures.append(Image.fromBytes(await asyncio.to_thread(Path(one.path).read_bytes)))
        chain = [Plain("\n".join(lines)), *pictures]
        await event.send(MessageChain(chain))
        return None

    async def _models(self, event: AstrMessageEvent, text: str) -> str:
        """``/视频模型``: what there is, and what this conversation uses."""
        typed = normalize("NFKC", text).strip().lstrip("@")
        conversation = event.unified_msg_origin
        if typed.lower() in words.DEFAULT:
            await self._ledger.choose(conversation, None)
            name, model = await self._orders.in_use(conversation)
            return self._texts.say("model_default", backend=name, model=model)
        if typed:
            name, _, model = (part.strip() for part in typed.partition("/"))
            name = name.lower()
            if name not in self._backends:
                raise BadInput("unknown_choice", name=name, offered=" ".join(self._backends))
            if not self._backends[name].keys:
                raise AuthFailed("no_key", backend=name)
            model = model or self._backends[name].model
            await self._ledger.choose(conversation, (name, model))
            return self._texts.say("model_chosen", backend=name, model=model)
        used = await self._orders.in_use(conversation)
        ready = {name: one.model for name, one in self._backends.items() if one.keys or name == used[0]}
        ready[used[0]] = used[1]
        lines = [
            self._texts.say(
                "model_line",
                mark="✓" if name == used[0] else "·",
                backend=name,
                model=model,
                abilities=self._abilities(self._backends[name].backend.capabilities(model)),
            )
            for name, model in ready.items()
        ]
        return self._texts.say("models", lines="\n".join(lines))

    def _abilities(self, can: Capabilities) -> str:
        """What a model can do, in words."""
        modes = [self._texts.say(f"able_{mode}", most=can.references) for mode in can.modes]
        abilities = [self._texts.say("able_from", modes=self._texts.say("comma").join(modes))]
        choices = {name: getattr(can, f"{name}s") for name in ("duration", "aspect_ratio", "resolution")}
        if all(offered == () for offered in choices.values()):
            abilities.append(self._texts.say("able_fixed"))
        abilities += [
            self._texts.say("able_choice", name=self._texts.say(name), offered=self._offered(name, offered))
            for name, offered in choices.items()
            if offered
        ]
        return self._texts.say("joint").join(abilities)

    def _offered(self, name: str, offered: tuple[object, ...]) -> str:
        values = self._texts.say("comma").join(listed(offered).split())
        return self._texts.say("in_seconds", offered=values) if name == "duration" else values

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
        job = await self._named(event, number) if number is not None else await self._newest(event, _OVER)
        if job is None:
            return self._texts.say("nothing_to_resend")
        if job.result is None:
            return self._texts.say("no_video_in", number=job.number, state=self._texts.say(f"state_{job.state}"))
        self._delivery.remember(job, event)
        again = job.state.final and self._runner.resend(job)
        answer = self._texts.say("resending" if again else "being_sent", number=job.number)
        return self._texts.join(answer, *self._delivery.notes_for(job))

    async def _retry(self, event: AstrMessageEvent, text: str) -> str | None:
        """``/视频重试``: the same once more; what may have been billed is asked about first."""
        number = self._number(text, "retry")
        job = await self._named(event, number) if number is not None else await self._newest(event, _OVER, any_end=True)
        if job is None:
            return self._texts.say("nothing_to_retry")
        if not self._may(event, job):
            return self._texts.say("not_yours", number=job.number)
        if not job.state.final:
            return self._texts.say("retry_running", number=job.number)
        asked, message = self._asked.pop((_person(event), job.id), (-CONFIRM_SECONDS, ""))
        same = message_key(event, "")  # a message that is delivered twice is no second word
        if _perhaps_billed(job) and (time.monotonic() - asked >= CONFIRM_SECONDS or (same and same == message)):
            self._asked[_person(event), job.id] = time.monotonic(), same
            return self._texts.say("retry_confirm", number=job.number, seconds=int(CONFIRM_SECONDS))
        return await self._orders.again(event, job)

    async def status(self, event: AstrMessageEvent, number: object) -> str:
        """The LLM tool: one job of this chat, or the newest of whoever asks.

        Args:
            number: as the model wrote it; 0 for the newest.
        """
        try:
            wanted = int(float(str(number or 0).lstrip("#")))
        except (ValueError, OverflowError):
            wanted = 0
        try:
            if wanted > 0:
                found = await self._ledger.find(event.unified_msg_origin, wanted)
                jobs = [found] if found and self._may(event, found) else []
            else:
                jobs = await self._ledger.latest(event.unified_msg_origin, person=_person(event), most=1)
            return await self._line(jobs[0]) if jobs else self._texts.say("no_jobs")
        except LedgerFailed as error:
            return self._unsaved(error)

    async def _diagnose(self, event: AstrMessageEvent, text: str) -> str:
        if not event.is_admin():
            raise BadInput("admins_only")
        self._diagnosis.begin(event, destination_of(event))
        return self._texts.say("diagnosing")

    async def _help(self, event: AstrMessageEvent, text: str) -> str:
        """What is configured here can do."""
        video = self._settings.video
        name, model = await self._orders.in_use(event.unified_msg_origin)
        return self._texts.say(
            "help",
            backends=self._orders.offered(),
            backend=name,
            model=model,
            abilities=self._abilities(self._backends[name].backend.capabilities(model)),
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

    async def _newest(self, event: AstrMessageEvent, states: tuple[State, ...], *, any_end: bool = False) -> Job | None:
        """One's own newest job in one of these states; of final ones, one that has a video."""
        jobs = await self._ledger.latest(event.unified_msg_origin, person=_person(event), states=states, most=50)
        return next((job for job in jobs if any_end or job.result or not job.state.final), None)

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
        if job.result and job.result.cost is not None:
            details.append(self._texts.cost(job.result.cost, job.result.currency))
        prompt = job.request.prompt
        return self._texts.say(
            "job_line",
            number=job.number,
            state=self._texts.say(f"state_{job.state}"),
            details="".join(f" · {detail}" for detail in details),
            prompt=prompt if len(prompt) <= 24 else f"{prompt[:23]}…",
        )


def _before_dashes(text: str) -> tuple[str, bool, str]:
    """``options -- prompt``, taken apart; phones make one long dash of two."""
    head, dashes, prompt = re.sub(r"(^|\s)(?:--|——|—|–|－－)(\s|$)", r"\1\0\2", text, count=1).partition("\0")
    return head.strip(), bool(dashes), prompt.strip()


def _perhaps_billed(job: Job) -> bool:
    """Whether a job that is over may stand on the bill."""
    if job.state in (State.DELIVERED, State.UNKNOWN) or job.perhaps_billed or job.result or job.ticket:
        return True
    why = job.error
    if why and why.cause == "disk":  # the video came inside the answer and could not be kept
        return job.submitted_at > 0
    if why and why.kind == "cancelled":
        return why.cause != "free"
    return why is not None and why.kind in ("refused", "upstream_failed", "unknown_charge", "undelivered")


def _person(event: AstrMessageEvent) -> str:
    return f"{event.unified_msg_origin.partition(':')[0]}:{event.get_sender_id()}"
