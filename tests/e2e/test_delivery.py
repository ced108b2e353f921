"""What may stand between a finished video and the person who waits for it."""

import asyncio
import base64
import copy
import os
import re
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.rig import Rig, Serve, make_mp4, ok, onebot, sha
from devtools.rig.faults import FaultKind
from devtools.rig.media import pad_mp4
from devtools.rig.qq import Sent
from tests.e2e.world import ADMIN, MP4, PICTURE, forget, link, picture

PANEL = {"max_video_mb": 1}
QQ_PATIENCE = 3.0


async def wait_ending(rig: Rig, sent: int) -> str:
    """What the person reads when no video can come."""
    return (await rig.qq.wait_sent(lambda one: "❌" in one.text or "链接" in one.text, since=sent, timeout=20)).text


def of(*kinds: str) -> Callable[[dict[str, Any]], bool]:
    """Calls that send one of these."""
    return lambda call: call["message"][0]["type"] in kinds


@asynccontextmanager
async def settings(rig: Rig, **sections: dict[str, Any]) -> AsyncIterator[None]:
    """Another panel for a while."""
    before = (await rig.web.config(rig.bot.name))["config"]
    after = copy.deepcopy(before)
    for name, changed in sections.items():
        after[name] |= changed
    await rig.web.save_config(rig.bot.name, after)
    try:
        yield
    finally:
        await rig.web.save_config(rig.bot.name, before)


def heard(rig: Rig, group: int) -> list[Sent]:
    """What stands in a group of the bot's."""
    return [one for one in rig.qq.sent if one.target[1] == group]


def shown(sent: list[Sent]) -> list[str]:
    """The videos among it, by what they were called; files too."""
    return [
        media.source.partition(":")[0] if media.type == "video" else media.type for one in sent for media in one.media
    ]


# ---- QQ says no ----

FORMS = ["http", "file", "file", "base64", "file"]  # by link, by path, in pieces, as content, as a file


@pytest.mark.parametrize("refusals", range(6), ids=lambda times: f"1200 x{times}")
async def test_qq_refuses_rich_media(rig: Rig, refusals: int) -> None:
    group = 41_000 + refusals
    mark = rig.timeline.mark()
    rig.qq.fail("send_group_msg", retcode=1200, times=refusals, when=of("video", "file"))
    message = await rig.qq.group("/视频 富媒体失败", onebot.image(picture(rig)), user=1000 + refusals, group=group)
    got = await rig.qq.wait_sent(lambda one: one.target[1] == group, timeout=20)
    if refusals == 5:
        assert link(rig) in got.text
    else:
        assert got.media[0].sha == sha(MP4)
        assert got.media[0].type == ("file" if refusals == 4 else "video")
        assert got.media[0].source.startswith(FORMS[refusals])
        assert ("/napcat/" in got.media[0].source) is (refusals == 2)
    await asyncio.sleep(0.5)
    assert len(heard(rig, group)) == 1, "once, in one form"
    assert len(rig.up.grok.creates(mark)) == 1
    assert ("79", True) in rig.qq.emojis(message, mark)


async def test_what_was_refused_is_not_tried_first_again(rig: Rig) -> None:
    rig.qq.fail("send_group_msg", retcode=1200, when=of("video"))
    for turn, tried in enumerate(([False, True], [True])):
        mark, group = rig.timeline.mark(), 41_010 + turn
        await rig.qq.group("/视频 记住", onebot.image(picture(rig)), user=group, group=group)
        await rig.qq.wait_sent(lambda one, group=group: one.target[1] == group, timeout=20)  # type: ignore[misc]
        sends = rig.timeline.select("qq", "send_group_msg", since=mark)
        assert [call.data["message"][0]["data"]["file"].startswith("file:") for call in sends] == tried


# ---- QQ in another container ----


async def test_separate_file_systems(rig: Rig) -> None:
    """Links work, paths do not; what is handed over in pieces does."""
    rig.qq.shares_filesystem = False
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 两个容器", onebot.image(picture(rig)), user=1010)
    assert (await rig.qq.wait_video(since=sent)).videos[0].sha == sha(MP4)
    rig.qq.fail("send_group_msg", retcode=1200, when=of("video"))  # not even the link
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 链接也不行", onebot.image(picture(rig)), user=1011)
    video = await rig.qq.wait_video(since=sent)
    assert video.videos[0].source.startswith("file:///napcat/")
    assert video.videos[0].sha == sha(MP4)
    forget(rig)
    rig.qq.fail("send_group_msg", retcode=1200, when=of("video"))
    rig.qq.fail("upload_file_stream", retcode=1404, message="不支持的api")  # an older NapCat, or another bridge
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 分片也不行", onebot.image(picture(rig)), user=1012)
    video = await rig.qq.wait_video(since=sent)
    assert video.videos[0].source.startswith("base64://")
    assert video.videos[0].sha == sha(MP4)


async def test_separate_file_systems_and_no_link_to_show(rig: Rig) -> None:
    """Larger than one piece; the video came inside the answer, so there is no link at all."""
    rig.qq.shares_filesystem = False
    large = MP4 + struct.pack(">I4s", 1_200_008, b"free") + os.urandom(1_200_000)
    rig.up.grok.default = ok("data:video/mp4;base64," + base64.b64encode(large).decode())
    async with settings(rig, video={"max_video_mb": 10}):
        mark, sent = rig.timeline.mark(), len(rig.qq.sent)
        await rig.qq.group("/视频 没有链接", onebot.image(picture(rig)), user=1013)
        video = await rig.qq.wait_video(since=sent)
    assert (video.videos[0].source[:14], video.videos[0].sha) == ("file:///napcat", sha(large))
    assert len(rig.timeline.select("qq", "upload_file_stream", since=mark)) == 3, "two pieces and the end"
    assert not [one for one in rig.qq.sent[sent:] if one.text]


# ---- did it arrive? ----


async def test_a_lost_answer_that_history_confirms(rig: Rig) -> None:
    """QQ delivers and does not say so: the chat's history does."""
    group = 41_020
    mark = rig.timeline.mark()
    rig.qq.fail("send_group_msg", "lost", when=of("video"))
    message = await rig.qq.group("/视频 回执丢了", onebot.image(picture(rig)), user=group, group=group)
    await rig.timeline.wait("qq", "get_group_msg_history", since=mark, timeout=20)
    await rig.timeline.wait("qq", "set_msg_emoji_like", since=mark, where=lambda call: call.data["emoji_id"] == "79")
    await asyncio.sleep(0.5)
    assert shown(heard(rig, group)) == ["http"]
    assert [one.text for one in heard(rig, group)] == [""], "nobody is bothered"
    assert ("79", True) in rig.qq.emojis(message, mark)
    assert "#1 已完成" in await jobs(rig, group)


async def jobs(rig: Rig, group: int) -> str:
    """What ``/视频任务`` says of a person."""
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频任务", user=group, group=group)
    return (await rig.qq.wait_sent(lambda one: one.text.startswith("视频任务"), since=sent)).text


@pytest.mark.parametrize("kind", ["lost", "hang", "disconnect"])
async def test_an_ending_that_nobody_knows(rig: Rig, kind: FaultKind) -> None:
    """No history either: told, with the link, and no second video whatever comes."""
    group = 41_030 + ["lost", "hang", "disconnect"].index(kind)
    rig.qq.fail("send_group_msg", kind, when=of("video"))
    rig.qq.fail("get_group_msg_history", retcode=1404, message="不支持的api")
    await rig.qq.group("/视频 没人知道", onebot.image(picture(rig)), user=group, group=group)
    told = await rig.qq.wait_sent(lambda one: one.target[1] == group and bool(one.text), timeout=20)
    assert "/视频重发" in told.text
    assert link(rig) in told.text
    await asyncio.sleep(1)
    assert shown(heard(rig, group)) == (["http"] if kind == "lost" else [])
    assert len([one for one in heard(rig, group) if one.text]) == 1
    await rig.qq.group("/视频重发", user=group, group=group)
    await rig.timeline.wait(
        "qq", "DELIVERED", where=lambda call: call.data["to"] == ("group", group) and bool(call.data["media"]),
        count=2 if kind == "lost" else 1,
    )  # fmt: skip


async def test_a_private_chat_is_looked_up_too(rig: Rig) -> None:
    mark, user = rig.timeline.mark(), 41_040
    rig.qq.fail("send_private_msg", "lost", when=of("video"))
    await rig.qq.private("/视频 私聊", onebot.image(picture(rig)), user=user)
    await rig.timeline.wait("qq", "get_friend_msg_history", since=mark, timeout=20)
    await asyncio.sleep(0.5)
    assert shown(heard(rig, user)) == ["http"]
    assert not [one for one in heard(rig, user) if one.text]


# ---- too large ----


@pytest.fixture
def large(rig: Rig, tmp_path: Path) -> Callable[[int], str]:
    """The upstream's video has so many MB."""

    def make(megabytes: int) -> str:
        path = pad_mp4(tmp_path / "large.mp4", MP4, megabytes << 20)
        url = rig.files.put("large.mp4", Serve(path), host="cdn.rig.test")
        rig.up.grok.default = ok(url)
        return url

    return make


@pytest.mark.parametrize("shared_disk", [True, False], ids=["one file system", "two"])
async def test_120_mb_on_qq(rig: Rig, large: Callable[[int], str], shared_disk: bool) -> None:
    """QQ takes no video over 100 MB: it goes as a file, or its link is told with the reason."""
    group, url = 41_050 + shared_disk, large(120)
    rig.qq.shares_filesystem = shared_disk
    async with settings(rig, video={"max_video_mb": 200}):
        await rig.qq.group("/视频 太大", onebot.image(picture(rig)), user=group, group=group)
        got = await rig.qq.wait_sent(lambda one: one.target[1] == group, timeout=40)
        await asyncio.sleep(0.5)
    if shared_disk:
        assert [(media.type, media.size) for media in got.media] == [("file", 120 << 20)]
    else:
        assert url in got.text
        assert "120 MB" in got.text
    assert len(heard(rig, group)) == 1


async def test_51_mb_on_telegram(rig: Rig, large: Callable[[int], str]) -> None:
    url, mark, chat = large(51), rig.timeline.mark(), 41_060
    async with settings(rig, video={"max_video_mb": 200}):
        await rig.tg.message("/视频 太大", photo=PICTURE, user=chat, chat=chat)
        told = await rig.tg.wait("sendMessage", since=mark, where=lambda call: "MB" in str(call.data), timeout=40)
    assert "51 MB" in told.data["text"]
    assert url in told.data["text"].replace("\\", "")
    assert not rig.timeline.select("tg", "sendVideo", since=mark)
    assert not rig.timeline.select("tg", "sendDocument", since=mark)


# ---- Telegram ----


async def test_too_many_messages_on_telegram(rig: Rig) -> None:
    """429: it is said when to come again, and nothing was sent."""
    mark, chat = rig.timeline.mark(), 41_070
    rig.tg.fail("sendVideo", code=429, description="Too Many Requests: retry after 1", retry_after=1)
    await rig.tg.message("/视频 太多", photo=PICTURE, user=chat, chat=chat)
    await rig.tg.wait("sendVideo", since=mark, where=lambda call: call.outcome == "ok", timeout=30)
    await asyncio.sleep(1)
    calls = rig.timeline.select("tg", "sendVideo", since=mark)
    assert [str(call.outcome)[:3] for call in calls] == ["429", "ok"]


async def test_an_answer_that_is_lost_sends_nothing_twice(rig: Rig) -> None:
    """Telegram delivers and never says so; AstrBot raises TimedOut after five seconds."""
    mark = rig.timeline.mark()
    rig.tg.fail("sendVideo", "lost")
    await rig.tg.message("/视频 回执丢了", photo=PICTURE)
    await rig.tg.wait("sendVideo", since=mark, timeout=20)
    told = await rig.tg.wait("sendMessage", since=mark, timeout=20)
    assert "/视频重发" in told.data["text"]
    await asyncio.sleep(1)
    assert len(rig.timeline.select("tg", "sendVideo", since=mark)) == 1
    number = told.data["text"].split("#")[1].split()[0]
    await rig.tg.message(f"/视频重发 {number}")
    await rig.tg.wait("sendVideo", since=mark, count=2, timeout=20)
    assert len(rig.up.grok.creates(mark)) == 1


async def test_a_web_page_is_no_video(rig: Rig) -> None:
    page = Serve(b"<!doctype html><html><body>please log in</body></html>", content_type="video/mp4")
    rig.up.grok.default = ok(rig.files.put("page.mp4", page, host="cdn.rig.test"))
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    await rig.qq.group("/视频 网页", onebot.image(picture(rig)), user=1020)
    assert "不是视频" in await wait_ending(rig, sent)
    assert not [one for one in rig.qq.sent[sent:] if one.videos]
    assert len(rig.up.grok.creates(mark)) == 1
    assert not list((rig.bot.plugin_data / "videos").rglob("*.part"))


@pytest.mark.parametrize(
    "inside", ["http://127.0.0.1:{port}/secret.mp4", "http://10.0.0.8/secret.mp4", "http://[::1]:{port}/x.mp4"]
)
async def test_a_redirect_to_a_private_address_is_not_followed(rig: Rig, inside: str) -> None:
    rig.files.put("secret.mp4", MP4)
    target = inside.format(port=rig.files.port)
    rig.up.grok.default = ok(rig.files.put("jump.mp4", Serve(redirect=target), host="cdn.rig.test"))
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 内网", onebot.image(picture(rig)), user=1030)
    assert "内网" in await wait_ending(rig, sent)
    assert not rig.files.requests("secret.mp4")
    assert not [one for one in rig.qq.sent[sent:] if one.videos]


@pytest.mark.parametrize("length", [None, "none"], ids=["announced", "not announced"])
async def test_over_the_cap(rig: Rig, length: str | None) -> None:
    big = MP4 + b"\0" * (3 << 20)
    rig.up.grok.default = ok(rig.files.put("big.mp4", Serve(big, content_length=length), host="cdn.rig.test"))
    sent = len(rig.qq.sent)
    config = (await rig.web.config(rig.bot.name))["config"]
    config["video"]["send_mode"] = "file"
    await rig.web.save_config(rig.bot.name, config)
    await rig.qq.group("/视频 太大", onebot.image(picture(rig)), user=1040)
    text = await wait_ending(rig, sent)
    assert "1 MB" in text
    assert "big.mp4" in text, "the link is still of use"
    config["video"]["send_mode"] = "auto"
    await rig.web.save_config(rig.bot.name, config)
    assert not [one for one in rig.qq.sent[sent:] if one.videos]


@pytest.mark.parametrize(
    "serve",
    [
        Serve(MP4, content_length=len(MP4) + 9),
        Serve(MP4, cut_at=len(MP4) // 2),
        Serve(MP4[: len(MP4) // 2], content_length="none"),
    ],
    ids=["length lies", "cut", "cut without a length"],
)
async def test_half_a_video_is_not_sent_as_a_file(rig: Rig, serve: Serve) -> None:
    rig.up.grok.default = ok(rig.files.put("half.mp4", serve, host="cdn.rig.test"))
    mark = rig.timeline.mark()
    await rig.tg.message("/视频 半个", photo=PICTURE, user=1050, chat=1050)
    told = await rig.tg.wait("sendMessage", since=mark, timeout=30)
    assert "half.mp4" in told.data["text"].replace("\\", "")
    assert not rig.timeline.select("tg", "sendVideo", since=mark)
    assert not list((rig.bot.plugin_data / "videos").rglob("*.part"))


async def test_a_download_that_stumbles_is_repeated(rig: Rig) -> None:
    url = rig.files.put("flaky.mp4", Serve(status=503), Serve(MP4, cut_at=500), Serve(MP4), host="cdn.rig.test")
    rig.up.grok.default = ok(url)
    mark = rig.timeline.mark()
    await rig.tg.message("/视频 磕磕绊绊", photo=PICTURE, user=1060, chat=1060)
    video = await rig.tg.wait("sendVideo", since=mark, timeout=30)
    assert video.data["media"]["sha"] == sha(MP4)
    assert len(rig.up.grok.creates(mark)) == 1


async def test_resend_from_the_file_when_the_link_is_dead(rig: Rig) -> None:
    other = make_mp4(seed=7)
    url = rig.files.put("once.mp4", Serve(other), Serve(other), Serve(status=404), host="cdn.rig.test")
    rig.up.grok.default = ok(url)
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 会过期", onebot.image(picture(rig)), user=1070)
    await rig.qq.wait_video(since=sent)
    await asyncio.sleep(0.5)
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频重发", user=1070)
    assert (await rig.qq.wait_video(since=sent)).videos[0].sha == sha(other)


# ---- the web chat ----


async def files(rig: Rig, session: str) -> list[str]:
    """What the page shows as a video or a file once it is loaded again."""
    parts = [part for part in await rig.web.said(session) if "attachment_id" in part]
    return [sha(await rig.web.attachment(part["attachment_id"])) for part in parts]


async def test_a_page_with_another_request_open(rig: Rig) -> None:
    """The video waits for the end of whatever the page is at, and stands in its history then, once."""
    rig.up.grok.default = ok(link(rig), delay=1)
    uploaded = await rig.web.upload("in.png", PICTURE, "image/png")
    asked = await rig.web.chat("/视频 动起来", uploaded)
    rig.llm.delay = 3
    try:
        busy = asyncio.create_task(rig.web.chat("讲个故事", session_id=asked.session_id))
        await asyncio.sleep(2)
        assert await files(rig, asked.session_id) == [], "it would be lost"
        assert (await busy).ended
    finally:
        rig.llm.delay = 0
    await rig.web.wait_said(asked.session_id)
    await asyncio.sleep(0.5)
    assert await files(rig, asked.session_id) == [sha(MP4)]
    assert len(rig.timeline.select("web", "video")) + len(rig.timeline.select("web", "file")) == 0


# ---- what is said around it ----


async def test_the_line_behind_a_video(rig: Rig) -> None:
    group = 41_080
    async with settings(rig, delivery={"caption": True}):
        message = await rig.qq.group("/视频 一行字", onebot.image(picture(rig)), user=group, group=group)
        said = await rig.qq.wait_sent(lambda one: one.target[1] == group and bool(one.text))
    assert [bool(one.media) for one in heard(rig, group)] == [True, False]
    assert said.replies_to == message
    assert re.fullmatch(r"🎬 #\d+ · grok-imagine-0\.9 · \d+ 秒", said.text)


async def test_the_diagnosis(rig: Rig) -> None:
    """Each form is offered to this chat, keys are asked for nothing, and both are told and remembered."""
    group, mark = 41_090, rig.timeline.mark()
    rig.qq.shares_filesystem = False
    await rig.qq.group("/视频诊断", user=group, group=group)
    assert "管理员" in (await rig.qq.wait_sent(lambda one: one.target[1] == group)).text
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频诊断", user=ADMIN, group=group)
    report = (await rig.qq.wait_sent(lambda one: "Key 1" in one.text, since=sent, timeout=30)).text
    for line in ("✗ 视频（本地文件）", "✓ 视频（分片交给协议端）", "✓ 视频（base64）", "✗ 文件"):
        assert line in report
    assert "没有填 Key" in report
    assert "sk-rig" not in report
    assert shown(heard(rig, group)) == ["file", "base64"]
    assert not rig.up.grok.creates(mark), "nothing is paid"
    mark = rig.timeline.mark()
    rig.qq.fail("send_group_msg", retcode=1200, when=of("video"))  # the link
    await rig.qq.group("/视频 记住了", onebot.image(picture(rig)), user=group, group=group + 1)
    video = await rig.qq.wait_sent(lambda one: one.target[1] == group + 1)
    assert "/napcat/" in video.media[0].source
    sends = rig.timeline.select("qq", "send_group_msg", since=mark)
    assert len(sends) == 2, "the path was not tried again"
