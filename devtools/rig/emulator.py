"""The script of one upstream: what it answers next, and what was asked of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiohttp import web

from .net import drop_connection
from .timeline import Call, Timeline

Body = dict[str, Any]
HTML_502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Step:
    """One scripted answer. ``url`` is the video that a success leads to."""

    url: str = ""
    delay: float = 0.0  # seconds of rendering (where there are jobs: until the job is done)
    status: int = 200
    body: Body | str | None = None  # a dict goes out as JSON, a string as it is; instead of what would be said
    content: str | None = None  # grok: the words of the answer, instead of ``url`` written as ``fmt`` says
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    fmt: Literal["html", "url", "markdown"] = "html"  # grok: how the link is written in the content
    sse: bool | None = None  # grok: force SSE or JSON whatever the request's "stream" says
    # drop: before the status line; cut: in the middle of the body; lost: a create is taken, its answer is not sent
    fail: Literal["hang", "drop", "cut", "lost", ""] = ""
    # how the job ends; withheld: xAI's done without a video; gone: no such job; without a url it is done and shows none
    job: Literal["done", "failed", "expired", "forever", "moderated", "withheld", "gone"] = "done"
    looks: Sequence[Step] = ()  # what this job's first looks get instead; a plain Step() is an honest answer
    words: Sequence[str] = ()  # its status word, look by look, while it renders; the last one stays
    word: str = ""  # its status word at the end, instead of the usual one
    reason: str = ""  # why it failed, in the upstream's words

    @property
    def misbehaves(self) -> bool:
        return bool(self.fail) or self.body is not None or self.status >= 400


def ok(url: str, delay: float = 0.0, **more: Any) -> Step:
    return Step(url, delay, **more)


def error(
    status: int, message: str = "rig says no", code: str = "server_error", delay: float = 0.0, **headers: str
) -> Step:
    return Step(
        status=status,
        delay=delay,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body={"error": {"message": message, "type": code, "code": code}},
    )


def rate_limited(retry_after: int | None = None) -> Step:
    step = error(429, "Too many requests", "rate_limit_exceeded")
    return step if retry_after is None else replace(step, headers={"Retry-After": str(retry_after)})


def moderated() -> Step:
    return error(400, "Generated video rejected by content moderation.", "content_policy_violation")


def html_error(status: int = 502) -> Step:
    return Step(status=status, body=HTML_502, content_type="text/html")


def cut() -> Step:
    return Step(fail="cut")


def lost(url: str, delay: float = 0.0) -> Step:
    """Taken, and charged for; the line drops before the ticket is out."""
    return Step(url, delay, fail="lost")


def empty() -> Step:
    return Step(content="")


def hang() -> Step:
    return Step(fail="hang")


def drop(delay: float = 0.0) -> Step:
    return Step(fail="drop", delay=delay)


class Emulator:
    """``plan(step, …)`` for the next requests, ``default`` for the rest; whoever inherits adds the wire format."""

    name: str

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.port = 0
        self.default = error(503, "rig: no plan")
        self.keys: set[str] | None = None  # when set, any other bearer key is refused
        self.ids = itertools.count(1)
        self._plan: list[Step] = []

    def routes(self) -> list[web.RouteDef]:
        """Paths without the emulator's own prefix."""
        raise NotImplementedError

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}"

    @property
    def public_base(self) -> str:
        """The same service under an invented public host (see :class:`~devtools.rig.net.HostMap`)."""
        return f"http://api.rig.test:{self.port}/{self.name}"

    def plan(self, *steps: Step) -> None:
        self._plan = list(steps)

    def next_step(self) -> Step:
        return self._plan.pop(0) if self._plan else self.default

    def creates(self, since: int = 0) -> list[Call]:
        return self.timeline.select(self.name, "create", since=since)

    def polls(self, since: int = 0, ticket: str | None = None) -> list[Call]:
        """The looks, at one ticket or at any; ``call.data["auth"]`` has the key."""
        return self.timeline.select(
            self.name, "poll", since=since, where=lambda call: ticket in (None, call.data.get("job"))
        )

    async def serve(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Note the request, check the key, and let ``handler(request, call)`` answer."""
        is_create = request.method == "POST"
        call = self.timeline.add(
            self.name,
            "create" if is_create else "poll",
            path=request.path_qs,
            host=request.host,
            auth=request.headers.get("Authorization"),
            content_type=request.content_type,
            body=await _body(request) if is_create else dict(request.query),
        )
        try:
            key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
            if not key or (self.keys is not None and key not in self.keys):
                call.done(401)
                wrong = {"error": {"message": "Invalid API key", "code": "unauthorized"}}
                return web.json_response(wrong, status=401)
            answer: web.StreamResponse = await handler(request, call)
        except asyncio.CancelledError:
            call.done("client hung up")
            raise
        if call.t_end is None:
            call.done(answer.status)
        return answer

    async def misbehave(self, request: web.Request, step: Step, call: Call) -> web.StreamResponse:
        """The answers that are the same for every service."""
        if step.fail == "hang":
            await asyncio.sleep(3600)
        if step.fail == "drop":
            call.done("dropped")
            return drop_connection(request)
        if step.fail == "cut":
            answer = web.StreamResponse(headers={"Content-Length": "4096", "Content-Type": "application/json"})
            await answer.prepare(request)
            await answer.write(b'{"id": "cut')
            await asyncio.sleep(0.05)  # a reset that comes at once would take with it what was written
            call.done("cut")
            return drop_connection(request)
        text = step.body if isinstance(step.body, str) else json.dumps(step.body or {}, ensure_ascii=False)
        return web.Response(status=step.status, text=text, headers=step.headers, content_type=step.content_type)


@dataclass
class Job:
    """A rendering that somebody will ask for."""

    step: Step
    ready: float
    looks: list[Step]  # still to come
    words: list[str]

    @property
    def state(self) -> str:
        return "pending" if self.step.job == "forever" or time.monotonic() < self.ready else self.step.job

    def word(self, usual: str) -> str:
        """What its status says now."""
        if self.state != "pending":
            return self.step.word or usual
        return (self.words.pop(0) if len(self.words) > 1 else self.words[0]) if self.words else usual


class JobEmulator(Emulator):
    """A service that answers with a ticket: create and poll are scripted apart, by ``plan`` and ``plan_poll``.

    A step's own ``looks`` belong to its job alone; what ``plan_poll`` holds comes first, whoever asks.
    """

    joint = "-"

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self.default_poll = Step()
        self.jobs: dict[str, Job] = {}
        self._polls: list[Step] = []

    def created(self, ticket: str) -> Body:
        """The answer to a create."""
        raise NotImplementedError

    def polled(self, ticket: str, job: Job) -> web.Response:
        """The answer to a poll."""
        raise NotImplementedError

    def plan_poll(self, *steps: Step) -> None:
        self._polls = list(steps)

    async def create(self, request: web.Request, call: Call) -> web.StreamResponse:
        step = self.next_step()
        if step.misbehaves and step.fail != "lost":
            return await self.misbehave(request, step, call)
        ticket = f"{self.name}{self.joint}job-{next(self.ids):04d}"
        self.jobs[ticket] = Job(step, time.monotonic() + step.delay, list(step.looks), list(step.words))
        call.data["job"] = ticket
        if step.fail == "lost":
            call.done("lost")
            return drop_connection(request)
        return web.json_response(self.created(ticket))

    async def poll(self, request: web.Request, call: Call) -> web.StreamResponse:
        ticket = request.match_info.get("id") or request.query.get("id", "")
        call.data["job"] = ticket
        job = self.jobs.get(ticket)
        step = self._polls.pop(0) if self._polls else job.looks.pop(0) if job and job.looks else self.default_poll
        await asyncio.sleep(step.delay)
        if step.misbehaves:
            return await self.misbehave(request, step, call)
        if job is None or job.state == "gone":
            return web.json_response({"error": {"message": "not found", "code": "not_found"}}, status=404)
        call.done(job.state)
        return self.polled(ticket, job)


async def _body(request: web.Request) -> Body:
    if not request.content_type.startswith("multipart/"):
        try:
            body: Body = await request.json()
        except json.JSONDecodeError:
            body = {"_raw": (await request.text())[:2000]}
        return body
    form: Body = {}
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            with value.file:
                form[name] = {"filename": value.filename, "size": len(value.file.read())}
        else:
            form[name] = value
    return form
