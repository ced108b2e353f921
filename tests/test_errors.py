"""The failures, and what of an upstream's words may be kept."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from core import errors
from core.errors import Failure, Retryable, UnknownCharge, Why, scrub

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Failure)][1:]


def test_the_table_is_what_the_classes_say() -> None:
    rows = [row.split("|")[1:3] for row in (errors.__doc__ or "").splitlines() if row.startswith("| `")]
    table = {name.strip(" `"): billed.strip() for name, billed in rows}
    assert table == {kind.__name__: "certainly not" if kind is Retryable else kind.billed for kind in ALL}, (
        "name, or whether it was billed"
    )


@pytest.mark.parametrize("kind", ALL)
def test_a_failure_is_kept_whole(kind: type[Failure]) -> None:
    why = kind("a_cause", "a reason", limit=100).why
    assert why == Why(kind.kind, "a_cause", "a reason", {"limit": "100"})
    stored = TypeAdapter(Why)
    assert stored.validate_json(stored.dump_json(why)) == why


def test_what_is_retried_was_certainly_not_billed() -> None:
    assert Retryable.billed == "no"
    assert UnknownCharge.billed == "perhaps"


def test_kinds_are_words_of_their_own() -> None:
    assert UnknownCharge.kind == "unknown_charge"
    assert len({kind.kind for kind in ALL}) == len(ALL)


def test_a_delay_is_no_fact() -> None:
    failure = Retryable("busy", retry_after=3.5)
    assert failure.retry_after == 3.5
    assert failure.why.facts == {}


PICTURE = "data:image/jpeg;base64," + "Zm9v" * 20
SCRUBBED = [
    ("plain words stay", "prompt is required", "prompt is required"),
    ("one line", "a\n\n  b\tc", "a b c"),
    ("an OpenAI key", "wrong key sk-proj-abcDEF123456789 given", "wrong key *** given"),
    ("an xAI key", "xai-0123456789abcdef", "***"),
    ("a Google key", "AIzaSyA0123456789abcdef", "***"),
    ("a JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.sig", "***"),
    ("a bearer", "Authorization: Bearer abc", "Authorization: Bearer ***"),
    ("a key in a query", "GET /v1?key=abc&alt=media", "GET /v1?key=***&alt=media"),
    ("a picture", f"bad image_url {PICTURE}.", "bad image_url ***"),
    ("a picture in quotes", f'{{"url":"{PICTURE}"}}', '{"url":"***"}'),
    ("a short data URL is no picture", "data:image/png is not allowed", "data:image/png is not allowed"),
    ("a picture without its head", "/9j/" + "A" * 300, "***"),
    ("words that only begin like a key", "skating on the pkg", "skating on the pkg"),
    ("half an emoji", "\ud83c!", "?!"),
]


@pytest.mark.parametrize(("text", "left"), [pytest.param(*case[1:], id=case[0]) for case in SCRUBBED])
def test_what_is_left_of_an_upstreams_words(text: str, left: str) -> None:
    assert scrub(text) == left


def test_a_key_in_use_is_removed_whatever_it_looks_like() -> None:
    assert scrub("token 秘密的 of hunter22 is bad", "hunter22", "秘密的钥匙", "") == "token 秘密的 of *** is bad"


def test_a_key_of_three_letters_would_take_half_the_words_with_it() -> None:
    assert scrub("a cat in a catalogue", "cat") == "a cat in a catalogue"


def test_long_words_are_cut() -> None:
    assert scrub("x " * 250) == ("x " * 250).strip()
    cut = scrub("x " * 400)
    assert len(cut) == errors.REASON_LIMIT == 500
    assert cut.endswith("…")


def test_a_failure_scrubs_by_itself() -> None:
    assert UnknownCharge("", "Bearer abc").why.reason == "Bearer ***"
