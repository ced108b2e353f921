"""Emulators of the video services that the plugin talks to, each speaking one wire format.

* ``grok``: grok2api's ``POST /grok/v1/chat/completions``: one long request, JSON or SSE.
* ``xai``: xAI's ``POST /xai/v1/videos/generations`` and ``GET /xai/v1/videos/{id}``.
* ``ve``: VectorEngine's ``POST /ve/v1/video/create`` and ``GET /ve/v1/video/query?id=``.

A further service is one small class here and one entry in ``Upstreams``.
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import Any

from aiohttp import web

from .emulator import (
    Body,
    Emulator,
    Job,
    JobEmulator,
    Step,
    cut,
    drop,
    empty,
    error,
    hang,
    html_error,
    lost,
    moderated,
    ok,
    rate_limited,
)
from .net import LoopbackServer
from .timeline import Call, Timeline

MODELS = ("grok-imagine-0.9", "grok-imagine-1.0-video", "grok-imagine-video", "veo3.1-fast")


class Grok(Emulator):
    """Chat completions: the whole rendering inside one request."""

    name = "grok"

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", partial(self.serve, handler=self._chat))]

    async def _chat(self, request: web.Request, call: Call) -> web.StreamResponse:
        step, asked = self.next_step(), call.data["body"]
        base = {"id": f"chatcmpl-{next(self.ids)}", "created": int(time.time()), "model": asked.get("model")}
        forms = {
            "url": step.url,
            "markdown": f"[video]({step.url})",
            "html": f'<video controls src="{step.url}"></video>',
        }
        content = forms[step.fmt] if step.content is None else step.content
        streamed = bool(asked.get("stream")) if step.sse is None else step.sse
        if streamed and not step.misbehaves:
            return await self._stream(request, call, step, base, content)
        await asyncio.sleep(step.delay)
        if step.misbehaves:
            return await self.misbehave(request, step, call)
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({**base, "object": "chat.completion", "choices": [choice]})

    async def _stream(
        self, request: web.Request, call: Call, step: Step, base: dict[str, Any], content: str
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)

        async def say(delta: dict[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
            await answer.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())

        ticks = max(1, min(10, int(step.delay / 0.2)))
        for tick in range(ticks):
            await say({"role": "assistant", "reasoning_content": f"视频正在生成 {100 * tick // ticks}%\n"})
            await asyncio.sleep(step.delay / ticks)
        await say({"content": content})
        await say({}, "stop")
        await answer.write(b"data: [DONE]\n\n")
        call.done("sse 200")
        return answer


class Xai(JobEmulator):
    """xAI's own API."""

    name = "xai"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/videos/generations", partial(self.serve, handler=self.create)),
            web.get("/v1/videos/{id}", partial(self.serve, handler=self.poll)),
        ]

    def created(self, ticket: str) -> Body:
        return {"request_id": ticket}

    def polled(self, ticket: str, job: Job) -> web.Response:
        model = "grok-imagine-video"
        match job.state:
            case "pending":
                body = {"status": job.word("pending"), "progress": 40, "model": model}
                return web.json_response(body, status=202)
            case "done" | "withheld" as state:
                good = state == "done"
                video = {"url": job.step.url if good else "", "duration": 6, "respect_moderation": good}
                body = {"status": job.word("done"), "model": model, "progress": 100, "video": video}
                return web.json_response(body)
            case "moderated":
                said = job.step.reason or "Generated video rejected by content moderation."
                refusal = {"code": "Client specified an invalid argument", "error": said}
                return web.json_response(refusal | {"usage": {"cost_in_usd_ticks": 2500000000}}, status=400)
            case state:
                failure = {"code": "internal_error", "message": job.step.reason or f"job {state}"}
                return web.json_response({"status": job.word(state), "error": failure})


class VectorEngine(JobEmulator):
    """The unified video API of VectorEngine and its relatives."""

    name = "ve"
    joint = ":"  # its tickets hold one, which is to arrive as it was

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/video/create", partial(self.serve, handler=self.create)),
            web.get("/v1/video/query", partial(self.serve, handler=self.poll)),
        ]

    def created(self, ticket: str) -> Body:
        return {"id": ticket, "status": "pending", "status_update_time": _now_ms(), "enhanced_prompt": ""}

    def polled(self, ticket: str, job: Job) -> web.Response:
        done = job.state in ("done", "withheld")
        body = {
            "id": ticket,
            "status": job.word(
                {"pending": "processing", "done": "completed", "withheld": "completed"}.get(job.state, "failed")
            ),
            "progress": 100 if done else 40,
            "video_url": job.step.url if job.state == "done" else None,
            "enhanced_prompt": "",
            "status_update_time": _now_ms(),
        }
        if job.state in ("failed", "moderated"):
            why = "your request contains unsafe prompt or images" if job.state == "moderated" else "no luck"
            body["error"] = job.step.reason or why
        return web.json_response(body)


class Upstreams(LoopbackServer):
    """One server for all of them; what none of them knows is 404 and noted."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.grok, self.xai, self.ve = Grok(timeline), Xai(timeline), VectorEngine(timeline)

    async def start(self, port: int = 0) -> None:
        await super().start(port)
        for emulator in (self.grok, self.xai, self.ve):
            emulator.port = self.port

    def routes(self, app: web.Application) -> None:
        for emulator in (self.grok, self.xai, self.ve):
            for route in emulator.routes():
                app.router.add_route(route.method, f"/{emulator.name}{route.path}", route.handler)
        app.router.add_get("/{service}/v1/models", self._models)
        app.router.add_route("*", "/{tail:.*}", self._unknown)

    async def _models(self, request: web.Request) -> web.Response:
        auth = request.headers.get("Authorization")
        self.timeline.add(request.match_info["service"], "models", auth=auth)
        return web.json_response({"object": "list", "data": [{"id": model, "object": "model"} for model in MODELS]})

    async def _unknown(self, request: web.Request) -> web.Response:
        service = request.path.split("/")[1] or "up"
        self.timeline.add(service, "unknown route", method=request.method, path=request.path_qs)
        return web.json_response({"error": {"message": "Not Found"}}, status=404)


def _now_ms() -> int:
    return int(time.time() * 1000)


__all__ = [
    "Emulator",
    "Grok",
    "JobEmulator",
    "Step",
    "Upstreams",
    "VectorEngine",
    "Xai",
    "cut",
    "drop",
    "empty",
    "error",
    "hang",
    "html_error",
    "lost",
    "moderated",
    "ok",
    "rate_limited",
]
