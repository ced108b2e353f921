"""The explicit list of backends, and what every backend is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .capabilities import Capabilities
from .config import Settings
from .grok_video_service import GrokVideoService
from .keys import KeyRing
from .models import VideoRequest, VideoResult
from .transport import Transport


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

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult:
        """Send the paid request, once.

        Args:
            report: is told the percentage whenever the upstream names one.

        Raises:
            Failure: see the table in `errors.py`.
        """


@dataclass(frozen=True)
class Configured:
    """A backend as the panel sets it up."""

    backend: Backend
    keys: KeyRing
    model: str


def configured(settings: Settings, transport: Transport) -> dict[str, Configured]:
    """All backends, by the name that people type behind ``@``."""
    video = settings.video
    return {
        "grok": Configured(GrokVideoService(video, transport), KeyRing(video.api_key), video.model),
    }
