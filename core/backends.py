"""The explicit list of backends, and what every backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .capabilities import Capabilities
from .config import Settings, UpstreamSettings
from .errors import Misconfigured
from .gemini_video_service import GeminiVideoService
from .gitee_video_service import GiteeVideoService
from .grok_video_service import GrokVideoService
from .keys import KeyRing
from .models import Job, Pending, VideoRequest, VideoResult
from .openai_video_service import OpenaiVideoService
from .transport import Transport
from .veo_video_service import Publish, VeoVideoService
from .xai_video_service import XaiVideoService


class Backend(Protocol):
    """One upstream."""

    @property
    def root(self) -> str:
        """The API's address without ``/v1``; the key goes there and nowhere else.

        Raises:
            Misconfigured: the panel's address is none.
        """

    def capabilities(self, model: str) -> Capabilities:
        """What this model takes."""

    def key_headers(self, key: str) -> dict[str, str]:
        """How this upstream wants its key."""

    async def check(self, *, key: str) -> str:
        """Ask something that costs nothing.

        Returns:
            The exact address that was asked, and took the key.

        Raises:
            Failure: the key is not accepted, or the address leads elsewhere.
        """

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult | str:
        """Send the paid request, once.

        Args:
            request: its references have their roles, and are normalised files.
            report: is told the percentage whenever the upstream names one.

        Returns:
            The video, or the ticket to ask for it later.

        Raises:
            Failure: see the table in `errors.py`.
        """


@runtime_checkable
class TicketBackend(Backend, Protocol):
    """An upstream that hands out tickets."""

    async def poll(self, ticket: str, *, key: str) -> VideoResult | Pending:
        """Look once what became of a job. Costs nothing.

        Raises:
            Refused, UpstreamFailed: there will be no video.
            Failure: any other says only that the look did not work.
        """


@dataclass(frozen=True)
class Configured:
    """A backend as the panel sets it up.

    Attributes:
        again: builds the same backend at another address, for a ticket that was given there.
        interval: seconds between two looks, as long as nothing is known about its models.
        deadline: seconds after which a job is overdue.
    """

    backend: Backend
    keys: KeyRing
    model: str
    again: Callable[[str], Backend] | None = None
    interval: float = 10.0
    deadline: float = 1800.0

    def holding(self, job: Job) -> tuple[Backend, str | None]:
        """The backend and the key that a job belongs to, whatever was changed in the panel since.

        Returns:
            The backend at the address where the job was made, and its key; another key only at the same address.
        """
        try:
            here = self.again is None or job.root in ("", self.backend.root)
        except Misconfigured:
            here = False  # what stands in the panel now is no address
        if here or self.again is None:
            return self.backend, self.keys.find(job.key_mark) or self.keys.next()
        return self.again(job.root), self.keys.find(job.key_mark)


def configured(settings: Settings, transport: Transport, publish: Publish) -> dict[str, Configured]:
    """All backends, by the name that people type behind ``@``.

    Args:
        publish: see `VeoVideoService`.
    """
    video = settings.video

    def by_ticket[S: UpstreamSettings](section: S, build: Callable[[S], Backend]) -> Configured:
        return Configured(
            build(section),
            KeyRing(section.api_key),
            section.model,
            again=lambda root: build(section.model_copy(update={"base_url": root})),
            interval=section.poll_seconds,
            deadline=section.timeout_seconds,
        )

    return {
        "grok": Configured(GrokVideoService(video, transport), KeyRing(video.api_key), video.model),
        "xai": by_ticket(settings.xai, lambda section: XaiVideoService(section, transport)),
        "veo": by_ticket(settings.veo, lambda section: VeoVideoService(section, transport, publish)),
        "openai": by_ticket(settings.openai, lambda section: OpenaiVideoService(section, transport)),
        "gemini": by_ticket(settings.gemini, lambda section: GeminiVideoService(section, transport)),
        "gitee": by_ticket(settings.gitee, lambda section: GiteeVideoService(section, transport)),
    }
