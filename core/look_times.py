"""When to look at a ticket next: often enough to notice, seldom enough to be no burden.

A look every so many seconds wastes most of its looks long before anything can be there. What a model took lately
says when it is worth looking: a little before the times of the past, and at them.
"""

import random
from collections.abc import Sequence

FIRST = 5.0  # seconds: what fails, fails early
LEARNED = 3  # times known, from which on they are trusted
SHORTEST = 0.5  # seconds between two looks, however near the deadline is
SLOWEST = 1800.0  # seconds between two looks at a job that is long overdue
_MARKS = (0.1, 0.35, 0.6, 0.85)  # of the past times, sorted: a look at each


def next_look(
    elapsed: float,
    *,
    interval: float,
    deadline: float,
    past: Sequence[float] = (),
    jitter: float | None = None,
) -> float:
    """Seconds until the next look.

    Args:
        elapsed: seconds since the create.
        interval: seconds between two looks when nothing is known, as the panel says.
        deadline: seconds after which the job is overdue; from then on looks become ever rarer.
        past: how many seconds this model took lately, in any order.
        jitter: 0 to 1; spreads the looks of jobs that were started together.
    """
    jitter = random.random() if jitter is None else jitter
    spread = 0.95 + 0.1 * jitter
    if elapsed >= deadline:
        return min(max(interval, (elapsed - deadline) / 5), SLOWEST) * spread
    if len(past) >= LEARNED:
        due = _worth_looking(elapsed, sorted(past), interval) * spread
    elif elapsed < min(FIRST, interval):
        due = (min(FIRST, interval) - elapsed) * spread + 0.1
    else:
        due = interval * spread
    return max(min(due, deadline - elapsed + 0.1), SHORTEST)


def _worth_looking(elapsed: float, past: list[float], interval: float) -> float:
    """Until the next of the past times that is worth a look."""
    middle = past[len(past) // 2]
    apart = max(0.04 * middle, 0.5)
    for mark in _MARKS:
        at = past[int(mark * len(past))] + apart / 2
        if at > elapsed + apart / 2:
            return at - elapsed
    usual = past[int(_MARKS[-1] * len(past))]  # not the longest: one that a restart drew out is nothing to wait for
    return min(max(apart, (elapsed - usual) / 2), interval)
