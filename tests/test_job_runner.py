"""Every job on its way: what costs money happens at most once, and every ending is told."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core import job_runner as module
from core import upstream as upstream_module
from core.backends import Configured
from core.capabilities import Capabilities
from core.config import VeoSettings, VideoSettings
from core.errors import (
    AuthFailed,
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
    Why,
)
from core.job_ledger import Denied, JobLedger, LedgerFailed
from core.job_runner import PATIENCE, JobRunner
from core.keys import KeyRing
from core.models import Destination, Job, Pending, Reference, Role, State, VideoRequest, VideoResult
from core.outbox import Mood, Parcel, Sending
from core.references import ReferenceStore
from core.ticket_watch import LONGEST_PAUSE, MORE_LOOKS
from core.transport import MB, Transport, Trust
from core.veo_video_service import VeoVideoService
from core.video_manager import VideoManager
from tests.scripted_backend import CLIP, INLINE, NO_ADDRESS, Gate, Look, ScriptedBackend, Step, TicketingBackend
from tests.scripted_server import HANG, RESET, Act, ScriptedServer, answer
from tests.until import until

CHAT = "napcat:GroupMessage:1001"
S = State


class RecordingOutbox:
    """Keeps what came; ends as told."""

    def __init__(self) -> None:
        self.delivered: list[tuple[int, bytes | None]] = []  # number, content of the file
        self.told: list[tuple[int, Why]] = []
        self.marks: list[tuple[int, Mood]] = []
        self.notes: list[tuple[int, State]] = []
        self.endings: list[Sending | BaseException | Callable[[Parcel], Awaitable[Sending]]] = []
        self.tellings: list[Sending | BaseException] = []

    async def deliver(self, job: Job, parcel: Parcel) -> Sending:
        step = self.endings.pop(0) if self.endings else Sending.SENT
        if callable(step):
            return await step(parcel)
        if isinstance(step, BaseException):
            raise step
        if step is Sending.ABSENT:
            return step
        path = await parcel.file()
        await parcel.sending()
        self.delivered.append((job.number, path.read_bytes()))
        return step

    async def tell(self, job: Job, why: Why) -> Sending:
        step = self.tellings.pop(0) if self.tellings else Sending.SENT
        if isinstance(step, BaseException):
            raise step
        if step is not Sending.ABSENT:
            self.told.append((job.number, why))
        return step

    async def note(self, job: Job) -> None:
        self.notes.append((job.number, job.state))

    def mark(self, job: Job, mood: Mood) -> None:
        self.marks.append((job.number, mood))

    def said(self) -> list[str]:
        return [f"{why.kind}.{why.cause}".rstrip(".") for _, why in self.told]


class WatchedLedger(JobLedger):
    """Remembers which states were saved; fails or waits where a test wants it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.saved: list[State] = []
        self.fails: Callable[[Job], bool] = lambda job: False
        self.before: Callable[[Job], Awaitable[object]] | None = None

    async def save(self, job: Job) -> Job:
        if self.fails(job):
            raise LedgerFailed("No space left on device")
        if self.before:
            await self.before(job)
        saved = await super().save(job)
        self.saved.append(saved.state)
        return saved


class World:
    """A runner and what it stands on; ``again`` is what a panel save or a restart makes of it."""

    def __init__(self, folder: Path, transport: Transport, keys: str, panel: dict[str, Any]) -> None:
        self.folder, self.transport, self.keys, self.panel = folder, transport, keys, panel
        self.backend, self.outbox = ScriptedBackend(), RecordingOutbox()
        self.veo, self.veo_keys = TicketingBackend(), "key3 key4"
        self.now, self.slept, self.hurry = 1_000_000.0, list[float](), 1.0
        self.on_sleep: Callable[[float], Awaitable[object]] | None = None
        self.closed = asyncio.Event()

    async def open(self) -> World:
        settings = VideoSettings.model_validate({"max_jobs_per_user": 1000, **self.panel})
        self.ledger = WatchedLedger(self.folder / "jobs.db")
        await self.ledger.open()
        self.videos = VideoManager(
            self.folder / "videos", self.transport, max_cached=20, max_bytes=MB, sleep=self.sleep
        )
        references = ReferenceStore(self.folder / "references", self.transport, max_side=64, max_bytes=MB)
        self.ring = KeyRing(tuple(self.keys.split()), self.clock)
        veo_ring = KeyRing(tuple(self.veo_keys.split()), self.clock)
        self.backends = {
            "grok": Configured(self.backend, self.ring, "m"),
            "veo": Configured(self.veo, veo_ring, "v", again=self.veo.at, interval=10.0, deadline=1800.0),
        }
        self.references = references
        self.runner = JobRunner(
            settings,
            self.backends,
            self.ledger,
            references,
            self.videos,
            self.outbox,
            clock=self.clock,
            sleep=self.sleep,
        )
        return self

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds * self.hurry
        if self.on_sleep:
            await self.on_sleep(seconds)
        await asyncio.sleep(0)

    async def close(self) -> None:
        async def last() -> None:
            await self.ledger.close()
            self.closed.set()

        await self.runner.close(last)

    async def again(self, *, veo_keys: str = "", root: str = "") -> World:
        """The next instance, on the same files; the upstream is the same too.

        Args:
            veo_keys, root: what was changed in the panel meanwhile.
        """
        other = World(self.folder, self.transport, self.keys, self.panel)
        other.backend, other.veo, other.now = self.backend, self.veo, self.now
        other.veo_keys = veo_keys or self.veo_keys
        if root:
            other.veo = self.veo.at(root)
        await other.open()
        await other.runner.start()
        return other

    async def order(
        self,
        prompt: str = "a cat",
        *,
        user: str = "42",
        pictures: list[bytes] | None = None,
        backend: str = "grok",
        **fields: Any,
    ) -> Job:
        """A job as the command makes it."""
        destination = Destination(CHAT, "aiocqhttp", user, "777", group=True)
        job = replace(bare(gathering=True, **fields), id=f"{next(_names):032x}", destination=destination)
        job = replace(job, backend=backend, model=self.backends[backend].model)
        accepted = await self.runner.accept(replace(job, request=VideoRequest(prompt)))
        assert isinstance(accepted, Job)
        kept = await self.references.keep(job.id, list[Any](pictures or []))
        return await self.runner.launch(accepted, kept)

    async def over(self, job: Job) -> Job:
        """Wait until it is final and told, and its driver has ended."""
        await until(lambda: not _tasks(job.id), 5)
        return await self.ledger.get(job.id)

    async def run(self, *steps: Step, **order: Any) -> Job:
        self.backend.steps += steps
        return await self.over(await self.order(**order))


_names = itertools.count(1)


def bare(**fields: Any) -> Job:
    """One that is not in the ledger yet."""
    destination = Destination(CHAT, "aiocqhttp", "42", "777", group=True)
    return Job(id="j", backend="grok", model="m", request=VideoRequest("a cat"), destination=destination, **fields)


def _tasks(part: str = "astrbot_plugin_gitee") -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if part in task.get_name() and not task.done()]


@asynccontextmanager
async def worlds(folder: Path, keys: str = "key1 key2", **panel: Any) -> AsyncIterator[World]:
    transport = Transport(Trust())
    world = await World(folder, transport, keys, panel).open()
    try:
        await world.runner.start()
        yield world
    finally:
        await world.close()
        await asyncio.wait_for(world.closed.wait(), 5)
        await transport.close()
        assert _tasks() == []


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with worlds(tmp_path) as one:
        yield one


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 50), "red").save(buffer, "WEBP")
    return buffer.getvalue()


# ---- the way of a job ----


async def test_from_request_to_chat(world: World) -> None:
    job = await world.run(pictures=[picture(), b"broken"])
    assert world.backend.creates == [("a cat", "key1", 1)]
    assert world.outbox.delivered == [(1, CLIP)]
    assert world.ledger.saved == [S.ACCEPTED, S.SUBMITTING, S.READY, S.DELIVERING, S.DELIVERED]
    assert (job.state, job.told, job.error) == (S.DELIVERED, True, None)
    assert 0 < job.created_at <= job.submitted_at <= job.ready_at <= job.finished_at
    assert world.outbox.told == []
    assert world.outbox.marks == [(1, Mood.SUCCESS)]
    assert "base64" not in str(job), "megabytes do not belong into the ledger"


async def test_a_video_behind_a_link_is_fetched_once(world: World) -> None:
    async with ScriptedServer([answer(CLIP, 200, "Content-Type: video/mp4")]) as server:
        world.transport._trust = Trust.of([server.url])
        job = await world.run(VideoResult(server.link("/v.mp4")))
        assert world.outbox.delivered == [(1, CLIP)]
        assert world.runner.resend(job)
        await world.over(job)
        assert world.outbox.delivered == [(1, CLIP)] * 2
        assert len(server.requests) == 1, "the file is still there"


async def test_only_unreadable_pictures_cost_nothing(world: World) -> None:
    job = await world.run(pictures=[b"broken", b""])
    assert world.backend.creates == []
    assert (job.state, world.outbox.said()) == (S.FAILED, ["bad_input.picture_unreadable"])


async def test_the_percentage_is_known_while_it_renders(world: World) -> None:
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    world.backend.steps.append(wait)
    job = await world.order()
    await until(lambda: world.runner.progress_of(job) == 50)
    gate.set()
    await world.over(job)
    assert world.runner.progress_of(job) is None


async def test_the_chat_s_model_is_told_how_its_job_ended(world: World) -> None:
    await world.run(tool=True)
    await world.run(Refused(), tool=True)
    await world.run()
    assert world.outbox.notes == [(1, S.DELIVERED), (2, S.FAILED)]


# ---- the money rule ----

# Failure → how often it is sent by itself, how the job ends, what is told. n = once more than max_retries; k = once
# for each key.
ONCE: dict[str, tuple[Callable[[], Exception], str, str, State, str]] = {
    # name: what, sent under `safe`, sent under `always`, state, told
    "bad input": (lambda: BadInput("rejected"), "1", "1", S.FAILED, "bad_input.rejected"),
    "misconfigured": (lambda: Misconfigured("model"), "1", "1", S.FAILED, "misconfigured.model"),
    "refused": (Refused, "1", "1", S.FAILED, "refused"),
    "no video": (lambda: UpstreamFailed("picture"), "1", "1", S.FAILED, "upstream_failed.picture"),
    "key refused": (AuthFailed, "k", "k", S.FAILED, "auth_failed"),
    "no quota": (OutOfQuota, "k", "k", S.FAILED, "out_of_quota"),
    "busy": (lambda: Retryable("busy"), "n", "n", S.FAILED, "retryable.busy"),
    "unclear": (lambda: UnknownCharge("cut"), "1", "n", S.UNKNOWN, "unknown_charge.cut"),
    "timed out": (lambda: UnknownCharge("timeout"), "1", "n", S.UNKNOWN, "unknown_charge.timeout"),
    "a bug of ours": (lambda: RuntimeError("bug"), "1", "1", S.UNKNOWN, "unknown_charge.internal"),
}


@pytest.mark.parametrize("retries", [0, 2, 5])
@pytest.mark.parametrize("policy", ["safe", "always"])
async def test_the_money_rule(policy: str, retries: int, tmp_path: Path) -> None:
    async with worlds(tmp_path, max_retries=retries, retry_policy=policy) as world:
        for number, (name, (make, safe, always, state, told)) in enumerate(ONCE.items(), 1):
            world.backend.default = make()
            before = len(world.backend.creates)
            job = await world.run(user=name)
            sent = len(world.backend.creates) - before
            allowed = {"1": 1, "k": 2, "n": 1 + retries}[safe if policy == "safe" else always]
            assert sent == allowed, name
            assert (job.state, job.told) == (state, True), name
            repeated = always == "n" != safe and allowed > 1
            assert world.outbox.said()[-1] == ("unknown_charge.repeated" if repeated else told), name
            assert len(world.outbox.told) == number, name
            assert world.outbox.marks[-1] == (number, Mood.FAILED), name
        assert world.outbox.delivered == []


async def test_what_is_taken_in_the_end_is_delivered(world: World) -> None:
    job = await world.run(Retryable("busy"), AuthFailed(), Retryable("busy"))
    assert job.state is S.DELIVERED
    assert job.attempts == 2
    assert job.error is None
    assert world.outbox.told == []


async def test_pauses_grow(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_retries=5, retry_delay=3) as world:
        world.backend.default = Retryable("busy")
        await world.run()
    assert [round(pause / 3 / 2**at, 2) for at, pause in enumerate(world.slept)] == pytest.approx([1.125] * 5, abs=0.13)
    assert len({pause / 2**at for at, pause in enumerate(world.slept)}) > 1, "not all gateways' clients at once"


async def test_long_pauses_of_our_own_do_not_end_a_job(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_retries=5, retry_delay=60) as world:
        world.backend.default = Retryable("busy")
        await world.run()
    assert len(world.backend.creates) == 6
    assert max(world.slept) == LONGEST_PAUSE


RETRY_AFTER = {17.0: [17.0], 0.0: [2.0], LONGEST_PAUSE: [LONGEST_PAUSE], LONGEST_PAUSE + 1: []}


@pytest.mark.parametrize("asked", RETRY_AFTER)
async def test_the_upstream_s_own_pause_comes_first(asked: float, world: World) -> None:
    """One that is too long is told instead of waited for."""
    job = await world.run(Retryable("busy", retry_after=asked))
    assert [pytest.approx(pause, rel=0.26) for pause in RETRY_AFTER[asked]] == world.slept
    assert job.state is (S.DELIVERED if world.slept else S.FAILED)


async def test_no_pause_between_keys(world: World) -> None:
    await world.run(AuthFailed(), OutOfQuota())
    assert world.slept == []
    assert world.outbox.said() == ["out_of_quota"], "the last one's words"


async def test_keys_take_turns_and_a_refused_one_rests(world: World) -> None:
    for _ in range(3):
        await world.run()
    assert [key for _, key, _ in world.backend.creates] == ["key1", "key2", "key1"]
    world.backend.creates.clear()
    await world.run(AuthFailed())
    for _ in range(2):
        await world.run()
    assert [key for _, key, _ in world.backend.creates] == ["key2", "key1", "key1", "key1"]
    world.now += 601
    await world.run()
    assert world.backend.creates[-1][1] == "key2"


async def test_a_busy_pool_is_tried_with_the_next_key(world: World) -> None:
    await world.run(Retryable("busy"))
    assert [key for _, key, _ in world.backend.creates] == ["key1", "key2"]


async def test_without_a_key(tmp_path: Path) -> None:
    async with worlds(tmp_path, keys="") as world:
        job = await world.run()
        assert (job.state, world.outbox.said()) == (S.FAILED, ["auth_failed.no_key"])


async def test_a_place_is_free_while_a_job_pauses(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=1) as world:
        gate = asyncio.Event()
        world.on_sleep = lambda _: gate.wait()
        world.backend.steps.append(Retryable("busy"))
        slow = await world.order("slow")
        await until(lambda: world.slept)
        await world.over(await world.order("fast", user="other"))
        assert world.outbox.delivered == [(2, CLIP)]
        gate.set()
        assert (await world.over(slow)).state is S.DELIVERED


async def test_unreadable_videos_inside_an_answer(world: World) -> None:
    job = await world.run(VideoResult("data:video/mp4;base64,PGh0bWw+"))
    assert (job.state, world.outbox.said()) == (S.FAILED, ["upstream_failed.not_a_video"])


# ---- crashes ----


def at(state: State, **fields: Any) -> Callable[[Job], Job]:
    """Move a job to a state by legal moves."""
    ways = {
        S.ACCEPTED: [], S.SUBMITTING: [S.SUBMITTING], S.RUNNING: [S.SUBMITTING, S.RUNNING],
        S.READY: [S.SUBMITTING, S.READY], S.DELIVERING: [S.SUBMITTING, S.READY, S.DELIVERING],
        S.DELIVERED: [S.SUBMITTING, S.READY, S.DELIVERING, S.DELIVERED], S.FAILED: [S.FAILED],
        S.CANCELLED: [S.CANCELLED], S.UNKNOWN: [S.SUBMITTING, S.UNKNOWN],
    }  # fmt: skip

    def move(job: Job) -> Job:
        for step in ways[state]:
            job = job.to(step)
        return replace(job, **fields)

    return move


WHY = Why("refused")
LINKED = VideoResult("http://cdn.example/v.mp4")
# What the ledger holds after a crash → creates, deliveries, how it ends, what is told.
CRASHES: dict[str, tuple[Callable[[Job], Job], int, int, State, list[str]]] = {
    "accepted": (at(S.ACCEPTED), 1, 1, S.DELIVERED, []),
    "accepted, after two attempts": (at(S.ACCEPTED, attempts=2), 1, 1, S.DELIVERED, []),
    "accepted, pictures not yet kept": (at(S.ACCEPTED, gathering=True), 0, 0, S.FAILED, ["retryable.interrupted"]),
    "accepted, its backend is gone": (at(S.ACCEPTED, backend="x"), 0, 0, S.FAILED, ["misconfigured.no_backend"]),
    "submitting": (at(S.SUBMITTING), 0, 0, S.UNKNOWN, ["unknown_charge.crashed"]),
    "running": (at(S.RUNNING, ticket="t", backend="veo", submitted_at=1e6), 0, 1, S.DELIVERED, []),
    "running, for more than a day": (at(S.RUNNING, ticket="t", backend="veo"), 0, 1, S.DELIVERED, []),
    "running, its backend is gone": (
        at(S.RUNNING, ticket="t", backend="x", submitted_at=1e6),
        0,
        0,
        S.UNKNOWN,
        ["misconfigured.no_backend"],
    ),
    "running, its backend has no tickets any more": (
        at(S.RUNNING, ticket="t", submitted_at=1e6),
        0,
        0,
        S.UNKNOWN,
        ["overdue", "unknown_charge.gave_up"],
    ),
    "ready, the file is there": (at(S.READY, result=LINKED, ready_at=1e6), 0, 1, S.DELIVERED, []),
    "ready, its backend is gone": (at(S.READY, result=LINKED, ready_at=1e6, backend="x"), 0, 1, S.DELIVERED, []),
    "delivering": (at(S.DELIVERING, result=LINKED), 0, 0, S.UNKNOWN, ["unknown_delivery.crashed"]),
    "delivered": (at(S.DELIVERED, told=True, result=LINKED), 0, 0, S.DELIVERED, []),
    "failed and told": (at(S.FAILED, told=True, error=WHY), 0, 0, S.FAILED, []),
    "failed and not told": (at(S.FAILED, error=WHY), 0, 0, S.FAILED, ["refused"]),
    "unknown and not told": (
        at(S.UNKNOWN, error=Why("unknown_charge", "cut")),
        0,
        0,
        S.UNKNOWN,
        ["unknown_charge.cut"],
    ),
    "cancelled": (at(S.CANCELLED, told=True, error=Why("cancelled", "free")), 0, 0, S.CANCELLED, []),
}


async def test_after_a_crash(world: World) -> None:
    """All of them at once, as a crash finds them."""
    jobs: dict[str, Job] = {}
    folder = world.videos.folder_of(CHAT)
    folder.mkdir(parents=True)
    for number, (name, (move, *_)) in enumerate(CRASHES.items(), 1):
        added = await world.ledger.add(
            replace(bare(), id=name[:32], request=VideoRequest(name)), most=99, now=world.now
        )
        assert isinstance(added, Job)
        jobs[name] = await world.ledger.save(move(added))
        (folder / f"{number:06d}.mp4").write_bytes(CLIP)
    other = await world.again()
    for name, job in jobs.items():
        ended = await other.over(job)
        _, creates, deliveries, state, told = CRASHES[name]
        assert [prompt for prompt, *_ in world.backend.creates].count(name) == creates, name
        assert [number for number, _ in other.outbox.delivered].count(job.number) == deliveries, name
        assert (ended.state, ended.told) == (state, True), name
        assert [
            f"{why.kind}.{why.cause}".rstrip(".") for number, why in other.outbox.told if number == job.number
        ] == told
    await other.close()


async def test_pictures_survive_a_crash(world: World, tmp_path: Path) -> None:
    added = await world.runner.accept(bare())
    assert isinstance(added, Job)
    kept = await world.references.keep("j", [picture()])
    request = replace(added.request, references=kept)
    await world.ledger.save(added.to(S.ACCEPTED, request=request))
    (tmp_path / "references" / "stranger").mkdir()
    other = await world.again()
    await other.over(added)
    assert world.backend.creates == [("a cat", "key1", 1)]
    assert [path.name for path in (tmp_path / "references").iterdir()] == ["j"], "and strangers' are swept out"
    await other.close()


# ---- panel saves and shutdowns ----


@pytest.mark.parametrize("ending", [INLINE, Refused(), UnknownCharge("cut"), Retryable("busy")], ids=repr)
async def test_a_panel_save_during_a_create(ending: Exception | VideoResult, world: World) -> None:
    """The old instance's deed goes on; the new one waits for it and goes on from what it saved."""
    gate = Gate(ending)
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    await asyncio.wait_for(world.close(), 1)
    other = await world.again()
    await asyncio.sleep(0.02)
    assert (await other.ledger.get(job.id)).state is S.SUBMITTING
    gate.let_go.set()
    ended = await other.over(job)
    await asyncio.wait_for(world.closed.wait(), 1)
    assert world.outbox.delivered == world.outbox.told == [], "the old one is silent"
    again = isinstance(ending, Retryable)
    assert len(world.backend.creates) == (2 if again else 1)
    delivered = again or isinstance(ending, VideoResult)
    assert other.outbox.delivered == ([(1, CLIP)] if delivered else [])
    assert len(other.outbox.told) == (0 if delivered else 1)
    assert ended.told
    await other.close()


async def test_two_panel_saves_during_a_create(world: World) -> None:
    gate = Gate()
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    await world.close()
    second = await world.again()
    await second.close()
    third = await second.again()
    gate.let_go.set()
    assert (await third.over(job)).state is S.DELIVERED
    assert len(world.backend.creates) == 1
    assert len(second.outbox.delivered) + len(third.outbox.delivered) == 1
    await third.close()


async def test_a_panel_save_during_a_send(world: World) -> None:
    reached, let_go = asyncio.Event(), asyncio.Event()

    async def slow(parcel: Parcel) -> Sending:
        await parcel.sending()
        reached.set()
        await let_go.wait()
        world.outbox.delivered.append((1, b"by the old one"))
        return Sending.SENT

    world.outbox.endings.append(slow)
    job = await world.order()
    await reached.wait()
    await world.close()
    other = await world.again()
    let_go.set()
    assert (await other.over(job)).state is S.DELIVERED
    assert world.outbox.delivered == [(1, b"by the old one")]
    assert other.outbox.delivered == other.outbox.told == []
    await other.close()


async def test_a_panel_save_while_the_intention_is_being_saved(world: World) -> None:
    """The create has not left yet; it does, once, and nobody hears of a crash."""
    reached, let_go = asyncio.Event(), asyncio.Event()

    async def hold(job: Job) -> None:
        if job.state is S.SUBMITTING:
            reached.set()
            await let_go.wait()

    world.ledger.before = hold
    job = await world.order()
    await reached.wait()
    await world.close()
    other = await world.again()
    let_go.set()
    assert (await other.over(job)).state is S.DELIVERED
    assert len(world.backend.creates) == 1
    assert other.outbox.told == []
    await other.close()


async def test_a_panel_save_waits_for_what_drivers_are_saving(world: World) -> None:
    """Else the new instance reads the state before, and does once more what the save would have told it."""
    gate = Gate()
    world.backend.steps += [gate, Refused()]
    busy = await world.order(user="other")  # its deed keeps the old ledger open
    await gate.reached.wait()
    commit, slow = world.ledger._commit, asyncio.Event()

    def slowly(works: Any) -> Any:
        time.sleep(0.04 if slow.is_set() else 0)
        return commit(works)

    world.ledger._commit = slowly  # type: ignore[method-assign]
    world.outbox.tellings.append(Sending.ABSENT)
    world.on_sleep = lambda _: asyncio.to_thread(slow.set)
    job = await world.order()
    await until(lambda: world.outbox.told)  # it was told; that it was told is being saved
    await world.close()
    other = await world.again()
    gate.let_go.set()
    for one in (job, busy):
        assert (await other.over(one)).told
    assert world.outbox.said() + other.outbox.said() == ["refused"]
    await other.close()


async def test_a_panel_save_during_a_pause_keeps_count(world: World) -> None:
    gate = asyncio.Event()
    world.on_sleep = lambda _: gate.wait()
    world.backend.default = Retryable("busy")
    job = await world.order()
    await until(lambda: world.slept)
    await world.close()
    other = await world.again()
    assert (await other.over(job)).state is S.FAILED
    assert len(world.backend.creates) == 3, "max_retries is 2, whoever counts"
    await other.close()


async def test_a_shutdown_during_a_create_is_told_at_the_next_start(world: World) -> None:
    gate = Gate()
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    await world.close()
    for task in asyncio.all_tasks():  # as asyncio.run does in the end
        if job.id in task.get_name():
            task.cancel()
    await asyncio.wait_for(world.closed.wait(), 1)
    other = await world.again()
    assert (await other.over(job)).state is S.UNKNOWN
    assert other.outbox.said() == ["unknown_charge.crashed"]
    assert len(world.backend.creates) == 1
    await other.close()


# ---- cancelling ----


async def test_cancelling_what_waits_is_free(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=1) as world:
        gate = Gate()
        world.backend.steps.append(gate)
        first = await world.order()
        await gate.reached.wait()
        second = await world.order()
        cancelled = await world.runner.cancel(second)
        assert (cancelled.state, cancelled.told, cancelled.error) == (S.CANCELLED, True, Why("cancelled", "free"))
        gate.let_go.set()
        await world.over(first)
        assert len(world.backend.creates) == 1
        assert world.outbox.marks == [(2, Mood.NONE), (1, Mood.SUCCESS)]
        assert (await world.run()).state is S.DELIVERED, "its place is free again"


async def test_cancelling_while_pictures_are_gathered(world: World) -> None:
    job = await world.runner.accept(bare(gathering=True))
    assert isinstance(job, Job)
    assert (await world.runner.cancel(job)).state is S.CANCELLED
    assert world.backend.creates == []


async def test_cancelling_during_a_pause_is_free(world: World) -> None:
    gate = asyncio.Event()
    world.on_sleep = lambda _: gate.wait()
    world.backend.steps.append(Retryable("busy"))
    job = await world.order()
    await until(lambda: world.slept)
    cancelled = await world.runner.cancel(await world.ledger.get(job.id))
    assert cancelled.error == Why("cancelled", "free")
    assert len(world.backend.creates) == 1


async def test_cancelling_a_create_says_that_it_may_be_billed(world: World) -> None:
    gate = Gate()
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    cancelled = await world.runner.cancel(await world.ledger.get(job.id))
    assert cancelled.error == Why("cancelled", "billed_perhaps")
    assert world.backend.cancelled == 1, "the line is closed"
    assert (await world.run()).state is S.DELIVERED


async def test_cancelling_a_moment_late_leaves_the_send_alone(world: World) -> None:
    """The command read the job while it rendered; now it is being sent."""
    gate, sending, let_go = Gate(), asyncio.Event(), asyncio.Event()

    async def slow(parcel: Parcel) -> Sending:
        await parcel.sending()
        sending.set()
        await let_go.wait()
        return Sending.SENT

    world.backend.steps.append(gate)
    world.outbox.endings.append(slow)
    job = await world.order()
    await gate.reached.wait()
    copy = await world.ledger.get(job.id)
    gate.let_go.set()
    await sending.wait()
    assert copy.state is S.SUBMITTING
    assert (await world.runner.cancel(copy)).state is S.DELIVERING
    let_go.set()
    assert (await world.over(job)).state is S.DELIVERED
    assert world.outbox.told == []


async def test_cancelling_in_the_very_moment_it_is_done(world: World) -> None:
    """The ledger still says that it renders, and the result is next in line to be saved: another driver takes it up."""
    gate, asked, saving = Gate(), threading.Event(), asyncio.Event()
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    commit = world.ledger._commit

    def slowly(works: Any) -> Any:
        asked.set()
        time.sleep(0.02)
        return commit(works)

    async def note(job: Job) -> None:
        saving.set()

    world.ledger._commit, world.ledger.before = slowly, note  # type: ignore[method-assign]
    cancelling = asyncio.create_task(world.runner.cancel(job))
    await until(asked.is_set)
    gate.let_go.set()
    await saving.wait()
    assert (await cancelling).state is S.READY
    assert (await world.over(job)).state is S.DELIVERED
    assert len(world.outbox.delivered) == 1


async def test_too_late_to_cancel(world: World) -> None:
    for state in (S.READY, S.DELIVERING, S.DELIVERED, S.FAILED, S.CANCELLED, S.UNKNOWN):
        added = await world.runner.accept(replace(bare(), id=state.value))
        assert isinstance(added, Job)
        job = await world.ledger.save(at(state, told=True)(added))
        assert await world.runner.cancel(job) == job
    assert world.outbox.marks == []


async def test_cancelling_a_create_of_the_instance_before(world: World) -> None:
    gate = Gate()
    world.backend.steps.append(gate)
    job = await world.order()
    await gate.reached.wait()
    await world.close()
    other = await world.again()
    assert (await other.runner.cancel(await other.ledger.get(job.id))).state is S.CANCELLED
    assert world.backend.cancelled == 1
    await other.close()


# ---- the queue ----


async def test_places_are_shared_fairly(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=2) as world:
        gates = [Gate(), Gate()]
        world.backend.steps += gates
        running = [await world.order(f"a{number}", user="a") for number in range(2)]
        for gate in gates:
            await gate.reached.wait()
        pile = [await world.order(f"a{number}", user="a") for number in range(2, 5)]
        other = await world.order("b", user="b")
        assert [world.runner.position_of(job) for job in (*running, *pile, other)] == [None, None, 1, 3, 4, 2]
        for gate in gates:
            gate.let_go.set()
        for job in (*running, *pile, other):
            await world.over(job)
        assert [prompt for prompt, _, _ in world.backend.creates] == ["a0", "a1", "a2", "b", "a3", "a4"]
        assert world.backend.most_running == 2


async def test_the_limit_per_person(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_jobs_per_user=1) as world:
        gate = Gate()
        world.backend.steps.append(gate)
        first = await world.order()
        denied = await world.runner.accept(replace(first, id="other"))
        assert isinstance(denied, Denied)
        assert (denied.why, denied.job.id) == ("too_many", first.id)
        gate.let_go.set()
        await world.over(first)
        assert (await world.run()).state is S.DELIVERED


async def test_three_hundred_jobs_leave_nothing_behind(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=50, max_cached_videos=20) as world:
        tasks = len(asyncio.all_tasks())
        endings: list[Step] = [INLINE, Refused(), Retryable("busy"), UnknownCharge("cut"), RuntimeError("bug")]
        world.backend.steps += [endings[number % 5] for number in range(300)]
        jobs = await asyncio.gather(*(world.order(user=str(number % 7)) for number in range(300)))
        await until(lambda: len(_tasks()) == 0, 20)
        ended = await asyncio.gather(*(world.ledger.get(job.id) for job in jobs))
        assert all(job.told and job.state.final for job in ended)
        assert len(asyncio.all_tasks()) == tasks
        left = {name: value for name, value in vars(world.runner).items() if isinstance(value, dict | set)}
        assert {name: len(value) for name, value in left.items() if value} == {"_backends": 2}
        assert not list(tmp_path.rglob("*.part"))
        assert len(list(tmp_path.rglob("*.mp4"))) <= 20 + 50, "those of jobs that were not over had to stay"
        await world.videos.prune()
        assert len(list(tmp_path.rglob("*.mp4"))) == 20


# ---- tickets ----


async def test_from_ticket_to_chat(world: World) -> None:
    world.veo.looks += [Pending(), Pending(20), Pending(percent=80), VideoResult("data:" + INLINE.url[5:])]
    job = await world.run(backend="veo")
    assert world.ledger.saved == [S.ACCEPTED, S.SUBMITTING, S.RUNNING, S.READY, S.DELIVERING, S.DELIVERED]
    assert world.veo.creates == [("a cat", "key3", 0)], "one create, however many looks"
    assert world.veo.polls == [("ticket:1", "key3", "http://tickets.example")] * 4
    assert (job.state, job.ticket, job.root) == (S.DELIVERED, "ticket:1", "http://tickets.example")
    assert job.submitted_at < job.looked_at < job.ready_at
    assert world.outbox.delivered == [(1, CLIP)], "the video came inside the answer to a look"
    assert world.outbox.told == []
    assert world.outbox.marks == [(1, Mood.SUCCESS)]
    assert "base64" not in str(job)


async def test_some_answer_a_create_with_the_video(world: World) -> None:
    world.veo.steps.append(INLINE)
    assert (await world.run(backend="veo")).state is S.DELIVERED
    assert world.veo.polls == []


async def test_the_percentage_is_known_while_a_ticket_is_watched(world: World) -> None:
    seen: list[int | None] = []

    async def note(_: float) -> None:
        seen.append(world.runner.progress_of(job))

    world.veo.looks += [Pending(12), Pending(), Pending(99)]
    job = await world.order(backend="veo")
    world.on_sleep = note
    await world.over(job)
    assert [percent for percent in seen if percent != 50] == [12, 12, 99], "a look that says nothing takes nothing back"
    assert world.runner.progress_of(job) is None


async def test_a_word_that_is_not_known_is_said_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "astrbot")
    for _ in range(2):
        world.veo.looks += [Pending(word="dreaming"), Pending(word="dreaming"), Pending(word="musing"), INLINE]
        assert (await world.run(backend="veo")).state is S.DELIVERED
    assert [caplog.text.count(f"“{word}”") for word in ("dreaming", "musing")] == [1, 1]


@pytest.mark.parametrize(("empty", "state"), [(1, S.DELIVERED), (4 - 1, S.DELIVERED), (4, S.FAILED)])
async def test_done_without_a_video_is_looked_at_three_more_times(empty: int, state: State, world: World) -> None:
    world.veo.looks += [Pending(), *[Pending(100, finished=True)] * empty]
    job = await world.run(backend="veo")
    assert job.state is state
    assert world.outbox.said() == ([] if state is S.DELIVERED else ["upstream_failed.no_link"])
    assert len(world.veo.polls) == (1 + empty + 1 if state is S.DELIVERED else 1 + 1 + MORE_LOOKS)
    assert len(world.veo.creates) == 1


# What a look can bring that says nothing about the job.
LOOKS: dict[str, tuple[Act, ...]] = {
    "429": ([answer(b'{"error": "slow down"}', 429)],),
    "429 that says when": ([answer(b"{}", 429, "Retry-After: 47")],),
    "401": ([answer(b'{"error": "invalid token"}', 401)],),
    "402": ([answer(b'{"error": "insufficient balance"}', 402)],),
    "500": ([answer(b'{"status": "error", "error": "saturated"}', 500)],),
    "502": ([answer(b"bad gateway", 502)],),
    "a page for a 404": ([answer(b"<html><title>404</title></html>", 404, "Content-Type: text/html")],),
    "a page": ([answer(b"<!doctype html><title>Just a moment</title>", 200, "Content-Type: text/html")],),
    "a redirect": ([answer(b"", 302, "Location: https://login.example.com")],),
    "nothing": ([answer(b"")],),
    "a list": ([answer(b"[]")],),
    "time-out": ([HANG],),
    "cut before the answer": ([RESET],) * 2,  # aiohttp itself asks once more, as it may where nothing is paid
    "cut in the answer": ([answer(b'{"status": "comp', length=99)],),
    "five in a row": ([answer(b"bad gateway", 502)],) * 5,
}


@pytest.mark.parametrize("name", LOOKS)
async def test_a_look_that_does_not_work_says_nothing(name: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real upstream, over a real line: the paid job is not lost for it."""
    monkeypatch.setattr(upstream_module, "LOOK_SECONDS", 0.1)
    done = json.dumps({"id": "t:1", "status": "completed", "video_url": INLINE.url}).encode()
    acts = [[answer(b'{"id": "t:1", "status": "pending"}')], *LOOKS[name], [answer(done)]]
    async with ScriptedServer(*acts) as server:
        world.transport._trust = Trust.of([server.url])

        async def publish(path: Path) -> str | None:
            return None

        service = VeoVideoService(VeoSettings(base_url=server.url), world.transport, publish)
        world.backends["veo"] = replace(world.backends["veo"], backend=service, again=None)
        job = await world.run(backend="veo")
        assert job.state is S.DELIVERED
        assert [request.method for request in server.requests] == ["POST", *["GET"] * (len(acts) - 1)]
        assert {request.target for request in server.requests[1:]} == {"/v1/video/query?id=t%3A1"}
    assert world.outbox.told == []
    pauses = world.slept[1:]
    assert len(pauses) == (1 if "before" in name else len(LOOKS[name]))
    if "when" in name:
        assert pauses[0] >= 47
    if "five" in name:
        assert pauses[-1] >= 5 * pauses[0], "who is in trouble is left alone"
        assert max(pauses) <= 63


LOST = [
    AuthFailed(),
    OutOfQuota(),
    Retryable("busy"),
    Misconfigured("web_page"),
    UnknownCharge("cut"),
    BadInput("rejected"),
]


@pytest.mark.parametrize("trouble", LOST, ids=lambda one: type(one).__name__)
async def test_only_a_verdict_ends_a_job(trouble: Failure, world: World) -> None:
    world.veo.looks += [trouble] * 3
    job = await world.run(backend="veo")
    assert (job.state, job.error) == (S.DELIVERED, None)
    assert len(world.veo.polls) == 4
    assert len(world.veo.creates) == 1


@pytest.mark.parametrize("verdict", [Refused("after_work", "key3 nsfw"), UpstreamFailed("ticket_gone")], ids=repr)
async def test_a_verdict_ends_a_job(verdict: Failure, world: World) -> None:
    world.veo.looks += [Pending(), verdict]
    job = await world.run(backend="veo", fallbacks=("grok",))
    assert (job.state, job.told) == (S.FAILED, True)
    assert world.outbox.said() == [f"{verdict.why.kind}.{verdict.why.cause}"]
    assert "key3" not in str(world.outbox.told)
    assert len(world.veo.polls) == 2
    assert (len(world.veo.creates), world.backend.creates) == (1, []), "never a reason to create anew, or elsewhere"


async def test_what_came_is_no_video(world: World) -> None:
    world.veo.looks.append(VideoResult("data:video/mp4;base64,PGh0bWw+"))
    job = await world.run(backend="veo")
    assert (job.state, world.outbox.said()) == (S.FAILED, ["upstream_failed.not_a_video"])


async def test_a_link_that_holds_the_key_is_private(world: World) -> None:
    world.veo.looks.append(VideoResult("http://cdn.example/1.mp4?key=key3"))
    world.backend.steps.append(VideoResult("http://cdn.example/1.mp4?key=key1"))
    world.outbox.endings += [Sending.UNKNOWN] * 2
    for backend in ("veo", "grok"):
        job = await world.run(backend=backend)
        assert job.result
        assert job.result.private


async def test_a_key_that_an_answer_repeats_is_not_told(world: World) -> None:
    job = await world.run(AuthFailed("", "invalid token key1"), AuthFailed("", "invalid token key2"))
    assert job.error
    assert job.error.reason == "invalid token ***"


async def test_an_overdue_job_holds_nobody_up_and_arrives_all_the_same(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=1, max_jobs_per_user=1) as world:
        begun, gate, late = world.now, asyncio.Event(), asyncio.Event()

        async def hold(_: float) -> None:
            if world.now - begun > 3 * 3600:
                late.set()
                await gate.wait()

        world.veo.last_look = lambda: INLINE if world.now - begun > 8 * 3600 else Pending(10)
        world.on_sleep = hold
        slow = await world.order(backend="veo")
        waiting = await world.runner.accept(replace(slow, id="x"))
        assert isinstance(waiting, Denied), "until it is overdue, it counts"
        await late.wait()
        assert world.outbox.said() == ["overdue"]
        assert (await world.ledger.get(slow.id)).overdue
        assert (await asyncio.wait_for(world.run(), 3)).state is S.DELIVERED, "the limit and the place are free"
        gate.set()
        assert (await world.over(slow)).state is S.DELIVERED
        assert [number for number, _ in world.outbox.delivered] == [2, 1]
        assert world.outbox.said() == ["overdue"], "told once"
        assert len(world.veo.creates) == 1
        before = [pause for pause in world.slept if pause < 11]
        after = world.slept[len(before) :]
        assert len(before) > 150
        assert all(later > 0.85 * sooner for sooner, later in itertools.pairwise(after)), (
            "ever slower, but for the jitter"
        )
        assert after[-1] > 10 * after[0]
        assert len(after) < 60


async def test_overdue_is_told_when_the_chat_is_there(world: World) -> None:
    begun = world.now
    world.outbox.tellings += [Sending.ABSENT] * 2
    world.veo.last_look = lambda: INLINE if world.now - begun > 3600 else Pending()
    await world.run(backend="veo")
    assert world.outbox.said() == ["overdue"]


async def test_after_a_day_nobody_knows(world: World) -> None:
    begun, world.veo.last_look = world.now, Pending(99)
    job = await world.run(backend="veo", fallbacks=("grok",))
    assert (job.state, job.told) == (S.UNKNOWN, True)
    assert world.outbox.said() == ["overdue", "unknown_charge.gave_up"]
    assert job.error
    assert job.error.facts == {"ticket": "ticket:1"}
    assert PATIENCE <= world.now - begun < PATIENCE + 4000
    assert (len(world.veo.creates), world.backend.creates) == (1, [])


async def watched(world: World, **order: Any) -> tuple[Job, asyncio.Event]:
    """A job whose ticket is being watched, and what lets the next look go."""
    gate = asyncio.Event()
    world.on_sleep = lambda _: gate.wait()
    job = await world.order(backend="veo", **order)
    await until(lambda: S.RUNNING in world.ledger.saved and world.slept)
    return await world.ledger.get(job.id), gate


async def test_a_panel_save_while_a_ticket_is_watched(world: World) -> None:
    """Resume is no verb: it is the next look, with the ticket and the key that belong together."""
    job, _ = await watched(world)
    await world.close()
    other = await world.again(veo_keys="key5 key4 key3")
    assert (await other.over(job)).state is S.DELIVERED
    assert world.veo.polls == [("ticket:1", "key3", "http://tickets.example")]
    assert len(world.veo.creates) == 1
    assert (world.outbox.delivered, other.outbox.delivered) == ([], [(1, CLIP)])
    assert other.outbox.told == []
    await other.close()


async def test_a_job_that_was_overdue_is_not_told_again_after_a_restart(world: World) -> None:
    begun, gate, late = world.now, asyncio.Event(), asyncio.Event()

    async def hold(_: float) -> None:
        if world.now - begun > 3600:
            late.set()
            await gate.wait()

    world.veo.last_look, world.on_sleep = Pending(), hold
    job = await world.order(backend="veo")
    await late.wait()
    await world.close()
    world.veo.last_look = INLINE
    other = await world.again()
    assert (await other.over(job)).state is S.DELIVERED
    assert (world.outbox.said(), other.outbox.said()) == (["overdue"], [])
    await other.close()


# Keys and address in the panel when the bot is back → where it asks, with which key; None = nowhere.
MOVED: dict[str, tuple[str, str, tuple[str, str] | None]] = {
    "the key is gone, the address is not": ("key9", "", ("key9", "http://tickets.example")),
    "the address is new, the key is still there": (
        "key9 key3",
        "http://new.example",
        ("key3", "http://tickets.example"),
    ),
    "both are new: no new key to the old address, no old ticket to the new": ("key9", "http://new.example", None),
    "the address is none any more": ("key3", NO_ADDRESS, ("key3", "http://tickets.example")),
}


@pytest.mark.parametrize("name", MOVED)
async def test_a_ticket_is_asked_for_where_it_was_given(name: str, world: World) -> None:
    keys, root, asked = MOVED[name]
    job, _ = await watched(world)
    await world.close()
    other = await world.again(veo_keys=keys, root=root)
    ended = await other.over(job)
    if asked:
        assert ended.state is S.DELIVERED
        assert other.veo.polls == [("ticket:1", *asked)]
    else:
        assert (ended.state, other.veo.polls) == (S.UNKNOWN, [])
    assert len(world.veo.creates) == 1
    await other.close()


async def test_cancelling_while_a_ticket_is_watched(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=1) as world:
        job, gate = await watched(world)
        cancelled = await world.runner.cancel(job)
        assert (cancelled.state, cancelled.error) == (S.CANCELLED, Why("cancelled", "billed_perhaps"))
        gate.set()
        assert (await asyncio.wait_for(world.run(), 3)).state is S.DELIVERED, "its place is free"
        assert world.veo.polls == []
        assert world.outbox.told == []


async def test_a_ticket_keeps_its_place(tmp_path: Path) -> None:
    """What renders is what counts, not what talks to the upstream."""
    async with worlds(tmp_path, max_running_jobs=2) as world:
        first, gate = await watched(world)
        second = await world.order(backend="veo")
        await until(lambda: len(world.slept) == 2)
        third = await world.order()
        await asyncio.sleep(0.02)
        assert world.backend.creates == []
        assert [world.runner.position_of(job) for job in (first, second, third)] == [None, None, 1]
        gate.set()
        for job in (first, second, third):
            assert (await world.over(job)).state is S.DELIVERED


async def test_who_waits_does_not_slip_in_between_create_and_ticket(tmp_path: Path) -> None:
    async with worlds(tmp_path, max_running_jobs=1) as world:
        asked, watching, let_go = Gate(), asyncio.Event(), asyncio.Event()

        async def ticket() -> str:
            await asked()
            return "ticket:1"

        async def hold(_: float) -> None:
            watching.set()
            await let_go.wait()

        world.veo.steps.append(ticket)
        first = await world.order(backend="veo")
        await asked.reached.wait()
        second = await world.order()
        world.on_sleep = hold
        asked.let_go.set()
        await watching.wait()
        await asyncio.sleep(0.02)
        assert world.backend.creates == []
        let_go.set()
        for job in (first, second):
            assert (await world.over(job)).state is S.DELIVERED


async def test_what_is_resumed_does_not_wait(tmp_path: Path) -> None:
    """Three tickets and one place, as after a smaller number was saved: all are watched, and nothing new begins."""
    async with worlds(tmp_path, max_running_jobs=3) as world:
        _, gate = await watched(world)
        jobs = [await world.order(backend="veo", user=str(at)) for at in range(2)]
        await until(lambda: len(world.slept) == 3)
        await world.close()
        world.panel["max_running_jobs"] = 1
        looks: list[Look] = [Pending()] * 3
        world.veo.looks += looks
        other = World(world.folder, world.transport, world.keys, world.panel)
        other.backend, other.veo, other.now = world.backend, world.veo, world.now
        other_gate = asyncio.Event()
        other.on_sleep = lambda _: other_gate.wait() if len(other.slept) > 3 else asyncio.sleep(0)
        await other.open()
        await other.runner.start()
        await until(lambda: len(world.veo.polls) == 3)
        new = await other.order(user="new")
        await asyncio.sleep(0.02)
        assert world.backend.creates == []
        assert other.runner.position_of(new) == 1
        other_gate.set()
        for job in (*jobs, new):
            assert (await other.over(job)).state is S.DELIVERED
        gate.set()
        await other.close()


# ---- the next backend ----

# How the creates at the first one end → whether the next is tried, and how often the first was.
ELSEWHERE: dict[str, tuple[Exception, bool, int]] = {
    "keys refused": (AuthFailed(), True, 2),
    "no quota": (OutOfQuota(), True, 2),
    "busy": (Retryable("busy"), True, 3),
    "busy for too long": (Retryable("busy", retry_after=LONGEST_PAUSE + 1), True, 1),
    "set up wrongly": (Misconfigured("model"), True, 1),
    "refused": (Refused(), False, 1),
    "bad input": (BadInput("rejected"), False, 1),
    "unclear": (UnknownCharge("cut"), False, 1),
    "no video": (UpstreamFailed("picture"), False, 1),
    "a bug of ours": (RuntimeError("bug"), False, 1),
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_only_what_cannot_have_been_billed_goes_elsewhere(name: str, world: World) -> None:
    world.backend.default, elsewhere, creates = ELSEWHERE[name]
    job = await world.run(fallbacks=("veo",), pictures=[picture()])
    assert len(world.backend.creates) == creates
    assert len(world.veo.creates) == (1 if elsewhere else 0)
    assert world.outbox.delivered == ([(1, CLIP)] if elsewhere else [])
    if elsewhere:
        assert (job.backend, job.model, job.state, job.error) == ("veo", "v", S.DELIVERED, None)
        assert world.veo.models == ["v"]
        assert world.veo.creates == [("a cat", "key3", 1)]
        assert world.outbox.told == []


async def test_unclear_endings_never_go_elsewhere_even_if_they_are_repeated(tmp_path: Path) -> None:
    async with worlds(tmp_path, retry_policy="always") as world:
        world.backend.default = UnknownCharge("cut")
        assert (await world.run(fallbacks=("veo",))).state is S.UNKNOWN
        assert (len(world.backend.creates), world.veo.creates) == (3, [])


async def test_a_full_disk_after_the_video_came_is_not_paid_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The create was taken, whatever becomes of what it brought."""
    monkeypatch.setattr(world.videos, "download", _no_space)
    job = await world.run(fallbacks=("veo",))
    assert world.veo.creates == []
    assert (job.state, world.outbox.said()) == (S.FAILED, ["misconfigured.disk"])


async def test_a_full_disk_when_a_look_brings_the_video(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.videos, "download", _no_space)
    job = await world.run(backend="veo")
    assert (job.state, world.outbox.said()) == (S.FAILED, ["misconfigured.disk"])


def _no_space(*_: Any, **__: Any) -> Any:
    raise Misconfigured("disk", "No space left on device")


async def test_what_the_next_one_says_is_told_in_the_end(world: World) -> None:
    world.backend.default, world.veo.default = AuthFailed(), Refused("", "nsfw")
    job = await world.run(fallbacks=("veo",))
    assert (job.state, job.backend, world.outbox.said()) == (S.FAILED, "veo", ["refused"])


async def test_the_next_one_has_tries_of_its_own(world: World) -> None:
    world.backend.default = Retryable("busy")
    world.veo.steps += [Retryable("busy"), AuthFailed(), Retryable("busy")]
    job = await world.run(fallbacks=("veo",))
    assert job.state is S.DELIVERED
    assert (len(world.backend.creates), len(world.veo.creates)) == (3, 4)


# Of two further backends, what is wrong with the first.
PASSED_OVER: dict[str, tuple[str, Capabilities]] = {
    "it has no key": ("", Capabilities()),
    "it takes no picture": ("key", Capabilities(first_frame=False)),
    "it does not do the length": ("key", Capabilities(durations=(4, 8))),
}


@pytest.mark.parametrize("name", PASSED_OVER)
async def test_who_cannot_do_it_is_passed_over(name: str, world: World) -> None:
    keys, can = PASSED_OVER[name]
    useless = ScriptedBackend(can)
    world.backends["useless"] = Configured(useless, KeyRing(tuple(keys.split())), "u")
    world.backend.default = Misconfigured("model")
    order = await world.runner.accept(
        replace(bare(), fallbacks=("nobody", "useless", "veo"), request=VideoRequest("x", duration=6))
    )
    assert isinstance(order, Job)
    job = await world.over(await world.runner.launch(order, await world.references.keep("j", [picture()])))
    assert (job.state, job.backend, job.fallbacks) == (S.DELIVERED, "veo", ())
    assert useless.creates == []
    assert world.veo.requests[0].references[0].role is Role.FIRST_FRAME


async def test_without_a_key_the_next_one_is_tried(tmp_path: Path) -> None:
    async with worlds(tmp_path, keys="") as world:
        assert (await world.run(fallbacks=("veo",))).state is S.DELIVERED
        assert world.backend.creates == []


async def test_the_order_is_kept_over_a_crash(world: World) -> None:
    """The panel that is saved in the middle of a pause at the second one does not begin again at the first."""
    third = ScriptedBackend()
    world.backends["third"] = Configured(third, KeyRing(("key",)), "t")
    world.backend.default, world.veo.default = AuthFailed(), Retryable("busy")
    gate = asyncio.Event()
    world.on_sleep = lambda _: gate.wait()
    job = await world.order(fallbacks=("veo", "third"))
    await until(lambda: world.slept)
    await world.close()
    saved = (len(world.backend.creates), len(world.veo.creates))
    other = World(world.folder, world.transport, world.keys, world.panel)
    other.backend, other.veo, other.now = world.backend, world.veo, world.now
    await other.open()
    other.backends["third"] = world.backends["third"]
    await other.runner.start()
    ended = await other.over(job)
    assert (ended.state, ended.backend, ended.fallbacks) == (S.DELIVERED, "third", ())
    assert saved == (2, 1)
    assert (len(world.backend.creates), len(world.veo.creates), len(third.creates)) == (2, 3, 1)
    await other.close()


# ---- delivery ----


async def test_a_platform_that_is_not_up_yet(world: World) -> None:
    world.outbox.endings += [Sending.ABSENT] * 3
    job = await world.run()
    assert job.state is S.DELIVERED
    assert len(world.outbox.delivered) == 1
    assert len(world.slept) == 3
    assert len(world.backend.creates) == 1


async def test_a_platform_that_never_comes_back(world: World) -> None:
    world.outbox.endings += [Sending.ABSENT] * 100_000
    world.outbox.tellings += [Sending.ABSENT] * 100_000
    world.hurry = 60
    begun = world.now
    job = await world.run()
    assert (job.state, job.told) == (S.FAILED, True)
    assert job.error == Why("undelivered", "absent")
    assert world.now - begun > 2 * PATIENCE, "a day for the video, another for the words"
    assert max(world.slept) == 60


async def test_words_wait_for_the_platform_too(world: World) -> None:
    world.outbox.tellings += [Sending.ABSENT, Sending.ABSENT]
    job = await world.run(Refused())
    assert world.outbox.said() == ["refused"]
    assert job.told


# How the outbox ends → state, what is told, the mark.
ENDINGS: dict[str, tuple[Any, State, list[str], Mood]] = {
    "sent": (Sending.SENT, S.DELIVERED, [], Mood.SUCCESS),
    "refused": (Sending.REFUSED, S.FAILED, ["undelivered"], Mood.FAILED),
    "unknown": (Sending.UNKNOWN, S.UNKNOWN, ["unknown_delivery"], Mood.NONE),
    "no video behind the link": (UpstreamFailed("gone"), S.FAILED, ["upstream_failed.gone"], Mood.FAILED),
    "a full disk": (Misconfigured("disk"), S.FAILED, ["misconfigured.disk"], Mood.FAILED),
    "a bug before it was sent": (RuntimeError("bug"), S.FAILED, ["undelivered.internal"], Mood.FAILED),
}


async def test_how_a_delivery_ends(world: World) -> None:
    for number, (name, (ending, state, told, mood)) in enumerate(ENDINGS.items(), 1):
        world.outbox.endings.append(ending)
        job = await world.run()
        assert (job.state, job.told) == (state, True), name
        assert world.outbox.said() == told, name
        assert world.outbox.marks[-1] == (number, mood), name
        assert job.result is not None, "it can be sent again on request"
        world.outbox.told.clear()
    assert len(world.backend.creates) == len(world.outbox.marks) == len(ENDINGS)


async def test_a_bug_after_it_was_sent_is_not_followed_by_another_send(world: World) -> None:
    async def broken(parcel: Parcel) -> Sending:
        await parcel.sending()
        raise RuntimeError("bug")

    world.outbox.endings.append(broken)
    job = await world.run()
    assert job.state is S.UNKNOWN
    assert world.outbox.said() == ["unknown_delivery.internal"]
    assert world.outbox.delivered == []


async def test_a_bug_in_telling_is_not_the_end(world: World) -> None:
    world.outbox.tellings.append(RuntimeError("bug"))
    job = await world.run(Refused())
    assert (job.state, job.told) == (S.FAILED, True)
    assert world.outbox.said() == ["refused"]


async def test_a_video_is_not_pruned_before_its_chat_is_back(tmp_path: Path) -> None:
    """It came inside the answer: the file is all there is of it."""
    async with worlds(tmp_path) as world:
        world.videos._max_cached = 1
        gate = asyncio.Event()
        world.on_sleep = lambda _: gate.wait()
        world.outbox.endings.append(Sending.ABSENT)
        waiting = await world.order()
        await until(lambda: world.slept)
        for _ in range(3):
            await world.run()
        gate.set()
        assert (await world.over(waiting)).state is S.DELIVERED
        assert world.outbox.delivered[-1] == (1, CLIP)


# ---- again ----


async def test_sending_again(world: World) -> None:
    """Only an arrival changes the job."""
    endings = [Sending.SENT, Sending.REFUSED, Sending.UNKNOWN, Sending.ABSENT, RuntimeError("bug")]
    for ending in endings:
        world.outbox.endings += [Sending.UNKNOWN, ending]
        job = await world.run()
        world.outbox.told.clear()
        assert world.runner.resend(job)
        again = await world.over(job)
        sent = ending is Sending.SENT
        assert again.state is (S.DELIVERED if sent else S.UNKNOWN)
        assert len(world.outbox.told) == (0 if sent else 1), "asked for, so answered"
    assert len(world.backend.creates) == len(endings)


async def test_sending_again_while_it_is_being_sent(world: World) -> None:
    let_go = asyncio.Event()

    async def slow(parcel: Parcel) -> Sending:
        await let_go.wait()
        return Sending.SENT

    job = await world.run()
    world.outbox.endings.append(slow)
    assert world.runner.resend(job)
    assert not world.runner.resend(job)
    let_go.set()
    await world.over(job)
    assert world.runner.resend(job)
    await world.over(job)


# ---- the disk ----


async def test_without_a_saved_intention_nothing_leaves(world: World) -> None:
    world.ledger.fails = lambda job: job.state is S.SUBMITTING
    job = await world.run()
    assert world.backend.creates == []
    assert (job.state, world.outbox.said()) == (S.FAILED, ["misconfigured.ledger"])


async def test_when_nothing_can_be_saved_any_more_it_is_told_all_the_same(world: World) -> None:
    job = await world.order()
    world.ledger.fails = lambda job: True
    await world.over(job)
    assert world.backend.creates == []
    assert world.outbox.said() == ["misconfigured.ledger"]


async def test_a_disk_that_is_full_for_a_moment(world: World) -> None:
    troubles = [True, True]
    world.ledger.fails = lambda job: job.state is S.READY and bool(troubles and troubles.pop())
    job = await world.run()
    assert S.READY in world.ledger.saved
    assert job.state is S.DELIVERED
    assert len(world.slept) == 2


async def test_a_result_that_cannot_be_saved_is_delivered_all_the_same(world: World) -> None:
    world.ledger.fails = lambda job: job.state in (S.READY, S.DELIVERING, S.DELIVERED)
    job = await world.order()
    await world.over(job)
    assert world.outbox.delivered == [(1, CLIP)]
    assert len(world.backend.creates) == 1
    assert world.outbox.told == []


async def test_a_ledger_that_cannot_even_be_read(world: World) -> None:
    """What happened is not known, so the cautious sentence."""

    async def broken(job_id: str) -> Job:
        raise LedgerFailed("disk I/O error")

    get, world.ledger.get = world.ledger.get, broken  # type: ignore[method-assign]
    world.backend.steps.append(RuntimeError("bug"))
    job = await world.order()
    await until(lambda: not _tasks(job.id))
    world.ledger.get = get  # type: ignore[method-assign]
    assert world.outbox.said() == ["unknown_charge.internal"]


# ---- races ----


async def test_a_job_that_was_withdrawn(world: World) -> None:
    job = await world.runner.accept(bare(gathering=True))
    assert isinstance(job, Job)
    await world.runner.withdraw(job)
    assert (await world.ledger.get("j")).state is S.FAILED
    assert world.outbox.marks == [(1, Mood.FAILED)]
    assert world.outbox.told == [], "whoever withdraws says why"


async def test_closing_with_nothing_to_do(tmp_path: Path) -> None:
    async with worlds(tmp_path):
        pass


def test_the_failures_are_all_here() -> None:
    """A new class of failure needs a row in the money rule."""

    def tree(one: type[Failure]) -> set[str]:
        return {one.__name__}.union(*(tree(child) for child in one.__subclasses__()))

    named = {type(make()).__name__ for make, *_ in ONCE.values()}
    elsewhere = {"Failure", "Overdue", "Undelivered", "UnknownDelivery"}  # the base; not an ending of a create
    assert {name for name in tree(Failure)} == (named - {"RuntimeError"}) | elsewhere
    assert module.KEPT_JOBS >= 100
    assert Reference().path == ""
