"""Moves every job one saved step at a time, from the accepted request to the told person.

Two kinds of tasks. A *driver* walks a job through its states; it may be cancelled at any moment, because every state is
saved and `start` picks it up again. A *deed* is the stretch that must not be broken: the paid request, the
send. It saves its own outcome, and it outlives this instance when the panel is saved: the next instance finds it by its
name among the loop's tasks, waits for it and goes on from what it saved.
"""

import logging
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from .errors import Why
from .models import Job, State
from .video_manager import Download

logger = logging.getLogger("astrbot")

LONGEST_PAUSE = 300.0  # seconds; who asks us to stay away longer is answered by telling the person
PATIENCE = 86400.0  # seconds in which we go on looking for a chat that is not there
KEPT_JOBS = 500
_DEED = "astrbot_plugin_gitee:deed:"


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


class Outbox(Protocol):
    """The way to the chats, implemented by `delivery.py`."""

    async def deliver(self, job: Job, parcel: "Parcel") -> Sending:
        """Bring the video to its chat in the best form that arrives.

        Raises:
            Failure: there is no video to bring.
        """

    async def tell(self, job: Job, why: Why, state: State) -> Sending:
        """Say in words how a job ended."""

    def mark(self, job: Job, mood: Mood) -> None:
        """Put a mark on the person's message; returns at once."""


class Parcel:
    """A finished video, as the outbox gets it.

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
