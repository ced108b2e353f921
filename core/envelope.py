"""The error inside an upstream's answer → which `Failure` it is.

Every gateway wraps errors in its own way, and several lie in the status: a refusal comes as 400 or 502, an empty
balance as 429, a wrong key as 400, a full pool as 500. So the words decide where they are definite, and the status
where they are not (upstreams.md §2.3, §3–§8).
"""

import ast
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from . import words
from .errors import AuthFailed, BadInput, Failure, Misconfigured, OutOfQuota, Refused, Retryable, UnknownCharge
from .transport import Answer, retry_after


def _any(pattern: str, chinese: tuple[str, ...] = ()) -> re.Pattern[str]:
    return re.compile("|".join((pattern, *chinese)), re.IGNORECASE | re.DOTALL)


_REFUSED = _any(
    r"moderat(ion|ed|or)|content[ _-]?(polic|filter|safety)|safety|(usage|community) (guideline|polic|standard)|unsafe"
    r"|responsible ai|\bnsfw\b|inappropriate|polic(y|ies).{0,20}violat|violat.{0,40}(polic|guideline|terms|rule)"
    r"|prohibited[ _](content|use)|(sensitive|explicit|adult|disallowed|harmful) (content|word|information|material)"
    r"|copyrighted|sexual|nudity|public figure|likeness"
    r"|(prompt|content|generated video).{0,20}(flagged|blocked|filtered|rejected)"
    r"|\b(can.?not|can.?t|unable to|won.?t) (help|assist|comply|fulfil)"
    r"|\bI( am|.m)? (can.?not|can.?t|unable to|won.?t) (create|generate|make|produce)",
    words.REFUSALS,
)
_QUOTA = _any(
    r"(insufficient|not enough|no|out of|low on|exceeded.{0,24})[ _](\w+[_ ])?(quota|balance|credits?|funds|points)\b"
    r"|(quota|balance|credits?).{0,24}(exceeded|exhausted|not enough|insufficient|used up|too low|run out)"
    r"|billing|(purchase|buy|add) (more )?credits|balance is|arrears|payment required|spending limit",
    words.QUOTA,
)
_BUSY = _any(
    r"rate[ _-]?limit|too many (requests|concurrent)|concurrency limit|no available (token|account)"
    r"|overloaded|saturated|at capacity|queue is full",
    words.BUSY,
)
_AWAY = _any(r"unavailable|overload|no available", words.BUSY)  # why a 503 took nothing
_UNDER_WAY = _any(  # whatever else it says: it had begun
    r"time[d -]*out|interrupted|\bround\b|\bidle\b|mid-?stream|refund|reconcil|after submit|waiting for", words.TAKEN
)
_BAD_KEY = _any(
    r"(incorrect|invalid|wrong|expired|missing|malformed|no|provide an?) (api[ _-]?|access )?(key|token|credential)s?\b"
    r"|(incorrect|invalid|wrong|expired|missing|malformed).{0,24}(api[ _-]?key|token|credential)|invalid_api_key"
    r"|(api[ _-]?key|\btoken)\b.{0,16}(invalid|not valid|incorrect|expired|missing|required|revoked)"
    r"|unauthori[sz]ed|authentication",
    words.BAD_KEY,
)
_NOT_OFFERED = _any(
    r"model[\s:`'\"]*[\w./:@-]*[\s`'\"]*(is |was )?(currently )?"
    r"(does not exist|not exist|not found|not supported|unsupported|not available|unavailable|not allowed)"
    r"|not have access to (the )?model|(unknown|unsupported|invalid|no such)[ _]model|model_not_found"
    r"|no available channel",
    words.NOT_OFFERED,
)
_BLOCKED = _any(
    r"just a moment|cf-mitigated|attention required|access denied|\bip\b.{0,20}(block|ban|not allowed|whitelist)"
    r"|unsupported_country|(country|region).{0,40}not (supported|available)",
    words.BLOCKED,
)
_INVALID = _any(
    r"invalid[_ ]?(request|argument|parameter|param|value|input)|bad[_ ]request|validation|unknown field|unrecognized"
    r"|missing (required|param|field)|(is|are) required|must (be|have|contain|not)|can.?not be (empty|null)"
    r"|unprocessable",
    words.INVALID,
)
_SHOWN = 4000  # characters of a message in which its words are looked for
_REASONS = (
    "error", "errors", "message", "error_message", "error_msg", "errmsg", "msg", "detail", "reason", "output",
    "fail_reason", "error_description", "video_generation_error", "data",
)  # fmt: skip


def read_json(text: str) -> Any:
    """Parse a body as JSON; None where it is something else."""
    try:
        return json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None


def is_html(text: str) -> bool:
    """Whether a body is a web page."""
    return re.match(r"\s*<(!doctype|html|head|body)\b", text[:256], re.IGNORECASE) is not None


def name(status: int, headers: Mapping[str, str], text: str) -> Failure:
    """Name the failure of a billable request.

    Args:
        status: HTTP status.
        text: the body.
    """
    body = read_json(text)
    return name_value(status, headers, body if isinstance(body, dict | list) else _title(text))


def refuse_all_but_api(answer: Answer) -> None:
    """See that an answer is one of an API that did what it was asked.

    Raises:
        Failure: it says no.
        Misconfigured: it is a web page: the address leads elsewhere.
    """
    if answer.status >= 300:
        raise name(answer.status, answer.headers, answer.text)
    if is_html(answer.text):
        raise Misconfigured("web_page")


def name_value(status: int, headers: Mapping[str, str], value: Any, *, started: bool = False) -> Failure:
    """As `name`, for an error that was already taken out of its answer.

    Args:
        status: HTTP status; 200 for an error inside a good answer.
        value: the error's JSON, or its text.
        started: the upstream already reported progress, so work was done: nothing is certain about the bill any more.
    """
    codes, message, delay = _said(value)
    message = message[:_SHOWN]
    enveloped = bool(codes) or not isinstance(value, str) or message != value[:_SHOWN]
    if status < 300 and (inner := re.findall(r"\b4\d\d\b", codes)):
        status = int(inner[-1])  # HTTP said "fine", the envelope knows better; an inner 5xx is no definite no
    said = unquote(f"{codes[:_SHOWN]} {message}")
    failure = _by_words(status, headers, said, message, delay, enveloped=enveloped)
    if failure is None:
        failure = _by_status(status, headers, said, message, enveloped=enveloped)
    if (started and not isinstance(failure, Refused)) or (isinstance(failure, Retryable) and _names_a_job(value)):
        return UnknownCharge("started", message)
    return failure


def _names_a_job(value: Any) -> bool:
    """Whether an error carries the id of a job: then something was taken. A chat's own id says nothing."""
    if not isinstance(value, dict) or str(value.get("object")).startswith("chat"):
        return False
    return bool(value.get("id") or value.get("task_id"))


def message_of(value: Any) -> str:
    """What an answer says in words, out of whatever envelope; empty where it says nothing."""
    return _said(value)[1]


def is_refusal(text: str) -> bool:
    """Whether these words are those of moderation."""
    return _REFUSED.search(text if len(text) <= _SHOWN else text[: _SHOWN // 2] + text[-_SHOWN // 2 :]) is not None


def _by_words(
    status: int, headers: Mapping[str, str], said: str, message: str, delay: float | None, *, enveloped: bool
) -> Failure | None:
    if delay is not None and status in (200, 429, 503):
        return Retryable("busy", message, retry_after=delay)
    if not 300 <= status < 500 and _UNDER_WAY.search(said) and not _REFUSED.search(said):
        return UnknownCharge("error_answer" if status < 300 else "http_status", message, status=status)
    if _QUOTA.search(said):
        return OutOfQuota("", message)
    if _REFUSED.search(said):
        return Refused("", message)
    if status == 401 or (_BAD_KEY.search(said) and status in (200, 400, 403)):
        return AuthFailed("", message)
    if _BLOCKED.search(said) or (status == 403 and not enveloped):
        return Misconfigured("blocked", message)
    if _NOT_OFFERED.search(said):
        return Misconfigured("model", message)
    if enveloped and status not in (400, 413, 422) and _is_busy(status, said):
        return Retryable("busy", message, retry_after=retry_after(headers))
    return None


def _is_busy(status: int, said: str) -> bool:
    """Whether these words say that nothing was taken, for now. Era A hides a pool's 429 in a 500."""
    if status != 429 and _UNDER_WAY.search(said):
        return False
    return _BUSY.search(said) is not None or (status == 500 and re.search(r"\b429\b", said) is not None)


def _by_status(status: int, headers: Mapping[str, str], said: str, message: str, *, enveloped: bool) -> Failure:
    if status < 300:
        return BadInput("rejected", message) if _INVALID.search(said) else UnknownCharge("error_answer", message)
    if status < 400:
        return Misconfigured("redirect", to=headers.get("Location", ""))
    if status == 402:
        return OutOfQuota("", message)
    if status == 403:
        return AuthFailed("", message)
    if status in (404, 405):
        return Misconfigured("not_found", message)
    if status in (425, 429) or (status == 503 and enveloped and _AWAY.search(said) and not _UNDER_WAY.search(said)):
        return Retryable("busy", message, retry_after=retry_after(headers))
    if status == 413:
        return BadInput("picture_too_big", message)
    if status < 500 and status not in (408, 499):  # those two are how some gateways say that they waited in vain
        return BadInput("rejected", message)
    return UnknownCharge("http_status", message, status=status)


def _said(value: Any, depth: int = 0) -> tuple[str, str, float | None]:
    """Codes and types, the innermost message, and a retry delay in seconds, out of whatever envelope."""
    if depth > 8:
        return "", "", None
    if isinstance(value, str):
        inner = _unwrapped(value)
        return _said(inner, depth + 1) if inner is not None else ("", value, None)
    if isinstance(value, list):
        return _said(value[0], depth + 1) if value else ("", "", None)
    if not isinstance(value, dict):
        return "", "", None
    codes = [str(value[key]) for key in ("code", "type", "status") if isinstance(value.get(key), str | int)]
    message, delay = "", _delay(value.get("details"))
    for key in _REASONS:
        if value.get(key):
            more, found, later = _said(value[key], depth + 1)
            codes, message, delay = [*codes, more], message or found, delay if delay is not None else later
    return " ".join(filter(None, codes)), message, delay


def _unwrapped(text: str) -> Any:
    """An upstream's own error, kept as text by the gateway: JSON, or the repr of a Python dict (grok2api era A)."""
    start = text.find("{")
    if start < 0 or len(text) > 5000:
        return None
    inner = text[start : text.rfind("}") + 1]
    value = read_json(inner)
    if value is None and inner.startswith("{'"):
        try:
            value = ast.literal_eval(inner)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, dict) and {"error", "message"} & value.keys() else None


def _delay(details: Any) -> float | None:
    """Google's RetryInfo: ``{"retryDelay": "39s"}``."""
    for detail in details if isinstance(details, list) else []:
        said = str(detail.get("retryDelay", "")) if isinstance(detail, dict) else ""
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)s", said):
            return float(match[1])
    return None


def _title(text: str) -> str:
    """What a page or plain text says, without its markup."""
    if is_html(text):
        title = re.search(r"<title>([^<]*)", text[:20000], re.IGNORECASE)
        return title[1].strip() if title else ""
    return text[:2000].strip()
