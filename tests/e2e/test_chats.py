"""The main job on each chat: picture and words in, video out, one paid request."""

import asyncio
import time

from devtools.rig import Rig, call_tool, make_png, ok, onebot, say, sha
from tests.e2e.world import MP4, PICTURE, link, picture


async def test_qq_group(rig: Rig) -> None:
    mark, sent, begun = rig.timeline.mark(), len(rig.qq.sent), time.time()
    message = await rig.qq.group("/视频 让它动起来", onebot.image(picture(rig)))
    video = await rig.qq.wait_video(since=sent)
    assert video.videos[0].sha == sha(MP4)
    assert [part["type"] for part in video.segments] == ["video"], "QQ takes no video together with anything else"
    first = rig.timeline.select("qq", "set_msg_emoji_like", since=mark)[0]
    assert first.t - begun < 1, "the bot reacts at once"
    await rig.timeline.wait("qq", "set_msg_emoji_like", since=mark, count=3)
    assert rig.qq.emojis(message, mark) == [("125", True), ("79", True), ("125", False)]
    (create,) = rig.up.grok.creates(mark)
    text, image = create.data["body"]["messages"][0]["content"]
    assert text == {"type": "text", "text": "让它动起来"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert create.data["body"] | {"messages": 0} == {"model": "grok-imagine-0.9", "stream": True, "messages": 0}


async def test_qq_private_quoted_picture(rig: Rig) -> None:
    sent = len(rig.qq.sent)
    shown = await rig.qq.private("看", onebot.image(picture(rig)))
    await rig.qq.wait_sent(since=sent)  # the chat's own LLM answers
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.private(onebot.reply(shown), "/视频 引用的图")
    assert (await rig.qq.wait_video(since=sent)).target[0] == "private"
    assert len(rig.up.grok.creates(mark)[0].data["body"]["messages"][0]["content"]) == 2


async def test_telegram(rig: Rig) -> None:
    mark = rig.timeline.mark()
    await rig.tg.message("/视频 动起来 6s", photo=PICTURE)
    video = await rig.tg.wait("sendVideo", since=mark, timeout=20)
    assert video.data["media"]["sha"] == sha(MP4)
    moods = [call.data["reaction"] for call in rig.timeline.select("tg", "setMessageReaction", since=mark)]
    await rig.timeline.wait("tg", "setMessageReaction", since=mark, count=2)
    assert all(call.outcome == "ok" for call in rig.timeline.select("tg", "setMessageReaction", since=mark)), moods
    note = await rig.tg.wait("sendMessage", since=mark)  # 0.9 has one length: said, not refused
    assert "时长" in note.data["text"]
    assert len(rig.up.grok.creates(mark)) == 1


async def test_webchat(rig: Rig) -> None:
    mark = rig.timeline.mark()
    uploaded = await rig.web.upload("in.png", PICTURE, "image/png")
    chat = await rig.web.chat("/视频 动起来", uploaded)
    assert "收到" in chat.text
    assert chat.ended
    parts = await rig.web.wait_said(chat.session_id, lambda part: part["type"] in ("video", "file"))
    assert sha(await rig.web.attachment(parts["attachment_id"])) == sha(MP4)
    await asyncio.sleep(0.5)
    kinds = [part["type"] for part in await rig.web.said(chat.session_id)]
    assert kinds.count("video") + kinds.count("file") == 1, kinds
    assert len(rig.up.grok.creates(mark)) == 1


async def test_llm_tool(rig: Rig) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    rig.up.grok.default = ok(link(rig), delay=1)
    wish = call_tool("gitee_generate_video", prompt="a dog runs")
    rig.llm.script(wish, wish, say("马上就好"))
    begun = time.time()
    await rig.qq.group("/帮我做个小狗跑步的视频", onebot.image(picture(rig)))
    assert (await rig.qq.wait_sent(lambda one: one.text == "马上就好", since=sent)).t - begun < 2
    assert (await rig.qq.wait_video(since=sent)).videos[0].sha == sha(MP4)
    first, again = rig.llm.tool_results(rig.llm.requests(mark)[-1])
    assert "不要再次调用" in first
    assert "已经是任务" in again
    assert len(rig.up.grok.creates(mark)) == 1
    await asyncio.sleep(0.5)
    mark = rig.timeline.mark()
    await rig.qq.group("/后来呢")
    asked = await rig.timeline.wait("llm", "chat", since=mark)
    assert "已完成" in str(asked.data["messages"]), "the model knows later how it ended"
    schema = rig.llm.tools(asked)["gitee_generate_video"]["parameters"]["properties"]
    assert set(schema) == {"prompt", "mode", "duration", "aspect_ratio", "resolution"}


async def test_redelivered_event_makes_one_job(rig: Rig) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    message = await rig.qq.group("/视频 只做一次", onebot.image(picture(rig)))
    await rig.qq.redeliver(message)
    await rig.qq.wait_video(since=sent)
    await asyncio.sleep(1)
    assert len(rig.up.grok.creates(mark)) == 1
    assert len([one for one in rig.qq.sent[sent:] if one.videos]) == 1


async def test_thirty_people_at_once(rig: Rig) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    rig.up.grok.default = ok(link(rig), delay=0.5)
    for person in range(30):
        await rig.qq.group(f"/视频 第{person}个", onebot.image(picture(rig)), user=5000 + person, group=9000 + person)
    for person in range(30):
        group = 9000 + person
        await rig.qq.wait_sent(lambda one, g=group: bool(one.videos) and one.target[1] == g, since=sent, timeout=40)
    assert len(rig.up.grok.creates(mark)) == 30
    queued = [one.text for one in rig.qq.sent[sent:] if "排队" in one.text]
    assert len(queued) == 26, "four at a time; the others are told their place"


async def test_avatar_when_there_is_no_picture(rig: Rig) -> None:
    """QQ's avatars are not reachable here: the way there is tried, and the person hears why it fails."""
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.group("/视频 让我动起来")
    told = await rig.qq.wait_sent(lambda one: "❌" in one.text, since=sent)
    assert "头像" in told.text
    assert [row["host"] for row in rig.bot.egress()] == ["q4.qlogo.cn"]
    rig.bot.egress_log.unlink()  # the module's own check is about everything else
    assert not rig.up.grok.creates(mark)


async def test_broken_picture_is_skipped_and_all_broken_is_said(rig: Rig) -> None:
    broken = rig.files.put("broken.png", make_png()[:60])
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.group("/视频 跳过坏图", onebot.image(broken), onebot.image(picture(rig)))
    await rig.qq.wait_video(since=sent)
    assert len(rig.up.grok.creates(mark)) == 1
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.group("/视频 只有坏图", onebot.image(broken))
    assert "图片读不了" in (await rig.qq.wait_sent(lambda one: "❌" in one.text, since=sent)).text
    assert not rig.up.grok.creates(mark)
