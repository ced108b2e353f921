"""What every upstream that hands out tickets was recorded to answer, read by the backend that will get to read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.backends import TicketBackend
from core.config import GeminiSettings, GiteeSettings, OpenaiSettings, VeoSettings, XaiSettings
from core.errors import Failure, Refused
from core.gemini_video_service import GeminiVideoService
from core.gitee_video_service import GiteeVideoService
from core.models import Pending, VideoRequest, VideoResult
from core.openai_video_service import OpenaiVideoService
from core.transport import Answer
from core.veo_video_service import VeoVideoService
from core.xai_video_service import XaiVideoService
from tests.any_job import ANY_JOB, check
from tests.recorded import ALL, FAILURES, Recorded


class Line:
    """Stands for the transport: has one answer to whatever is asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def exchange(self, method: str, url: str, **more: Any) -> Answer:
        return self.answer


@dataclass(frozen=True)
class Reads:
    """Which backend reads an upstream's answers.

    Attributes:
        build: makes it, from the upstream's address and the line.
        ticket: the path that was asked for → the ticket it was asked with.
        made_of: the id in a create's answer → the ticket.
    """

    build: Callable[[str, Any], TicketBackend]
    ticket: Callable[[str], str]
    made_of: Callable[[str], str] = str


XAI = Reads(
    lambda root, line: XaiVideoService(XaiSettings(base_url=root), line),
    ticket=lambda path: path.removeprefix("/v1/videos/"),
)
OPENAI = Reads(
    lambda root, line: OpenaiVideoService(OpenaiSettings(base_url=root), line),
    ticket=lambda path: path.removeprefix("/v1/"),
    made_of=lambda ticket: f"videos/{ticket}",
)


async def unpublished(path: Path) -> str | None:
    return None


UNIFIED = Reads(
    lambda root, line: VeoVideoService(VeoSettings(base_url=root), line, unpublished),
    ticket=lambda path: unquote(path.partition("?id=")[2]),
)
GEMINI = Reads(
    lambda root, line: GeminiVideoService(GeminiSettings(base_url=root), line),
    ticket=lambda path: path.removeprefix("/v1beta/"),
)
GITEE = Reads(
    lambda root, line: GiteeVideoService(GiteeSettings(base_url=root), line),
    ticket=lambda path: path.removeprefix("/v1/task/"),
)
READERS: dict[str, Reads] = {
    "unified": UNIFIED,
    "gemini": GEMINI,
    "gitee": GITEE,
    "xai": XAI,
    "grok2api-go": XAI,
    "grok2api-jobs": OPENAI,
    "openai-videos": OPENAI,
    "newapi": OPENAI,
}


async def read(one: Recorded) -> VideoResult | Pending | str | Failure:
    reads = READERS[one.upstream]
    ticket = reads.ticket(one.path) if one.phase == "poll" else None
    return await asked(reads.build(one.root, Line(Answer(one.status, one.headers, one.text))), ticket)


async def asked(backend: TicketBackend, ticket: str | None) -> VideoResult | Pending | str | Failure:
    """What a look brings; without a ticket, a create."""
    try:
        if ticket is not None:
            return await backend.poll(ticket, key="k")
        return await backend.submit(VideoRequest("x"), model="m", key="k", report=lambda percent: None)
    except Failure as failure:
        return failure


OURS = [one for one in ALL if one.upstream in READERS and one.phase in ("create", "poll")]


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in OURS])
async def test_a_recorded_answer_is_what_it_is(one: Recorded) -> None:
    seen = await read(one)
    match one.kind:
        case "video":
            assert isinstance(seen, VideoResult)
            assert seen.url in one.links
            assert seen.private == one.needs_key
        case "pending" if one.phase == "create":
            assert seen == READERS[one.upstream].made_of(one.ticket)
        case "pending":
            assert isinstance(seen, Pending)
            assert not seen.finished
            assert bool(seen.trouble) == one.transient
            assert not seen.word, "a documented word is no news"
        case "refused":
            assert isinstance(seen, Refused)
        case kind:
            waits_for_it = kind == "no_video" and isinstance(seen, Pending) and seen.finished
            assert waits_for_it or isinstance(seen, FAILURES[one.retry or ""])


@pytest.mark.parametrize("upstream", READERS)
def test_every_upstream_was_recorded(upstream: str) -> None:
    assert {one.phase for one in OURS if one.upstream == upstream} == {"create", "poll"}


@pytest.mark.parametrize("upstream", READERS)
@settings(max_examples=40, deadline=2000)
@given(ANY_JOB, st.sampled_from([200, 202, 400, 404, 500]), st.sampled_from([None, "1"]))
async def test_any_answer_is_a_result_or_a_named_failure(
    upstream: str, body: Any, status: int, ticket: str | None
) -> None:
    line = Line(Answer(status, {}, json.dumps(body)))
    check(await asked(READERS[upstream].build("https://gw.example.com", line), ticket))
