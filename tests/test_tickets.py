"""What upstreams say of a job, in every dialect and beyond all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import (
    AuthFailed,
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
)
from core.models import Pending, VideoResult
from core.tickets import percent_of, read_created, read_job, read_looked, status_of, ticket_in, unwrapped
from core.transport import Answer
from tests.any_job import ANY_JOB, ANYTHING, check

ROOT = "https://gw.example.com"
V = "https://cdn.example.org/v/1.mp4"
Ending = Literal["whole", "cut", "timeout"]


def read(body: dict[str, Any]) -> VideoResult | Pending:
    return read_job(body, ROOT)


def looked(
    body: Any, status: int = 200, ending: Ending = "whole", headers: dict[str, str] | None = None
) -> VideoResult | Pending | Failure:
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        return read_looked(Answer(status, headers or {}, text, ending), read)
    except Failure as failure:
        return failure


def created(body: Any, status: int = 200, ending: Ending = "whole") -> VideoResult | str | Failure:
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        return read_created(Answer(status, {}, text, ending), read, "id", "task_id")
    except Failure as failure:
        return failure


# ---- status words ----

# upstreams.md, where each of them is written down.
GOING = {
    "§2.4, §5": ("queued", "in_progress"),
    "§3": ("pending",),
    "§4": (
        *("image_downloading", "video_generating", "video_generation_completed", "video_upsampling"),
        *("video_upsampling_completed", "video_upsampling_failed", "processing", "running", "waiting"),
    ),
    "§5": ("unknown", "NOT_START", "SUBMITTED", "QUEUED", "IN_PROGRESS", "UNKNOWN", "submitted"),
    "§7": ("is_process", "waiting"),
    "the same in other spellings": ("In Progress", "in-progress", " Queued ", "InProgress"),
}
DONE = {
    "§1": ("completed", "done", "SUCCESS", "success", "succeeded"),
    "§4": ("succeed",),
    "§5": ("Completed",),
}
DEAD = {
    "§1": ("failed", "error", "video_generation_failed", "FAILURE", "failure", "cancelled", "expired"),
    "in American": ("canceled",),
}


def each(table: dict[str, tuple[str, ...]]) -> list[Any]:
    return [pytest.param(word, id=f"{place} {word}") for place, words in table.items() for word in words]


@pytest.mark.parametrize("key", ["status", "task_status", "state"])
@pytest.mark.parametrize("word", each(GOING))
def test_a_word_of_work_is_no_news(word: str, key: str) -> None:
    assert looked({"id": "1", key: word, "progress": 5}) == Pending(5)
    assert looked({"id": "1", key: word, "video_url": V}) == Pending(), "a link before the end is a preview"
    assert created({"id": "1", key: word, "video_url": V}) == "1"


@pytest.mark.parametrize("word", each(DONE))
def test_a_word_of_success_needs_a_video(word: str) -> None:
    assert looked({"id": "1", "status": word, "video_url": V}) == VideoResult(V)
    assert looked({"id": "1", "status": word, "video_url": None}) == Pending(100, finished=True)
    assert created({"id": "1", "status": word, "video_url": V}) == VideoResult(V)
    assert created({"id": "1", "status": word}) == "1", "the link may follow"


@pytest.mark.parametrize("word", each(DEAD))
def test_a_word_of_failure_is_the_end(word: str) -> None:
    for body in ({"id": "1", "status": word}, {"id": "1", "status": word, "video_url": V}):
        for seen in (looked(body), created(body)):
            assert isinstance(seen, UpstreamFailed)
            assert seen.why.cause == "dead"
    assert isinstance(looked({"status": word, "error": "blocked by content moderation"}), Refused)


@pytest.mark.parametrize("word", ["rendering_on_the_moon", "almost", "审批中"])
def test_an_unknown_word_means_still_going_and_is_told(word: str) -> None:
    assert looked({"id": "1", "status": word.upper(), "video_url": V}) == Pending(word=word)


def test_an_endless_or_broken_word_can_be_logged() -> None:
    seen = looked('{"id":"1","status":"\\ud83d' + "x" * 9000 + '"}')
    assert isinstance(seen, Pending)
    assert len(seen.word.encode()) <= 510


# ---- jobs ----

JOBS: list[tuple[str, dict[str, Any], VideoResult | Pending | type[Failure]]] = [
    ("inputs and drafts deeper down do not count", {"status": "completed", "video_url": V, "detail": {"status":
     "failed", "error_message": "stale", "video_generation_error": "unsafe prompt"}}, VideoResult(V)),
    ("nor do errors of earlier attempts", {"status": "pending", "detail": {"status": "failed",
     "video_generation_error": "your request contains unsafe prompt or images"}}, Pending()),
    ("a query that worked says nothing about the job", {"code": "success", "message": "", "data": {"task_id": "1",
     "status": "IN_PROGRESS", "fail_reason": "", "progress": "20%", "data": {"status": "failed"}}}, Pending(20)),
    ("a wrapping without a code", {"success": True, "data": {"status": "done", "video_url": V}}, VideoResult(V)),
    ("and its status counts", {"success": True, "data": {"status": "running", "video_url": V}}, Pending()),
    ("data of the job itself is none", {"task_id": "1", "status": "SUCCESS", "data": {"output": V}}, VideoResult(V)),
    ("its own status goes before that of its data", {"id": "1", "status": "running", "data": {"status": "success",
     "url": V}}, Pending()),
    ("no status, and a link", {"id": "1", "video": {"url": V}}, VideoResult(V)),
    ("no status, no link", {"request_id": "1"}, Pending()),
    ("no status, an error that is none", {"id": "1", "error": None}, Pending()),
    ("no status, but an error", {"id": "1", "error": {"message": "hiccup"}}, Pending(trouble="hiccup")),
    ("no status, but a refusal", {"error": "rejected by content moderation"}, Refused),
    ("no status, no such job", {"code": "task_not_exist", "message": "x", "data": None}, UpstreamFailed),
    ("an error beside a success", {"status": "completed", "url": V, "error": None}, VideoResult(V)),
    ("why it failed, wherever", {"status": "failure", "output": {"error": {"message": "含敏感信息"}}}, Refused),
    ("a refusal by its code alone", {"status": "failed", "error": {"code": "moderation_blocked"}}, Refused),
    ("a refusal as the status", {"status": "moderated"}, Refused),
    ("a relative link", {"status": "done", "video": {"url": "/v1/media/videos/a"}},
     VideoResult(f"{ROOT}/v1/media/videos/a")),
    ("a link behind the key", {"status": "completed", "url": f"{ROOT}/v1/videos/1/content"},
     VideoResult(f"{ROOT}/v1/videos/1/content", private=True)),
    ("a link that nothing can hold", {"status": "done", "url": "https://cdn.example.org/\ud800.mp4"},
     Pending(100, finished=True)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [pytest.param(*case[1:], id=case[0]) for case in JOBS])
def test_a_job_is_read(body: dict[str, Any], expected: VideoResult | Pending | type[Failure]) -> None:
    seen = looked(body)
    assert isinstance(seen, expected) if isinstance(expected, type) else seen == expected


PERCENTS = [
    *((37, 37), ("37%", 37), ("37", 37), ("37.9 %", 37), (100, 100), (250, 100), (0, 0)),
    *(("", None), (None, None), (True, None), ("half", None), (-3, None), ([5], None), ({"a": 5}, None), (1000, None)),
]


@pytest.mark.parametrize(("progress", "percent"), PERCENTS)
def test_percentages(progress: Any, percent: int | None) -> None:
    assert percent_of({"progress": progress}) == percent


def test_a_status_that_is_no_word_is_none() -> None:
    odd: tuple[Any, ...] = (None, 200, True, {}, [], "")
    assert {status_of({"status": one}) for one in odd} == {""}
    assert status_of({"status": 1, "state": "Done"}) == "done"


def test_only_a_job_is_unwrapped() -> None:
    for body in ({"code": 0, "data": None}, {"code": 0, "data": [1]}, {"code": 0, "data": {"url": V}}, {"data": "x"}):
        assert unwrapped(body) is body


# ---- looks ----

PAGE = "<html><title>502 Bad Gateway</title></html>"
LOOKS: list[tuple[str, Any, int, Ending, VideoResult | Pending | type[Failure]]] = [
    ("empty and accepted", "", 202, "whole", Pending()),
    ("nothing to say", " ", 204, "whole", Pending()),
    ("gone", {"error": {"message": "x"}}, 404, "whole", UpstreamFailed),
    ("gone for ever", "", 410, "whole", UpstreamFailed),
    ("no such task, as a 400", {"code": "task_not_exist", "message": "task_not_exist"}, 400, "whole", UpstreamFailed),
    ("no such task, by its code", {"error": {"message": "bad", "code": "invalid_value"}}, 400, "whole", UpstreamFailed),
    ("no such task, in Chinese", {"message": "任务不存在"}, 400, "whole", UpstreamFailed),
    ("refused, as a 400", {"code": "imagine:content-moderated", "error": "x"}, 400, "whole", Refused),
    ("refused, as a 403", {"error": {"message": "violates our content policy"}}, 403, "whole", Refused),
    ("refused, as a 422", {"error": {"code": "content_policy_violation", "message": "no"}}, 422, "whole", Refused),
    ("whole by its own brackets", {"status": "done", "url": V}, 200, "cut", VideoResult(V)),
]  # fmt: skip
# A look that did not work says nothing about the job: paid jobs were lost to a single 429.
TROUBLES: list[tuple[str, Any, int, Ending]] = [
    ("a page where a job was gone", PAGE, 404, "whole"),
    ("too many looks", {"error": "Too many requests"}, 429, "whole"),
    ("a key that is off for a moment", {"error": "Incorrect API key provided"}, 400, "whole"),
    ("unauthorised", {"error": {"message": "x"}}, 401, "whole"),
    ("forbidden", {"error": {"message": "task not found"}}, 403, "whole"),
    ("a wall", PAGE, 403, "whole"),
    ("in conflict", {"error": {"code": "video_not_ready", "message": "not ready yet"}}, 409, "whole"),
    ("a crash that says failed", {"status": "failed", "error": "x"}, 500, "whole"),
    ("a gateway", PAGE, 502, "whole"),
    ("a page as the answer", PAGE, 200, "whole"),
    ("a redirect", "", 302, "whole"),
    ("cut", '{"status":"failed","err', 200, "cut"),
    ("empty", "", 200, "whole"),
    ("no object", [{"status": "failed"}], 200, "whole"),
    ("a word", '"failed"', 200, "whole"),
]


@pytest.mark.parametrize(
    ("body", "status", "ending", "expected"), [pytest.param(*case[1:], id=case[0]) for case in LOOKS]
)
def test_a_look_is_read(
    body: Any, status: int, ending: Ending, expected: VideoResult | Pending | type[Failure]
) -> None:
    seen = looked(body, status, ending)
    assert isinstance(seen, expected) if isinstance(expected, type) else seen == expected
    if isinstance(seen, UpstreamFailed | Refused):
        assert seen.why.cause == ("ticket_gone" if isinstance(seen, UpstreamFailed) else "after_work")


@pytest.mark.parametrize(("body", "status", "ending"), [pytest.param(*case[1:], id=case[0]) for case in TROUBLES])
def test_trouble_with_a_look_is_no_end(body: Any, status: int, ending: Ending) -> None:
    seen = looked(body, status, ending, {"Retry-After": "7"})
    assert isinstance(seen, Pending)
    assert seen.trouble
    assert seen.pause == 7


def test_a_pause_is_handed_on() -> None:
    assert looked({"status": "queued", "progress": 3}, headers={"Retry-After": "7"}) == Pending(3, pause=7)
    assert looked("", 202, headers={"retry-after": "7"}) == Pending(pause=7)


# ---- creates ----

CREATES: list[tuple[str, Any, int, Ending, VideoResult | str | type[Failure]]] = [
    ("by its first name", {"id": "a:b", "task_id": "c"}, 200, "whole", "a:b"),
    ("by its second", {"id": "", "task_id": "c"}, 200, "whole", "c"),
    ("a number", {"id": 42}, 200, "whole", "42"),
    ("wrapped", {"code": "success", "data": {"task_id": "1"}}, 200, "whole", "1"),
    ("wrapped, and named outside", {"code": 0, "task_id": "1", "data": {"status": "queued"}}, 200, "whole", "1"),
    ("by any good status", {"id": "1"}, 201, "whole", "1"),
    ("whole by its own brackets", {"id": "1"}, 200, "cut", "1"),
    ("already there", {"status": "completed", "url": V}, 200, "whole", VideoResult(V)),
    ("no status, and there", {"url": "x", "video_url": V}, 200, "whole", VideoResult(V)),
    ("no ticket", {"status": "queued"}, 200, "whole", UnknownCharge),
    ("a ticket that is none", {"id": {"a": 1}}, 200, "whole", UnknownCharge),
    ("a ticket that cannot be kept", '{"id": "\\ud800"}', 200, "whole", UnknownCharge),
    ("nothing at all", "", 200, "whole", UnknownCharge),
    ("cut", '{"id": "1', 200, "cut", UnknownCharge),
    ("too late", '{"id"', 200, "timeout", UnknownCharge),
    ("a list", [], 200, "whole", UnknownCharge),
    ("a page", PAGE, 200, "whole", Misconfigured),
    ("an error inside a good answer", {"status": "error", "error": "余额不足"}, 200, "whole", OutOfQuota),
    ("a refusal inside one", {"id": "", "error": {"message": "unsafe content"}}, 200, "whole", Refused),
    ("a wrong field inside one", {"code": 400, "message": "prompt is required", "data": None}, 200, "whole", BadInput),
    ("dead on arrival, with a ticket", {"id": "1", "status": "failed"}, 200, "whole", UpstreamFailed),
    ("a key", {"error": "x"}, 401, "whole", AuthFailed),
    ("busy", {"error": {"message": "rate limit reached"}}, 429, "whole", Retryable),
    ("busy, but it names a job", {"id": "1", "error": {"message": "rate limit reached"}}, 429, "whole", UnknownCharge),
    ("a crash", {"error": {"message": "x"}}, 500, "whole", UnknownCharge),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "ending", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CREATES]
)
def test_a_create_is_read(body: Any, status: int, ending: Ending, expected: VideoResult | str | type[Failure]) -> None:
    seen = created(body, status, ending)
    assert isinstance(seen, expected) if isinstance(expected, type) else seen == expected


def test_an_answer_that_was_lost_says_how() -> None:
    causes = [seen.why.cause for ending in ("whole", "cut", "timeout")
              if isinstance(seen := created("{", ending=ending), Failure)]  # fmt: skip
    assert causes == ["no_ticket", "cut", "timeout"]


@pytest.mark.parametrize("odd", [None, True, False, 0, 0.5, [], ["1"], {}, " ", "a\nb", "a\0b", "x" * 501])
def test_what_is_no_ticket(odd: Any) -> None:
    assert ticket_in({"id": odd}, "id") == ""


# ---- anything ----


@settings(max_examples=150, deadline=2000)
@given(
    ANY_JOB | ANYTHING,
    st.sampled_from([200, 202, 302, 400, 403, 404, 422, 429, 500]),
    st.sampled_from(["whole", "cut", "timeout"]),
)
def test_any_json_is_a_result_or_a_named_failure(body: Any, status: int, ending: Ending) -> None:
    text = json.dumps(body)
    for seen in (looked(text, status, ending), created(text, status, ending)):
        check(seen)
    if status != 404:
        assert not isinstance(looked(text, status, ending), Retryable | UnknownCharge | AuthFailed | OutOfQuota)


@settings(max_examples=40, deadline=2000)
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda data: data.decode("latin-1")), st.integers(200, 599))
def test_any_text_is_a_result_or_a_named_failure(text: str, status: int) -> None:
    looked(text, status)
    created(text, status)


HOSTILE: dict[str, Callable[[], Any]] = {
    "an endless message": lambda: {"status": "failed", "error": "task " * 2_000_000},
    "an endless code": lambda: {"status": "failed", "error": {"code": "video " * 1_500_000}},
    "an endless status": lambda: {"status": "x " * 3_000_000},
    "an endless progress": lambda: {"status": "queued", "progress": "9" * 8_000_000},
    "an endless error without a status": lambda: {"error": "request " * 1_000_000},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_ten_megabytes_take_bounded_time(kind: str) -> None:
    text = json.dumps(HOSTILE[kind]())
    best = 9.0
    for _ in range(3):
        began = perf_counter()
        looked(text)
        looked(text, 400)
        best = min(best, perf_counter() - began)
        if best < 0.3:
            break
    assert best < 0.5


def test_json_deeper_than_python_goes_is_no_crash() -> None:
    for key in ("data", "error", "video", "output"):
        for text in (f'{{"{key}":' * 700 + "1" + "}" * 700, f'{{"{key}":' + "[" * 700 + "]" * 700 + "}"):
            looked(text)
            looked(text, 400)
            created(text)
