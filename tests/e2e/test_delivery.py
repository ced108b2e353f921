"""What may stand between a finished video and the person who waits for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from devtools.rig import Rig, Serve, make_mp4, ok, onebot, sha
from tests.e2e.world import MP4, PICTURE, link, picture

PANEL = {"max_video_mb": 1}


async def wait_ending(rig: Rig, sent: int) -> str:
    """What the person reads when no video can come."""
    return (await rig.qq.wait_sent(lambda one: "❌" in one.text or "链接" in one.text, since=sent, timeout=20)).text


def of(*kinds: str) -> Callable[[dict[str, Any]], bool]:
    """Calls that send one of these."""
    return lambda call: call["message"][0]["type"] in kinds


@pytest.mark.parametrize(
    ("refusals", "arrives_as"),
    [(1, "video"), (2, "file"), (3, "video"), (4, "text")],
    ids=["1200 once: the file", "twice: as a file", "three times: base64", "always: the link"],
)
async def test_qq_refuses_rich_media(rig: Rig, refusals: int, arrives_as: str) -> None:
    mark, sent = rig.timeline.mark(), len(rig.qq.sent)
    rig.qq.fail("send_group_msg", retcode=1200, times=refusals, when=of("video", "file"))
    message = await rig.qq.group("/视频 富媒体失败", onebot.image(picture(rig)), user=1000 + refusals)
    got = await rig.qq.wait_sent(since=sent, timeout=20)
    kinds = [segment["type"] for segment in got.segments]
    assert arrives_as in kinds
    if arrives_as == "text":
        assert link(rig) in got.text
    else:
        assert got.media[0].sha == sha(MP4)
    await asyncio.sleep(0.5)
    assert len(rig.qq.sent) == sent + 1, "once, in one form"
    assert len(rig.up.grok.creates(mark)) == 1
    assert ("79", True) in rig.qq.emojis(message, mark)


async def test_separate_file_systems(rig: Rig) -> None:
    """QQ runs in another container: links work, paths do not."""
    rig.qq.shares_filesystem = False
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 两个容器", onebot.image(picture(rig)), user=1010)
    assert (await rig.qq.wait_video(since=sent)).videos[0].sha == sha(MP4)
    rig.qq.fail("send_group_msg", retcode=1200, when=of("video"))  # not even the link
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 链接也不行", onebot.image(picture(rig)), user=1011)
    video = await rig.qq.wait_video(since=sent)
    assert video.videos[0].source.startswith("base64://")
    assert video.videos[0].sha == sha(MP4)


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
