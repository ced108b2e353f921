"""What a model can do, and whether a request fits: checked before anything is paid."""

from dataclasses import dataclass, replace

from .errors import BadInput
from .models import VideoRequest


@dataclass(frozen=True)
class Capabilities:
    """What one model of one backend takes.

    Attributes:
        text: makes a video from words alone.
        references: how many images it takes at most.
        durations: seconds it offers; None = unknown, anything is passed on; empty = fixed, cannot be chosen.
        aspect_ratios, resolutions: likewise.
    """

    text: bool = True
    references: int = 1
    durations: tuple[int, ...] | None = None
    aspect_ratios: tuple[str, ...] | None = None
    resolutions: tuple[str, ...] | None = None


def fit(request: VideoRequest, can: Capabilities) -> tuple[VideoRequest, tuple[str, ...]]:
    """Make a request fit, or refuse it.

    Returns:
        The request as it will be sent, and the names of parameters that were left out because the model offers no
        choice there: harmless, but said in the acknowledgement.

    Raises:
        BadInput: the model offers other values than the one asked for; says which.
    """
    dropped = []
    for name in ("duration", "aspect_ratio", "resolution"):
        wanted, offered = getattr(request, name), getattr(can, f"{name}s")
        if wanted is None or offered is None or wanted in offered:
            continue
        if offered:
            raise BadInput(f"{name}_not_offered", wanted=wanted, offered=listed(offered))
        dropped.append(name)
    return replace(request, **dict.fromkeys(dropped)), tuple(dropped)  # type: ignore[arg-type]


def listed(values: tuple[object, ...]) -> str:
    """How values are shown: ``6–30`` for a run of numbers, else each of them."""
    if len(values) > 3 and all(isinstance(value, int) for value in values):
        low, high = values[0], values[-1]
        if values == tuple(range(low, high + 1)):  # type: ignore[operator,call-overload]
            return f"{low}–{high}"
    return " ".join(map(str, values))
