"""From what a person, or the chat's LLM, asked for to a job under way."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from astrbot.api.event import AstrMessageEvent

from .backends import Configured
from .capabilities import Capabilities, fit, mode_of, with_roles
from .config import Settings
from .delivery import Delivery
from .errors import AuthFailed, BadInput, Failure, Misconfigured
from .job_ledger import Denied, JobLedger, StaleJob
from .job_runner import JobRunner
from .kept_references import KeptReferences
from .models import Destination, Job, Reference, Role, VideoRequest
from .prompt import Typed
from .references import ReferenceStore
from .texts import Texts
from .utils import find_images, sources_of

# What the LLM tool's ``mode`` means: how many pictures at most, and what they are for.
MODES: dict[str, tuple[int | None, tuple[Role, ...]]] = {
    "auto": (None, ()),
    "text": (0, ()),
    "image": (1, (Role.FIRST_FRAME,)),
    "frames": (2, (Role.FIRST_FRAME, Role.LAST_FRAME)),
    "references": (None, (Role.REFERENCE,)),
}


@dataclass(frozen=True)
class _Pictures:
    """The pictures of an order.

    Attributes:
        portrait: they are the sender's own avatar, for want of anything else.
        kept: they are the ones of ``/参考图``.
    """

    sources: list[Path | bytes | Reference]
    portrait: bool = False
    kept: bool = False


class Orders:
    """Takes orders for videos.

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
        kept: KeptReferences,
        runner: JobRunner,
        delivery: Delivery,
    ) -> None:
        self._settings, self._texts, self._backends = settings, texts, backends
        self._ledger, self._references, self._kept = ledger, references, kept
        self._runner, self._delivery = runner, delivery

    async def take(
        self, event: AstrMessageEvent, typed: Typed, *, tool: bool = False, mode: str = "auto", only_kept: bool = False
    ) -> str | None:
        """Start a job.

        Args:
            mode: a key of `MODES`.
            only_kept: the message's own pictures are among the kept ones already.

        Returns:
            What to answer: a refusal, or (for the tool) the acceptance; None when all is said.

        Raises:
            Failure: why there is no job.
        """
        job, can, notes = await self._draft(event, typed, tool=tool)

        async def gather() -> tuple[Reference, ...]:
            found = await self._pictures(event, can, mode, only_kept=only_kept)
            references = self._roles(await self._references.keep(job.id, found.sources), mode)
            notes.extend(self._notes_on(found, references, job, can))
            if found.kept:
                await self._kept.use(owner_of(event))
            return references

        return await self._begun(event, job, notes, gather, tool=tool)

    async def again(self, event: AstrMessageEvent, old: Job) -> str | None:
        """The same request once more, with the same pictures, as a new job.

        Returns:
            A refusal, or None when all is said.
        """
        if not self._settings.video.enabled:
            raise BadInput("disabled")
        if old.backend not in self._backends:
            raise Misconfigured("no_backend", name=old.backend)
        if not self._backends[old.backend].keys:
            raise AuthFailed("no_key", backend=old.backend)
        job = Job(
            id=uuid.uuid4().hex,
            backend=old.backend,
            model=old.model,
            request=replace(old.request, references=()),
            destination=destination_of(event),
            message_key=message_key(event, ""),
            gathering=True,
        )

        async def gather() -> tuple[Reference, ...]:
            return await self._references.keep(job.id, old.request.references)

        return await self._begun(event, job, [], gather)

    async def _begun(
        self,
        event: AstrMessageEvent,
        job: Job,
        notes: list[str],
        gather: Callable[[], Awaitable[tuple[Reference, ...]]],
        *,
        tool: bool = False,
    ) -> str | None:
        """Accept a drafted job, gather its pictures, let it go, and say so; see `take`."""
        accepted = await self._runner.accept(job)
        if isinstance(accepted, Denied):
            return self._denied(job, accepted, tool=tool)
        job = accepted
        self._delivery.begin(job, event)
        launched = None
        try:
            launched = await self._runner.launch(job, await gather())
        except Failure as failure:
            return self._texts.failed(job.number, failure.why, None, job.backend)
        except StaleJob:  # cancelled meanwhile
            return self._texts.say("cancelled.free", number=job.number) if tool else None
        finally:
            if launched is None:
                await self._runner.withdraw(job)
        if tool:
            return self._texts.join(self._texts.say("tool_accepted", number=job.number), *notes)
        notes += self._delivery.notes_for(job)
        await self._delivery.acknowledge(launched, self._runner.position_of(launched), tuple(notes))
        return None

    async def in_use(self, conversation: str, named: str | None = None) -> tuple[str, str]:
        """Which (backend, model) makes this conversation's next video.

        Args:
            named: the backend that the message names.
        """
        chosen = await self._ledger.choice(conversation)
        if chosen and chosen[0] in self._backends and named in (None, chosen[0]):
            return chosen
        name = named or self._settings.video.backend
        return name, self._backends[name].model

    def tool_offers(self) -> dict[str, str]:
        """What the panel's model offers, for each parameter of the LLM tool; it is said behind its description."""
        configured = self._backends[self._settings.video.backend]
        can = configured.backend.capabilities(configured.model)
        offers: dict[str, tuple[object, ...] | None] = {"mode": ("auto", *can.modes)}
        offers |= {name: getattr(can, f"{name}s") for name in ("duration", "aspect_ratio", "resolution")}
        fixed = "Cannot be chosen with the model in use."
        return {
            name: f"Offered: {', '.join(map(str, values))}." if values else fixed
            for name, values in offers.items()
            if values is not None
        }

    async def _draft(self, event: AstrMessageEvent, typed: Typed, *, tool: bool) -> tuple[Job, Capabilities, list[str]]:
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
            raise BadInput("unknown_backend", name=typed.unknown_backend, offered=self.offered())
        if not typed.prompt:
            raise BadInput("usage")
        name, model = await self.in_use(event.unified_msg_origin, typed.backend)
        fallbacks = () if typed.backend else tuple(other for other in video.fallback if other != name)
        configured = self._backends[name]
        try:
            assert configured.backend.root  # an address that is none is said before the job begins
        except Misconfigured as failure:
            raise Misconfigured(failure.why.cause, backend=name, **failure.why.facts) from None
        if not configured.keys and not any(self._backends[other].keys for other in fallbacks):
            raise AuthFailed("no_key", backend=name)
        can = configured.backend.capabilities(model)
        request = VideoRequest(
            typed.prompt, duration=typed.duration, aspect_ratio=typed.aspect_ratio, resolution=typed.resolution
        )
        request, dropped = fit(request, can)
        names = self._texts.say("comma").join(self._texts.say(one) for one in dropped)
        notes = [self._texts.say("note_dropped", names=names)] if dropped else []
        job = Job(
            id=uuid.uuid4().hex,
            backend=name,
            model=model,
            request=request,
            destination=destination_of(event),
            message_key=message_key(event, typed.prompt if tool else ""),
            fallbacks=fallbacks,
            tool=tool,
            gathering=True,
        )
        return job, can, notes

    async def _pictures(self, event: AstrMessageEvent, can: Capabilities, mode: str, *, only_kept: bool) -> _Pictures:
        """The message's own pictures, else the kept ones, else perhaps the sender's portrait.

        Raises:
            BadInput: there is none, and it takes one.
        """
        most, roles = MODES[mode]
        if most == 0:
            return _Pictures([])
        if not only_kept and (found := await find_images(event, mentioned=True, sender=False, links=can.links)):
            return _Pictures((await sources_of(found))[:most])
        kept, _ = await self._kept.of(owner_of(event))
        if kept:
            return _Pictures(list(kept[:most]), kept=True)
        if self._avatar_counts(can) and (found := await find_images(event, mentioned=False, sender=True)):
            return _Pictures(await sources_of(found), portrait=True)
        if not can.text or roles:
            raise BadInput("needs_picture")
        return _Pictures([])

    @staticmethod
    def _roles(references: Sequence[Reference], mode: str) -> tuple[Reference, ...]:
        roles = MODES[mode][1]
        if not roles:
            return tuple(references)
        last = len(roles) - 1
        return tuple(replace(one, role=roles[min(place, last)]) for place, one in enumerate(references))

    def _notes_on(self, found: _Pictures, references: Sequence[Reference], job: Job, can: Capabilities) -> list[str]:
        """What the person should know about the use of the pictures.

        Raises:
            BadInput: the model makes no video of them.
        """
        used = with_roles(references, can)
        notes = []
        if sibling := can.siblings.get(mode_of(used)):
            notes.append(self._texts.say("note_sibling", model=sibling))
        if found.portrait:
            notes.append(self._texts.say("note_avatar"))
        if found.kept:
            notes.append(self._texts.say("note_kept", count=len(used)))
        if len(used) < len(references) and not all(one.avatar for one in references[len(used) :]):
            notes.append(self._texts.say("note_first"))
        return notes

    def _denied(self, job: Job, denied: Denied, *, tool: bool) -> str | None:
        if denied.why == "duplicate":
            return self._texts.say("tool_duplicate", number=denied.job.number) if tool else None
        limit = self._settings.video.max_jobs_per_user
        if denied.job.destination.conversation != job.destination.conversation:
            return self._texts.say("too_many_elsewhere", limit=limit)  # its number means another job here
        return self._texts.say("too_many", number=denied.job.number, limit=limit)

    def _avatar_counts(self, can: Capabilities) -> bool:
        fallback = self._settings.video.avatar_fallback
        return fallback == "always" or (fallback == "auto" and not can.text)

    def offered(self) -> str:
        """The backends that people may name: those with a key, or all where none has one."""
        ready = [name for name, one in self._backends.items() if one.keys]
        return " ".join(f"@{name}" for name in ready or self._backends)


def destination_of(event: AstrMessageEvent) -> Destination:
    """Where a message came from, and where its answer goes."""
    return Destination(
        conversation=event.unified_msg_origin,
        platform=event.get_platform_name(),
        user=event.get_sender_id(),
        message_id=str(event.message_obj.message_id or ""),
        group=bool(event.get_group_id()),
    )


def owner_of(event: AstrMessageEvent) -> str:
    """Whose kept pictures these are: a person's, in one conversation."""
    return f"{event.unified_msg_origin}\0{event.get_sender_id()}"


def message_key(event: AstrMessageEvent, prompt: str) -> str:
    """Names a message, and for the tool the prompt too: one message may ask for two different videos."""
    message_id = event.message_obj.message_id
    if not message_id:
        return ""
    whole = "\0".join((event.unified_msg_origin, event.get_sender_id(), str(message_id), prompt))
    return hashlib.sha256(whole.encode()).hexdigest()[:32]
