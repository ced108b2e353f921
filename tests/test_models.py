"""A job moves only where it may."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from pydantic import TypeAdapter

from core.errors import Why
from core.models import FINAL, MOVES, Destination, IllegalMove, Job, Reference, Role, State, VideoRequest, VideoResult

JOB = Job(
    id="1",
    backend="grok",
    request=VideoRequest("x", (Reference("/a.jpg", role=Role.LAST_FRAME),), 6, "16:9", "720p"),
    destination=Destination("qq:GroupMessage:1", "aiocqhttp", "2", "3", group=True),
    result=VideoResult("https://cdn.example.org/1.mp4", private=True),
    error=Why("refused", facts={"a": "b"}),
)


@pytest.mark.parametrize("before", State)
def test_a_move_is_in_the_table_or_refused(before: State) -> None:
    job = replace(JOB, state=before)
    for after in State:
        if after in MOVES[before]:
            assert job.to(after, told=True) == replace(job, state=after, told=True)
        else:
            with pytest.raises(IllegalMove, match=f"{before} -> {after}"):
                job.to(after)


NEVER = [
    ("a request that left is not started again after a crash", State.RUNNING, State.ACCEPTED),
    ("a result is not made a second time", State.READY, State.SUBMITTING),
    ("a result is not polled for", State.READY, State.RUNNING),
    ("a send under way cannot be called off", State.DELIVERING, State.CANCELLED),
    ("what was cancelled does not come back", State.CANCELLED, State.ACCEPTED),
    ("what failed does not come back", State.FAILED, State.SUBMITTING),
    ("what may have been paid does not start again", State.UNKNOWN, State.SUBMITTING),
    ("nothing is sent before there is something", State.ACCEPTED, State.READY),
]


@pytest.mark.parametrize(("before", "after"), [pytest.param(*case[1:], id=case[0]) for case in NEVER])
def test_moves_that_must_never_be_legal(before: State, after: State) -> None:
    assert after not in MOVES[before]


def test_every_state_has_its_moves_and_may_be_saved_as_it_is() -> None:
    assert set(MOVES) == set(State)
    assert all(state in moves for state, moves in MOVES.items())


def test_a_final_state_is_left_only_by_an_arrival() -> None:
    assert {state for state in State if MOVES[state] <= {state, State.DELIVERED}} == FINAL
    assert all(state.final is (state in FINAL) for state in State)


def test_every_state_can_come_to_an_end() -> None:
    def reachable(state: State, seen: frozenset[State] = frozenset()) -> frozenset[State]:
        for after in MOVES[state] - seen - {state}:
            seen |= reachable(after, seen | {after}) | {after}
        return seen

    for state in State:
        assert State.DELIVERED in reachable(state) | {state}


def test_names_that_stand_in_peoples_databases_do_not_change() -> None:
    assert " ".join(State) == ("accepted submitting running ready delivering delivered failed cancelled unknown")
    assert " ".join(Role) == "first_frame last_frame reference"


def test_a_job_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        JOB.state = State.READY  # type: ignore[misc]


def test_a_job_survives_the_ledger() -> None:
    stored = TypeAdapter(Job)
    assert stored.validate_json(stored.dump_json(JOB)) == JOB
