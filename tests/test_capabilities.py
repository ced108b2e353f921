"""What a model cannot do is refused before it is paid, with what it can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.capabilities import Capabilities, Mode, filled, fit, listed, mode_of, with_roles
from core.errors import BadInput
from core.models import Reference, Role, VideoRequest

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


# ---- what pictures are for ----

GROK_09 = Capabilities(text=False, first_of_many=True)
ALIAS = Capabilities(first_of_many=True)
TEXT = Capabilities(first_frame=False)
IMAGE = Capabilities()
FRAMES = Capabilities(last_frame=True)
REFERENCES = Capabilities(text=False, first_frame=False, references=3)
VEO = Capabilities(last_frame=True, references=3)
SEVEN = Capabilities(references=7)

# Kind of model → what becomes of 0, 1, 2, 3, 4 and 8 pictures whose use was left open: a letter for each that is used
# (f begins, l ends, r is a reference), or why not.
NEEDS, NOT = "needs_picture", "pictures_not_offered"
KINDS: dict[str, tuple[Capabilities, list[str]]] = {
    "only words": (TEXT, ["", NOT, NOT, NOT, NOT, NOT]),
    "words or one picture": (IMAGE, ["", "f", NOT, NOT, NOT, NOT]),
    "one picture, and the first of many": (GROK_09, [NEEDS, "f", "f", "f", "f", "f"]),
    "words too, and the first of many": (ALIAS, ["", "f", "f", "f", "f", "f"]),
    "a first and a last frame": (FRAMES, ["", "f", "fl", NOT, NOT, NOT]),
    "only references": (REFERENCES, [NEEDS, "r", "rr", "rrr", NOT, NOT]),
    "everything": (VEO, ["", "f", "fl", "rrr", NOT, NOT]),
    "one begins, more are references": (SEVEN, ["", "f", "rr", "rrr", "rrrr", NOT]),
    "frames without words": (replace(FRAMES, text=False), [NEEDS, "f", "fl", NOT, NOT, NOT]),
}
COUNTS = (0, 1, 2, 3, 4, 8)
LETTERS = {"f": Role.FIRST_FRAME, "l": Role.LAST_FRAME, "r": Role.REFERENCE, "-": None}


def pictures(roles: str) -> tuple[Reference, ...]:
    return tuple(Reference(path=str(at), role=LETTERS[role]) for at, role in enumerate(roles))


def given(references: tuple[Reference, ...], can: Capabilities) -> tuple[str, str, dict[str, str]]:
    """Which pictures are used in which order, for what; or why none."""
    try:
        used = with_roles(references, can)
    except BadInput as refusal:
        return "", refusal.why.cause, refusal.why.facts
    letters = {role: letter for letter, role in LETTERS.items()}
    return "".join(one.path for one in used), "".join(letters[one.role] for one in used), {}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_number_of_pictures_has_its_use(kind: str, count: int) -> None:
    can, uses = KINDS[kind]
    use = uses[COUNTS.index(count)]
    used, said, facts = given(pictures("-" * count), can)
    assert said == use
    if use in (NEEDS, NOT):
        assert facts == {"given": str(count), "offered": listed(can.counts)}
    else:
        assert used == "01234567"[: len(use)], "in their order, the first ones"
        assert count in can.counts or can.first_of_many


# What the person chose → how VEO uses it: the pictures in the order they are sent, and what for; or why not.
CHOSEN: dict[str, tuple[str, str]] = {
    "f": ("0", "f"),
    "r": ("0", "r"),
    "rr": ("01", "rr"),
    "rrr": ("012", "rrr"),
    "fl": ("01", "fl"),
    "lf": ("10", "fl"),
    "f-": ("01", "fl"),
    "-l": ("01", "fl"),
    "l-": ("10", "fl"),
    "-f": ("10", "fl"),
    "r-": ("01", "rr"),
    "-r-": ("012", "rrr"),
    "l": ("", "roles_do_not_fit"),  # nothing ends that did not begin
    "ff": ("", "roles_do_not_fit"),
    "ll": ("", "roles_do_not_fit"),
    "f--": ("", "roles_do_not_fit"),
    "fll": ("", "roles_do_not_fit"),
    "fr": ("", "roles_do_not_fit"),
    "flr": ("", "roles_do_not_fit"),
    "rrrr": ("", "pictures_not_offered"),
    "r---": ("", "pictures_not_offered"),
}


@pytest.mark.parametrize("roles", CHOSEN)
def test_what_the_person_chose_counts(roles: str) -> None:
    assert given(pictures(roles), VEO)[:2] == CHOSEN[roles]


# Model, what was chosen → why it is refused, and how many pictures it takes.
LACKS: list[tuple[str, Capabilities, str, str, str]] = [
    ("no last frame", IMAGE, "fl", "last_frame_not_offered", "0 1"),
    ("not even of the first of many", GROK_09, "fl", "last_frame_not_offered", "1"),
    ("no first frame", REFERENCES, "f", "first_frame_not_offered", "1 2 3"),
    ("no pictures at all", TEXT, "f", "first_frame_not_offered", "0"),
    ("no references", FRAMES, "rr", "pictures_not_offered", "0 1 2"),
    ("one reference is one too many", GROK_09, "r", "pictures_not_offered", "1"),
]


@pytest.mark.parametrize(("can", "roles", "cause", "offered"), [pytest.param(*case[1:], id=case[0]) for case in LACKS])
def test_what_a_model_lacks_is_refused_with_what_it_takes(
    can: Capabilities, roles: str, cause: str, offered: str
) -> None:
    _, said, facts = given(pictures(roles), can)
    assert (said, facts["offered"]) == (cause, offered)


@pytest.mark.parametrize(
    ("roles", "mode"),
    [("", Mode.TEXT), ("f", Mode.IMAGE), ("fl", Mode.FRAMES), ("r", Mode.REFERENCES), ("rrr", Mode.REFERENCES)],
)
def test_what_a_video_is_made_from(roles: str, mode: Mode) -> None:
    assert mode_of(pictures(roles)) is mode


MODES: dict[str, tuple[Mode, ...]] = {
    "only words": (Mode.TEXT,),
    "one picture, and the first of many": (Mode.IMAGE,),
    "only references": (Mode.REFERENCES,),
    "everything": tuple(Mode),
}


@pytest.mark.parametrize("kind", MODES)
def test_what_a_model_makes_videos_from(kind: str) -> None:
    assert KINDS[kind][0].modes == MODES[kind]


# ---- the panel's choice ----

PANEL = {"duration": 8, "aspect_ratio": "16:9", "resolution": "", "poll_seconds": 10}
FILLED: list[tuple[str, VideoRequest, Capabilities, VideoRequest]] = [
    ("where nothing was asked", VideoRequest("x"), Capabilities(), VideoRequest("x", duration=8, aspect_ratio="16:9")),
    ("not over what was asked", VideoRequest("x", duration=4, aspect_ratio="9:16"), Capabilities(),
     VideoRequest("x", duration=4, aspect_ratio="9:16")),
    ("not where there is no choice", VideoRequest("x"), Capabilities(durations=(), aspect_ratios=()),
     VideoRequest("x")),
    ("only what is offered", VideoRequest("x"), Capabilities(durations=(4, 6), aspect_ratios=("16:9",)),
     VideoRequest("x", aspect_ratio="16:9")),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "can", "sent"), [pytest.param(*case[1:], id=case[0]) for case in FILLED])
def test_the_panel_fills_what_was_left_open(asked: VideoRequest, can: Capabilities, sent: VideoRequest) -> None:
    assert filled(asked, PANEL, can) == sent
    assert filled(asked, {"duration": 0}, can) == asked, "0 is no choice"
