"""What a model can do, and whether a request fits: checked before anything is paid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .errors import BadInput
from .models import Reference, Role, VideoRequest

_CHOICES = ("duration", "aspect_ratio", "resolution")


class Mode(StrEnum):
    """What a video is made from."""

    TEXT = "text"
    IMAGE = "image"  # the picture is the first frame
    FRAMES = "frames"  # first and last frame
    REFERENCES = "references"  # pictures of what is to be seen in it


@dataclass(frozen=True)
class Capabilities:
    """What one model of one backend takes.

    Attributes:
        text: makes a video from words alone.
        first_frame, last_frame: takes a picture to begin with, and another to end with.
        references: how many pictures it takes as references; 0 = none.
        first_of_many: of more pictures than it takes it uses the first, instead of refusing them.
        durations: seconds it offers; None = unknown, anything is passed on; empty = fixed, cannot be chosen.
        aspect_ratios, resolutions: likewise.
        links: it would rather have a picture's public link than the picture.
        siblings: the model that takes over in a mode that this one lacks.
    """

    text: bool = True
    first_frame: bool = True
    last_frame: bool = False
    references: int = 0
    first_of_many: bool = False
    durations: tuple[int, ...] | None = None
    aspect_ratios: tuple[str, ...] | None = None
    resolutions: tuple[str, ...] | None = None
    links: bool = False
    siblings: Mapping[Mode, str] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """How many pictures it takes at most."""
        return max(2 if self.last_frame else 1 if self.first_frame else 0, self.references)

    @property
    def counts(self) -> tuple[int, ...]:
        """With how many pictures it makes a video."""
        takes = {0: self.text, 1: self.first_frame, 2: self.last_frame}
        return tuple(count for count in range(self.most + 1) if takes.get(count) or 0 < count <= self.references)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What it can make a video from."""
        can = (self.text, self.first_frame, self.last_frame, self.references > 0)
        return tuple(mode for mode, able in zip(Mode, can, strict=True) if able)


def mode_of(references: Sequence[Reference]) -> Mode:
    """What a video of these pictures, with their roles, is made from."""
    roles = {reference.role for reference in references}
    if not roles:
        return Mode.TEXT
    if Role.REFERENCE in roles:
        return Mode.REFERENCES
    return Mode.FRAMES if Role.LAST_FRAME in roles else Mode.IMAGE


def with_roles(references: Sequence[Reference], can: Capabilities) -> tuple[Reference, ...]:
    """Give each picture its role: the one the person chose, else by how many there are.

    One begins the video, two begin and end it, more are references; where the model sees it differently, they are
    what it takes.

    Raises:
        BadInput: the model makes no video of these pictures; says of how many it does.
    """
    given = tuple(references)
    offered = listed(can.counts)
    chosen = [reference.role for reference in given]
    if any(chosen):
        roles = _chosen_roles(chosen)
    else:
        if len(given) > can.most and can.first_of_many:
            given = given[: can.most]
        if len(given) not in can.counts:
            raise BadInput("pictures_not_offered" if given else "needs_picture", given=len(given), offered=offered)
        frames = (Role.FIRST_FRAME, Role.LAST_FRAME)[: len(given)]
        roles = frames if _are_frames(len(given), can) else (Role.REFERENCE,) * len(given)
    if Role.LAST_FRAME in roles and not can.last_frame:
        raise BadInput("last_frame_not_offered", offered=offered)
    if Role.FIRST_FRAME in roles and not can.first_frame:
        raise BadInput("first_frame_not_offered", offered=offered)
    if roles.count(Role.REFERENCE) > can.references:
        raise BadInput("pictures_not_offered", given=len(given), offered=offered)
    paired = zip(given, roles, strict=True)
    named = (replace(reference, role=role) for reference, role in paired)
    return tuple(sorted(named, key=lambda reference: reference.role is Role.LAST_FRAME))


def _are_frames(count: int, can: Capabilities) -> bool:
    """Whether so many pictures are frames of the video, rather than references."""
    if count > 2:
        return False
    able = (can.text, can.first_frame, can.last_frame)[count]
    by_sibling = (Mode.TEXT, Mode.IMAGE, Mode.FRAMES)[count] in can.siblings
    own_references = count <= can.references and Mode.REFERENCES not in can.siblings
    return able and not (by_sibling and own_references)  # what the chosen model does itself comes first


def _chosen_roles(chosen: Sequence[Role | None]) -> tuple[Role, ...]:
    """Fill in the roles that were left open, and see that together they are one way to make a video.

    Raises:
        BadInput: they are not.
    """
    if Role.REFERENCE in chosen:
        roles = tuple(role or Role.REFERENCE for role in chosen)
    else:
        other = Role.LAST_FRAME if Role.FIRST_FRAME in chosen else Role.FIRST_FRAME
        roles = tuple(role or other for role in chosen)
    frames = sorted(role for role in roles if role is not Role.REFERENCE)
    lonely_end = frames == [Role.LAST_FRAME]
    if (frames and Role.REFERENCE in roles) or len(set(frames)) < len(frames) or lonely_end:
        raise BadInput("roles_do_not_fit")
    return roles


def fit(request: VideoRequest, can: Capabilities) -> tuple[VideoRequest, tuple[str, ...]]:
    """Make a request's parameters fit, or refuse it.

    Returns:
        The request as it will be sent, and the names of parameters that were left out because the model offers no
        choice there: harmless, but said in the acknowledgement.

    Raises:
        BadInput: the model offers other values than the one asked for; says which.
    """
    dropped = []
    for name in _CHOICES:
        wanted, offered = getattr(request, name), getattr(can, f"{name}s")
        if wanted is None or offered is None or wanted in offered:
            continue
        if offered:
            raise BadInput(f"{name}_not_offered", wanted=wanted, offered=listed(offered))
        dropped.append(name)
    return replace(request, **dict.fromkeys(dropped)), tuple(dropped)  # type: ignore[arg-type]


def filled(request: VideoRequest, defaults: Mapping[str, object], can: Capabilities) -> VideoRequest:
    """Where the person chose nothing, the panel's choice, unless the model does not offer it.

    Args:
        defaults: ``duration``, ``aspect_ratio``, ``resolution``; what is 0 or empty is no choice.
    """
    changes = {}
    for name in _CHOICES:
        value, offered = defaults.get(name), getattr(can, f"{name}s")
        if getattr(request, name) is None and value and (offered is None or value in offered):
            changes[name] = value
    return replace(request, **changes)  # type: ignore[arg-type]


def listed(values: tuple[object, ...]) -> str:
    """How values are shown: ``6–30`` for a run of numbers, else each of them."""
    if len(values) > 3 and all(isinstance(value, int) for value in values):
        low, high = values[0], values[-1]
        if values == tuple(range(low, high + 1)):  # type: ignore[operator,call-overload]
            return f"{low}–{high}"
    return " ".join(map(str, values))
