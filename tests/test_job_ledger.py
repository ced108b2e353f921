"""Jobs in a database: what is saved is there, whatever happens next."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from core import job_ledger as module
from core.errors import Why
from core.job_ledger import REMEMBERED, Denied, JobLedger, LedgerFailed, StaleJob, person_of
from core.models import Destination, Job, Reference, Role, State, VideoRequest, VideoResult

ROOT = Path(__file__).parent.parent
CHAT = "napcat:GroupMessage:1001"
DESTINATION = Destination(CHAT, "aiocqhttp", "42", "777", group=True)


def job(name: object = 1, user: str = "42", chat: str = CHAT, **fields: Any) -> Job:
    destination = dataclasses.replace(DESTINATION, conversation=chat, user=user)
    return Job(id=f"job-{name}", backend="grok", request=VideoRequest("a cat"), destination=destination, **fields)


async def add(ledger: JobLedger, one: Job, most: int = 1000, now: float = 1000.0) -> Job:
    added = await ledger.add(one, most=most, now=now)
    assert isinstance(added, Job)
    return added


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[JobLedger]:
    ledger = JobLedger(path)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plugin" / "jobs.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[JobLedger]:
    async with opened(path) as one:
        yield one


# ---- what goes in comes out ----

FULL = Job(
    id="0123456789abcdef0123456789abcdef",
    backend="veo",
    request=VideoRequest(
        "一只猫 🐈 \"quoted\"\n\t\\ 'x'",
        (
            Reference("/data/a b.png", "", "image/png", Role.LAST_FRAME),
            Reference("", "https://q4.qlogo.cn/x?a=1&b=%2F", "", Role.REFERENCE, avatar=True),
        ),
        duration=6,
        aspect_ratio="9:16",
        resolution="720p",
    ),
    destination=Destination("telegram:GroupMessage:-100#7", "telegram", "99", "12", group=True),
    model="veo-3.1-fast",
    number=99,
    message_key="key",
    tool=True,
    gathering=True,
    state=State.SUBMITTING,
    attempts=2,
    fallbacks=("xai", "gitee"),
    ticket="veo3.1-fast:1770350082-AbC",
    root="https://api.vectorengine.ai",
    key_mark="0a1b2c",
    result=VideoResult("https://cdn.example.com/v.mp4?sig=%2F", private=True, cost=0.25, currency="USD"),
    error=Why("retryable", "busy", "slow down", {"status": "429"}),
    overdue=True,
    told=True,
    looked_at=3.0,
    perhaps_billed=True,
    created_at=1.5,
    submitted_at=2.5,
    ready_at=3.5,
    finished_at=4.5,
    revision=7,
)


def test_the_full_job_is_full() -> None:
    """A field that is added to `Job` must be added here, or nobody knows whether it survives."""
    plain = Job(id="", backend="", request=VideoRequest(""), destination=Destination("", "", ""))
    same = [field.name for field in dataclasses.fields(Job) if getattr(plain, field.name) == getattr(FULL, field.name)]
    assert same == []


async def test_every_field_survives(path: Path) -> None:
    async with opened(path) as ledger:
        added = await add(ledger, FULL, now=1000)
        assert added == dataclasses.replace(FULL, number=1, created_at=1000, revision=1)
        saved = await ledger.save(added.to(State.READY))
    async with opened(path) as ledger:
        assert await ledger.get(FULL.id) == saved == dataclasses.replace(added, state=State.READY, revision=2)


async def test_numbers_count_up_per_conversation(ledger: JobLedger) -> None:
    numbers = [(await add(ledger, job(at, chat=chat))).number for at, chat in enumerate("aababb")]
    assert numbers == [1, 2, 1, 3, 2, 3]


async def test_asking_for_what_is_not_there(ledger: JobLedger) -> None:
    with pytest.raises(KeyError):
        await ledger.get("nobody")
    assert await ledger.find(CHAT, 1) is None
    assert await ledger.latest(CHAT) == []
    assert await ledger.unfinished() == []
    assert await ledger.ids() == set()


async def test_lists(ledger: JobLedger) -> None:
    jobs = [await add(ledger, job(at, user=user), now=1000 + at) for at, user in enumerate("ababa")]
    done = await ledger.save(jobs[1].to(State.FAILED, told=True))
    untold = await ledger.save(jobs[2].to(State.FAILED))
    assert [one.number for one in await ledger.latest(CHAT)] == [5, 4, 3, 2, 1]
    assert [one.number for one in await ledger.latest(CHAT, most=2)] == [5, 4]
    assert [one.number for one in await ledger.latest(CHAT, person=person_of(jobs[0]))] == [5, 3, 1]
    assert await ledger.latest(CHAT, states=[State.FAILED]) == [untold, done]
    assert await ledger.find(CHAT, 2) == done
    assert await ledger.unfinished() == [jobs[0], untold, jobs[3], jobs[4]], "oldest first; the untold one too"


async def test_waits_are_those_of_the_model(ledger: JobLedger) -> None:
    async def finished(name: str, model: str, begun: float, ready: float) -> None:
        one = await add(ledger, job(name, model=model))
        one = one.to(State.SUBMITTING, submitted_at=begun).to(State.READY, ready_at=ready)
        await ledger.save(one.to(State.DELIVERING).to(State.DELIVERED))

    await finished("a", "m" * 300, 10, 70)
    await finished("b", "m" * 300, 10, 40)
    await finished("c", "other", 10, 20)
    await finished("d", "m" * 300, 0, 40)  # it never said when it began
    assert sorted(await ledger.waits("grok", "m" * 300)) == [30, 60]


async def test_a_wait_by_ticket_ended_between_the_last_two_looks(ledger: JobLedger) -> None:
    one = (await add(ledger, job())).to(State.SUBMITTING, submitted_at=100).to(State.RUNNING, looked_at=140)
    await ledger.save(one.to(State.READY, ready_at=150).to(State.DELIVERING).to(State.DELIVERED))
    assert await ledger.waits("grok", "") == [45]


# ---- limits ----


async def test_a_hundred_at_once_make_exactly_the_allowed_number(ledger: JobLedger) -> None:
    asked = [ledger.add(job(at), most=3, now=1000) for at in range(100)]
    answers = await asyncio.gather(*asked)
    taken = [one for one in answers if isinstance(one, Job)]
    assert [one.number for one in taken] == [1, 2, 3]
    assert {one.why for one in answers if isinstance(one, Denied)} == {"too_many"}
    assert len(await ledger.ids()) == 3


async def test_a_final_job_makes_room(ledger: JobLedger) -> None:
    first = await add(ledger, job(1), most=1)
    denied = await ledger.add(job(2), most=1, now=1000)
    assert denied == Denied("too_many", first)
    await ledger.save(first.to(State.FAILED))
    await add(ledger, job(3), most=1)


async def test_an_overdue_job_makes_room(ledger: JobLedger) -> None:
    """Its owner was told that it may take a day."""
    first = (await add(ledger, job(1), most=1)).to(State.SUBMITTING).to(State.RUNNING)
    running = await ledger.save(first)
    assert isinstance(await ledger.add(job(2), most=1, now=1000), Denied)
    await ledger.save(dataclasses.replace(running, overdue=True))
    await add(ledger, job(3), most=1)


async def test_a_conversation_s_choice(path: Path) -> None:
    async with opened(path) as ledger:
        assert await ledger.choice(CHAT) is None
        await ledger.choose(CHAT, ("veo", "veo-3"))
        await ledger.choose(CHAT, ("veo", "veo-3.1"))
        await ledger.choose("elsewhere", ("grok", "m"))
    async with opened(path) as ledger:
        assert await ledger.choice(CHAT) == ("veo", "veo-3.1")
        await ledger.choose(CHAT, None)
        assert (await ledger.choice(CHAT), await ledger.choice("elsewhere")) == (None, ("grok", "m"))


PEOPLE = {
    "another person in the same chat": (job(2, user="43"), True),
    "the same person in another chat": (job(2, chat="napcat:FriendMessage:42"), False),
    "the same id on another platform": (job(2, chat="telegram:FriendMessage:42"), True),
}


@pytest.mark.parametrize("name", PEOPLE)
async def test_the_limit_is_per_person(name: str, ledger: JobLedger) -> None:
    other, taken = PEOPLE[name]
    await add(ledger, job(1), most=1)
    assert isinstance(await ledger.add(other, most=1, now=1000), Job) == taken


async def test_a_message_makes_one_job(ledger: JobLedger) -> None:
    answers = await asyncio.gather(*(ledger.add(job(at, message_key="m"), most=9, now=1000) for at in range(10)))
    [first] = [one for one in answers if isinstance(one, Job)]
    assert answers.count(Denied("duplicate", first)) == 9
    await ledger.save(first.to(State.FAILED, told=True))
    assert await ledger.add(job("x", message_key="m"), most=9, now=1000 + REMEMBERED - 1) != first, "final or not"
    assert len(await ledger.ids()) == 1
    await add(ledger, job("later", message_key="m"), now=1001 + REMEMBERED)  # some platforms use their ids again


async def test_messages_without_an_id_are_all_different(ledger: JobLedger) -> None:
    await add(ledger, job(1, message_key=""))
    await add(ledger, job(2, message_key=""))


# ---- saves ----


async def test_a_stale_copy_is_refused(ledger: JobLedger) -> None:
    copy = await add(ledger, job())
    saved = await ledger.save(copy.to(State.SUBMITTING))
    with pytest.raises(StaleJob):
        await ledger.save(copy.to(State.CANCELLED))
    assert await ledger.get(copy.id) == saved
    with pytest.raises(StaleJob):
        await ledger.save(job("never added"))


async def test_of_two_saves_at_once_the_first_counts(ledger: JobLedger) -> None:
    copy = await add(ledger, job())
    first, second = await asyncio.gather(
        ledger.save(copy.to(State.SUBMITTING)), ledger.save(copy.to(State.CANCELLED)), return_exceptions=True
    )
    assert isinstance(first, Job)
    assert isinstance(second, StaleJob)


async def test_what_is_asked_for_first_is_done_first(ledger: JobLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more than one transaction holds, written and read in between."""
    monkeypatch.setattr(module, "BATCH", 8)
    order: list[int] = []

    async def one(at: int) -> None:
        added = await add(ledger, job(at))
        assert added.number == at + 1
        order.append(at)
        assert await ledger.get(added.id) == added
        await ledger.save(added.to(State.FAILED))

    await asyncio.gather(*(one(at) for at in range(30)))
    assert order == list(range(30))


async def test_many_saves_share_few_transactions(ledger: JobLedger, path: Path) -> None:
    """A flush to disk takes milliseconds; three hundred of them in a row would be felt."""
    begun = _wal_commits(path)
    await asyncio.gather(*(ledger.add(job(at), most=999, now=1000) for at in range(2 * module.BATCH)))
    assert _wal_commits(path) - begun <= 4


def _wal_commits(path: Path) -> int:
    """Frames of the write-ahead log that end a transaction (SQLite file format §4.2)."""
    wal = path.with_name(path.name + "-wal").read_bytes()
    size = int.from_bytes(wal[8:12]) + 24 if wal else 1
    return sum(wal[at + 4 : at + 8] != bytes(4) for at in range(32, len(wal), size))


SPOILT = {
    "the same id again": lambda: job(1),
    "what cannot be written as text": lambda: dataclasses.replace(job("x"), request=VideoRequest("\ud83d")),
}


@pytest.mark.parametrize("name", SPOILT)
async def test_one_bad_apple_fails_alone(name: str, ledger: JobLedger) -> None:
    await add(ledger, job(1))
    answers = await asyncio.gather(
        ledger.add(job(2), most=9, now=1000),
        ledger.add(SPOILT[name](), most=9, now=1000),
        ledger.add(job(3), most=9, now=1000),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Job, LedgerFailed, Job]
    assert await ledger.ids() == {"job-1", "job-2", "job-3"}


async def test_a_cancelled_caller_does_not_take_the_save_with_it(ledger: JobLedger) -> None:
    """Saves are shielded: a driver that is stopped leaves the job as it said."""
    copy = await add(ledger, job())
    save = asyncio.create_task(ledger.save(copy.to(State.SUBMITTING)))
    await asyncio.sleep(0)
    save.cancel()
    with pytest.raises(asyncio.CancelledError):
        await save
    await ledger.flush()
    assert (await ledger.get(copy.id)).state is State.SUBMITTING


async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    async with opened(path) as ledger:
        asked = [asyncio.create_task(ledger.add(job(at), most=999, now=1000)) for at in range(100)]
        await asyncio.sleep(0)
    assert len([one.result() for one in asked]) == 100


async def test_after_closing_nothing_hangs(path: Path) -> None:
    async with opened(path) as ledger:
        pass
    with pytest.raises(LedgerFailed):
        await asyncio.wait_for(ledger.ids(), 2)
    await ledger.close()


# ---- trouble with the file ----


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database, whatever its name says" * 100)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def _holed(path: Path) -> None:
    """The schema reads well; the jobs do not."""
    data = bytearray(path.read_bytes())
    data[-20_000:] = bytes(20_000)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_garbage, _cut, _overwritten, _holed])
async def test_a_broken_file_is_set_aside(damage: Any, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as ledger:
        await asyncio.gather(*(ledger.add(job(at), most=999, now=1000) for at in range(50)))
    damage(path)
    broken = path.read_bytes()
    async with opened(path) as ledger:
        assert await ledger.ids() == set()
        assert (await add(ledger, job())).number == 1
    [aside] = path.parent.glob("jobs.db.broken-*")
    assert aside.read_bytes() == broken, "somebody may want to look into it"
    assert "jobs.db.broken-" in caplog.text


async def test_a_job_that_cannot_be_read_is_passed_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A version before or after this one may have written it; the others go on."""
    async with opened(path) as ledger:
        for at in range(3):
            await add(ledger, job(at))
    with sqlite3.connect(path) as database:
        database.execute("update jobs set body = replace(body, 'accepted', 'dreaming') where id = 'job-1'")
    database.close()
    async with opened(path) as ledger:
        assert [one.id for one in await ledger.unfinished()] == ["job-0", "job-2"]
        assert [one.id for one in await ledger.latest(CHAT)] == ["job-2", "job-0"]
        assert await ledger.find(CHAT, 2) is None
        assert (await add(ledger, job(9))).number == 4
    assert "job-1" in caplog.text


PLACES = {
    "the folder is a file": lambda path: path.parent.write_bytes(b""),
    "the file is a folder": lambda path: path.mkdir(parents=True),
}


@pytest.mark.parametrize("name", PLACES)
async def test_a_place_that_cannot_be_written(name: str, path: Path) -> None:
    PLACES[name](path)
    ledger = JobLedger(path)
    with pytest.raises(LedgerFailed):
        await ledger.open()
    with pytest.raises(LedgerFailed):
        await ledger.add(job(), most=1, now=1000)
    await ledger.close()


async def test_a_full_disk_fails_the_save_and_no_more(ledger: JobLedger, path: Path) -> None:
    copy = await add(ledger, job())
    wal = path.with_name(path.name + "-wal")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 100, limit[1]))
    try:
        with pytest.raises(LedgerFailed):
            await ledger.save(copy.to(State.SUBMITTING))
        assert await ledger.get(copy.id) == copy, "it can still be read"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    saved = await ledger.save(copy.to(State.SUBMITTING))
    assert await ledger.get(copy.id) == saved


WRITER = """
    import asyncio, itertools, sys
    from pathlib import Path
    from core.job_ledger import JobLedger
    from core.models import Destination, Job, State, VideoRequest

    async def main():
        ledger = JobLedger(Path(sys.argv[1]))
        await ledger.open()
        chat = Destination("napcat:GroupMessage:1001", "aiocqhttp", "42")
        for at in itertools.count():
            job = Job(id=f"job-{at}", backend="grok", request=VideoRequest("a cat"), destination=chat)
            one = await ledger.add(job, most=10**9, now=1000)
            await ledger.save(one.to(State.SUBMITTING))
            print(at, flush=True)

    asyncio.run(main())
"""


async def test_a_kill_in_the_middle_leaves_what_was_saved(path: Path) -> None:
    """What a save has returned for is there; whatever else is there is whole."""
    writer = subprocess.Popen(  # noqa: ASYNC220 (it starts at once; what it says is read in a thread)
        [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    said = [await asyncio.to_thread(writer.stdout.readline) for _ in range(30)]
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate()[0]
    assert len(said[-1]) > 1, "it did not even begin"
    last = int(re.findall(r"\d+\n", "".join(said) + rest)[-1])
    async with opened(path) as ledger:
        jobs = await ledger.latest(CHAT, most=10**6)
        assert len(jobs) - 1 - last in (0, 1)
        assert {one.state for one in jobs if int(one.id[4:]) <= last} == {State.SUBMITTING}
        assert [one.number for one in jobs] == list(range(len(jobs), 0, -1))
        await add(ledger, job("next"))


# ---- two at once ----


async def test_two_ledgers_on_one_file_see_each_other(path: Path) -> None:
    """While the panel is saved, the old instance still holds deeds and the new one has begun."""
    async with opened(path) as old, opened(path) as new:
        first = await add(old, job(1))
        assert await new.get(first.id) == first
        assert isinstance(await new.add(job(2), most=1, now=1000), Denied)
        saved = await new.save(first.to(State.SUBMITTING))
        with pytest.raises(StaleJob):
            await old.save(first.to(State.CANCELLED))
        assert await old.get(first.id) == saved
        answers = await asyncio.gather(
            *(
                one.add(job(f"{which}{at}"), most=10, now=1000)
                for at in range(50)
                for which, one in (("o", old), ("n", new))
            )
        )
        assert sum(isinstance(answer, Job) for answer in answers) == 9
        numbers = [answer.number for answer in answers if isinstance(answer, Job)]
        assert sorted(numbers) == list(range(2, 11))


# ---- forgetting ----


async def test_pruning(ledger: JobLedger) -> None:
    async def ended(name: str, now: float, state: State = State.FAILED, **fields: Any) -> None:
        one = await add(ledger, job(name, **fields), now=now)
        await ledger.save(one.to(state, told=True))

    for at in range(10):
        await ended(f"old{at}", at)
    await add(ledger, job("live"), now=10)
    untold = await add(ledger, job("untold"), now=11)
    await ledger.save(untold.to(State.FAILED))
    await ended("elsewhere", 12, chat="telegram:FriendMessage:1")
    for at in range(3):
        await ended(f"new{at}", 20 + at)
    await ledger.prune(2)
    assert await ledger.ids() == {"job-live", "job-untold", "job-elsewhere", "job-new1", "job-new2"}


async def test_numbers_are_not_given_twice_after_pruning(ledger: JobLedger) -> None:
    """A number names a file; #3 of yesterday must not be #3 of today."""
    for at in range(3):
        one = await add(ledger, job(at), now=at)
        await ledger.save(one.to(State.FAILED, told=True))
    await ledger.prune(0)
    assert await ledger.ids() == {"job-2"}
    assert (await add(ledger, job("next"))).number == 4
