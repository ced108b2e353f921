"""Looks at a ticket until there is an end. Looks are free, and their own troubles say nothing about the job."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from .backends import Configured, TicketBackend
from .errors import Failure, Refused, UnknownCharge, UpstreamFailed, without
from .look_times import FIRST, next_look
from .models import Job, Pending, VideoResult

logger = logging.getLogger("astrbot")

LIFE = 86400.0  # seconds in which we go on looking
MORE_LOOKS = 3  # at a job that says it is done and shows no video
LONGEST_PAUSE = 300.0  # seconds that an upstream may ask us to stay away
_SLOWEST = 60.0  # seconds between looks that do not work


@dataclass(frozen=True)
class Seen:
    """The end of a ticket.

    Attributes:
        key: with which it was seen.
        looked_at: when a look last found it not done, seconds since the epoch; 0 = never.
    """

    result: VideoResult
    key: str
    looked_at: float


class TicketWatch:
    """Watches the tickets of all backends.

    Args:
        backends: by name.
        clock: seconds since the epoch.
        sleep: how to wait.
    """

    def __init__(
        self,
        backends: Mapping[str, Configured],
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backends, self._clock, self._sleep = backends, clock, sleep
        self._odd_words: set[tuple[str, str]] = set()

    async def end_of(
        self, job: Job, past: Sequence[float], *, report: Callable[[int], None], overdue: Callable[[], Awaitable[None]]
    ) -> Seen:
        """Wait for the video.

        Args:
            past: how many seconds this model took lately.
            report: is told the percentage whenever the upstream names one.
            overdue: is awaited after every look behind the deadline.

        Raises:
            Refused, UpstreamFailed: there will be no video.
            UnknownCharge: there was no end for a whole day.
        """
        configured = self._backends[job.backend]
        more, troubles, pause, looked_at = MORE_LOOKS, 0, 0.0, 0.0
        resumed = self._clock() - job.submitted_at > FIRST
        while True:
            elapsed = self._clock() - job.submitted_at
            due = next_look(elapsed, interval=configured.interval, deadline=configured.deadline, past=past)
            await self._sleep(max(min(due, 3 * random.random()) if resumed else due, pause))
            resumed = False
            seen, key = await self._look(job, configured)
            if isinstance(seen, VideoResult):
                return Seen(seen, key, looked_at)
            # Only behind a look: after a long absence the video may be there.
            if (elapsed := self._clock() - job.submitted_at) > LIFE:
                raise UnknownCharge("gave_up", ticket=job.ticket)
            if elapsed >= configured.deadline:
                await overdue()
            if seen.finished:
                more -= 1
                if more < 0:
                    raise UpstreamFailed("no_link")
            if seen.percent is not None:
                report(seen.percent)
            self._note(job.backend, seen.word)
            if seen.trouble:
                troubles += 1
                pause = min(configured.interval * 2 ** min(troubles - 1, 8), _SLOWEST)
            else:
                troubles, pause, looked_at = 0, 0.0, self._clock()
            if seen.finished:  # its link may come late, however well the times of the past are known
                pause = max(pause, configured.interval)
            pause = max(pause, min(seen.pause or 0.0, LONGEST_PAUSE))

    async def _look(self, job: Job, configured: Configured) -> tuple[VideoResult | Pending, str]:
        """One look, with the key that the ticket belongs to.

        Raises:
            Refused, UpstreamFailed: there will be no video.
        """
        key: str | None = None
        try:
            backend, key = configured.holding(job)
            if key is None or not isinstance(backend, TicketBackend):
                return Pending(trouble="no key"), ""
            return await backend.poll(job.ticket, key=key), key
        except (Refused, UpstreamFailed) as failure:
            raise without(failure, key or "") from None
        except Failure as failure:
            logger.debug("job %s: a look did not work: %s %s", job.id, failure.why.kind, failure.why.cause)
            return Pending(trouble=failure.why.kind, pause=getattr(failure, "retry_after", None)), ""

    def _note(self, backend: str, word: str) -> None:
        """An unknown word counts as "still going"; the operator sees it once."""
        if word and (backend, word) not in self._odd_words:
            self._odd_words.add((backend, word))
            logger.info("[astrbot_plugin_gitee] %s says “%s”; that counts as still going", backend, word)
