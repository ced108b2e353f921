"""The nouns (request, reference, result, destination, job) and the moves a job may make."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from .errors import Why


class Role(StrEnum):
    """What a reference image is for."""

    FIRST_FRAME = "first_frame"
    LAST_FRAME = "last_frame"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Reference:
    """One reference image, on disk or still to be fetched.

    Attributes:
        path: the local file; empty while only `url` is known.
        url: where it stands in the net, if it does.
        mime: media type of the normalised file; empty until it is normalised.
        role: None = by how many there are (`capabilities.with_roles`).
        avatar: a person's portrait, taken because nothing else was there.
    """

    path: str = ""
    url: str = ""
    mime: str = ""
    role: Role | None = None
    avatar: bool = False


@dataclass(frozen=True)
class VideoRequest:
    """What the person asked for; None means "the model's own default".

    Attributes:
        duration: seconds.
        aspect_ratio: as ``16:9``.
        resolution: as ``720p``.
    """

    prompt: str
    references: tuple[Reference, ...] = ()
    duration: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None


@dataclass(frozen=True)
class VideoResult:
    """Where the finished video stands.

    Attributes:
        url: http(s) link or ``data:video/…`` URL.
        private: fetching needs the API key, so the link is never shown to a chat.
        cost: what the upstream says it took, in `currency`; None where it says nothing.
    """

    url: str
    private: bool = False
    cost: float | None = None
    currency: str = ""


@dataclass(frozen=True)
class Pending:
    """What a look at a ticket brought, while there is no end yet.

    Attributes:
        percent: as far as the upstream says.
        word: a status that we do not know; it counts as "still going".
        finished: the upstream says that it is done and shows no video (yet).
        trouble: why the look itself failed, which says nothing about the job.
        pause: seconds after which the upstream wants to be asked again.
    """

    percent: int | None = None
    word: str = ""
    finished: bool = False
    trouble: str = ""
    pause: float | None = None


@dataclass(frozen=True)
class Destination:
    """Enough to find the chat, the person and the message again after a restart.

    Attributes:
        conversation: the host's ``unified_msg_origin``.
        platform: adapter type, e.g. ``aiocqhttp``.
        message_id: the message to react and reply to; empty where the platform gives none.
        group: whether others read along, so that an answer should name its addressee.
    """

    conversation: str
    platform: str
    user: str
    message_id: str = ""
    group: bool = False


class State(StrEnum):
    """Where a job stands; what a crash in each state means is in design order here."""

    ACCEPTED = "accepted"  # nothing was sent: start it
    SUBMITTING = "submitting"  # a paid request is on the wire: never send it again
    RUNNING = "running"  # we hold a ticket: poll
    READY = "ready"  # we hold the result: download, deliver
    DELIVERING = "delivering"  # a send is under way: do not blindly send again
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # charged or delivered, perhaps: only the person can tell

    @property
    def final(self) -> bool:
        """Nothing more happens by itself."""
        return self in FINAL


S = State
FINAL = frozenset({S.DELIVERED, S.FAILED, S.CANCELLED, S.UNKNOWN})
UNDER_WAY = (S.ACCEPTED, S.SUBMITTING, S.RUNNING)  # these count against a person's limit, and can be stopped
MOVES: dict[State, frozenset[State]] = {
    S.ACCEPTED: frozenset({S.ACCEPTED, S.SUBMITTING, S.FAILED, S.UNKNOWN, S.CANCELLED}),
    S.SUBMITTING: frozenset({S.SUBMITTING, S.ACCEPTED, S.RUNNING, S.READY, S.FAILED, S.UNKNOWN, S.CANCELLED}),
    S.RUNNING: frozenset({S.RUNNING, S.READY, S.FAILED, S.UNKNOWN, S.CANCELLED}),
    S.READY: frozenset({S.READY, S.DELIVERING, S.FAILED, S.CANCELLED}),
    S.DELIVERING: frozenset({S.DELIVERING, S.READY, S.DELIVERED, S.FAILED, S.UNKNOWN}),
    # A later /视频重发 that arrives settles what was open; nothing else leaves a final state.
    S.DELIVERED: frozenset({S.DELIVERED}),
    S.FAILED: frozenset({S.FAILED, S.DELIVERED}),
    S.CANCELLED: frozenset({S.CANCELLED, S.DELIVERED}),
    S.UNKNOWN: frozenset({S.UNKNOWN, S.DELIVERED}),
}


class IllegalMove(RuntimeError):
    """A bug: the code tried to move a job where it cannot go."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One request on its way to one chat. Frozen: it changes only by `to`.

    Attributes:
        number: what people type; counts up per conversation, and names the video's file.
        message_key: names the message it came from, so that a redelivered event makes one job.
        gathering: its pictures are still being copied; a crash now leaves nothing to start from.
        attempts: creates so far that ended without a job.
        perhaps_billed: one of them may have been taken all the same (`retry_policy` is ``always``).
        fallbacks: backends to try next, as long as nothing can have been billed.
        ticket: the upstream's own job id.
        root: the address of the API that gave the ticket.
        key_mark: fingerprint of the API key the ticket belongs to.
        error: why it failed, or what is unknown.
        overdue: the person was told that it takes longer; it no longer counts against their limit.
        told: the person knows how it ended.
        looked_at: when a look at the ticket last found it not done.
        created_at, submitted_at, ready_at, finished_at: seconds since the epoch; 0 = not yet.
        revision: counts saves; a save from an outdated copy is refused.
    """

    id: str
    backend: str
    request: VideoRequest
    destination: Destination
    model: str = ""
    number: int = 0
    message_key: str = ""
    tool: bool = False
    gathering: bool = False
    state: State = State.ACCEPTED
    attempts: int = 0
    perhaps_billed: bool = False
    fallbacks: tuple[str, ...] = ()
    ticket: str = ""
    root: str = ""
    key_mark: str = ""
    result: VideoResult | None = None
    error: Why | None = None
    overdue: bool = False
    told: bool = False
    looked_at: float = 0.0
    created_at: float = 0.0
    submitted_at: float = 0.0
    ready_at: float = 0.0
    finished_at: float = 0.0
    revision: int = 0

    def to(self, state: State, **changes: Any) -> Self:
        """Move on.

        Raises:
            IllegalMove: the move is not in `MOVES`.
        """
        if state not in MOVES[self.state]:
            raise IllegalMove(f"job {self.id}: {self.state} -> {state}")
        return replace(self, state=state, **changes)
