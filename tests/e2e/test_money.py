"""At most one paid request, whatever the gateway does; and every ending is told in words."""

import asyncio
import time

import pytest

from devtools.rig import Rig, Step, drop, empty, error, hang, html_error, moderated, ok, onebot, rate_limited
from tests.e2e.world import link, picture

PANEL = {"timeout_seconds": 3, "api_key": "sk-rig-1\nsk-rig-2"}

UNCLEAR = {
    "500": error(500, "boom"),
    "502 page": html_error(502),
    "504": error(504, "idle timeout"),
    "520 text": Step(status=520, body="error code: 520", content_type="text/plain"),
    "line dropped": drop(),
    "line cut": Step(fail="cut"),
    "nothing": empty(),
    "no end": hang(),
    "error in the text": Step(content="Error: Too many requests"),
}
DEFINITE = {
    "400": (error(400, "aspect_ratio must be one of", "invalid_request_error"), "上游不接受"),
    "401": (error(401, "invalid key", "unauthorized"), "Key"),
    "402": (error(402, "pay first", "payment_required"), "余额"),
    "quota in a 429": (error(429, "busy", "insufficient_user_quota"), "余额"),
    "moderation": (moderated(), "审核"),
    "404 model": (error(404, "The model `x` does not exist", "model_not_found"), "没有这个模型"),
    "web page": (Step(body="<!doctype html><title>New API</title>", content_type="text/html"), "网页"),
    "a picture": (Step(content="![Generated Image](https://h.example.com/a.jpg)"), "图片而不是视频"),
}


async def told(rig: Rig, step: Step, user: int) -> tuple[str, int]:
    """Let one answer be the only one; what the person reads, and how many requests it took."""
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    rig.up.grok.default = step
    message = await rig.qq.group("/视频 钱", onebot.image(picture(rig)), user=user)
    said = await rig.qq.wait_sent(lambda one: "❌" in one.text or "⚠️" in one.text, since=sent, timeout=15)
    await asyncio.sleep(0.3)
    assert ("106", True) in rig.qq.emojis(message, mark)
    assert said.replies_to == message
    return said.text, len(rig.up.grok.creates(mark))


@pytest.mark.parametrize("name", UNCLEAR)
async def test_what_may_have_been_charged_is_never_repeated(rig: Rig, name: str) -> None:
    text, creates = await told(rig, UNCLEAR[name], 100 + list(UNCLEAR).index(name))
    assert creates == 1
    assert "可能已经扣费" in text


@pytest.mark.parametrize("name", DEFINITE)
async def test_definite_refusals_are_explained(rig: Rig, name: str) -> None:
    step, words = DEFINITE[name]
    text, creates = await told(rig, step, 200 + list(DEFINITE).index(name))
    assert words in text
    assert creates == (2 if name in ("401", "402", "quota in a 429") else 1), "only another key may be tried"
    assert "sk-rig" not in text


async def test_certainly_not_taken_is_tried_again(rig: Rig) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    rig.up.grok.plan(rate_limited(1), error(503, "No available tokens. Please try again later.", "rate_limit_exceeded"))
    await rig.qq.group("/视频 再试", onebot.image(picture(rig)), user=301)
    await rig.qq.wait_video(since=sent)
    first, second, third = (create.t for create in rig.up.grok.creates(mark))
    assert second - first >= 1, "Retry-After comes first"
    assert 0.1 <= third - second < 1
    assert len(rig.up.grok.creates(mark)) == 3


async def test_retries_end(rig: Rig) -> None:
    text, creates = await told(rig, rate_limited(), 302)
    assert creates == 3
    assert "没有扣费" in text


async def test_keys_take_turns_and_a_refused_one_rests(rig: Rig) -> None:
    rig.up.grok.default = ok(link(rig))
    rig.up.grok.keys = {"sk-rig-2"}
    mark = rig.timeline.mark()
    for number in range(3):
        sent = len(rig.qq.sent)
        await rig.qq.group(f"/视频 钥匙{number}", onebot.image(picture(rig)), user=310 + number)
        await rig.qq.wait_video(since=sent)
    used = [create.data["auth"] for create in rig.up.grok.creates(mark)]
    assert used.count("Bearer sk-rig-1") <= 1
    assert used.count("Bearer sk-rig-2") == 3


async def test_one_job_a_person_and_cancelling(rig: Rig) -> None:
    rig.up.grok.default = ok(link(rig), delay=2.5)
    mark, sent, user = rig.timeline.mark(), len(rig.qq.sent), 320
    for number in range(6):
        await rig.qq.group(f"/视频 很多{number}", onebot.image(picture(rig)), user=user)
        await asyncio.sleep(0.1)
    refusal = await rig.qq.wait_sent(lambda one: "上限 5" in one.text, since=sent)
    assert "/视频取消" in refusal.text
    await rig.qq.group("/视频任务", user=user)
    listed = await rig.qq.wait_sent(lambda one: one.text.startswith("视频任务"), since=sent)
    assert "生成中" in listed.text
    assert "秒" in listed.text
    await rig.qq.group("/视频取消 99999", user=user)
    await rig.qq.wait_sent(lambda one: "没有编号" in one.text, since=sent)
    number = int(listed.text.split("#")[1].split()[0])
    await rig.qq.group(f"/视频取消 {number}", user=999)
    await rig.qq.wait_sent(lambda one: "不是你的" in one.text, since=sent)
    for _ in range(5):
        n = len(rig.qq.sent)
        await rig.qq.group("/视频取消", user=user)
        await rig.qq.wait_sent(lambda one: "🛑" in one.text, since=n)
    assert len(rig.up.grok.creates(mark)) == 4, "the fifth was still waiting and cost nothing"
    texts = [one.text for one in rig.qq.sent[sent:] if "🛑" in one.text]
    assert sum("不会扣费" in text for text in texts) == 1
    assert sum("可能仍会扣费" in text for text in texts) == 4
    await asyncio.sleep(3)
    assert not [one for one in rig.qq.sent[sent:] if one.videos], "a cancelled video does not come after all"


async def test_a_slow_emoji_delays_nothing(rig: Rig) -> None:
    rig.up.grok.default = ok(link(rig), delay=0.2)
    rig.qq.fail("set_msg_emoji_like", "hang", times=-1)
    begun, sent = time.time(), len(rig.qq.sent)
    await rig.qq.group("/视频 表情很慢", onebot.image(picture(rig)), user=330)
    await rig.qq.wait_video(since=sent)
    assert time.time() - begun < 2


async def test_a_refused_emoji_becomes_words(rig: Rig) -> None:
    rig.qq.fail("set_msg_emoji_like", "error", times=-1)
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 不能贴表情", onebot.image(picture(rig)), user=331)
    await rig.qq.wait_sent(lambda one: "收到" in one.text, since=sent)
    await rig.qq.wait_video(since=sent)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("/视频", "用法"),
        ("/视频 @nobody 动", "可用：@grok"),
        ("/视频 @某人", "没有叫"),
        ("/视频帮助", "/视频取消"),
        ("/视频预设", "还没有预设"),
        ("/视频重发 abc", "编号应是数字"),
        ("/视频重发 12345", "没有编号"),
        ("/视频取消", "没有可以取消"),
    ],
)
async def test_commands_answer_in_words(rig: Rig, text: str, answer: str) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.group(text, user=340)
    assert answer in (await rig.qq.wait_sent(since=sent)).text
    assert not rig.llm.requests(mark), "the chat's own LLM keeps out of it"
