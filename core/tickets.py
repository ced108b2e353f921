"""What upstreams say of a job we hold a ticket for: still going, there it is, or why not.

They agree on little but this: a look costs nothing, and its troubles say nothing about the job. Only a status word, or
"no such task", ends one (upstreams.md §3–§8).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from . import media_url, words
from .envelope import is_html, is_refusal, message_of, name, name_value, read_json
from .errors import Misconfigured, Refused, UnknownCharge, UpstreamFailed
from .models import Pending, VideoResult
from .transport import Answer, retry_after

_DONE = frozenset("completed complete success succeeded succeed successful done finished ready".split())  # noqa: SIM905 (a list of words reads best as words)
_DEAD = frozenset(
    "failed failure fail error video_generation_failed cancelled canceled expired rejected aborted timeout timed_out"  # noqa: SIM905 (a list of words, too)
    " blocked moderated".split()
)
# What stands in no list means "still going", too; these are the ones that are no news.
_GOING = frozenset(
    "pending queued queueing processing in_progress inprogress running waiting submitted not_start unknown is_process"  # noqa: SIM905 (a list of words, too)
    " created starting started generating preparing image_downloading video_generating video_generation_completed"
    " video_upsampling video_upsampling_completed video_upsampling_failed".split()
)
_GONE = re.compile(
    r"(task|job|video|operation|generation|request)[\w ]{0,24}(not[_ ]?(exist|found)|does not exist|unknown|expired)"
    r"|no such (task|job|video|operation)|(unknown|invalid) (task|job|video|operation|request)[_ ]?id|"
    + "|".join(words.NO_SUCH_TASK),
    re.IGNORECASE,
)
_STATUS = ("status", "task_status", "state")
_ERRORS = ("error", "fail_reason", "failure_reason", "error_message", "message", "output", "detail")

type Reader = Callable[[dict[str, Any]], VideoResult | Pending]


def read_created(answer: Answer, read: Reader, *places: str) -> VideoResult | str:
    """The ticket in the answer to a create, or already the video (some gateways only answer when it is there).

    Args:
        read: how this upstream's jobs are read.
        places: fields the ticket may stand in, in order.

    Raises:
        Failure: there is no job; why, and what that means for the bill.
    """
    body = read_json(answer.text)
    if answer.status >= 300:
        raise name(answer.status, answer.headers, answer.text)
    if is_html(answer.text):
        raise Misconfigured("web_page")
    if not isinstance(body, dict):
        raise UnknownCharge("cut" if answer.ending == "cut" else answer.ending.replace("whole", "no_ticket"))
    job = unwrapped(body)
    ticket = next((str(one[place]) for place in places for one in (job, body) if one.get(place)), "")
    if not ticket and status_of(job) in _DEAD | {""} and message_of(body):
        raise name_value(answer.status, answer.headers, body)
    if status_of(job) in _DONE or not ticket:
        outcome = read(body)
        if isinstance(outcome, VideoResult):
            return outcome
    elif status_of(job) in _DEAD:
        read(body)  # says why
    if not ticket:
        raise UnknownCharge("no_ticket", message_of(body))
    return ticket


def read_looked(answer: Answer, read: Reader) -> VideoResult | Pending:
    """The answer to a look at a ticket.

    Raises:
        Refused, UpstreamFailed: there will be no video.
    """
    body = read_json(answer.text)
    pause = retry_after(answer.headers)
    if answer.status in (404, 410) and not is_html(answer.text):
        raise UpstreamFailed("ticket_gone", message_of(body))
    if answer.status in (400, 403, 422) and isinstance(body, dict):
        said = message_of(body)
        if is_refusal(f"{said} {body.get('code')}"):
            raise Refused("after_work", said)
        if answer.status == 400 and _GONE.search(f"{said} {body.get('code')}"):
            raise UpstreamFailed("ticket_gone", said)
    if answer.status == 202 and not answer.text.strip():
        return Pending(pause=pause)
    if answer.status >= 300 or answer.ending != "whole" or not isinstance(body, dict):
        return Pending(trouble=f"HTTP {answer.status}, {answer.ending}: {message_of(body)}", pause=pause)
    outcome = read(body)
    if isinstance(outcome, Pending) and pause is not None:
        return Pending(outcome.percent, outcome.word, outcome.finished, outcome.trouble, pause)
    return outcome


def read_job(body: dict[str, Any], root: str, *, link: str | None = None) -> VideoResult | Pending:
    """A job as most upstreams describe it: a status word, the video's link somewhere, an error beside it.

    Only a status of the outermost object counts: deeper down stand inputs, drafts and errors of earlier attempts.

    Args:
        root: the API's address without ``/v1``; relative links are resolved against it.
        link: the video, where the upstream's own reader found it already.

    Raises:
        Refused, UpstreamFailed: the job is dead.
    """
    job = unwrapped(body)
    word = status_of(job)
    if word in _DEAD:
        said = _why(job)
        raise Refused("after_work", said) if is_refusal(said) else UpstreamFailed("dead", said or word)
    found = link or media_url.from_json(job, root)
    if found and (word in _DONE or not word):
        return VideoResult(found, private=media_url.needs_key(found, root))
    if word in _DONE:
        return Pending(100, finished=True)
    return Pending(percent_of(job), word="" if word in _GOING else word)


def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """The job inside ``{"code": "success", "data": {…}}``, where the code only says that the query worked."""
    inner = body.get("data")
    if isinstance(inner, dict) and "code" in body and any(key in inner for key in (*_STATUS, "task_id", "id")):
        return inner
    return body


def status_of(job: Mapping[str, Any]) -> str:
    """The status word in lower case; empty where there is none."""
    found = next((job[key] for key in _STATUS if isinstance(job.get(key), str)), "")
    return re.sub(r"[\s-]+", "_", str(found).strip().lower())


def percent_of(job: Mapping[str, Any]) -> int | None:
    """``37``, ``"37%"`` or ``"37"``; None where it says nothing."""
    match = re.match(r"\d{1,3}(?![\d])", str(job.get("progress", "")))
    return min(int(match[0]), 100) if match else None


def _why(job: dict[str, Any]) -> str:
    """Why a job is dead, out of the first field that says anything."""
    return next((said for key in _ERRORS if job.get(key) and (said := message_of({key: job[key]}))), "")
