"""Who goes next when all places are taken: one job of each person in turn, so that nobody's pile delays the rest."""

import asyncio
from collections import deque


class FairQueue:
    """A fixed number of places.

    Args:
        places: how many may work at once.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._inside: set[str] = set()
        self._waiting: dict[str, deque[tuple[str, asyncio.Future[None]]]] = {}

    async def enter(self, person: str, job_id: str) -> None:
        """Wait for a place; `leave` gives it back."""
        if job_id in self._inside:
            return
        if len(self._inside) < self._places:
            self._inside.add(job_id)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person, deque()).append((job_id, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(job_id)
            else:
                self._forget(person, job_id)
            raise

    def take(self, job_id: str) -> None:
        """Take a place whether there is one or not: what is under way already needs no permission."""
        self._inside.add(job_id)

    def leave(self, job_id: str) -> None:
        """Give the place, if it has one, to the person whose turn it is."""
        self._inside.discard(job_id)
        while self._waiting and len(self._inside) < self._places:
            person = next(iter(self._waiting))
            line = self._waiting.pop(person)
            waiting, turn = line.popleft()
            if line:
                self._waiting[person] = line  # to the end of the round
            if not turn.done():  # else it was given up a moment ago and does not know it yet
                self._inside.add(waiting)
                turn.set_result(None)

    def position_of(self, job_id: str) -> int | None:
        """Which one to go this job is, from 1; None when it does not wait."""
        lines = list(self._waiting.items())
        for round_, (_, line) in enumerate(lines):
            for own, (waiting, _) in enumerate(line):
                if waiting == job_id:
                    others = ((place, len(other)) for place, (_, other) in enumerate(lines) if place != round_)
                    return 1 + own + sum(min(length, own + (place < round_)) for place, length in others)
        return None

    def _forget(self, person: str, job_id: str) -> None:
        line = self._waiting.get(person, deque())
        kept = deque(entry for entry in line if entry[0] != job_id)
        if kept:
            self._waiting[person] = kept
        else:
            self._waiting.pop(person, None)
