"""What a chat gateway is sent, and what its answers mean, however they are cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.capabilities import Capabilities
from core.config import VideoSettings
from core.errors import (
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
    UpstreamFailed,
)
from core.grok_video_service import ChatReader, GrokVideoService, build
from core.models import Reference, VideoRequest, VideoResult
from core.transport import Answer
from tests.hostile import KINDS
from tests.recorded import FAILURES, Recorded, those

ROOT = "https://gw.example.com"
V = "https://cdn.example.org/v/9f8e7d.mp4"
SIGNED = "https://store.example.org/bucket/video/0a1b2c?Expires=177&Signature=a%2Bb%3D"
SERVED = f"{ROOT}/v1/files/video?id=0123456789abcdef"

Ending = Literal["whole", "cut", "timeout"]
ENDINGS: tuple[Ending, ...] = ("whole", "cut", "timeout")


def read(
    text: str,
    *,
    root: str = ROOT,
    status: int = 200,
    headers: dict[str, str] | None = None,
    ending: Ending = "whole",
    size: int = 0,
    report: Callable[[int], None] = lambda percent: None,
) -> VideoResult | Failure:
    """Read an answer in pieces of ``size`` characters; 0 = all at once."""
    reader = ChatReader(root, report)
    size = size or len(text) or 1
    for at in range(0, len(text), size):
        if reader.feed(text[at : at + size]):
            break
    try:
        return reader.result(Answer(status, headers or {}, text, ending))
    except Failure as failure:
        return failure


def stream(*deltas: str | dict[str, Any], finish: str | None = "stop", done: bool = True) -> str:
    """An event stream: strings are content."""
    events: list[Any] = [
        {"choices": [{"index": 0, "delta": {"content": delta} if isinstance(delta, str) else delta}]}
        for delta in deltas
    ]
    if finish:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + ("data: [DONE]\n\n" if done else "")


def message(content: Any = None, finish: str = "stop", **more: Any) -> str:
    """An answer that is no stream."""
    return json.dumps({"choices": [{"message": {"content": content, **more}, "finish_reason": finish}]})


# ---- what is sent ----


async def sent(request: VideoRequest, model: str) -> dict[str, Any]:
    body = build(request, model)
    pieces = [piece async for piece in body.stream()]
    assert body.length() == len(b"".join(pieces))
    value: dict[str, Any] = json.loads(b"".join(pieces))
    return value


async def test_words_alone_are_sent_as_words() -> None:
    assert await sent(VideoRequest("slow zoom"), "grok-imagine-video") == {
        "model": "grok-imagine-video",
        "stream": True,  # always said, because the default differs between generations
        "messages": [{"role": "user", "content": "slow zoom"}],
    }


async def test_pictures_go_behind_the_words_in_their_order(tmp_path: Path) -> None:
    pictures = []
    for name, content in (("a.jpg", b"first"), ("b.png", b"second!")):
        (tmp_path / name).write_bytes(content)
        pictures.append(Reference(path=str(tmp_path / name), mime=f"image/{name[-3:]}"))
    body = await sent(VideoRequest("动起来 \U0001f3ac", tuple(pictures)), "grok-imagine-0.9")
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "动起来 \U0001f3ac"},
        {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,Zmlyc3Q="}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,c2Vjb25kIQ=="}},
    ]
    assert "video_config" not in body


ASKED = VideoRequest("x", duration=6, aspect_ratio="16:9", resolution="720p")
SPELLINGS: list[tuple[str, str, VideoRequest, dict[str, Any] | None]] = [
    ("0.9 has one length and one size", "grok-imagine-0.9", ASKED, None),
    (
        "1.0 names ratio and length",
        "grok-imagine-1.0-video",
        ASKED,
        {"video_length": 6, "aspect_ratio": "16:9", "resolution_name": "720p", "preset": "normal"},
    ),
    (
        "the later one wants pixels",
        "Grok-Imagine-Video",
        ASKED,
        {"seconds": 6, "size": "1280x720", "resolution_name": "720p", "preset": "normal"},
    ),
    (
        "an alias may be either, so it gets both",
        "my-video",
        ASKED,
        {
            **{"video_length": 6, "seconds": 6, "aspect_ratio": "16:9", "size": "1280x720"},
            **{"resolution_name": "720p", "preset": "normal"},
        },
    ),
    (
        "a ratio without a size in pixels has only its name",
        "my-video",
        VideoRequest("x", aspect_ratio="21:9"),
        {"aspect_ratio": "21:9", "preset": "normal"},
    ),
    ("nothing asked, nothing said", "grok-imagine-1.0-video", VideoRequest("x"), None),
]


@pytest.mark.parametrize(("model", "request_", "config"), [pytest.param(*case[1:], id=case[0]) for case in SPELLINGS])
async def test_each_generation_has_its_spelling(
    model: str, request_: VideoRequest, config: dict[str, Any] | None
) -> None:
    assert (await sent(request_, model)).get("video_config") == config


FRAMES = ("16:9", "9:16", "1:1")
MODELS: list[tuple[str, str, Capabilities]] = [
    (
        "0.9 draws a picture where it is given none",
        "grok-imagine-0.9",
        Capabilities(text=False, first_of_many=True, durations=(), aspect_ratios=(), resolutions=()),
    ),
    (
        "1.0 goes on by rounds",
        "grok-imagine-1.0-video",
        Capabilities(
            first_of_many=True,
            durations=tuple(range(6, 31)),
            aspect_ratios=(*FRAMES, "3:2", "2:3"),
            resolutions=("480p", "720p"),
        ),
    ),
    (
        "the later one has steps",
        "grok-imagine-video",
        Capabilities(references=7, durations=(6, 10, 12, 16, 20), aspect_ratios=FRAMES, resolutions=("480p", "720p")),
    ),
    ("an alias may be any of them", "my-video", Capabilities(first_of_many=True)),
]


@pytest.mark.parametrize(("model", "can"), [pytest.param(*case[1:], id=case[0]) for case in MODELS])
def test_what_each_generation_can_do(model: str, can: Capabilities) -> None:
    service = GrokVideoService(VideoSettings(), None)  # type: ignore[arg-type]
    assert service.capabilities(model) == can


# ---- recorded answers ----


SIZES = (1, 7, 0)  # a character at a time, pieces that split everything, all at once


@pytest.mark.parametrize("one", those("chat", kinds=("video",)))
def test_recorded_answer_has_its_video(one: Recorded) -> None:
    for size in SIZES:
        result = read(one.text, root=one.root, status=one.status, headers=one.headers, size=size)
        assert isinstance(result, VideoResult), result
        assert result.url in one.links
        assert result.private is one.needs_key


@pytest.mark.parametrize("one", those("chat", kinds=("error", "refused", "no_video")))
def test_recorded_answer_fails_as_it_should(one: Recorded) -> None:
    for size in SIZES:
        result = read(one.text, root=one.root, status=one.status, headers=one.headers, size=size)
        assert isinstance(result, FAILURES[str(one.retry)]), result
        assert isinstance(result, Refused) is (one.kind == "refused")


# Every position of a short answer says as much as every position of a long one.
SHORT = [
    one
    for one in those("chat", kinds=("video", "refused", "no_video"))
    if one.values[0].status == 200 and len(one.values[0].text) <= 3000
]


@pytest.mark.parametrize("one", SHORT)
def test_a_cut_anywhere_gives_the_whole_link_or_none(one: Recorded) -> None:
    """A cut answer may have been paid, so it is never named as if it had not been taken."""
    for at in range(len(one.text)):
        result = read(one.text[:at], root=one.root, headers=one.headers, ending="cut")
        if isinstance(result, VideoResult):
            assert result.url in one.links, at
        else:
            assert isinstance(result, UnknownCharge | Refused | UpstreamFailed | Misconfigured), (at, result)


# ---- links in streams that are cut ----

SPLIT = [
    ("a signed link", "视频 https://store.example.org/b/v.mp4?Expires=177&Signature=a%2Bb%2Fc%3D"),
    ("a link with an id", f"完成：{SERVED}"),
    ("a link in an element", f"<video src='{SIGNED}' controls></video>"),
    ("a link in Markdown", f"[下载视频]({SIGNED})"),
    ("a link in JSON", json.dumps({"video_url": SIGNED})),
    ("an escaped link", "<video src=&quot;https://store.example.org/b/v.mp4?a=1&amp;b=2&quot;>"),
    ("a relative link", "完成\n/v1/files/video?id=0123456789abcdef"),
    ("a data URL", "data:video/mp4;base64,AAAAIGZ0eXBpc29t"),
    ("two links", f"封面 https://cdn.example.org/t.jpg 成片 {V}?sig=1234567890"),
]


@pytest.mark.parametrize("size", [3, 8, 21])
@pytest.mark.parametrize("content", [pytest.param(case[1], id=case[0]) for case in SPLIT])
def test_half_a_link_is_none(content: str, size: int) -> None:
    """The content comes in small pieces and the stream ends behind any of them.

    It may even end properly: a proxy does that when the line breaks behind it.
    """
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    whole = read(stream(*pieces))
    assert isinstance(whole, VideoResult)
    for count in range(len(pieces)):
        text = stream("<think>1%\n", "</think>\n", *pieces[:count], finish=None, done=False)
        for ending in ENDINGS:
            result = read(text, ending=ending)
            assert isinstance(result, UnknownCharge) or result == whole, (count, result)


ONE_PIECE = [
    ("nothing but the link", V, V),
    ("nothing but the link, signed", f"{V}?cache=1", f"{V}?cache=1"),
    ("nothing but the link, by its route", f"\n{SERVED}", SERVED),
    ("an element", f"<video src='{SIGNED}'></video>", SIGNED),
    ("a link that ends with its extension", f"视频已生成 {V}", V),
    ("more words behind it", f"[下载视频]({SIGNED}) 请查收", SIGNED),
]


@pytest.mark.parametrize(("content", "link"), [pytest.param(*case[1:], id=case[0]) for case in ONE_PIECE])
def test_a_link_that_came_in_one_piece_survives_the_cut(content: str, link: str) -> None:
    result = read(stream("<think>99%</think>", content, finish=None, done=False), ending="cut")
    assert result == VideoResult(link)


# ---- forms of answers ----

FORMS: list[tuple[str, str, str]] = [
    ("events without empty lines between", stream("x ", V).replace("\n\n", "\n"), V),
    ("carriage returns", stream(V).replace("\n", "\r\n"), V),
    ("no blank behind the colon", stream(V).replace("data: ", "data:"), V),
    ("an event in two lines", 'data: {"choices":\ndata: [{"delta":{"content":"' + V + '"}}]}\n\ndata: [DONE]\n', V),
    ("white space and comments first", "\n\n: ping\n\n: ping\n\n" + stream(V), V),
    ("a byte-order mark before a stream", "\ufeff" + stream(V), V),
    ("a whole answer in one event", f"data: {message(V)}\n\n", V),
    ("a stream that lost its data:", stream(V).replace("data: ", "").replace("[DONE]", "").replace("\n\n", "\n"), V),
    ("null and missing fields", 'data: {"choices":null}\n\ndata: {"choices":[null,{}]}\n\n' + stream(V), V),
    ("an event that is null", "data: null\n\n" + stream(V), V),
    ("a chunk that is no JSON", "data: {oops\n\n" + stream(V), V),
    ("a finish reason that is no word", stream(V).replace('"stop"', "[1]"), V),
    ("pretty JSON", json.dumps(json.loads(message(V)), indent=2), V),
    ("a list around the answer", f"[{message(V)}]", V),
    ("a string", json.dumps(f"done {V}"), V),
    ("plain text", f"done {V}", V),
    ("content as an object", message({"video_url": SIGNED}), SIGNED),
    ("content in parts of other kinds", message([{"type": "output_text", "text": V}]), V),
    ("a part that is a file", message([{"type": "file", "file": {"url": SIGNED, "mime_type": "video/mp4"}}]), SIGNED),
    ("a part among pictures", message([{"image_url": {"url": V + ".jpg"}}, {"type": "text", "text": V}]), V),
    ("a field of the message", message("done", videos=[{"url": SIGNED}]), SIGNED),
    ("an attachment of the message", message("", attachments=[{"type": "video", "url": SIGNED}]), SIGNED),
    ("a field of a delta", stream({"content": "done", "video_url": SIGNED}), SIGNED),
    ("a page beside the choices", json.dumps({**json.loads(message(V)), "metadata": {"url": f"{ROOT}/a/b"}}), V),
    ("a field beside the choices", json.dumps({**json.loads(message("done")), "video_url": SIGNED}), SIGNED),
    ("the old completions", json.dumps({"choices": [{"text": V}]}), V),
    ("the message is the text", json.dumps({"choices": [{"message": V}]}), V),
    ("a job instead of a chat", json.dumps({"status": "succeeded", "output": {"video_url": SIGNED}}), SIGNED),
    ("a message that says so, and the link", json.dumps({"message": "ok", "data": {"url": V}}), V),
    ("thoughts of both kinds", stream({"reasoning_content": f"draft {V}?1"}, f"<think>{V}?2</think>", V), V),
    ("an emoji cut in two", stream("\ud83c", "\udfac " + V), V),
    ("an error behind the video", stream(V, done=False) + 'data: {"error":{"message":"usage failed"}}\n\n', V),
]  # fmt: skip


@pytest.mark.parametrize(("text", "link"), [pytest.param(*case[1:], id=case[0]) for case in FORMS])
def test_every_form_of_answer_is_read(text: str, link: str) -> None:
    assert [read(text, size=size) for size in SIZES] == [VideoResult(link)] * len(SIZES)


def test_done_ends_the_reading_without_an_empty_line() -> None:
    reader = ChatReader(ROOT)
    assert not reader.feed(stream(V, done=False))
    assert reader.feed("data: [DONE]\n")


def test_a_link_behind_the_key_is_private() -> None:
    assert read(message(f"{ROOT}/v1/videos/1/content")) == VideoResult(f"{ROOT}/v1/videos/1/content", private=True)


# ---- what there is instead of a video ----

GENERATING = {"reasoning_content": "视频正在生成 12%\n"}
NOTHING: list[tuple[str, str, type[Failure], str]] = [
    ("nothing", "", UnknownCharge, "empty"),
    ("white space", " \n", UnknownCharge, "empty"),
    ("an empty object", "{}", UnknownCharge, "empty"),
    ("no choices", '{"choices":[]}', UnknownCharge, "empty"),
    ("only thoughts", stream(GENERATING), UnknownCharge, "empty"),
    ("only thoughts by another name", stream({"reasoning": f"draft {V}"}), UnknownCharge, "empty"),
    ("only progress", stream("<think>视频已生成34%</think>"), UnknownCharge, "empty"),
    ("words", message("视频生成完成"), UnknownCharge, "no_link"),
    ("half a JSON", message(V)[:60], UnknownCharge, "cut"),
    ("half a list", f"[{message(V)}"[:60], UnknownCharge, "cut"),
    ("an error in words", message("Error: upstream went away"), UnknownCharge, "error_answer"),
    ("an error in Chinese", message("生成失败：上游超时"), UnknownCharge, "error_answer"),
    ("an error in thoughts", stream(GENERATING, {"reasoning_content": "❌ 失败: 超时"}), UnknownCharge, "error_answer"),
    ("a finish that says error", message("坏了", finish="error"), UnknownCharge, "error_answer"),
    ("a picture", message("![Generated Image](https://gw.example.com/images/1.jpg)"), UpstreamFailed, "picture"),
    ("a picture as a data URL", message("data:image/png;base64,iVBO"), UpstreamFailed, "picture"),
    ("a picture as a part", message([{"image_url": {"url": f"{ROOT}/1.png"}}]), UpstreamFailed, "picture"),
    ("a picture as an images answer", json.dumps({"data": [{"b64_json": "iVBO"}]}), UpstreamFailed, "picture"),
    ("a refusal", message("抱歉，内容审核未通过"), Refused, ""),
    ("a refusal in English", message("I'm sorry, but I can't help with that."), Refused, ""),
    ("a refusal behind a long log", message("进度 1%\n" * 2000 + "您的提示词包含敏感内容"), Refused, ""),
    ("a refusal to make it", message("Sorry, I can't create videos of real people."), Refused, ""),
    ("a refusal to make such things", message("抱歉，我无法为您生成此类视频。"), Refused, ""),
    ("a refusal in its own field", message(None, refusal="no"), Refused, ""),
    ("a refusal as the finish", message("", finish="content_filter"), Refused, ""),
    ("a refusal as Google's finish", message("", finish="PROHIBITED_CONTENT"), Refused, ""),
    ("a refusal in thoughts alone", stream(GENERATING, {"reasoning_content": "❌ 生成失败: 内容违规"}), Refused, ""),
    ("a stream that ends in the middle", stream("![](/1.jpg)", finish=None, done=False), UnknownCharge, "cut"),
    ("an approval is no refusal", message("内容审核通过，但上游没有返回视频"), UnknownCharge, "no_link"),
    ("an error event", 'event: error\ndata: {"error":{"message":"No available accounts"}}\n\n', Retryable, "busy"),
    ("an error event in plain words", "event: error\ndata: it broke\n\n", UnknownCharge, "error_answer"),
    ("an error chunk", 'data: {"error":{"message":"insufficient quota"}}\n\n', OutOfQuota, ""),
    ("an error of one choice", '{"choices":[{"error":{"code":429,"message":"slow down"}}]}', Retryable, "busy"),
    ("an error after progress", stream("1%", done=False) + 'data: {"error":"rate limit"}\n', UnknownCharge, "started"),
    ("an error after thoughts", stream(GENERATING, done=False) + 'data: {"error":"quota"}\n', UnknownCharge, "started"),
    ("a refusal after progress", stream("1%", done=False) + 'data: {"error":"content moderated"}\n\n', Refused, ""),
    ("an error after an empty first delta", stream({"role": "assistant", "content": ""}, finish=None, done=False)
     + 'data: {"error":{"message":"rate limit reached"}}\n\n', Retryable, "busy"),
    ("an envelope without error", '{"code":"invalid_request","message":"prompt is required"}', BadInput, "rejected"),
    ("a job that failed", '{"status":"failed","fail_reason":"request failed"}', UnknownCharge, "error_answer"),
    ("a web page", "<!-- x --><html><video src=https://cdn.example.org/promo.mp4></html>", Misconfigured, "web_page"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "failure", "cause"), [pytest.param(*case[1:], id=case[0]) for case in NOTHING])
def test_every_answer_without_video_has_its_name(text: str, failure: type[Failure], cause: str) -> None:
    headers = {"Content-Type": "text/html"} if text.startswith("<!--") else {}
    for size in SIZES:
        result = read(text, size=size, headers=headers)
        assert isinstance(result, failure), result
        assert result.why.cause == cause


def test_what_was_said_is_the_reason() -> None:
    result = read(stream(GENERATING, {"reasoning_content": "x\n❌ 生成失败: 上游超时"}))
    assert isinstance(result, Failure)
    assert result.why.reason == "❌ 生成失败: 上游超时"


@pytest.mark.parametrize("ending", ["cut", "timeout"])
def test_a_line_that_broke_is_named(ending: Ending) -> None:
    result = read(stream("<think>1%", finish=None, done=False), ending=ending)
    assert isinstance(result, UnknownCharge)
    assert result.why.cause == ending


@pytest.mark.parametrize("key", ["data", "error", "video", "choices", "message"])
def test_json_deeper_than_python_goes_is_no_crash(key: str) -> None:
    for text in (f'{{"{key}":' * 700 + "1" + "}" * 700, f'{{"{key}":' + "[" * 700 + "]" * 700 + "}"):
        for body in (text, f"data: {text}\n\n"):
            assert isinstance(read(body), Failure)


class Line:
    """Stands for the transport: answers without a network."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    async def exchange(self, method: str, url: str, **more: Any) -> Answer:
        self.asked = {"method": method, "url": url, **more}
        more["on_text"](self.answer.text)
        return self.answer


async def submitted(answer: Answer, server: str = ROOT) -> tuple[VideoResult | Failure, dict[str, Any]]:
    line = Line(answer)
    service = GrokVideoService(VideoSettings(server_url=server, timeout_seconds=77), line)  # type: ignore[arg-type]
    try:
        result: VideoResult | Failure = await service.submit(
            VideoRequest("x"), model="grok-imagine-0.9", key="hunter22", report=lambda percent: None
        )
    except Failure as failure:
        result = failure
    return result, line.asked


async def test_one_paid_request_goes_to_the_completed_address() -> None:
    result, asked = await submitted(Answer(200, {}, stream(V)), "gw.example.com/grok/v1/")
    assert result == VideoResult(V)
    assert (asked["method"], asked["url"]) == ("POST", "https://gw.example.com/grok/v1/chat/completions")
    assert asked["billable"] is True
    assert asked["timeout"] == 77
    assert asked["headers"]["Authorization"] == "Bearer hunter22"


async def test_an_address_that_is_none_is_said_before_anything_is_sent() -> None:
    result, asked = await submitted(Answer(200, {}, ""), "not an address")
    assert isinstance(result, Misconfigured)
    assert not asked


async def test_a_large_answer_is_read_as_well() -> None:
    result, _ = await submitted(Answer(200, {}, message("x" * 300_000 + f" {V}")))
    assert result == VideoResult(V)


# ---- progress ----


def test_progress_is_told_as_it_comes() -> None:
    told: list[int] = []
    read(
        stream(
            *("<think>视频已生成1%\n", "当前进度34.5％\n", {"reasoning_content": "round=1/1 progress=79%"}),
            *("250%", "no number", {"content": None}, "完成</think>", V),
        ),
        report=told.append,
    )
    assert told == [1, 34, 79, 100]


# ---- bounds ----


@pytest.mark.parametrize("wrapped", ["json", "stream"])
@pytest.mark.parametrize("kind", ["plain prose of n", "JSON nested n deep", "base64, one line of n", "line ends"])
def test_ten_megabytes_take_bounded_time(kind: str, wrapped: str) -> None:
    content = KINDS[kind](10_000_000)
    pieces = [content[at : at + 100_000] for at in range(0, len(content), 100_000)]
    text = message(content) if wrapped == "json" else stream(*pieces)
    best = 9.0
    for _ in range(3):
        began = perf_counter()
        read(text, size=65536)
        best = min(best, perf_counter() - began)
        if best < 0.3:
            break
    assert best < 0.5


def test_a_line_that_never_ends_is_read_once() -> None:
    text = "data: " + "x" * 3_000_000
    began = perf_counter()
    read(text, size=200)
    assert perf_counter() - began < 0.5


FIELDS = (
    *("choices", "delta", "message", "content", "text", "type", "error", "finish_reason", "refusal"),
    *("reasoning_content", "code", "id", "data", "url", "video_url"),
)
BODIES = st.recursive(
    st.none() | st.integers() | st.sampled_from([V, SERVED, "1%", "error", "违规", ""]) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=2000)
@given(
    st.lists(BODIES, max_size=4),
    st.sampled_from(["data: ", "data:", "event: error\ndata: ", ""]),
    st.integers(1, 30),
)
def test_any_answer_is_a_result_or_a_named_failure(bodies: list[Any], prefix: str, size: int) -> None:
    text = "".join(f"{prefix}{json.dumps(body)}\n\n" for body in bodies)
    results = [read(text, size=size), read(text)]
    assert len({repr(result) for result in results}) == 1
