"""What a model cannot do is refused before it is paid, with what it can do."""

from __future__ import annotations

from typing import Any

import pytest

from core.capabilities import Capabilities, fit, listed
from core.errors import BadInput
from core.models import VideoRequest

ASKED = VideoRequest("x", duration=6, aspect_ratio="16:9", resolution="720p")

FITS: list[tuple[str, VideoRequest, Capabilities, VideoRequest, tuple[str, ...]]] = [
    ("what is offered", ASKED, Capabilities(durations=(4, 6), aspect_ratios=("16:9",)), ASKED, ()),
    ("what is unknown is passed on", ASKED, Capabilities(), ASKED, ()),
    ("nothing asked", VideoRequest("x"), Capabilities(durations=(), resolutions=("1080p",)), VideoRequest("x"), ()),
    ("a fixed length is left out and named", ASKED, Capabilities(durations=()),
     VideoRequest("x", aspect_ratio="16:9", resolution="720p"), ("duration",)),
    ("all is fixed", ASKED, Capabilities(durations=(), aspect_ratios=(), resolutions=()), VideoRequest("x"),
     ("duration", "aspect_ratio", "resolution")),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "can", "sent", "dropped"), [pytest.param(*case[1:], id=case[0]) for case in FITS])
def test_a_request_that_fits(
    request_: VideoRequest, can: Capabilities, sent: VideoRequest, dropped: tuple[str, ...]
) -> None:
    assert fit(request_, can) == (sent, dropped)


REFUSED: list[tuple[str, Capabilities, str, dict[str, str]]] = [
    ("a length", Capabilities(durations=(4, 8)), "duration_not_offered", {"wanted": "6", "offered": "4 8"}),
    ("a ratio", Capabilities(aspect_ratios=("1:1",)), "aspect_ratio_not_offered", {"wanted": "16:9", "offered": "1:1"}),
    ("a size", Capabilities(resolutions=("480p",)), "resolution_not_offered", {"wanted": "720p", "offered": "480p"}),
    ("what is fixed does not save what is not offered", Capabilities(durations=(), resolutions=("480p",)),
     "resolution_not_offered", {"wanted": "720p", "offered": "480p"}),
]  # fmt: skip


@pytest.mark.parametrize(("can", "cause", "facts"), [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_a_request_that_does_not(can: Capabilities, cause: str, facts: dict[str, str]) -> None:
    with pytest.raises(BadInput) as refusal:
        fit(ASKED, can)
    assert (refusal.value.why.cause, refusal.value.why.facts) == (cause, facts)


LISTS: list[tuple[str, tuple[Any, ...], str]] = [
    ("a run of numbers", tuple(range(6, 31)), "6–30"),
    ("a run too short to be worth it", (4, 5, 6), "4 5 6"),
    ("numbers with gaps", (6, 10, 12, 16, 20), "6 10 12 16 20"),
    ("a run that goes down", (9, 8, 7, 6), "9 8 7 6"),
    ("words", ("16:9", "9:16"), "16:9 9:16"),
]


@pytest.mark.parametrize(("values", "shown"), [pytest.param(*case[1:], id=case[0]) for case in LISTS])
def test_how_values_are_shown(values: tuple[Any, ...], shown: str) -> None:
    assert listed(values) == shown
