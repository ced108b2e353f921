"""Jobs in a database: what is saved here is what a crash leaves.

The database works in one thread of its own. Whatever is asked for while it works is done in the next transaction
together: one flush to disk for many jobs. A save counts only when that flush is through.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError, SQLAlchemyError

from .errors import scrub
from .models import FINAL, UNDER_WAY, Job, State

logger = logging.getLogger("astrbot")

SCHEMA = 1
BATCH = 64  # works in one transaction; more of them would resume too many jobs in one turn of the loop
REMEMBERED = 86400.0  # seconds in which a redelivered message is recognised; some platforms use their ids again

_tables = MetaData()
_jobs = Table(
    "jobs",
    _tables,
    Column("id", String(32), primary_key=True),
    Column("conversation", String(512), nullable=False),
    Column("number", Integer, nullable=False),
    Column("person", String(512), nullable=False),
    Column("message_key", String(64), nullable=False),
    Column("backend", String(32), nullable=False),
    Column("model", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("told", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("jobs_by_number", "conversation", "number", unique=True),
    Index("jobs_by_state", "state"),
    Index("jobs_by_message", "message_key"),
)
_meta = Table(
    "meta", _tables, Column("name", String(32), primary_key=True), Column("value", String(64), nullable=False)
)
_choices = Table(
    "choices",
    _tables,
    Column("conversation", String(512), primary_key=True),
    Column("backend", String(32), nullable=False),
    Column("model", String(128), nullable=False),
)
_forms = Table(
    "refused_forms",
    _tables,
    Column("platform", String(128), primary_key=True),
    Column("form", String(16), primary_key=True),
)
_job = TypeAdapter(Job)
# Built once: SQLAlchemy takes longer to put a statement together than SQLite to execute it.
_ADD = insert(_jobs).values({column.name: bindparam(column.name) for column in _jobs.c})
_SAVE = (
    update(_jobs)
    .where(_jobs.c.id == bindparam("id_"), _jobs.c.revision == bindparam("before"))
    .values({column.name: bindparam(column.name) for column in _jobs.c})
)
_SAME = (
    select(_jobs.c.body)
    .where(_jobs.c.message_key == bindparam("message_key"), _jobs.c.created_at > bindparam("since"))
    .limit(1)
)
_LIVE = (
    select(_jobs.c.body)
    .where(_jobs.c.person == bindparam("person"), _jobs.c.state.in_([state.value for state in UNDER_WAY]))
    .order_by(_jobs.c.created_at)
)
_LAST = select(func.max(_jobs.c.number)).where(_jobs.c.conversation == bindparam("conversation"))
_FINAL = [state.value for state in FINAL]


class StaleJob(RuntimeError):
    """Somebody else moved this job on meanwhile; read it again."""


class LedgerFailed(RuntimeError):
    """The database did not take it: disk full, read-only folder, broken file."""


class LedgerClosed(LedgerFailed):
    """The plugin is being reloaded; the next instance has the ledger."""


@dataclass(frozen=True)
class Denied:
    """Why a job was not added.

    Attributes:
        why: the same message came before, or the person has as many live jobs as allowed.
        job: the job that stands in the way.
    """

    why: Literal["duplicate", "too_many"]
    job: Job


def person_of(job: Job) -> str:
    """Who a job counts for: the same id on two platforms is two people."""
    return f"{job.destination.conversation.partition(':')[0]}:{job.destination.user}"


class JobLedger:
    """All jobs of this plugin.

    Args:
        path: the SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "gitee-ledger")
        self._waiting: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._closed = False

    # ---- life ----

    async def open(self) -> None:
        """Open the database, or make it.

        Raises:
            LedgerFailed: the folder cannot be written.
        """
        try:
            self._engine = await asyncio.get_running_loop().run_in_executor(self._thread, self._opened)
        except (SQLAlchemyError, OSError) as error:
            raise LedgerFailed(str(error)) from error

    def _opened(self) -> Engine:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(self._path)
        try:
            _create(engine)
        except DatabaseError as error:
            if "not a database" not in str(error) and "malformed" not in str(error):
                raise
            engine.dispose()
            aside = self._path.with_name(f"{self._path.name}.broken-{int(time.time())}")
            self._path.rename(aside)
            logger.error(
                "%s is no database any more; it is kept as %s and a new one begins", self._path.name, aside.name
            )
            engine = _engine(self._path)
            _create(engine)
        return engine

    async def close(self) -> None:
        """Finish what was asked for, then close."""
        self._closed = True
        while self._pump:
            await asyncio.wait([self._pump])
        engine, self._engine = self._engine, None
        if engine:
            await asyncio.get_running_loop().run_in_executor(self._thread, engine.dispose)
        self._thread.shutdown(wait=False)

    async def flush(self) -> None:
        """Wait until all that was asked for so far is on disk, or has failed."""
        with suppress(LedgerFailed):
            await self._do(lambda connection: None)

    async def _do[T](self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in the next transaction. A cancelled caller does not take the work with it."""
        if self._closed:
            raise LedgerClosed("closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._work_off(), name="gitee-ledger")
        return await future

    async def _work_off(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            working = loop.run_in_executor(self._thread, self._commit, [work for work, _ in batch])
            await asyncio.wait([working])
            error = working.exception()
            outcomes = [error] * len(batch) if error else working.result()
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
        self._pump = None

    def _commit(self, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
        """One transaction for all; if that fails, each on its own, so that one bad apple fails alone."""
        if self._engine is None:
            return [LedgerFailed("not open")] * len(works)
        try:
            with self._engine.begin() as connection:
                return [work(connection) for work in works]
        except (SQLAlchemyError, ValueError) as error:  # ValueError: a job that cannot be written as text
            if len(works) == 1:
                return [LedgerFailed(str(error.__cause__ or error))]
            return [self._commit([work])[0] for work in works]

    # ---- writing ----

    async def add(self, job: Job, *, most: int, now: float) -> Job | Denied:
        """Accept a job, if its message is new and its owner has fewer than ``most`` live ones: one transaction.

        Returns:
            The job with its number, or what stands in its way.
        """

        def work(connection: Connection) -> Job | Denied:
            fresh = replace(job, created_at=now, revision=1)
            columns = _columns(fresh)
            since = {"since": now - REMEMBERED}
            if job.message_key and (same := _read(connection.execute(_SAME, {**columns, **since}))):
                return Denied("duplicate", same[0])
            live = [job for job in _read(connection.execute(_LIVE, columns)) if not job.overdue]
            if len(live) >= most:
                return Denied("too_many", live[0])
            added = replace(fresh, number=(connection.scalar(_LAST, columns) or 0) + 1)
            connection.execute(_ADD, _columns(added))
            return added

        return await self._do(work)

    async def save(self, job: Job) -> Job:
        """Write a job's next state.

        Raises:
            StaleJob: it was saved by somebody else since this copy was read.
            LedgerFailed: the database did not take it.
        """
        saved = replace(job, revision=job.revision + 1)

        def work(connection: Connection) -> bool:
            return connection.execute(_SAVE, {**_columns(saved), "id_": job.id, "before": job.revision}).rowcount == 1

        if not await self._do(work):
            raise StaleJob(job.id)
        return saved

    async def prune(self, keep: int) -> None:
        """Forget final, told jobs beyond the newest ``keep``; the last number of a conversation always stays."""
        newest = select(_jobs.c.id).order_by(_jobs.c.created_at.desc()).limit(keep)
        other = _jobs.alias("other")
        last = select(func.max(other.c.number)).where(other.c.conversation == _jobs.c.conversation).scalar_subquery()
        gone = delete(_jobs).where(
            _jobs.c.state.in_(_FINAL), _jobs.c.told, _jobs.c.id.not_in(newest), _jobs.c.number < last
        )
        await self._do(lambda connection: connection.execute(gone).rowcount)

    async def choose(self, conversation: str, choice: tuple[str, str] | None) -> None:
        """Remember which (backend, model) a conversation wants; None forgets it."""

        def work(connection: Connection) -> None:
            connection.execute(delete(_choices).where(_choices.c.conversation == conversation))
            if choice:
                backend, model = choice
                connection.execute(insert(_choices).values(conversation=conversation, backend=backend, model=model))

        await self._do(work)

    async def note_form(self, platform: str, form: str, *, refused: bool) -> None:
        """Remember whether a platform refused a form of video the last time.

        Args:
            platform: the host's name of this very platform.
        """

        def work(connection: Connection) -> None:
            here = (_forms.c.platform == platform, _forms.c.form == form)
            known = connection.scalar(select(func.count()).select_from(_forms).where(*here))
            if refused and not known:
                connection.execute(insert(_forms).values(platform=platform, form=form))
            elif known and not refused:
                connection.execute(delete(_forms).where(*here))

        await self._do(work)

    # ---- reading ----

    async def refused_forms(self, platform: str) -> set[str]:
        """See `note_form`."""
        found = select(_forms.c.form).where(_forms.c.platform == platform)
        return await self._do(lambda connection: set(connection.scalars(found)))

    async def choice(self, conversation: str) -> tuple[str, str] | None:
        """See `choose`."""
        found = select(_choices.c.backend, _choices.c.model).where(_choices.c.conversation == conversation)
        row = await self._do(lambda connection: connection.execute(found).first())
        return (row.backend, row.model) if row else None

    async def get(self, job_id: str) -> Job:
        """The job as it is saved now.

        Raises:
            KeyError: there is none.
        """
        job = await self._do(lambda connection: _first(connection, _jobs.c.id == job_id))
        if job is None:
            raise KeyError(job_id)
        return job

    async def unfinished(self) -> list[Job]:
        """Jobs that go on, and those whose end nobody was told."""
        return await self._do(lambda connection: _all(connection, _jobs.c.state.not_in(_FINAL) | ~_jobs.c.told))

    async def find(self, conversation: str, number: int) -> Job | None:
        """The job with this number."""
        return await self._do(
            lambda connection: _first(connection, _jobs.c.conversation == conversation, _jobs.c.number == number)
        )

    async def latest(
        self, conversation: str, *, person: str | None = None, states: Collection[State] | None = None, most: int = 10
    ) -> list[Job]:
        """A conversation's newest jobs, newest first.

        Args:
            person: only theirs.
            states: only these.
        """
        where = [_jobs.c.conversation == conversation]
        if person is not None:
            where.append(_jobs.c.person == person)
        if states is not None:
            where.append(_jobs.c.state.in_([state.value for state in states]))
        found = select(_jobs.c.body).where(*where).order_by(_jobs.c.number.desc()).limit(most)
        return await self._do(lambda connection: _read(connection.execute(found)))

    async def waits(self, backend: str, model: str, most: int = 50) -> list[float]:
        """How many seconds this model took lately, from the request to the result.

        A ticket's result is noticed late: it came somewhere between the last look that found none and the one after.
        """
        found = (
            select(_jobs.c.body)
            .where(_jobs.c.backend == backend, _jobs.c.model == model[:128], _jobs.c.state == State.DELIVERED.value)
            .order_by(_jobs.c.created_at.desc())
            .limit(most)
        )
        jobs = await self._do(lambda connection: _read(connection.execute(found)))
        return [_took(job) for job in jobs if job.ready_at > job.submitted_at > 0]

    async def ids(self) -> set[str]:
        """All jobs there are."""
        return await self._do(lambda connection: set(connection.scalars(select(_jobs.c.id))))


def _took(job: Job) -> float:
    whole = job.ready_at - job.submitted_at
    if job.looked_at > job.submitted_at:
        return whole - (job.ready_at - job.looked_at) / 2
    # Found by the first look: it was there earlier, nobody knows how much. So that looks come earlier again.
    return whole * 0.8 if job.ticket else whole


def _columns(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "conversation": job.destination.conversation,
        "number": job.number,
        "person": person_of(job),
        "message_key": job.message_key,
        "backend": job.backend,
        "model": job.model[:128],
        "state": job.state.value,
        "told": job.told,
        "created_at": job.created_at,
        "revision": job.revision,
        "body": _job.dump_json(job).decode(),
    }


def _read(rows: Iterable[Row[Any]]) -> list[Job]:
    """The jobs in these rows. One that another version of this plugin wrote in its own way must not stop the others."""
    jobs = []
    for row in rows:
        try:
            jobs.append(_job.validate_json(row.body))
        except ValueError as error:
            logger.error("a job in the database cannot be read and is passed over: %s", scrub(f"{row.body} {error}"))
    return jobs


def _all(connection: Connection, *where: Any) -> list[Job]:
    return _read(connection.execute(select(_jobs.c.body).where(*where).order_by(_jobs.c.created_at)))


def _first(connection: Connection, *where: Any) -> Job | None:
    return next(iter(_read(connection.execute(select(_jobs.c.body).where(*where).limit(1)))), None)


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own idea of BEGIN comes too late for a read before a write
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):  # FULL: SUBMITTING must survive a power cut
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _create(engine: Engine) -> None:
    _tables.create_all(engine)
    with engine.begin() as connection:
        if (verdict := connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()) != "ok":
            raise DatabaseError(f"malformed: {verdict}", None, Exception(verdict))
        if connection.scalar(select(_meta.c.value).where(_meta.c.name == "schema")) is None:
            connection.execute(insert(_meta).values(name="schema", value=str(SCHEMA)))
