"""The recorded answers of upstreams in tests/corpus, and what each of them means."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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

# `expect.retry` is about repeating that very call: which failures say so.
FAILURES: dict[str, tuple[type[Failure], ...]] = {
    "no": (BadInput, Misconfigured, AuthFailed, OutOfQuota, Refused, UpstreamFailed),
    "safe": (Retryable,),
    "ambiguous": (UnknownCharge, UpstreamFailed),
}


@dataclass(frozen=True)
class Recorded:
    """One answer and what it means.

    Attributes:
        text: the body as it is read off the line.
        value: the body as JSON, or None.
        links: all that count as the video's.
        path: what was asked for.
        ticket: the one that a create was answered with.
        transient: it is trouble with the look, and says nothing about the job.
    """

    name: str
    upstream: str
    phase: str
    path: str
    root: str
    status: int
    headers: dict[str, str]
    text: str
    value: Any
    kind: str
    retry: str | None
    links: frozenset[str]
    needs_key: bool
    ticket: str
    transient: bool

    @classmethod
    def read(cls, path: Path) -> Recorded:
        answer = json.loads(path.read_text("utf-8"))
        body, expect = answer["body"], answer["expect"]
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        if "chunks_b64" in answer:
            text = b"".join(map(base64.b64decode, answer["chunks_b64"])).decode("utf-8", "replace")
        return cls(
            name=answer["name"],
            upstream=answer["upstream"],
            phase=answer["phase"],
            path=answer["request"]["path"],
            root=answer["base_url"],
            status=answer["http_status"],
            headers=answer["headers"],
            text=text,
            value=None if isinstance(body, str) else body,
            kind=expect["kind"],
            retry=expect["retry"],
            links=frozenset([expect["url"], *expect.get("alt_urls", [])] if expect["url"] else []),
            needs_key=bool(expect.get("download_needs_auth")),
            ticket=expect.get("job_id", ""),
            transient=bool(expect.get("transient")),
        )


ALL = [Recorded.read(path) for path in sorted((Path(__file__).parent / "corpus").glob("*.json"))]


def those(*phases: str, kinds: tuple[str, ...]) -> list[Any]:
    """Parameters for `pytest.mark.parametrize`."""
    found = [one for one in ALL if one.phase in phases and one.kind in kinds]
    assert found, (phases, kinds)
    return [pytest.param(one, id=one.name) for one in found]
