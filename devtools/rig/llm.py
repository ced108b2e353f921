"""A fake OpenAI-compatible chat model that says, and calls, what the test tells it to."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any

from aiohttp import web

from .net import LoopbackServer
from .timeline import Call, Timeline

Turn = dict[str, Any]


def say(text: str) -> Turn:
    return {"content": text}


def call_tool(name: str, **arguments: Any) -> Turn:
    return {"tool": name, "arguments": arguments}


class LLM(LoopbackServer):
    """``llm.script(call_tool("x", prompt="cat"), say("done"))``: one turn per request of the model.

    Turns are only used up by requests that carry tools (the agent loop); everything else, and an exhausted script,
    gets ``default``.
    """

    MODEL = "rig-model"

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.default = say("ok (rig)")
        self.delay = 0.0
        self._turns: list[Turn] = []
        self._ids = itertools.count(1)

    def routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)

    def provider_config(self) -> dict[str, Any]:
        """The entries of AstrBot's config that make this the default chat model."""
        source = {
            "id": "rig",
            "provider": "openai",
            "type": "openai_chat_completion",
            "provider_type": "chat_completion",
            "enable": True,
            "key": ["sk-rig"],
            "api_base": f"{self.url}/v1",
            "timeout": 60,
            "proxy": "",
            "custom_headers": {},
        }
        model = {
            "id": "rig/model",
            "provider_source_id": "rig",
            "model": self.MODEL,
            "enable": True,
            "modalities": ["text", "image", "tool_use"],
            "custom_extra_body": {},
            "max_context_tokens": 0,
        }
        return {
            "provider_sources": [source],
            "provider": [model],
            "agent_runner": {"runner_type": "local", "config": {"model": {"provider_id": "rig/model"}}},
        }

    def script(self, *turns: Turn) -> None:
        self._turns = list(turns)

    def requests(self, since: int = 0) -> list[Call]:
        return self.timeline.select("llm", "chat", since=since)

    @staticmethod
    def tools(call: Call) -> dict[str, dict[str, Any]]:
        """Tool name -> JSON schema, as the model saw them."""
        return {tool["function"]["name"]: tool["function"] for tool in call.data.get("tools") or []}

    @staticmethod
    def tool_results(call: Call) -> list[str]:
        return [str(message.get("content")) for message in call.data["messages"] if message.get("role") == "tool"]

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.MODEL, "object": "model"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        call = self.timeline.add("llm", "chat", **body)
        await asyncio.sleep(self.delay)
        turn = self._turns.pop(0) if self._turns and body.get("tools") else self.default
        number = next(self._ids)
        message: dict[str, Any] = {"role": "assistant", "content": turn.get("content")}
        finish = "stop"
        if "tool" in turn:
            function = {"name": turn["tool"], "arguments": json.dumps(turn["arguments"], ensure_ascii=False)}
            message["tool_calls"] = [{"id": f"call_{number}", "index": 0, "type": "function", "function": function}]
            finish = "tool_calls"
        base = {"id": f"chatcmpl-{number}", "created": int(time.time()), "model": self.MODEL}
        call.done(turn)
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": finish}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            return web.json_response({**base, "object": "chat.completion", "usage": usage, "choices": [choice]})
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for delta, end in ((message, None), ({}, finish)):
            choice = {"index": 0, "delta": delta, "finish_reason": end}
            chunk = {**base, "object": "chat.completion.chunk", "choices": [choice]}
            await stream.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await stream.write(b"data: [DONE]\n\n")
        return stream
