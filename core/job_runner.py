"""Moves every job one saved step at a time, from the accepted request to the told person.

Two kinds of tasks. A *driver* walks a job through its states; it may be cancelled at any moment, because every state is
saved and `start` picks it up again. A *deed* is the stretch that must not be broken: the paid request, the send. It
saves its own outcome, and it outlives this instance when the panel is saved: the next instance finds it by its name
among the loop's tasks, waits for it and goes on from what it saved.
"""

import asyncio
import logging
import random
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .backends import Configured
from .capabilities import fit, with_roles
from .config import VideoSettings
from .errors import (
    AuthFailed,
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Overdue,
    Retryable,
    Undelivered,
    UnknownCharge,
    UnknownDelivery,
    UpstreamFailed,
    Why,
    without,
)
from .fair_queue import FairQueue
from .job_ledger import Denied, JobLedger, LedgerClosed, LedgerFailed, StaleJob, person_of
from .keys import mark_of
from .models import UNDER_WAY, Job, Reference, State, VideoRequest, VideoResult
from .outbox import Mood, Outbox, Parcel, Sending
from .references import ReferenceStore
from .ticket_watch import LONGEST_PAUSE, TicketWatch
from .video_manager import Download, VideoManager

logger = logging.getLogger("astrbot")

PATIENCE = 86400.0  # seconds in which we go on looking for a chat that is not there
KEPT_JOBS = 500
_FRESH = 10.0  # seconds for which what was read of the past is good enough
_DEED = "astrbot_plugin_gitee:deed:"


class JobRunner:
    """All jobs of one running plugin.

    Args:
        backends: by name, as `backends.configured` builds them.
        clock: seconds since the epoch.
        sleep: how to wait.
    """

    def __init__(
        self,
        settings: VideoSettings,
        backends: Mapping[str, Configured],
        ledger: JobLedger,
        references: ReferenceStore,
        videos: VideoManager,
        outbox: Outbox,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings, self._backends = settings, backends
        self._ledger, self._references, self._videos, self._outbox = ledger, references, videos, outbox
        self._clock, self._sleep = clock, sleep
        self._queue = FairQueue(settings.max_running_jobs)
        self._drivers: dict[str, asyncio.Task[None]] = {}
        self._deeds: set[asyncio.Task[Any]] = set()
        self._downloads: dict[str, Download] = {}
        self._progress: dict[str, int] = {}
        self._tickets = TicketWatch(backends, clock=clock, sleep=sleep)
        self._past: dict[tuple[str, str], tuple[float, asyncio.Task[list[float]]]] = {}
        self._winding: asyncio.Task[None] | None = None

    # ---- what the commands ask for ----

    async def start(self) -> None:
        """Take up what the last run left."""
        with suppress(LedgerFailed):  # a full disk: what can be read goes on
            await self._ledger.prune(KEPT_JOBS)
        await self._references.sweep(await self._ledger.ids())
        deeds = {task.get_name(): task for task in asyncio.all_tasks() if not task.done()}
        for job in await self._ledger.unfinished():
            self._take_up(job, deeds.get(_DEED + job.id))

    async def accept(self, job: Job) -> Job | Denied:
        """Save a new job, or say what stands in its way. It waits for `launch`."""
        return await self._ledger.add(job, most=self._settings.max_jobs_per_user, now=self._clock())

    async def launch(self, job: Job, references: Sequence[Reference]) -> Job:
        """Let an accepted job go, with the pictures that were gathered for it."""
        request = replace(job.request, references=tuple(references))
        job = await self._ledger.save(job.to(State.ACCEPTED, gathering=False, request=request))
        self._take_up(job)
        await asyncio.sleep(0)  # it takes its place in the queue, so that `position_of` knows it
        return job

    async def withdraw(self, job: Job) -> None:
        """End an accepted job before it was launched; whoever withdraws it says why."""
        with suppress(StaleJob):  # cancelled meanwhile
            # The chat's LLM may correct itself at once: the same message must not count as its duplicate then.
            key = "" if job.tool else job.message_key
            why = BadInput("withdrawn").why
            await self._save(job.to(State.FAILED, gathering=False, error=why, told=True, message_key=key))
            self._outbox.mark(job, Mood.FAILED)

    def position_of(self, job: Job) -> int | None:
        """Its place in the queue, from 1; None when it does not wait."""
        return self._queue.position_of(job.id)

    def progress_of(self, job: Job) -> int | None:
        """Percent, as far as the upstream says."""
        return self._progress.get(job.id)

    async def cancel(self, job: Job) -> Job:
        """Stop a job, if it can still be stopped.

        Returns:
            The job: cancelled, or as it stands because it was too late.
        """
        job = await self._ledger.get(job.id)  # the caller's copy may be older than the send that is under way
        if job.state not in UNDER_WAY:
            return job
        stopped = [task for task in (self._drivers.get(job.id), _deed_of(job.id)) if task]
        for task in stopped:
            task.cancel()
        if stopped:
            await asyncio.wait(stopped)
        job = await self._ledger.get(job.id)
        if job.state not in UNDER_WAY:
            self._take_up(job)  # it was done in that very moment
            return job
        billed = "free" if job.state is State.ACCEPTED and not job.perhaps_billed else "billed_perhaps"
        job = await self._save(job.to(State.CANCELLED, told=True, error=Why("cancelled", billed)))
        self._outbox.mark(job, Mood.NONE)
        return job

    def resend(self, job: Job) -> bool:
        """Send a finished video once more, in the background.

        Returns:
            False when it is being sent this moment.
        """
        if _deed_of(job.id):
            return False
        self._begin(job, self._guarded(job, lambda: self._sent_again(job), asked=True))
        return True

    async def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Stop driving; deeds go on.

        Args:
            last: closes what deeds need; it is called when the last of them is done, which may be minutes later.
        """
        drivers = list(self._drivers.values())
        for driver in drivers:
            driver.cancel()
        if drivers:
            await asyncio.wait(drivers)
        await self._ledger.flush()  # what they asked for last is saved before the next instance reads
        if self._deeds:
            self._winding = asyncio.create_task(self._wind_up(last), name="astrbot_plugin_gitee:close")
        else:
            await self._wind_up(last)

    async def _wind_up(self, last: Callable[[], Awaitable[None]]) -> None:
        while self._deeds:
            await asyncio.wait(self._deeds)
        await asyncio.gather(*(download.cancel() for download in self._downloads.values()))
        await last()

    # ---- driving ----

    def _take_up(self, job: Job, deed: asyncio.Task[Any] | None = None) -> None:
        def over(task: asyncio.Task[None]) -> None:
            if self._drivers.get(job.id) is task:
                del self._drivers[job.id]

        driver = asyncio.create_task(
            self._guarded(job, lambda: self._drive(job, deed)), name=f"astrbot_plugin_gitee:drive:{job.id}"
        )
        self._drivers[job.id] = driver
        driver.add_done_callback(over)

    async def _drive(self, job: Job, deed: asyncio.Task[Any] | None) -> None:
        """Walk a job to its end.

        Args:
            deed: what the instance before us began for it and has not finished.
        """
        try:
            with self._videos.holding(job.destination.conversation, job.number):
                if deed:
                    await asyncio.wait([deed])
                    job = await self._ledger.get(job.id)
                while not (job.state.final and job.told):
                    job = await self._step(job)
            if job.tool:
                await self._outbox.note(job)
        finally:
            self._progress.pop(job.id, None)

    async def _guarded(self, job: Job, work: Callable[[], Awaitable[None]], *, asked: bool = False) -> None:
        """Let no bug end in silence.

        Args:
            asked: the person waits for an answer even where the job is over and told.
        """
        try:
            await work()
        except StaleJob:
            logger.debug("job %s was moved on by somebody else", job.id)
        except Exception as error:  # noqa: BLE001 (the job boundary: a bug in one job must not end in silence)
            # Not logger.exception: the host's log would show the values of all variables, keys among them.
            logger.error("job %s stopped by an error of this plugin:\n%s", job.id, traceback.format_exc())
            await self._abandon(job, error, asked=asked)

    async def _abandon(self, job: Job, error: Exception, *, asked: bool) -> None:
        """End a job that this plugin's own error stopped, saying what that means."""
        try:
            job = await self._ledger.get(job.id)
        except LedgerFailed:
            await self._outbox.tell(job, UnknownCharge("internal", type(error).__name__).why)
            return
        match job.state:
            case State.ACCEPTED:
                trouble = Misconfigured("internal", type(error).__name__).why
                state, trouble = (ended := _ended(job, trouble)).state, ended.error or trouble
            case State.SUBMITTING | State.RUNNING:
                state, trouble = State.UNKNOWN, UnknownCharge("internal", type(error).__name__).why
            case State.READY:
                state, trouble = State.FAILED, Undelivered("internal", type(error).__name__).why
            case State.DELIVERING:
                state, trouble = State.UNKNOWN, UnknownDelivery("internal", type(error).__name__).why
            case _:
                state, trouble = job.state, job.error or UnknownDelivery("internal", type(error).__name__).why
        if not job.state.final:
            job = await self._save(job.to(state, error=trouble))
        if asked or not job.told:
            await self._outbox.tell(job, trouble)
            self._outbox.mark(job, Mood.FAILED)
            await self._save(job.to(job.state, told=True))

    async def _step(self, job: Job) -> Job:
        match job.state:
            case State.ACCEPTED if job.gathering:
                return await self._save(job.to(State.FAILED, error=Retryable("interrupted").why))
            case State.ACCEPTED:
                return await self._create(job)
            case State.SUBMITTING:
                return await self._save(job.to(State.UNKNOWN, error=UnknownCharge("crashed").why))
            case State.RUNNING:
                return await self._watch(job)
            case State.READY:
                return await self._hand_over(job)
            case State.DELIVERING:
                return await self._save(job.to(State.UNKNOWN, error=UnknownDelivery("crashed").why))
            case _:
                return await self._tell(job)

    async def _create(self, job: Job) -> Job:
        """From the accepted request to the ticket or the result, or to the reason why there is none."""
        tried: list[str] = []
        while True:
            if job.backend not in self._backends:
                return await self._save(job.to(State.FAILED, error=Misconfigured("no_backend", name=job.backend).why))
            configured = self._backends[job.backend]
            await self._queue.enter(person_of(job), job.id)
            pause = 0.0
            try:
                key = configured.keys.next(tried)
                if key is None:
                    why = job.error or AuthFailed("no_key").why
                    elsewhere = self._elsewhere(job, why)
                    if elsewhere is None:
                        return await self._save(_ended(job, why))
                    job, tried = elsewhere, []
                    continue
                tried.append(key)
                job, request = await self._with_pictures(job)
                job, pause = await self._deed(job, self._submit(job, request, key))
            except Failure as failure:
                return await self._save(_ended(job, failure.why))
            finally:
                if job.state is not State.RUNNING:
                    self._queue.leave(job.id)
            if job.state is not State.ACCEPTED:
                return job
            if self._backends.get(job.backend) is not configured:
                tried = []
            elif pause:
                tried.remove(key)
                await self._sleep(pause)

    async def _with_pictures(self, job: Job) -> tuple[Job, VideoRequest]:
        """The job with its pictures fit to be sent, and the request as this backend gets it.

        Raises:
            BadInput: none of them can be used, or the model makes no video of so many.
        """
        can = self._backends[job.backend].backend.capabilities(job.model)
        given = job.request.references
        ready = await self._references.prepare(job.id, given, can.most if can.first_of_many else len(given))
        job = replace(job, request=replace(job.request, references=ready))
        request, _ = fit(job.request, can)
        return job, replace(request, references=with_roles(ready, can))

    def _elsewhere(self, job: Job, why: Why) -> Job | None:
        """The same job at the next backend that the admin lists and that can do it: nothing of it was taken so far."""
        if job.perhaps_billed:
            return None
        for place, name in enumerate(job.fallbacks, 1):
            other = self._backends.get(name)
            if other is None or not other.keys:
                continue
            can = other.backend.capabilities(other.model)
            try:
                fit(job.request, can)
                with_roles(job.request.references, can)
            except BadInput:
                continue
            logger.info("job %s: %s does not take it (%s); trying %s", job.id, job.backend, why.kind, name)
            rest = job.fallbacks[place:]
            return job.to(State.ACCEPTED, backend=name, model=other.model, fallbacks=rest, attempts=0, error=why)
        return None

    async def _submit(self, job: Job, request: VideoRequest, key: str) -> tuple[Job, float]:
        """The paid request: a deed.

        Returns:
            The saved job, and for how many seconds to pause if it is to be tried again with this key.
        """

        def report(percent: int) -> None:
            self._progress[job.id] = percent

        submitting = job.to(State.SUBMITTING, key_mark=mark_of(key), submitted_at=self._clock())
        try:
            job = await self._ledger.save(submitting)  # unless this is on disk, nothing that costs money leaves
        except LedgerFailed as error:
            return await self._save(job.to(State.FAILED, error=Misconfigured("ledger", str(error)).why)), 0.0
        _log(job)
        pause = 0.0
        backend = self._backends[job.backend].backend
        try:
            outcome = await backend.submit(request, model=job.model, key=key, report=report)
            if isinstance(outcome, str):
                job = job.to(State.RUNNING, ticket=outcome, root=backend.root, error=None)
            else:
                job = await self._received(job, outcome, key)
        except Failure as failure:
            job, pause = self._after(job, without(failure, key), key)
        return await self._save(job), pause

    async def _received(self, job: Job, result: VideoResult, key: str) -> Job:
        """The job with its result. A video that came inside the answer goes to disk: the ledger is no place for it.

        Returns:
            The job: ready; or failed, because what came is no video or the disk does not take it. It was made all the
            same, so this is no ending of a create that anything may be tried after.
        """
        if result.url.startswith("data:"):
            try:
                await self._videos.download(result.url, job.destination.conversation, job.number).file()
            except Failure as failure:
                return job.to(State.FAILED, error=failure.why)
            result = replace(result, url="data:", private=True)
        elif key in result.url:
            result = replace(result, private=True)
        return job.to(State.READY, result=result, error=None, ready_at=self._clock())

    # ---- tickets ----

    async def _watch(self, job: Job) -> Job:
        """From the ticket to the result, or to the reason why there is none."""
        if job.backend not in self._backends:
            return await self._save(job.to(State.UNKNOWN, error=Misconfigured("no_backend", name=job.backend).why))

        def report(percent: int) -> None:
            self._progress[job.id] = percent

        async def overdue() -> None:
            nonlocal job
            job = job if job.overdue else await self._say_overdue(job)

        if not job.overdue:
            self._queue.take(job.id)
        try:
            past = await self._waits(job)
            seen = await self._tickets.end_of(job, past, report=report, overdue=overdue)
            return await self._save(await self._received(replace(job, looked_at=seen.looked_at), seen.result, seen.key))
        except Failure as failure:
            return await self._save(_ended(job, failure.why))
        finally:
            self._queue.leave(job.id)

    async def _waits(self, job: Job) -> list[float]:
        """What its model took lately; read once for all who ask at about the same time."""
        read_at, reading = self._past.get((job.backend, job.model), (0.0, None))
        if reading is None or self._clock() - read_at > _FRESH:
            reading = asyncio.create_task(self._ledger.waits(job.backend, job.model))
            self._past[job.backend, job.model] = self._clock(), reading
        try:
            return await asyncio.shield(reading)
        except LedgerFailed:
            return []  # it only makes looks better timed

    async def _say_overdue(self, job: Job) -> Job:
        """Tell the person once that it takes longer; from then on it holds nobody up."""
        if await self._outbox.tell(job, Overdue().why) is Sending.ABSENT:
            return job
        self._queue.leave(job.id)
        return await self._save(replace(job, overdue=True))

    # ---- endings ----

    def _after(self, job: Job, failure: Failure, key: str) -> tuple[Job, float]:
        """What a failed create means for the job: the money rule."""
        if isinstance(failure, AuthFailed | OutOfQuota):
            self._backends[job.backend].keys.rest(key)
            return job.to(State.ACCEPTED, error=failure.why), 0.0
        always = self._settings.retry_policy == "always"
        again = isinstance(failure, Retryable) or (always and isinstance(failure, UnknownCharge))
        if again and job.attempts < self._settings.max_retries:
            pause = getattr(failure, "retry_after", None)
            if not pause:
                pause = self._settings.retry_delay * 2**job.attempts * random.uniform(1, 1.25)
                pause = min(pause, LONGEST_PAUSE)
            if pause <= LONGEST_PAUSE:
                perhaps = job.perhaps_billed or isinstance(failure, UnknownCharge)
                changes = {"error": failure.why, "attempts": job.attempts + 1, "perhaps_billed": perhaps}
                return job.to(State.ACCEPTED, **changes), max(pause, 0.01)
        if isinstance(failure, Retryable | Misconfigured) and (elsewhere := self._elsewhere(job, failure.why)):
            return elsewhere, 0.0
        return _ended(job, failure.why), 0.0

    async def _hand_over(self, job: Job) -> Job:
        """From the result to the chat; a platform that is not up yet is waited for."""
        job = await self._deed(job, self._deliver(job))
        if job.state is State.READY:
            if self._clock() - job.ready_at > PATIENCE:
                return await self._save(job.to(State.FAILED, error=Undelivered("absent").why))
            await self._wait_for_platform(job.ready_at)
        return job

    async def _deliver(self, job: Job) -> Job:
        """The send: a deed."""

        async def sending() -> None:
            nonlocal job
            if job.state is State.READY:
                job = await self._save(job.to(State.DELIVERING))

        try:
            outcome = await self._outbox.deliver(job, Parcel(_link(job), self._fetched(job), sending))
        except Failure as failure:
            return await self._save(job.to(State.FAILED, error=failure.why))
        match outcome:
            case Sending.SENT:
                job = job.to(State.DELIVERED, told=True)
                self._outbox.mark(job, Mood.SUCCESS)
            case Sending.ABSENT:
                job = job.to(State.READY)
            case Sending.UNKNOWN:
                job = job.to(State.UNKNOWN, error=UnknownDelivery().why)
            case Sending.REFUSED:
                job = job.to(State.FAILED, error=Undelivered().why)
        return await self._save(job)

    async def _sent_again(self, job: Job) -> None:
        """``/视频重发``: a deed. Only an arrival changes the job."""

        async def sending() -> None: ...

        try:
            with self._videos.holding(job.destination.conversation, job.number):
                outcome = await self._outbox.deliver(job, Parcel(_link(job), self._fetched(job), sending))
            if outcome in (Sending.REFUSED, Sending.ABSENT):
                raise Undelivered()
            if outcome is Sending.UNKNOWN:
                raise UnknownDelivery()
        except Failure as failure:
            await self._outbox.tell(job, failure.why)
            self._outbox.mark(job, Mood.NONE)
        else:
            self._outbox.mark(job, Mood.SUCCESS)
            await self._save((await self._ledger.get(job.id)).to(State.DELIVERED, told=True))

    def _fetched(self, job: Job) -> Download:
        """The video's one download: done before, or begun now and kept for the next ``/视频重发``."""
        assert job.result
        conversation = job.destination.conversation
        if path := self._videos.find(conversation, job.number):
            return Download.of(path)
        if (running := self._downloads.get(job.id)) and not running.over:
            return running
        if job.result.url == "data:":
            raise UpstreamFailed("pruned")
        headers, root = self._key_for(job)
        download = self._videos.download(job.result.url, conversation, job.number, key_headers=headers, key_root=root)
        self._downloads = {name: one for name, one in self._downloads.items() if not one.over} | {job.id: download}
        return download

    def _key_for(self, job: Job) -> tuple[dict[str, str] | None, str]:
        configured = self._backends.get(job.backend)
        if configured is None:
            return None, ""
        try:
            backend, key = configured.holding(job)
            return (backend.key_headers(key) if key else None), backend.root
        except Misconfigured:
            return None, ""

    async def _tell(self, job: Job) -> Job:
        assert job.error
        outcome = await self._outbox.tell(job, job.error)
        if outcome is Sending.ABSENT and self._clock() - job.finished_at < PATIENCE:
            await self._wait_for_platform(job.finished_at)
            return job
        self._outbox.mark(job, Mood.NONE if job.error.kind == UnknownDelivery.kind else Mood.FAILED)
        return await self._save(job.to(job.state, told=True))

    async def _wait_for_platform(self, since: float) -> None:
        """A chat that was there a moment ago is back soon; one that is long gone is asked for rarely."""
        await self._sleep(min(max(1.0, (self._clock() - since) / 10), 60.0))

    # ---- deeds and saves ----

    def _begin(self, job: Job, deed: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(deed, name=_DEED + job.id)
        self._deeds.add(task)
        task.add_done_callback(self._deeds.discard)
        return task

    async def _deed[T](self, job: Job, deed: Coroutine[Any, Any, T]) -> T:
        """Do what must not be broken: whoever waits for it may be cancelled, the deed goes on."""
        done: T = await asyncio.shield(self._begin(job, deed))
        return done

    async def _save(self, job: Job) -> Job:
        """Save a step. What happened has happened: when the disk does not take it, the job goes on all the same."""
        if job.state.final and not job.finished_at:
            job = replace(job, finished_at=self._clock())
        for pause in (0.2, 1.0, 0):
            try:
                job = await self._ledger.save(job)
                _log(job)
                break
            except LedgerFailed as error:
                if isinstance(error, LedgerClosed):
                    raise StaleJob(job.id) from None  # the next instance goes on with it
                logger.error("job %s: %s could not be saved: %s", job.id, job.state, error)
                await self._sleep(pause)
        return job


def _log(job: Job) -> None:
    """One line for the operator; never the prompt, which may be private."""
    why = f" ({job.error.kind}: {job.error.cause})" if job.error else ""
    logger.info("[astrbot_plugin_gitee] %s #%d: %s%s", job.destination.platform, job.number, job.state, why)


def _ended(job: Job, why: Why) -> Job:
    """The job without a video: failed, or open where it may be on the bill."""
    if job.perhaps_billed:
        return job.to(State.UNKNOWN, error=UnknownCharge("repeated", why.reason).why)
    return job.to(State.UNKNOWN if why.kind == UnknownCharge.kind else State.FAILED, error=why)


def _link(job: Job) -> str | None:
    """The link as a chat may see it."""
    if job.result is None or job.result.private or not job.result.url.startswith(("http://", "https://")):
        return None
    return job.result.url


def _deed_of(job_id: str) -> asyncio.Task[Any] | None:
    """The deed that is under way for a job, whichever instance began it."""
    return next((task for task in asyncio.all_tasks() if task.get_name() == _DEED + job_id and not task.done()), None)
