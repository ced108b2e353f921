"""The plugin's own way through each measure, put together as `main.py` does; only the chats are replaced."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import replace
from pathlib import Path

from core.backends import TicketBackend, configured
from core.config import Settings, VeoSettings, VideoSettings
from core.errors import Failure, Why
from core.grok_video_service import ChatReader
from core.job_ledger import Denied, JobLedger
from core.job_runner import JobRunner
from core.models import Destination, Job, Reference, State, VideoRequest
from core.outbox import Mood, Parcel, Sending
from core.references import ReferenceStore
from core.transport import MB, Answer, Transport, Trust
from core.video_manager import VideoManager

from .limit import INTERVAL

MODEL = "grok-imagine-1.0-video"
PIECE = 1 << 18  # characters of an answer that come at once
PEOPLE = 100  # who share the jobs among them, each in a chat of their own


async def _unpublished(path: Path) -> str | None:
    return None


class Chats:
    """An outbox that sends files, as to Telegram, and only notes what came."""

    def __init__(self, videos: VideoManager) -> None:
        self._videos = videos
        self.arrived = 0
        self.troubles: list[str] = []
        self._ended: dict[str, asyncio.Event] = {}

    def ended(self, job: Job) -> asyncio.Event:
        return self._ended.setdefault(job.id, asyncio.Event())

    async def deliver(self, job: Job, parcel: Parcel) -> Sending:
        await parcel.looked()
        path = await parcel.file()
        with self._videos.using(path):
            await parcel.sending()
            self.arrived += 1
            return Sending.SENT

    async def tell(self, job: Job, why: Why) -> Sending:
        self.troubles.append(f"{why.kind}: {why.cause} {why.reason}")
        return Sending.SENT

    async def note(self, job: Job) -> None: ...

    def mark(self, job: Job, mood: Mood) -> None:
        self.ended(job).set()


class Subject:
    """See `bench.subject.Subject`."""

    def __init__(self, upstream: str, memory: Path, disk: Path) -> None:
        self._upstream, self._memory, self._disk = upstream, memory, disk

    async def start(self) -> None:
        video = VideoSettings.model_validate(
            {
                "server_url": self._upstream,
                "api_key": "sk",
                "model": MODEL,
                "max_jobs_per_user": 1000,
                "max_running_jobs": 1000,
                "max_video_mb": 4096,
            }
        )
        self._transport = Transport(Trust.of([self._upstream]))
        self._videos = VideoManager(
            self._memory / "videos",
            self._transport,
            max_cached=video.max_cached_videos,
            max_bytes=video.max_video_mb * MB,
        )
        self._references = ReferenceStore(
            self._memory / "references", self._transport, max_side=video.image_max_side, max_bytes=20 * MB
        )
        self._ledger = JobLedger(self._disk / f"{uuid.uuid4().hex}.db")
        await self._ledger.open()
        self._chats = Chats(self._videos)
        veo = VeoSettings(base_url=self._upstream, api_key="sk", poll_seconds=INTERVAL)
        self._backends = configured(Settings(video=video, veo=veo), self._transport, _unpublished)
        self._runner = JobRunner(video, self._backends, self._ledger, self._references, self._videos, self._chats)
        await self._runner.start()

    async def close(self) -> None:
        async def last() -> None:
            await self._ledger.close()
            await self._transport.close()

        await self._runner.close(last)

    async def download(self, url: str) -> Path:
        return await self._videos.download(url, "bench:chat:1", 1).file()

    async def request(self, picture: Path) -> str:
        request = VideoRequest("a cat dances", (Reference(path=str(picture), mime="image/jpeg"),))
        result = await self._backends["grok"].backend.submit(
            request, model=MODEL, key="sk", report=lambda percent: None
        )
        return result.url

    async def jobs(self, count: int, picture: Path) -> list[str]:
        """Everything a command does but the host's part. The pictures count as normalised: this is not about Pillow."""

        async def one(number: int) -> None:
            person = f"{number % PEOPLE}"
            destination = Destination(f"bench:private:{person}", "bench", person, message_id=f"{number}")
            job = await self._runner.accept(
                Job(
                    id=uuid.uuid4().hex,
                    backend="grok",
                    model=MODEL,
                    request=VideoRequest("a cat dances"),
                    destination=destination,
                    message_key=uuid.uuid4().hex,
                    gathering=True,
                )
            )
            assert not isinstance(job, Denied)
            kept = await self._references.keep(job.id, [picture])
            job = await self._runner.launch(job, [replace(reference, mime="image/jpeg") for reference in kept])
            await self._chats.ended(job).wait()

        before = self._chats.arrived
        await asyncio.gather(*(one(number) for number in range(count)))
        if (arrived := self._chats.arrived - before) != count:
            self._chats.troubles.append(f"{arrived} videos of {count} arrived")
        return self._chats.troubles

    async def hold(self, count: int) -> None:
        for number in range(count):
            person = f"{number % PEOPLE}"
            destination = Destination(f"bench:private:{person}", "bench", person, message_id=f"{number}")
            request = VideoRequest("a cat dances")
            job = Job(id=uuid.uuid4().hex, backend="veo", model="veo3.1", request=request, destination=destination)
            added = await self._ledger.add(job, most=count, now=time.time())
            assert not isinstance(added, Denied)
            sent = await self._ledger.save(added.to(State.SUBMITTING, submitted_at=time.time() - 60))
            await self._ledger.save(sent.to(State.RUNNING, ticket=f"veo:{number}"))
        veo = self._backends["veo"].backend
        assert isinstance(veo, TicketBackend)
        await veo.poll("veo:0", key="sk")

    async def look(self, seconds: float) -> None:
        """What a restart does with them."""
        await self._runner.start()
        await asyncio.sleep(seconds)

    def find(self, answer: str, root: str, status: int = 200) -> str | None:
        reader = ChatReader(root)
        for start in range(0, len(answer), PIECE):
            reader.feed(answer[start : start + PIECE])
        try:
            return reader.result(Answer(status, {}, answer)).url
        except Failure:
            return None
