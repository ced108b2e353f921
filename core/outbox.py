"""The border between jobs and chats: what the runner asks for, and `delivery.py` does."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from .errors import Why
from .models import Job
from .video_manager import Download


class Sending(StrEnum):
    """How a send ended."""

    SENT = "sent"
    REFUSED = "refused"  # definitely not there
    UNKNOWN = "unknown"  # perhaps there: never again
    ABSENT = "absent"  # the platform is not up (yet)


class Mood(StrEnum):
    """What the mark on the person's message says."""

    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    NONE = "none"


class Parcel:
    """A finished video on its way to a chat.

    Args:
        link: may be shown to a chat; None where fetching needs the key.
        sending: is awaited before anything goes out.
    """

    def __init__(self, link: str | None, download: Download, sending: Callable[[], Awaitable[None]]) -> None:
        self.link = link
        self._download, self._sending = download, sending

    async def looked(self) -> None:
        """See `Download.looked`."""
        await self._download.looked()

    async def file(self) -> Path:
        """See `Download.file`."""
        return await self._download.file()

    async def sending(self) -> None:
        """Note that from now on the video may be in the chat."""
        await self._sending()


class Outbox(Protocol):
    """The way to the chats."""

    async def deliver(self, job: Job, parcel: Parcel) -> Sending:
        """Bring the video to its chat in the best form that arrives.

        Raises:
            Failure: there is no video to bring.
        """

    async def tell(self, job: Job, why: Why) -> Sending:
        """Say in words why there is no video, or what is not known about it."""

    async def note(self, job: Job) -> None:
        """Let the chat's own LLM know later how a job ended that it asked for."""

    def mark(self, job: Job, mood: Mood) -> None:
        """Put a mark on the person's message; returns at once."""
