"""Places are never lost nor doubled, and each person has one turn a round."""

from __future__ import annotations

import asyncio
import random
from asyncio import CancelledError, Task

import pytest

from core.fair_queue import FairQueue


class People:
    """Who entered, in order."""

    def __init__(self, places: int) -> None:
        self.queue = FairQueue(places)
        self.entered: list[str] = []
        self.inside: list[str] = []
        self.waiting: dict[str, Task[None]] = {}

    async def come(self, *jobs: str) -> None:
        """A job is its person's letter and a number."""
        for job in jobs:
            self.waiting[job] = asyncio.create_task(self._enter(job))
            await asyncio.sleep(0)

    async def _enter(self, job: str) -> None:
        await self.queue.enter(job[0], job)
        self.entered.append(job)
        self.inside.append(job)

    async def leave(self, times: int = 1) -> None:
        """Those that are inside longest go."""
        for _ in range(times):
            self.queue.leave(self.inside.pop(0))
            await asyncio.sleep(0)

    async def give_up(self, job: str) -> None:
        self.waiting[job].cancel()
        with pytest.raises(CancelledError):
            await self.waiting[job]


async def test_free_places_are_taken_at_once() -> None:
    people = People(2)
    await people.come("a1", "a2", "a3")
    assert people.entered == ["a1", "a2"]
    assert people.queue.position_of("a1") is None
    assert people.queue.position_of("a3") == 1


async def test_each_person_has_one_turn_a_round() -> None:
    people = People(1)
    await people.come("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    await people.leave(6)
    assert people.entered == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]


async def test_who_comes_later_waits_for_the_end_of_the_round() -> None:
    people = People(1)
    await people.come("a1", "a2", "a3", "b1")
    await people.leave()
    await people.come("c1")
    await people.leave(3)
    assert people.entered == ["a1", "a2", "b1", "a3", "c1"]


@pytest.mark.parametrize("seed", range(20))
async def test_the_position_told_is_the_order_of_entering(seed: int) -> None:
    people, chance = People(1), random.Random(seed)
    jobs = [f"{chance.choice('abcd')}{number}" for number in range(12)]
    await people.come(*jobs)
    told = sorted(jobs[1:], key=lambda job: people.queue.position_of(job) or 0)
    assert sorted(people.queue.position_of(job) or 0 for job in jobs[1:]) == list(range(1, 12))
    await people.leave(11)
    assert people.entered[1:] == told


async def test_who_gives_up_is_forgotten() -> None:
    people = People(1)
    await people.come("a1", "b1", "b2", "c1")
    await people.give_up("b1")
    assert people.queue.position_of("b1") is None
    assert [people.queue.position_of(job) for job in ("b2", "c1")] == [1, 2]
    await people.give_up("b2")
    await people.leave(2)
    assert people.entered == ["a1", "c1"]
    await people.come("d1")
    assert people.entered[-1] == "d1"


async def test_who_gives_up_as_the_turn_comes_passes_it_on() -> None:
    people = People(1)
    await people.come("a1", "b1", "c1")
    people.queue.leave("a1")  # b1 has its turn and does not know it yet
    await people.give_up("b1")
    await asyncio.sleep(0)
    assert people.entered == ["a1", "c1"]


async def test_who_gives_up_as_the_turn_comes_frees_the_place() -> None:
    people = People(1)
    await people.come("a1", "b1")
    people.queue.leave("a1")
    await people.give_up("b1")
    await people.come("c1")
    assert people.entered == ["a1", "c1"]


async def test_a_place_that_frees_as_somebody_gives_up_is_not_lost() -> None:
    people = People(1)
    await people.come("a1", "b1", "c1")
    people.waiting["b1"].cancel()
    people.queue.leave("a1")  # in the same turn of the loop
    await asyncio.sleep(0)
    assert people.entered == ["a1", "c1"]
    people.queue.leave("c1")
    await people.come("d1")
    assert people.entered == ["a1", "c1", "d1"]


async def test_who_has_a_place_does_not_ask_for_another() -> None:
    people = People(2)
    await people.come("a1", "a1", "b1")
    assert people.entered == ["a1", "a1", "b1"]


async def test_a_place_is_given_back_once() -> None:
    people = People(1)
    await people.come("a1", "b1", "c1")
    people.queue.leave("a1")
    people.queue.leave("a1")
    people.queue.leave("nobody")
    await asyncio.sleep(0)
    assert people.entered == ["a1", "b1"]


async def test_what_is_under_way_already_takes_a_place_that_is_not_there() -> None:
    """Jobs that were resumed: nobody else may begin before there are as few of them as there are places."""
    people = People(2)
    for resumed in ("r1", "r2", "r3"):
        people.queue.take(resumed)
    await people.come("a1")
    for left, entered in (("r1", []), ("r2", ["a1"]), ("r3", ["a1"])):
        people.queue.leave(left)
        await asyncio.sleep(0)
        assert people.entered == entered
    await people.come("b1", "b2")
    assert people.entered == ["a1", "b1"]


async def test_an_unknown_job_has_no_position() -> None:
    assert FairQueue(1).position_of("x") is None


@pytest.mark.parametrize("seed", range(10))
async def test_no_place_is_lost_or_doubled(seed: int) -> None:
    chance, queue, inside, most = random.Random(seed), FairQueue(3), 0, 0

    async def work(person: str, job: str) -> None:
        nonlocal inside, most
        await queue.enter(person, job)
        try:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
        finally:
            inside -= 1
            queue.leave(job)

    tasks = [asyncio.create_task(work(chance.choice("ab"), str(number))) for number in range(60)]
    for _ in range(200):
        await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.wait(tasks)
    assert most == 3
    async with asyncio.timeout(1):
        for number in range(3):
            await queue.enter("c", f"after {number}")
    fourth = asyncio.create_task(queue.enter("c", "fourth"))
    await asyncio.sleep(0)
    assert not fourth.done()
    fourth.cancel()
    assert inside == 0
