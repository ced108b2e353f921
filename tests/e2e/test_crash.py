"""kill -9, SIGTERM, Ctrl-C, a saved panel, a disabled plugin: never a second paid request, never silence."""

import asyncio

import pytest

from devtools.rig import Rig, ok, onebot, sha
from tests.e2e.world import MP4, link, panel, picture, started


@pytest.fixture
async def rig() -> Rig:
    """An AstrBot of its own for each test: it is going to be killed."""
    async with Rig(plugin_config=panel) as one:
        yield await started(one)


async def begun(rig: Rig, delay: float) -> tuple[int, int]:
    """A job whose paid request is under way; the message, and where the chat stood before."""
    rig.up.grok.default = ok(link(rig), delay=delay)
    sent = len(rig.qq.sent)
    message = await rig.qq.group("/视频 不要付两次", onebot.image(picture(rig)))
    await rig.timeline.wait("grok", "create")
    await asyncio.sleep(0.4)
    return message, sent


@pytest.mark.parametrize("how", ["kill", "sigterm", "stop"])
async def test_a_restart_tells_what_became_of_the_job(rig: Rig, how: str) -> None:
    message, sent = await begun(rig, delay=2)
    await getattr(rig.bot, how)()
    await rig.boot()
    told = await rig.qq.wait_sent(lambda one: "⚠️" in one.text, since=sent)
    assert "可能已经扣费" in told.text
    assert told.replies_to == message
    await asyncio.sleep(2.5)
    assert len(rig.up.grok.creates()) == 1
    assert not [one for one in rig.qq.sent[sent:] if one.videos]
    sent = len(rig.qq.sent)
    await rig.bot.kill()
    await rig.boot()
    await asyncio.sleep(1.5)
    assert len(rig.qq.sent) == sent, "told once is enough"
    await rig.qq.group("/视频 再来", onebot.image(picture(rig)))
    await rig.qq.wait_video(since=sent)


@pytest.mark.parametrize("how", ["save", "reload", "disable and enable"])
async def test_a_saved_panel_loses_nothing(rig: Rig, how: str) -> None:
    """The host throws the plugin away, modules and all, while the paid request is under way."""
    _, sent = await begun(rig, delay=3)
    name = rig.bot.name
    if how == "save":
        config = (await rig.web.config(name))["config"]
        config["video"]["max_retries"] = 1
        await rig.web.save_config(name, config)
    elif how == "reload":
        await rig.web.reload(name)
    else:
        await rig.web.set_enabled(name, False)
        await asyncio.sleep(0.5)
        await rig.web.set_enabled(name, True)
    video = await rig.qq.wait_video(since=sent, timeout=15)
    assert video.videos[0].sha == sha(MP4)
    await asyncio.sleep(1)
    assert len(rig.up.grok.creates()) == 1
    assert len([one for one in rig.qq.sent[sent:] if one.videos]) == 1


async def test_disabled_while_it_renders_arrives_when_enabled(rig: Rig) -> None:
    _, sent = await begun(rig, delay=1)
    await rig.web.set_enabled(rig.bot.name, False)
    await rig.timeline.wait("grok", "create", where=lambda call: call.t_end is not None)
    await asyncio.sleep(0.5)
    assert not [one for one in rig.qq.sent[sent:] if one.videos], "a disabled plugin sends nothing"
    await rig.web.set_enabled(rig.bot.name, True)
    await rig.qq.wait_video(since=sent)
    assert len(rig.up.grok.creates()) == 1


async def test_killed_while_the_video_is_sent(rig: Rig) -> None:
    """The send may have arrived: it is not repeated, and the person is told how to ask for it."""
    rig.up.grok.default = ok(link(rig), delay=0.2)
    rig.qq.fail("send_group_msg", "lost", when=lambda call: call["message"][0]["type"] == "video")
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 送到一半", onebot.image(picture(rig)))
    await rig.qq.wait_video(since=sent)
    await asyncio.sleep(0.3)
    await rig.bot.kill()
    await rig.boot()
    told = await rig.qq.wait_sent(lambda one: "⚠️" in one.text, since=sent)
    assert "/视频重发 1" in told.text
    await asyncio.sleep(1)
    assert len([one for one in rig.qq.sent[sent:] if one.videos]) == 1
    await rig.qq.group("/视频重发 1")
    await rig.qq.wait_sent(lambda one: bool(one.videos), since=len(rig.qq.sent))
    assert len(rig.up.grok.creates()) == 1


async def test_killed_with_the_result_in_hand(rig: Rig) -> None:
    """QQ is away when the video is ready; after a crash it still arrives, from the same paid request."""
    rig.up.grok.default = ok(link(rig), delay=0.8)
    sent = len(rig.qq.sent)
    await rig.qq.group("/视频 先断线", onebot.image(picture(rig)))
    await rig.timeline.wait("grok", "create")
    await rig.qq.stop()
    await rig.timeline.wait("grok", "create", where=lambda call: call.t_end is not None)
    await asyncio.sleep(1)
    await rig.bot.kill()
    await rig.qq.start(rig.bot.qq_port, rig.bot.qq_token)
    await rig.boot()
    await rig.qq.wait_video(since=sent)
    assert len(rig.up.grok.creates()) == 1
