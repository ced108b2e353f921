"""How a send ended: by what it raised, or by what its adapter wrote into the log instead of raising it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .outbox import Sending

# What an exception says about the send: matched against ``module.Class`` of it and its bases, most definite first.
_OUTCOMES: tuple[tuple[str, Sending], ...] = (
    ("aiocqhttp.exceptions.ApiNotAvailable", Sending.ABSENT),
    ("aiocqhttp.exceptions.ActionFailed", Sending.REFUSED),
    ("aiocqhttp.exceptions.NetworkError", Sending.UNKNOWN),
    ("telegram.error.TimedOut", Sending.UNKNOWN),
    ("telegram.error.BadRequest", Sending.REFUSED),
    ("telegram.error.Forbidden", Sending.REFUSED),
    ("telegram.error.RetryAfter", Sending.ABSENT),
    ("slack_sdk.errors.SlackApiError", Sending.REFUSED),
    ("json.decoder.JSONDecodeError", Sending.UNKNOWN),  # what cannot be read is the answer: the message went out
    ("builtins.FileNotFoundError", Sending.REFUSED),
    ("builtins.ValueError", Sending.REFUSED),
    ("builtins.TypeError", Sending.REFUSED),
)


def outcome_of(error: BaseException) -> Sending:
    """What a send's exception says: definitely not there, or perhaps. What we do not know counts as perhaps."""
    said = str(error)
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__]
    if "Entity Too Large" in said or "file is too big" in said.lower():
        return Sending.REFUSED
    if "not initialized" in said.lower() or said.startswith("httpx.ConnectError"):  # still starting, or out of reach
        return Sending.ABSENT
    outcome = next((outcome for name, outcome in _OUTCOMES if name in names), Sending.UNKNOWN)
    if outcome is Sending.REFUSED and "aiocqhttp.exceptions.ActionFailed" in names and "timeout" in said.lower():
        return Sending.UNKNOWN  # NapCat: QQ did not confirm in time; such messages usually arrived
    return outcome


class Complaints(logging.Handler):
    """Hears what adapters write into the host's log while they send for us.

    Several of them log an error and return as if nothing had happened. What they log belongs to the send whose task, or
    a task of whose making, wrote it.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)
        self._logger = logging.getLogger("astrbot")
        self._logger.addHandler(self)

    def close(self) -> None:
        """Stop listening."""
        self._logger.removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Take down one line of the log."""
        heard = self._heard.get()
        if heard is None:
            return
        try:
            line = record.getMessage()
        except (TypeError, ValueError, LookupError):  # written wrong: it must not look like the end of the send
            line = str(record.msg)
        heard.append(line[:200])

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        """What is logged as an error inside the block."""
        heard: list[str] = []
        token = self._heard.set(heard)
        try:
            yield heard
        finally:
            self._heard.reset(token)
