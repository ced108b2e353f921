"""Each error is named by what may be done next, in whatever words and envelope it comes.

What costs money when it is wrong: `Retryable` where something may have been taken (it is sent again), and `Refused` or
`BadInput` where a repeat would help. So the doubtful wordings stand here, too.
"""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import envelope
from core.errors import (
    AuthFailed,
    BadInput,
    Failure,
    Misconfigured,
    OutOfQuota,
    Refused,
    Retryable,
    UnknownCharge,
)
from tests.recorded import FAILURES, Recorded, those

# A chat's error at HTTP 200 is read by ChatReader, which has its own tests.
ERRORS = [
    one
    for one in those("create", "chat", kinds=("error", "refused"))
    if one.values[0].phase == "create" or one.values[0].status != 200
]


@pytest.mark.parametrize("one", ERRORS)
def test_recorded_error(one: Recorded) -> None:
    failure = envelope.name(one.status, one.headers, one.text)
    assert isinstance(failure, FAILURES[str(one.retry)]), failure
    assert isinstance(failure, Refused) is (one.kind == "refused")


def named(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    return envelope.name(status, headers or {}, body if isinstance(body, str) else json.dumps(body, ensure_ascii=False))


def openai(message: str, code: Any = "", type_: str = "") -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": type_, "param": None}}


CASES: dict[type[Failure], list[tuple[str, int, Any]]] = {
    BadInput: [
        ("a value the model lacks", 400, openai("aspect_ratio must be one of ['16:9']", "invalid_aspect_ratio")),
        ("FastAPI's list of complaints", 422, {"detail": [{"loc": ["body", "seconds"], "msg": "extra inputs"}]}),
        ("a picture it cannot read", 415, openai("Unsupported image format")),
        ("a name that is gone", 410, openai("gone")),
        ("no words at all", 400, ""),
        ("a page", 400, "<html><head><title>400 Bad Request</title></head></html>"),
        ("the prompt holds words of other rows", 400, openai("prompt too long: 'a moderate zoom in a queue'")),
        ("a parameter of a model, not the model", 400, openai("model veo3: duration 15 is not supported")),
        ("a token that is no key", 400, openai("max_tokens is required")),
        ("busy words under a definite no", 400, openai("image too large, please retry with a smaller one")),
        ("words of another row under a definite no", 422, {"detail": "the frame rate limit is 24"}),
        ("HTTP says fine, the type does not", 200, openai("bad", type_="invalid_request_error")),
        ("HTTP says fine, the words do not", 200, {"id": "", "status": "error", "error": "prompt is required"}),
        ("HTTP says fine, the code does not", 200, {"code": 400, "msg": "no"}),
        ("HTTP says fine, the words do not, in Chinese", 200, {"code": 1001, "message": "必传参数: image"}),
        ("a gateway that has the upstream's error as text", 400, openai('upstream: {"error":{"message":"bad size"}}')),
        ("too big for the server in front", 413, "<html><title>413 Request Entity Too Large</title></html>"),
    ],
    Refused: [
        ("moderation as 400", 400, openai("Your request was rejected by our safety system.", "moderation_blocked")),
        ("moderation as 403", 403, {"code": "permission_denied", "error": "Content violates usage guidelines."}),
        ("moderation as 500", 500, openai("generation failed: content moderated")),
        ("moderation as 502", 502, openai("Video blocked by content policy")),
        ("moderation as 200", 200, openai("PUBLIC_ERROR_UNSAFE_GENERATION")),
        ("xAI's code", 400, {"code": "imagine:content-moderated", "error": "no"}),
        ("Azure's code", 400, openai("filtered", "content_filter")),
        ("Google's words", 400, openai("violates Vertex AI's usage guidelines; responsible AI practices")),
        ("a flagged prompt", 400, openai("Your prompt was flagged")),
        ("a policy that is violated", 400, openai("This violates our community rules")),
        ("nsfw", 422, {"detail": "NSFW content detected"}),
        ("sensitive words", 400, {"message": "prompt contains sensitive words"}),
        ("Chinese: did not pass", 400, {"message": "内容审核未通过"}),
        ("Chinese: breaks rules", 400, {"message": "提示词包含违规内容"}),
        ("Chinese: sensitive", 200, {"code": 50412, "message": "输入图片涉及敏感信息"}),
        ("Chinese: content safety", 500, openai("命中内容安全策略")),
        ("escaped in a query", 400, "error=content%20moderation"),
    ],
    AuthFailed: [
        ("401 without words", 401, ""),
        ("401 that talks of requests", 401, openai("No API key provided", "invalid_request_error")),
        ("401 as a page", 401, "<html><title>401 Authorization Required</title></html>"),
        ("401 in Chinese", 401, openai("无效的令牌 (request id: 1)")),
        ("xAI: a wrong key is 400", 400, {"code": "invalid-argument", "error": "Incorrect API key provided: ab***yz."}),
        ("xAI: percent-encoded", 400, "Incorrect%20API%20key%20provided"),
        ("Google: a wrong key is 400", 400, openai("API key not valid. Please pass a valid API key.")),
        ("a missing key is 400", 400, openai("missing api_key")),
        ("403 of a gateway", 403, openai("forbidden")),
        ("403 in Chinese", 403, {"message": "该令牌状态不可用"}),
        ("HTTP says fine", 200, {"success": False, "message": "Unauthorized"}),
        ("HTTP says fine, the code does not", 200, openai("who are you", 401)),
        ("HTTP says fine, the body's status does not", 200, {"status": 401, "message": "who are you"}),
        ("a wrong key in Chinese", 400, openai("API Key 无效")),
        ("a wrong key in Chinese, the other way round", 400, openai("无效的 API Key")),
        ("an expired token", 403, openai("token expired")),
    ],
    OutOfQuota: [
        ("402", 402, ""),
        ("402 with words", 402, openai("Payment Required")),
        ("429 that is no rate", 429, openai("You exceeded your current quota, please check your plan and billing")),
        ("429 by its code", 429, openai("当前分组上游负载已饱和，请稍后再试", "insufficient_user_quota")),
        ("429 by its type", 429, openai("busy", type_="insufficient_quota")),
        ("429: the Go rewrite", 429, openai("limit", "billing_limit_exceeded")),
        ("403 with a balance", 403, openai("用户额度不足, 剩余额度: $0.00")),
        ("400 with a package", 400, openai("您正在使用的访问令牌尚未绑定到任何资源包", "400")),
        ("401 of a used-up token", 401, openai("该令牌额度已用尽")),
        ("500 with a balance", 500, openai("预扣费失败，余额不足")),
        ("HTTP says fine", 200, {"code": -1, "msg": "账户欠费，请充值"}),
        ("xAI's free credits", 429, {"error": "Free usage quota exceeded. Purchase credits"}),
        ("credits that are low", 400, openai("Your credit balance is too low")),
        ("no credits", 403, openai("You have no credits left")),
        ("no more credits", 400, openai("You are out of credits")),
        ("a limit on spending", 400, openai("monthly spending limit reached")),
        ("points instead of money", 200, {"code": 1, "message": "积分不足"}),
    ],
    Retryable: [
        ("429 without words", 429, ""),
        ("429 as a page", 429, "<html><title>429 Too Many Requests</title></html>"),
        ("429: rate", 429, openai("Rate limit reached", "rate_limit_exceeded")),
        ("429: xAI's teams", 429, {"error": "Too many requests for team 1 (actual/limit): 2/2"}),
        ("425", 425, ""),
        ("503 that says why", 503, openai("upstream_unavailable")),
        ("503: Google's overload", 503, openai("The model is overloaded. Please try again later.", 503, "UNAVAILABLE")),
        ("500 of a full pool", 500, {"id": "", "status": "error", "error": "当前分组上游负载已饱和，请稍后再试"}),
        ("500 that hides a 429", 500, openai("{'error': {'message': '请求失败: 429 - Too Many', 'type': 'x'}}")),
        ("500 that hides the code", 500, openai("upstream", 429)),
        ("403 that is a rate", 403, openai("rate limit exceeded")),
        ("an empty pool", 200, openai("No available accounts for video generation", "rate_limit_exceeded")),
        ("an empty pool in Chinese", 502, openai("暂无可用账号")),
        ("too often", 200, {"code": 1, "message": "请求过于频繁"}),
        ("HTTP says fine, the code does not", 200, openai("wait", "429")),
        ("a chat's own id is no job", 200, {"id": "chatcmpl-1", "object": "chat.completion.chunk", **openai("", 429)}),
        ("Google's delay", 429, {"error": {"code": 429, "message": "Quota exceeded for requests per minute",
                                           "details": [{"@type": "x"}, {"retryDelay": "39s"}]}}),
    ],
    UnknownCharge: [
        ("500 without words", 500, ""),
        ("500 with words", 500, openai("internal error", "internal_error")),
        ("500: busy is no definite no", 500, openai("系统繁忙，请稍后再试")),
        ("502: try again later is no definite no", 502, openai("Bad gateway, please try again later")),
        ("504: try again later in Chinese", 504, {"message": "生成超时，请稍后再试"}),
        ("502 of nginx", 502, "<html><head><title>502 Bad Gateway</title></head></html>"),
        ("503 of nginx says no reason", 503, "<html><title>503 Service Temporarily Unavailable</title></html>"),
        ("503 in plain text", 503, "upstream connect error or disconnect/reset before headers"),
        ("520 of Cloudflare", 520, "error code: 520"),
        ("524 of Cloudflare", 524, "<!DOCTYPE html><title>524: A timeout occurred</title>"),
        ("408 that waited for the upstream", 408, openai("upstream request timeout")),
        ("499 of a gateway", 499, openai("client closed request")),
        ("moderated, but nobody says so", 502, openai("Video round 1/1 missing final video_url", "upstream_error")),
        ("a failed request inside", 200, openai("upstream error: do request failed", "do_request_failed")),
        ("HTTP says fine, the code is 500", 200, {"code": 500, "message": "oops"}),
        ("an error that names a job", 503, {"id": "video_1", "error": {"message": "overloaded"}}),
        ("an error that names a task", 429, {"task_id": "1", "message": "rate limit"}),
        ("an error of another shape", 200, {"error": True}),
    ],
    Misconfigured: [
        ("404", 404, openai("not here")),
        ("404 of gin", 404, "404 page not found"),
        ("405 of nginx", 405, "<html><title>405 Not Allowed</title></html>"),
        ("no such model", 404, openai("The model `grok-x` does not exist or your team does not have access to it.")),
        ("no such model as 400", 400, openai("unknown model: veo9")),
        ("no such model by its code", 400, openai("x", "model_not_found")),
        ("no channel for it", 503, openai("当前分组 default 下对于模型 veo3 无可用渠道")),
        ("no right to it", 403, openai("该令牌无权访问模型 veo3")),
        ("Model Not Exist", 400, openai("Model Not Exist")),
        ("Cloudflare's challenge", 403, "<!DOCTYPE html><title>Just a moment...</title>"),
        ("403 of a firewall", 403, "<html><title>403 Forbidden</title></html>"),
        ("a blocked address", 500, openai("{'error': {'message': '您的IP被拦截', 'type': 'x'}}")),
        ("an address that is not on the list", 403, openai("ip 1.2.3.4 is not allowed")),
        ("a country", 403, openai("Country, region, or territory not supported")),
        ("it moved", 301, ""),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "status", "body"),
    [pytest.param(kind, *case[1:], id=f"{kind.kind}: {case[0]}") for kind, cases in CASES.items() for case in cases],
)
def test_every_wording_has_its_name(failure: type[Failure], status: int, body: Any) -> None:
    found = named(status, body)
    assert type(found) is failure, found


CAUSES: list[tuple[str, int, Any, str]] = [
    ("the address", 404, "404 page not found", "not_found"),
    ("the model", 404, openai("The model x does not exist"), "model"),
    ("the network", 403, "<title>Just a moment...</title>", "blocked"),
    ("the picture", 413, "", "picture_too_big"),
    ("the status", 502, "", "http_status"),
]


@pytest.mark.parametrize(("status", "body", "cause"), [pytest.param(*case[1:], id=case[0]) for case in CAUSES])
def test_the_cause_says_what_to_look_at(status: int, body: Any, cause: str) -> None:
    assert named(status, body).why.cause == cause


REASONS: list[tuple[str, Any, str]] = [
    ("OpenAI", openai("the words"), "the words"),
    ("xAI", {"code": "invalid-argument", "error": "the words"}, "the words"),
    ("flat", {"message": "the words"}, "the words"),
    ("FastAPI", {"detail": "the words"}, "the words"),
    ("a list of errors", {"errors": [{"message": "the words"}]}, "the words"),
    ("Gitee's task", {"status": "failure", "output": {"error": {"code": 500, "message": "the words"}}}, "the words"),
    *((key, {key: "the words"}, "the words") for key in ("errors", "error_message", "error_msg", "errmsg", "msg")),
    *((key, {key: "the words"}, "the words") for key in ("reason", "output", "fail_reason", "error_description")),
    ("data", {"code": 1, "data": {"message": "the words"}}, "the words"),
    ("JSON in JSON", openai('{"error": {"message": "the words"}}'), "the words"),
    ("JSON behind words", {"message": 'upstream: {"error": {"message": "the words"}}'}, "the words"),
    ("a Python dict in JSON", openai("{'error': {'message': 'the words', 'code': None}}"), "the words"),
    ("a stream's error", 'event: error\ndata: {"error": {"message": "the words"}}\n\n', "the words"),
    ("a page's title", "<!doctype html><html><head><title> the words </title></head><body>x</body>", "the words"),
    ("plain text", "the words", "the words"),
    ("braces that are no error", openai("use {name} instead"), "use {name} instead"),
    ("braces with bad Python", openai("{'a': [}"), "{'a': [}"),
    ("a key that cannot be one", openai("{'error': 1, []: 2}"), "{'error': 1, []: 2}"),
    ("nothing", {"error": None}, ""),
]


@pytest.mark.parametrize(("body", "reason"), [pytest.param(*case[1:], id=case[0]) for case in REASONS])
def test_the_reason_is_the_innermost_words(body: Any, reason: str) -> None:
    assert named(500, body).why.reason == reason


DELAYS: list[tuple[str, dict[str, str], Any, float | None]] = [
    ("seconds", {"Retry-After": "7"}, openai("rate limit"), 7),
    ("as HTTP/2 writes it", {"retry-after": "7"}, openai("rate limit"), 7),
    ("a date that is past", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, openai("rate limit"), 0),
    ("nonsense", {"Retry-After": "soon"}, openai("rate limit"), None),
    ("none", {}, openai("rate limit"), None),
    ("Google's", {}, {"error": {"message": "x", "details": [{"retryDelay": "39.5s"}]}}, 39.5),
    ("Google's, unreadable", {}, {"error": {"message": "x", "details": [7, {"retryDelay": "a while"}]}}, None),
]


@pytest.mark.parametrize(("headers", "body", "delay"), [pytest.param(*case[1:], id=case[0]) for case in DELAYS])
def test_the_delay_that_is_asked_for(headers: dict[str, str], body: Any, delay: float | None) -> None:
    failure = named(429, body, headers)
    assert isinstance(failure, Retryable)
    assert failure.why.cause == "busy"
    assert failure.retry_after == delay


def test_a_redirect_says_where_to() -> None:
    assert named(308, "", {"Location": "https://new.example/"}).why.facts == {"to": "https://new.example/"}


@pytest.mark.parametrize("kind", [AuthFailed, OutOfQuota, Retryable, BadInput, Misconfigured])
def test_nothing_is_certain_once_it_has_started(kind: type[Failure]) -> None:
    for _, status, body in CASES[kind]:
        if isinstance(body, dict):
            assert isinstance(envelope.name_value(status, {}, body, started=True), UnknownCharge), body


def test_a_refusal_stays_one_even_then() -> None:
    assert isinstance(envelope.name_value(200, {}, openai("content moderated"), started=True), Refused)


PAGES = [
    ("a doctype", "<!DOCTYPE html>", True),
    ("a tag", "\n <html lang=en>", True),
    ("JSON", '{"html": 1}', False),
    ("a video", "<video src=/a.mp4>", False),
    ("a tag that only begins alike", "<header>", False),
]


@pytest.mark.parametrize(("text", "page"), [pytest.param(*case[1:], id=case[0]) for case in PAGES])
def test_what_a_web_page_is(text: str, page: bool) -> None:
    assert envelope.is_html(text) is page


@pytest.mark.parametrize("text", ["", "x", "{", "[" * 100_000, '{"a":' * 100_000, "\ufeff", "NaNs", '"\\ud8"'])
def test_what_is_no_json_is_none(text: str) -> None:
    assert envelope.read_json(text) is None


def test_a_byte_order_mark_is_no_content() -> None:
    assert envelope.read_json('\ufeff{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "text", ["moderated " * 1_000_000, "model " * 1_500_000, "{'" * 5_000_000, "polic" * 2_000_000]
)
def test_ten_megabytes_of_error_take_bounded_time(text: str) -> None:
    for body in (text, json.dumps({"error": {"message": text, "code": text}})):
        began = perf_counter()
        envelope.name(500, {}, body)
        envelope.is_refusal(text)
        assert perf_counter() - began < 0.5


WORDS = st.sampled_from(
    ["quota", "审核", "429", "{'error': ", "}", '{"error":', "[", "\\d", "retryDelay", "39s", "\ud800"]
)
BODY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "details", "id", "output", "type"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=2000)
@given(st.integers(200, 599), st.one_of(BODY, st.lists(WORDS).map("".join)))
def test_any_answer_is_named(status: int, body: Any) -> None:
    assert isinstance(named(status, body), Failure)
