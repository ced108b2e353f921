"""What upstreams say of a job we hold a ticket for: still going, there it is, or why not.

They agree on little but this: a look costs nothing, and its troubles say nothing about the job. Only a status word, or
"no such task", ends one (upstreams.md §3–§8).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from . import media_url, words
from .envelope import is_refusal, message_of, name_value, read_json, refuse_all_but_api
from .errors import Refused, UnknownCharge, UpstreamFailed, scrub
from .models import Pending, VideoResult
from .transport import Answer, retry_after

_DONE = {"completed", "complete", "success", "succeeded", "succeed", "successful", "done", "finished", "ready"}
_DEAD = {
    "failed", "failure", "fail", "error", "video_generation_failed", "cancelled", "canceled", "expired", "rejected",
    "aborted", "timeout", "timed_out", "blocked", "moderated",
}  # fmt: skip
# What stands in no list means "still going", too; these are the ones that are no news.
_GOING = {
    "", "pending", "queued", "queueing", "processing", "in_progress", "inprogress", "running", "waiting", "submitted",
    "not_start", "unknown", "is_process", "created", "starting", "started", "generating", "preparing",
    "image_downloading", "video_generating", "video_generation_completed", "video_upsampling",
    "video_upsampling_completed", "video_upsampling_failed",
}  # fmt: skip
# A look names nothing but its ticket: an invalid value is that one (grok2api, upstreams.md §2.4).
_GONE = re.compile(
    r"(task|job|video|operation)([ _]id)?[\w ]{0,8}(not[_ ]?(exist|found)|does not exist|expired)"
    r"|no such (task|job|video|operation)|invalid_value|(unknown|invalid) (task|job|video|operation|request)[_ ]?id|"
    + "|".join(words.NO_SUCH_TASK),
    re.IGNORECASE,
)
# What is missing is not the job, or it is not said by whoever keeps jobs.
_FOREIGN = re.compile(r"\b(key|token|user|account|model|channel|route|url|path)\b", re.IGNORECASE)
_STATUS = ("status", "task_status", "state")
_IDS = ("id", "task_id", "request_id")
_SHOWN = 4000  # characters of an error in which its own words are looked for
_LONGEST = 500  # characters of a ticket
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
    refuse_all_but_api(answer)
    if not isinstance(body, dict):
        raise UnknownCharge("no_ticket" if answer.ending == "whole" else answer.ending)
    job = unwrapped(body)
    ticket = next((found for place in places for one in (job, body) if (found := ticket_in(one, place))), "")
    if not ticket and "code" in body:  # some answer with nothing but the id
        ticket = ticket_in(body, "data")
    if body.get("error") and not status_of(job):
        ticket = ""
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


def ticket_in(job: Mapping[str, Any], place: str) -> str:
    """What can be a ticket in this field; empty where nothing can. It will stand in an address and in the ledger."""
    wanted = place.replace("_", "")
    found = next((job[key] for key in job if str(key).replace("_", "").lower() == wanted), None)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return ""
    ticket = str(found or "").strip()
    return ticket if len(ticket) <= _LONGEST and ticket.isprintable() else ""


def read_looked(answer: Answer, read: Reader) -> VideoResult | Pending:
    """The answer to a look at a ticket.

    Raises:
        Refused, UpstreamFailed: there will be no video.
    """
    body = read_json(answer.text)
    pause = retry_after(answer.headers)
    if answer.status == 410 or (answer.status == 404 and body is not None and not _FOREIGN.search(message_of(body))):
        raise UpstreamFailed("ticket_gone", message_of(body))
    if answer.status in (400, 403, 422) and isinstance(body, dict):
        _end_if_said(body, gone=answer.status == 400)
    if answer.status in (202, 204) and not answer.text.strip():
        return Pending(pause=pause)
    if answer.status >= 300 or not isinstance(body, dict):  # an object that can be read is whole, whatever the line did
        return Pending(trouble=f"HTTP {answer.status}, {answer.ending}: {scrub(message_of(body))}", pause=pause)
    outcome = read(body)
    if isinstance(outcome, Pending) and pause is not None:
        return replace(outcome, pause=pause)
    return outcome


def _end_if_said(body: Mapping[str, Any], *, gone: bool = True) -> None:
    """An error instead of a job ends it only where it says so itself.

    Args:
        gone: it may say that there is no such job.

    Raises:
        Refused, UpstreamFailed: it does.
    """
    said = message_of(body)
    all_said = _with_codes(said, body)
    if is_refusal(all_said):
        raise Refused("after_work", said)
    if gone and _GONE.search(all_said):
        raise UpstreamFailed("ticket_gone", said)


def read_job(body: dict[str, Any], root: str) -> VideoResult | Pending:
    """A job as most upstreams describe it: a status word, the video's link somewhere, an error beside it.

    Only a status of the outermost object counts: deeper down stand inputs, drafts and errors of earlier attempts.

    Args:
        root: the API's address without ``/v1``; relative links are resolved against it.

    Raises:
        Refused, UpstreamFailed: the job is dead.
    """
    job = unwrapped(body)
    word = status_of(job)
    if word in _DEAD:
        said = _why(job)
        refused = is_refusal(f"{word} {_with_codes(said, job)}")
        raise Refused("after_work", said) if refused else UpstreamFailed("dead", said or word)
    found = media_url.from_json(job, root) or ""
    found = media_url.at_home(found, root, [ticket_in(job, key) for key in _IDS]) or found
    if found.isprintable() and found and (word in _DONE or not word):
        return VideoResult(found, private=media_url.needs_key(found, root))
    if word in _DONE:
        return Pending(100, finished=True)
    if not word and (job.get("error") or not any(ticket_in(job, key) for key in _IDS)):
        _end_if_said(job)
        return Pending(percent_of(job), trouble=scrub(message_of(job)))
    return Pending(percent_of(job), word="" if word in _GOING else scrub(word))


def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """The job inside ``{"code": "success", "data": {…}}``, where the code only says that the query worked."""
    inner = next((one for key in ("data", "result") if (one := _only(body.get(key)))), {})
    if not any(key in inner for key in (*_STATUS, *_IDS)):
        return body
    outside = any(key in body for key in (*_STATUS, *_IDS))
    whole = any(key in inner for key in _STATUS) and any(ticket_in(inner, key) for key in _IDS)
    own = any(ticket_in(body, key) for key in _IDS if key != "request_id")
    return inner if "code" in body or not outside or (whole and not own) else body


def _only(value: Any) -> dict[str, Any]:
    """An object, or the only one in a list."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return value if isinstance(value, dict) else {}


def status_of(job: Mapping[str, Any]) -> str:
    """The status word in lower case; empty where there is none."""
    found = next((job[key] for key in _STATUS if isinstance(job.get(key), str)), "")
    return re.sub(r"[\s-]+", "_", str(found)[:_SHOWN].strip().lower())


def percent_of(job: Mapping[str, Any]) -> int | None:
    """``37``, ``"37%"`` or ``"37"``; None where it says nothing."""
    match = re.match(r"\d{1,3}(?![\d])", str(job.get("progress", "")))
    return min(int(match[0]), 100) if match else None


def _with_codes(said: str, job: Mapping[str, Any]) -> str:
    """An error's words and its codes, which may say more than the words do."""
    error = job.get("error")
    places = (job, error) if isinstance(error, dict) else (job,)
    codes = [one[key][:_SHOWN] for one in places for key in ("code", "type") if isinstance(one.get(key), str)]
    return " ".join((said[:_SHOWN], *codes))


def _why(job: dict[str, Any]) -> str:
    """Why a job is dead, out of the first field that says anything."""
    return next((said for key in _ERRORS if job.get(key) and (said := message_of({key: job[key]}))), "")
