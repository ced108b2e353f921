"""When a ticket is looked at: soon enough after its video is there, and seldom enough."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from core.look_times import FIRST, LEARNED, SLOWEST, next_look

Next = Callable[[float, list[float]], float]


def burden(length: float, look: Next, *, seed: int = 1, known: int = 20, jobs: int = 300) -> float:
    """Looks × mean delay ÷ length, over jobs that vary by ±5 %; less is better, and cheating on either shows.

    Args:
        known: how many jobs of before are known.
    """
    chance = random.Random(seed)
    looks, delay = 0, 0.0
    for _ in range(jobs):
        past = [length * chance.uniform(0.95, 1.05) for _ in range(known)]
        done, now = length * chance.uniform(0.95, 1.05), 0.0
        while now < done:
            now += look(now, past)
            looks += 1
        delay += now - done
    return looks / jobs * (delay / jobs) / length


def learned(chance: random.Random, interval: float = 10.0) -> Next:
    return lambda elapsed, past: next_look(
        elapsed, interval=interval, deadline=1800.0, past=past, jitter=chance.random()
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length", [10.0, 60.0, 300.0])
def test_what_is_known_makes_looks_few_and_delays_short(length: float, seed: int) -> None:
    assert burden(length, learned(random.Random(seed)), seed=seed) <= 0.12


@pytest.mark.parametrize("interval", [1.0, 2.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize("length", [10.0, 60.0, 300.0])
def test_no_blind_interval_would_do(length: float, interval: float) -> None:
    """However it is chosen: half an interval late, length ÷ interval looks."""
    assert burden(length, lambda elapsed, past: interval) > 0.3


@pytest.mark.parametrize("length", [10.0, 60.0, 300.0])
def test_without_a_past_it_is_the_panel_s_interval(length: float) -> None:
    assert burden(length, learned(random.Random(1)), known=LEARNED - 1) > 0.3


def look(elapsed: float, **given: object) -> float:
    return next_look(elapsed, **({"interval": 10.0, "deadline": 1800.0, "jitter": 0.5} | given))  # type: ignore[arg-type]


def test_the_first_look_is_early() -> None:
    """What fails, fails early."""
    assert look(0) == pytest.approx(FIRST, abs=0.2)
    assert look(0, interval=2.0) == pytest.approx(2.0, abs=0.2)
    assert look(FIRST + 1) == pytest.approx(10)


TWENTY = [58 + at * 0.2 for at in range(20)]
PASTS: dict[str, list[float]] = {"nothing known": [], "too little known": [60.0] * (LEARNED - 1), "known": TWENTY}


@pytest.mark.parametrize("past", PASTS)
def test_a_look_is_spread_and_no_more_than_that(past: str) -> None:
    """Jobs that were started together are not looked at together, nor far from when it is worth it."""
    for elapsed in (0.0, 3.0, 30.0, 59.0, 70.0, 500.0):
        low, middle, high = (look(elapsed, past=PASTS[past], jitter=jitter) for jitter in (0.0, 0.5, 1.0))
        assert low <= middle <= high
        assert 0.94 * middle <= low
        assert high <= 1.06 * middle
    assert len({next_look(30.0, interval=10.0, deadline=1800.0, past=PASTS[past]) for _ in range(9)}) > 1


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("interval", [1.0, 10.0, 300.0])
def test_two_looks_are_never_closer_than_half_a_second(interval: float, past: str) -> None:
    """At no moment, not even just before the deadline."""
    for deadline in (4.0, 59.0, 1800.0):
        for tenth in range(1300):
            for elapsed in (tenth / 10, deadline - tenth / 1000):
                for jitter in (0.0, 1.0):
                    due = look(max(elapsed, 0), past=PASTS[past], interval=interval, deadline=deadline, jitter=jitter)
                    assert due >= 0.5, (elapsed, deadline)


@pytest.mark.parametrize("past", PASTS)
@pytest.mark.parametrize("elapsed", [1700.0, 1795.0, 1799.5])
def test_the_deadline_is_not_slept_through(elapsed: float, past: str) -> None:
    """Its person is told then."""
    assert elapsed + look(elapsed, past=PASTS[past], interval=300.0) <= 1800.0 + 0.61


def test_an_overdue_job_is_looked_at_ever_slower() -> None:
    pauses, elapsed = [], 1800.0
    while elapsed < 86400:
        pauses.append(look(elapsed, past=TWENTY))
        elapsed += pauses[-1]
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(10)
    assert max(pauses) <= SLOWEST
    assert pauses[-1] == pytest.approx(SLOWEST)
    assert 40 < len(pauses) < 120, "in a whole day"


OUTLIERS = {"none": [], "a bot that was down": [18000.0], "two of them": [7200.0, 18000.0]}


@pytest.mark.parametrize("name", OUTLIERS)
def test_a_job_that_takes_longer_than_usual_is_looked_at_slower_up_to_the_interval(name: str) -> None:
    """Whatever one of the past took: else every job that is late would be asked for each second or two."""
    pauses, elapsed = [], 63.0
    while elapsed < 300:
        pauses.append(look(elapsed, past=[*TWENTY, *OUTLIERS[name]]))
        elapsed += pauses[-1]
    assert pauses == sorted(pauses)
    assert pauses[0] < 3
    assert pauses[-1] == pytest.approx(10)


def test_the_order_of_the_past_does_not_matter() -> None:
    shuffled = random.Random(1).sample(TWENTY, len(TWENTY))
    assert [look(at, past=shuffled) for at in range(70)] == [look(at, past=TWENTY) for at in range(70)]
