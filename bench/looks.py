"""The schedule of looks on a virtual clock: how many it takes, and how late they notice."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence

from core.look_times import next_look

KNOWN = 20  # jobs that are over before the counting begins
COUNTED = 200
INTERVAL = 10.0  # seconds: the panel's default
KEPT = 50  # past times, as the ledger gives them

Schedule = Callable[[float, Sequence[float], float], float]  # elapsed, past times, jitter → seconds to the next look


def learned(elapsed: float, past: Sequence[float], jitter: float) -> float:
    return next_look(elapsed, interval=INTERVAL, deadline=1800.0, past=past, jitter=jitter)


def blind(elapsed: float, past: Sequence[float], jitter: float) -> float:
    return statistics.mean(past) / 10 if past else 1.0


def simulated(schedule: Schedule, seconds: float, spread: float, seed: int) -> float:
    """Looks per job × mean delay of noticing ÷ mean length.

    Args:
        spread: standard deviation of the jobs' length, relative to it.
    """
    chance = random.Random(f"{seconds} {spread} {seed}")
    past: list[float] = []
    counted: list[tuple[int, float, float]] = []
    for number in range(KNOWN + COUNTED):
        length = seconds * chance.lognormvariate(0, spread)
        at = before = 0.0
        looks = 0
        while at < length:
            before = at
            at += schedule(at, past[-KEPT:], chance.random())
            looks += 1
        past.append((before + at) / 2)  # as `JobLedger.waits` has it
        if number >= KNOWN:
            counted.append((looks, at - length, length))
    looks_each, late, lengths = (statistics.mean(column) for column in zip(*counted, strict=True))
    return looks_each * late / lengths
