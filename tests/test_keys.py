"""Keys take turns; a refused one rests, and is still better than none."""

from __future__ import annotations

import pytest

from core.keys import REST_SECONDS, KeyRing, mark_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_keys_take_turns(clock: Clock) -> None:
    ring = KeyRing("abc", clock)
    assert [ring.next() for _ in range(7)] == list("abcabca")


def test_no_key_no_ring() -> None:
    assert not KeyRing(())
    assert KeyRing(["a"])
    assert KeyRing(()).next() is None


def test_what_was_tried_is_not_tried_again(clock: Clock) -> None:
    ring = KeyRing("abc", clock)
    assert ring.next(["a", "c"]) == "b"
    assert ring.next(["a", "b", "c"]) is None


def test_a_refused_key_rests_and_comes_back(clock: Clock) -> None:
    ring = KeyRing("ab", clock)
    ring.rest("a")
    assert [ring.next(), ring.next()] == ["b", "b"]
    clock.now += REST_SECONDS - 1
    assert ring.next() == "b"
    clock.now += 1
    assert ring.next() == "a"


def test_when_all_rest_the_one_that_rested_longest_is_tried(clock: Clock) -> None:
    ring = KeyRing("abc", clock)
    for key in "cab":
        ring.rest(key)
        clock.now += 1
    assert ring.next() == "c"
    assert ring.next(["c"]) == "a"


def test_resting_again_lasts_longer(clock: Clock) -> None:
    ring = KeyRing("ab", clock)
    ring.rest("a")
    clock.now += REST_SECONDS / 2
    ring.rest("a")
    clock.now += REST_SECONDS / 2
    assert [ring.next(), ring.next()] == ["b", "b"]


def test_a_ticket_finds_its_key_again() -> None:
    ring = KeyRing(["sk-one", "sk-two"])
    assert ring.find(mark_of("sk-two")) == "sk-two"
    assert ring.find(mark_of("sk-gone")) is None


def test_a_mark_is_no_key() -> None:
    assert mark_of("sk-one") == mark_of("sk-one") != mark_of("sk-two")
    assert "one" not in mark_of("sk-one")
    assert len(mark_of("钥匙")) == 12
