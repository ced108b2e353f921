"""The stand-in upstream: it must refuse what the real one refuses, and its videos must play."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest

from devtools.rig import FileServer, Serve, Timeline, make_png
from devtools.standin import StandIn

MODEL = "grok-imagine-1.0-video"
PICTURE = make_png(320, 180)
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


@dataclass
class Client:
    up: StandIn
    http: aiohttp.ClientSession

    async def chat(self, key: str = "stand-in-key", **body: Any) -> tuple[int, str, str]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self.http.post(f"{self.up.url}/v1/chat/completions", json=body, headers=headers) as answer:
            return answer.status, answer.content_type, await answer.text()

    async def get(self, url: str, **headers: str) -> tuple[int, str, bytes]:
        async with self.http.get(url, headers=headers) as answer:
            return answer.status, answer.content_type, await answer.read()


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    async with StandIn(render_seconds=0.3) as up, aiohttp.ClientSession() as http:
        yield Client(up, http)


def ask(picture: Any = DATA_URL, prompt: str = "slow zoom") -> list[dict[str, Any]]:
    content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
    return [{"role": "user", "content": content}]


async def play(client: Client, html: str) -> tuple[int, int, float, int]:
    """Width, height, seconds and frames of the video that the answer names."""
    [poster], [link] = re.findall(r'poster="([^"]+)"', html), re.findall(r' src="([^"]+)"', html)
    status, kind, data = await client.get(link)
    assert (status, kind) == (200, "video/mp4")
    assert data.index(b"moov") < data.index(b"mdat"), "it must start to play before it is whole"
    assert await client.get(link, Range="bytes=4-7") == (206, "video/mp4", b"ftyp")
    assert (await client.get(poster))[:2] == (200, "image/jpeg")
    with av.open(io.BytesIO(data), "r") as box:
        stream = box.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.duration is not None
        assert stream.time_base is not None
        frames = sum(1 for _ in box.decode(video=0))
        return stream.width, stream.height, float(stream.duration * stream.time_base), frames


async def test_a_stream_tells_its_progress_and_ends_with_a_video(client: Client) -> None:
    status, kind, text = await client.chat(model=MODEL, stream=True, messages=ask())
    assert (status, kind) == (200, "text/event-stream")
    *events, done = re.findall(r"^data: (.*)$", text, re.M)
    assert done == "[DONE]"
    choices = [json.loads(event)["choices"][0] for event in events]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    words = "".join(choice["delta"].get("content", "") for choice in choices)
    thought, html = words.split("</think>")
    assert thought.startswith("<think>")
    assert re.findall(r"当前进度(\d+)%", thought)[-1] == "100"
    assert await play(client, html) == (320, 180, 5.0, 120)


async def test_without_a_stream(client: Client) -> None:
    wishes = {"aspect_ratio": "9:16", "video_length": 3}
    status, kind, text = await client.chat(model=MODEL, stream=False, messages=ask(), video_config=wishes)
    assert (status, kind) == (200, "application/json")
    assert await play(client, json.loads(text)["choices"][0]["message"]["content"]) == (136, 240, 3.0, 72)


async def test_words_alone_make_a_video(client: Client) -> None:
    messages = [{"role": "user", "content": "a red balloon"}]
    _, _, text = await client.chat(model=MODEL, stream=False, messages=messages)
    assert (await play(client, json.loads(text)["choices"][0]["message"]["content"]))[:2] == (720, 404)


async def test_a_picture_by_its_address(client: Client) -> None:
    files = FileServer(Timeline())
    await files.start()
    link = files.put("in.png", Serve(PICTURE, content_type="image/png"))
    status, _, _ = await client.chat(model=MODEL, stream=False, messages=ask(link), video_config={"video_length": 3})
    await files.stop()
    assert status == 200
    picture = client.up.studio.takes[-1].order.picture
    assert picture is not None
    assert picture.size == (320, 180)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"model": "gpt-4o", "messages": ask()}, "model_not_found"),
        ({"model": MODEL}, "empty_messages"),
        ({"model": MODEL, "messages": [{"role": "user", "content": ""}]}, "empty_content"),
        ({"model": MODEL, "messages": ask("")}, "empty_media"),
        ({"model": MODEL, "messages": ask(None)}, "empty_media"),
        ({"model": MODEL, "messages": ask("iVBORw0KGgo=")}, "invalid_media"),
        ({"model": MODEL, "messages": ask("data:image/png;base64,%%%")}, "invalid_base64"),
        ({"model": MODEL, "messages": ask("data:image/png;base64,AAAA")}, "invalid_media"),
        ({"model": MODEL, "messages": ask("http://127.0.0.1:9/x.png")}, "invalid_media"),
        ({"model": MODEL, "messages": ask(), "video_config": {"aspect_ratio": "4:3"}}, "invalid_aspect_ratio"),
        ({"model": MODEL, "messages": ask(), "video_config": {"video_length": 60}}, "invalid_video_length"),
    ],
)
async def test_what_it_refuses(client: Client, body: dict[str, Any], code: str) -> None:
    films = len(client.up.studio.takes)
    status, _, text = await client.chat(**body)
    error = json.loads(text)["error"]
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", code)
    assert len(client.up.studio.takes) == films


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_the_key_is_wanted(client: Client, key: str) -> None:
    status, _, text = await client.chat(key, model=MODEL, messages=ask())
    assert status == 401
    assert json.loads(text)["error"].keys() == {"message", "type"}
    assert (await client.get(f"{client.up.url}/v1/models"))[0] == 401


async def test_the_models_are_listed(client: Client) -> None:
    _, _, text = await client.get(f"{client.up.url}/v1/models", Authorization="Bearer stand-in-key")
    assert MODEL in [model["id"] for model in json.loads(text)["data"]]


async def test_the_sample_picture_becomes_a_clip_of_moderate_size(client: Client) -> None:
    sample = Path(__file__).parents[2] / "devtools" / "sample.jpg"
    data_url = "data:image/jpeg;base64," + base64.b64encode(sample.read_bytes()).decode()
    _, _, text = await client.chat(model=MODEL, stream=False, messages=ask(data_url))
    html = json.loads(text)["choices"][0]["message"]["content"]
    assert await play(client, html) == (720, 540, 5.0, 120)
    assert len((await client.get(client.up.video_url(client.up.studio.takes[-1])))[2]) < 1024**2
