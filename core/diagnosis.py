"""``/视频诊断``: what works and what does not, found out without paying."""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path

from astrbot.api.event import AstrMessageEvent

from .backends import Configured
from .delivery import Delivery
from .delivery_plan import Form
from .errors import Failure
from .models import Destination, Job, State, VideoRequest
from .outbox import Sending
from .texts import Texts

CLIP = Path(__file__).parent / "clip.mp4"  # two seconds, 20 kB


class Diagnosis:
    """Checks backends and the chat it is asked in.

    Args:
        backends: by name.
    """

    def __init__(self, texts: Texts, backends: Mapping[str, Configured], delivery: Delivery) -> None:
        self._texts, self._backends, self._delivery = texts, backends, delivery

    def begin(self, event: AstrMessageEvent, destination: Destination) -> None:
        """Check everything in the background, and report to this chat."""
        job = Job(
            id=uuid.uuid4().hex,
            backend="",
            request=VideoRequest(""),
            destination=destination,
            state=State.READY,
        )
        self._delivery.remember(job, event)
        self._delivery.spawn(self._reported(job))

    async def _reported(self, job: Job) -> None:
        try:
            backends = await asyncio.gather(*(self._backend(name, one) for name, one in self._backends.items()))
            forms = [await self._form(job, form) for form in self._delivery.testable(job)]
            lines = [*backends, self._texts.say("diagnosis_forms" if forms else "diagnosis_no_forms"), *forms]
            await self._delivery.say(job, self._texts.say("diagnosis", lines="\n".join(lines)))
        finally:
            self._delivery.forget(job)

    async def _backend(self, name: str, configured: Configured) -> str:
        """One line: the key and the address, asked something that costs nothing."""
        if not configured.keys:
            return self._texts.say("diagnosis_unset", backend=name)
        verdicts = []
        for place, key in enumerate(configured.keys, 1):
            try:
                verdict = self._texts.say("diagnosis_good", url=await configured.backend.check(key=key))
            except Failure as failure:
                verdict = self._texts.say("diagnosis_bad", why=self._texts.explain(failure.why, backend=name))
            verdicts.append(self._texts.say("diagnosis_key", place=place, verdict=verdict))
        return self._texts.say("diagnosis_backend", backend=name, verdicts="\n".join(verdicts))

    async def _form(self, job: Job, form: Form) -> str:
        """One line: whether this chat takes a video in this form, as far as its platform says."""
        outcome = await self._delivery.offer(job, form, CLIP)
        mark = {Sending.SENT: "✓", Sending.REFUSED: "✗"}.get(outcome, "?")
        return self._texts.say("diagnosis_form", mark=mark, form=self._texts.say(f"form_{form}"))
