"""The stand-in upstream: it must refuse what the real one refuses, and its videos must play."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import av
import pytest
from yarl import URL

from devtools.rig import FileServer, Serve, Timeline, make_png
from devtools.standin import StandIn

MODEL = "grok-imagine-1.0-video"
PICTURE = make_png(320, 180)
FRAME = make_png(1280, 720)
DATA_URL = "data:image/png;base64," + base64.b64encode(PICTURE).decode()


@dataclass
class Client:
    up: StandIn
    http: aiohttp.ClientSession

    async def chat(self, key: str = "stand-in-key", **body: Any) -> tuple[int, str, str]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with self.http.post(f"{self.up.url}/v1/chat/completions", json=body, headers=headers) as answer:
            return answer.status, answer.content_type, await answer.text()

    async def post(self, path: str, body: Any, key: str = "stand-in-key") -> tuple[int, Any]:
        """JSON of a dict, a form of what is none; Google's key stands in a header of its own."""
        name, value = ("x-goog-api-key", key) if path.startswith("/v1beta") else ("Authorization", f"Bearer {key}")
        sent = {"json": body} if isinstance(body, dict) else {"data": body()}
        async with self.http.post(self.up.url + path, headers={name: value}, **sent) as answer:
            return answer.status, await answer.json()

    async def look(self, path: str, key: str = "stand-in-key") -> tuple[int, Any]:
        headers = {"x-goog-api-key": key} if path.startswith("/v1beta") else {"Authorization": f"Bearer {key}"}
        async with self.http.get(URL(self.up.url + path, encoded=True), headers=headers) as answer:
            return answer.status, await answer.json() if await answer.read() else None

    async def looks(self, path: str, over: Callable[[Any], bool]) -> list[tuple[int, Any]]:
        """What it said until it was over."""
        seen = []
        async with asyncio.timeout(10):
            while not seen or not over(seen[-1][1]):
                seen.append(await self.look(path))
                await asyncio.sleep(0.05)
        return seen

    async def get(self, url: str, **headers: str) -> tuple[int, str, bytes]:
        async with self.http.get(URL(url, encoded=True), headers=headers) as answer:
            return answer.status, answer.content_type, await answer.read()


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    async with StandIn(render_seconds=0.3) as up, aiohttp.ClientSession() as http:
        yield Client(up, http)


def ask(picture: Any = DATA_URL, prompt: str = "slow zoom") -> list[dict[str, Any]]:
    content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
    return [{"role": "user", "content": content}]


def decoded(data: bytes) -> tuple[int, int, float, int]:
    """Width, height, seconds and frames of a video."""
    assert data.index(b"moov") < data.index(b"mdat"), "it must start to play before it is whole"
    with av.open(io.BytesIO(data), "r") as box:
        stream = box.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.duration is not None
        assert stream.time_base is not None
        frames = sum(1 for _ in box.decode(video=0))
        return stream.width, stream.height, float(stream.duration * stream.time_base), frames


async def play(client: Client, html: str) -> tuple[int, int, float, int]:
    """What the video is that the answer names."""
    [poster], [link] = re.findall(r'poster="([^"]+)"', html), re.findall(r' src="([^"]+)"', html)
    status, kind, data = await client.get(link)
    assert (status, kind) == (200, "video/mp4")
    assert await client.get(link, Range="bytes=4-7") == (206, "video/mp4", b"ftyp")
    assert (await client.get(poster))[:2] == (200, "image/jpeg")
    return decoded(data)


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


# ---- protocols by ticket ----

BEARER = {"Authorization": "Bearer stand-in-key"}
BARE = DATA_URL.partition(",")[2]
GEMINI = "/v1beta/models/veo-3.1-fast-generate-preview:predictLongRunning"
GITEE_TEXT, GITEE_IMAGE = "/v1/async/videos/generations", "/v1/async/videos/image-to-video"


def form(picture: bytes | None = PICTURE, field: str = "input_reference", **fields: str) -> Callable[[], Any]:
    """A multipart form, made anew for each request."""

    def make() -> aiohttp.FormData:
        data = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            data.add_field(name, value)
        if picture is not None:
            data.add_field(field, picture, filename="in.png", content_type="image/png")
        return data

    return make


def veo(**more: Any) -> dict[str, Any]:
    return {"model": "veo3.1-fast", "prompt": "p", "images": [DATA_URL], "enhance_prompt": True} | more


def grok(**more: Any) -> dict[str, Any]:
    return {"model": "grok-imagine-video", "prompt": "p", "image": {"url": DATA_URL}, "duration": 3} | more


def sora(**fields: str) -> Callable[[], Any]:
    return form(FRAME, **{"model": "sora-2", "prompt": "p", "seconds": "4", "size": "1280x720"} | fields)  # type: ignore[arg-type]


def gemini(parameters: dict[str, Any] | None = None, **instance: Any) -> dict[str, Any]:
    picture = {"bytesBase64Encoded": BARE, "mimeType": "image/png"}
    return {"instances": [{"prompt": "p", "image": picture} | instance], "parameters": parameters or {}}


def wan(picture: bytes | None = PICTURE, **fields: str) -> Callable[[], Any]:
    return form(picture, "image", **{"model": "Wan2_2-I2V-A14B", "prompt": "p"} | fields)


async def test_vector_engine(client: Client) -> None:
    status, made = await client.post("/v1/video/create", veo(aspect_ratio="16:9"))
    assert (status, made["status"]) == (200, "pending")
    assert ":" in made["id"]
    path = "/v1/video/query?id=" + made["id"].replace(":", "%3A")
    *going, (_, done) = await client.looks(path, lambda body: bool(body["video_url"]))
    assert done["status"] == "completed"
    assert {body["status"] for _, body in going} <= {"image_downloading", "video_generating"}
    assert len(going) > 1
    assert decoded((await client.get(done["video_url"]))[2])[:2] == (320, 180)
    assert (await client.look("/v1/video/query?id=nobody"))[0] == 400


async def test_xai(client: Client) -> None:
    status, made = await client.post("/v1/videos/generations", grok())
    assert status == 200
    path = f"/v1/videos/{made['request_id']}"
    first, *going, (status, done) = await client.looks(path, lambda body: body and body["status"] == "done")
    assert first == (202, None), "an empty 202, as the real one"
    assert [body["status"] for _, body in going] == ["pending"] * len(going)
    assert [body["progress"] for _, body in going] == sorted(body["progress"] for _, body in going)
    assert status == 200
    assert decoded((await client.get(done["video"]["url"]))[2]) == (320, 180, 3.0, 72)
    assert (await client.look("/v1/videos/nobody"))[0] == 404


async def test_openai(client: Client) -> None:
    status, made = await client.post("/v1/videos", sora())
    assert (status, made["status"], made["seconds"]) == (200, "queued", "4")
    path = f"/v1/videos/{made['id']}"
    assert (await client.look(f"{path}/content"))[0] == 409
    *going, (_, done) = await client.looks(path, lambda body: body["status"] == "completed")
    assert {body["status"] for _, body in going} <= {"queued", "in_progress"}
    assert done["progress"] == 100
    assert "url" not in str(done), "there is only /content"
    content = f"{client.up.url}{path}/content"
    assert (await client.get(content))[0] == 401
    assert decoded((await client.get(content, **BEARER))[2])[:2] == (720, 404)
    assert (await client.look("/v1/videos/video_nobody"))[0] == 404


async def test_gemini(client: Client) -> None:
    status, made = await client.post(GEMINI, gemini({"aspectRatio": "9:16", "durationSeconds": 4}))
    assert status == 200
    path = f"/v1beta/{made['name']}"
    *going, (_, done) = await client.looks(path, lambda body: "done" in body)
    assert [body for _, body in going] == [{"name": made["name"]}] * len(going)
    [sample] = done["response"]["generateVideoResponse"]["generatedSamples"]
    link = sample["video"]["uri"]
    assert (await client.get(link))[0] == 403
    async with client.http.get(link, headers={"x-goog-api-key": "stand-in-key"}, allow_redirects=False) as answer:
        assert answer.status == 302
        away = answer.headers["Location"]
    assert decoded((await client.get(away))[2])[:2] == (136, 240), "the redirect leads to where no key is wanted"
    assert (await client.look("/v1beta/models/m/operations/nobody"))[0] == 404


async def test_gitee(client: Client) -> None:
    status, made = await client.post(GITEE_IMAGE, wan(num_frames="81"))
    assert (status, made["status"]) == (200, "waiting")
    path = f"/v1/task/{made['task_id']}"
    *going, (_, done) = await client.looks(path, lambda body: body["status"] == "success")
    assert {body["status"] for _, body in going} <= {"waiting", "in_progress"}
    link = done["output"]["file_url"]
    assert decoded((await client.get(link))[2])[:2] == (320, 180)
    assert (await client.get(link.replace("%2F", "/")))[0] == 403, "the signature is to be kept as it is"
    status, made = await client.post(GITEE_TEXT, {"model": "Wan2.1-T2V-14B", "prompt": "a red balloon"})
    assert status == 200
    done = (await client.looks(f"/v1/task/{made['task_id']}", lambda body: body["status"] == "success"))[-1][1]
    assert decoded((await client.get(done["output"]["file_url"]))[2])[:2] == (720, 404)
    assert (await client.look("/v1/task/nobody"))[0] == 404


async def test_pictures_by_their_address_and_several(client: Client) -> None:
    """What takes addresses fetches them; a last frame and references arrive, too."""
    files = FileServer(Timeline())
    await files.start()
    link = files.put("in.png", Serve(PICTURE, content_type="image/png"))
    one = {"bytesBase64Encoded": BARE, "mimeType": "image/png"}
    several: list[tuple[str, Any]] = [
        ("/v1/video/create", veo(images=[link, DATA_URL])),
        ("/v1/videos/generations", grok(reference_images=[{"url": link}, {"url": DATA_URL}], image=None)),
        (GEMINI, gemini(lastFrame={"inlineData": {"data": BARE, "mimeType": "image/png"}})),
        (GEMINI, gemini(image=one, referenceImages=[{"image": one, "referenceType": "asset"}])),
    ]
    for path, body in several:
        status, _ = await client.post(path, {name: value for name, value in body.items() if value is not None})
        assert status == 200, path
        order = client.up.studio.takes[-1].order
        assert order.picture
        assert [picture.size for picture in (order.picture, *order.more)] == [(320, 180)] * 2
    reference = {"image_url": link}
    status, _ = await client.post("/v1/videos", {"model": "sora-2", "prompt": "p", "input_reference": reference})
    assert status == 200
    assert client.up.studio.takes[-1].order.picture
    await files.stop()


REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "veo: no such model": ("/v1/video/create", veo(model="veo9"), 503, "无可用渠道"),
    "veo: no prompt": ("/v1/video/create", veo(prompt=" "), 200, "prompt is required"),
    "veo: a ratio": ("/v1/video/create", veo(aspect_ratio="1:1"), 200, "aspect_ratio"),
    "veo: a switch in words": ("/v1/video/create", veo(enable_upsample="false"), 200, "enable_upsample"),
    "veo: three frames": ("/v1/video/create", veo(images=[DATA_URL] * 3), 200, "takes 0 or 1 or 2"),
    "veo: parts without any": ("/v1/video/create", veo(model="veo3.1-components", images=[]), 200, "takes 1 or 2 or 3"),
    "veo: bare base64": ("/v1/video/create", veo(images=[BARE]), 200, "neither an address nor"),
    "veo: no picture": ("/v1/video/create", veo(images=["data:image/png;base64,AAAA"]), 200, "not a picture"),
    "xai: unknown field": ("/v1/videos/generations", grok(seconds=6), 400, 'unknown field "seconds"'),
    "xai: image_url": ("/v1/videos/generations", grok(image_url=DATA_URL), 400, 'unknown field "image_url"'),
    "xai: both": ("/v1/videos/generations", grok(reference_images=[{"url": DATA_URL}]), 400, "exclude"),
    "xai: bare text": ("/v1/videos/generations", grok(image=DATA_URL), 400, "exactly one"),
    "xai: no such model": ("/v1/videos/generations", grok(model="veo3"), 404, "does not exist"),
    "xai: too long": ("/v1/videos/generations", grok(duration=16), 400, "duration"),
    "xai: large": ("/v1/videos/generations", grok(resolution="1080p"), 400, "resolution"),
    "xai: auto": ("/v1/videos/generations", grok(aspect_ratio="auto"), 400, "aspect_ratio"),
    "xai: references and long": (
        "/v1/videos/generations",
        {"model": "grok-imagine-video", "prompt": "p", "reference_images": [{"url": DATA_URL}], "duration": 12},
        400,
        "duration",
    ),
    "xai: a form": ("/v1/videos/generations", sora(), 415, "application/json"),
    "openai: no such model": ("/v1/videos", sora(model="veo3"), 404, "does not exist"),
    "openai: seconds": ("/v1/videos", sora(seconds="6"), 400, "seconds is one of 4, 8, 12"),
    "openai: size": ("/v1/videos", sora(size="640x480"), 400, "size is one of"),
    "openai: a picture of another size": ("/v1/videos", sora(size="720x1280"), 400, "must match"),
    "openai: no prompt": ("/v1/videos", sora(prompt=""), 400, "prompt"),
    "openai: no picture": ("/v1/videos", form(b"text", model="sora-2", prompt="p"), 400, "not a picture"),
    "openai: a number": ("/v1/videos", {"model": "sora-2", "prompt": "p", "seconds": 4}, 400, "seconds"),
    "gemini: an address": (GEMINI, gemini(image={"gcsUri": "gs://x", "mimeType": "image/png"}), 400, "image"),
    "gemini: a data URL": (GEMINI, gemini(image={"bytesBase64Encoded": DATA_URL, "mimeType": "image/png"}), 400, "64"),
    "gemini: no type": (GEMINI, gemini(image={"bytesBase64Encoded": BARE}), 400, "mimeType"),
    "gemini: five seconds": (GEMINI, gemini({"durationSeconds": 5}), 400, "durationSeconds"),
    "gemini: short and large": (GEMINI, gemini({"durationSeconds": 4, "resolution": "1080p"}), 400, "has to be 8"),
    "gemini: only an end": (GEMINI, {"instances": [{"prompt": "p", "lastFrame": {}}]}, 400, "wants an"),
    "gemini: square": (GEMINI, gemini({"aspectRatio": "1:1"}), 400, "aspectRatio"),
    "gemini: no such model": (GEMINI.replace("3.1", "9"), gemini(), 404, "not found"),
    "gitee: a file in JSON": (GITEE_TEXT, {"model": "LTX-2", "prompt": "p", "image": DATA_URL}, 400, "必传参数: image"),
    "gitee: JSON for a form": (
        GITEE_IMAGE,
        {"model": "LTX-2", "prompt": "p", "image": DATA_URL},
        400,
        "必传参数: image",
    ),
    "gitee: no picture": (GITEE_IMAGE, wan(None), 400, "必传参数: image"),
    "gitee: a model for words": (GITEE_IMAGE, wan(model="Wan2.1-T2V-14B"), 400, "model"),
    "gitee: no prompt": (GITEE_TEXT, {"model": "Wan2.1-T2V-14B"}, 400, "必传参数: prompt"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_the_others_refuse(client: Client, name: str) -> None:
    path, body, wanted, words = REFUSED[name]
    films = len(client.up.studio.takes)
    status, said = await client.post(path, body)
    assert status == wanted
    assert words in json.dumps(said, ensure_ascii=False).replace('\\"', '"')
    assert len(client.up.studio.takes) == films


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v1/video/create", veo(), 401),
        ("/v1/videos/generations", grok(), 400),
        ("/v1/videos", sora(), 401),
        (GEMINI, gemini(), 403),
        (GITEE_TEXT, {"model": "Wan2.1-T2V-14B", "prompt": "p"}, 401),
        (GITEE_IMAGE, wan(), 401),
    ],
)
async def test_the_others_want_the_key(client: Client, path: str, body: Any, wanted: int) -> None:
    films = len(client.up.studio.takes)
    assert (await client.post(path, body, "wrong"))[0] == wanted
    assert len(client.up.studio.takes) == films


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/v1/video/query?id=x", 401),
        ("/v1/videos/x", 400),
        ("/v1/videos/video_x", 401),
        ("/v1beta/models/m/operations/x", 403),
        ("/v1/task/x", 401),
    ],
)
async def test_looks_want_the_key(client: Client, path: str, wanted: int) -> None:
    assert (await client.look(path, "wrong"))[0] == wanted
