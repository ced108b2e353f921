"""Why there is no video (or image): one class for each thing that may be done next.

| class           | taken and billed? | what is done next                                    |
|-----------------|-------------------|------------------------------------------------------|
| `BadInput`      | no                | the person changes the request                       |
| `Misconfigured` | no                | the admin corrects an address, a model or a setting  |
| `AuthFailed`    | no                | the next key; then the admin                         |
| `OutOfQuota`    | no                | the next key; then the admin                         |
| `Retryable`     | certainly not     | the same again after a pause                         |
| `Refused`       | perhaps           | never the same again; the person rewords             |
| `UnknownCharge` | perhaps           | nothing by itself (`retry_policy`); the person decides |
| `UpstreamFailed`| yes               | the person decides                                   |
| `Overdue`       | yes               | polling goes on, ever slower                         |
| `Undelivered`   | yes               | the video is there, the chat does not take it        |
| `UnknownDelivery` | yes             | never sent again by itself; `/视频重发` on request     |
"""

import re
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

REASON_LIMIT = 500

_SECRETS = re.compile(
    r"""data:[\w.+-]+/[\w.+-]+[^\s"'<>]{40,}          # a whole picture
      | (?<![\w+/=])[A-Za-z0-9+/]{200,}={0,2}          # bare base64
      | \b(?:(?:sk|xai|pk|key)-[-\w]{10,}|AIza[-\w]{16,}|gh[opsu]_\w{20,}|eyJ[-\w]{12,}[-.\w]*)
      | (?<=Bearer\s)\S+
      | (?<=\bkey=)[^\s&"']+
    """,
    re.VERBOSE,
)


def scrub(text: str, *secrets: str) -> str:
    """Make upstream words fit for a log and a chat: no key, no data URL, one line, at most 500 characters.

    Args:
        text: what the upstream said.
        secrets: keys in use; each is removed wherever it stands, whatever it looks like.
    """
    text = text[: 40 * REASON_LIMIT].encode(errors="replace").decode()  # half an emoji cannot be saved nor sent
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = " ".join(_SECRETS.sub("***", text).split())
    return text if len(text) <= REASON_LIMIT else text[: REASON_LIMIT - 1] + "…"


@dataclass(frozen=True)
class Why:
    """What the ledger keeps of a failure, so that it can be told after a restart, in any language.

    Attributes:
        kind: which class it was, e.g. ``refused``.
        cause: which sentence of `texts.py` explains it; empty for the general one of its kind.
        reason: the upstream's own words, scrubbed.
        facts: what the sentence fills in, e.g. ``{"limit": 100}``.
    """

    kind: str
    cause: str = ""
    reason: str = ""
    facts: dict[str, str] = field(default_factory=dict)


class Failure(Exception):
    """The base: never raised itself.

    Args:
        cause: see `Why.cause`.
        reason: upstream words; scrubbed here, so that no caller can forget it.
        facts: see `Why.facts`.
    """

    kind: ClassVar[str] = "failure"
    billed: ClassVar[Literal["no", "perhaps", "yes"]] = "perhaps"

    def __init__(self, cause: str = "", reason: str = "", **facts: object) -> None:
        self.why = Why(self.kind, cause, scrub(reason), {name: str(value) for name, value in facts.items()})
        super().__init__(self.why)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


class BadInput(Failure):
    """The person's request cannot be made: 400, 413, 422, or a combination the model lacks."""

    billed = "no"


class Misconfigured(Failure):
    """The panel's address, model or setting leads nowhere: 404, a redirect, a web page where an API should be."""

    billed = "no"


class AuthFailed(Failure):
    """The key is missing or was turned away: 401, 403."""

    billed = "no"


class OutOfQuota(Failure):
    """The account has nothing left: 402, or a 429/403 that speaks of balance or quota."""

    billed = "no"


class Retryable(Failure):
    """Certainly not accepted: the connection was never made, 429, a 503 that says why.

    Args:
        retry_after: seconds the upstream asked for, or None.
    """

    billed = "no"

    def __init__(self, cause: str = "", reason: str = "", *, retry_after: float | None = None, **facts: object) -> None:
        super().__init__(cause, reason, **facts)
        self.retry_after = retry_after


class Refused(Failure):
    """Moderation, in any of its forms. Some upstreams bill a refusal (upstreams.md §3)."""

    billed = "perhaps"


class UnknownCharge(Failure):
    """The request left and its fate is not known: time-out, dropped line, 5xx, an empty answer."""

    billed = "perhaps"


class UpstreamFailed(Failure):
    """The upstream took the job and has no video to show for it, or shows one that is none."""

    billed = "yes"


class Overdue(Failure):
    """The deadline passed while it still renders; it may yet arrive."""

    billed = "yes"


class Undelivered(Failure):
    """The chat took the video in no form, not even as a link."""

    billed = "yes"


class UnknownDelivery(Failure):
    """The video was on its way when the line, or we, went down: it may be there."""

    billed = "yes"


def without[F: Failure](failure: F, key: str) -> F:
    """The failure with a key in use taken out: some gateways repeat what they refuse, and it may look like any word."""
    failure.why = replace(failure.why, reason=scrub(failure.why.reason, key))
    return failure
