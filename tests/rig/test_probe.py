"""What AstrBot 4.29.1 itself does, proven on a tiny plugin: each test is a fact that our plugin has to live with."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from devtools.rig import DashboardError, Rig, Serve, call_tool, make_mp4, make_png, onebot, pad_mp4, say, sha, until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("probe")]
MP4 = make_mp4(seed=1)


@pytest.fixture(autouse=True)
def _no_faults(probe: Rig) -> None:
    probe.qq.faults.clear()
    probe.tg.faults.clear()
    probe.llm.script()
    probe.qq.shares_filesystem = True


class Diary:
    """What the plugin notes from now on."""

    def __init__(self, rig: Rig) -> None:
        self.path = rig.bot.plugin_data / "diary"
        self.begin = len(self.path.read_text())

    @property
    def new(self) -> str:
        return self.path.read_text()[self.begin :]

    async def wait(self, words: str, timeout: float = 8) -> str:
        def lines() -> list[str]:
            return [line for line in self.new.splitlines() if words in line]

        return (await until(lines, timeout, lambda: f"the plugin never noted {words!r}: {self.new}"))[0]


@pytest.fixture
def mp4(probe: Rig) -> Path:
    path = probe.root / "v.mp4"
    path.write_bytes(MP4)
    return path


@pytest.fixture
def link(probe: Rig) -> str:
    return probe.files.put("v.mp4", MP4)


def picture(delay: float = 0) -> Serve:
    return Serve(make_png(), content_type="image/png", delay=delay)


async def test_every_channel_answers(probe: Rig) -> None:
    assert probe.boot_seconds < 45
    await probe.qq.group("/rig_hello")
    await probe.qq.wait_sent(lambda sent: sent.target == ("group", probe.qq.GROUP) and sent.text == "hello")
    await probe.qq.private("/rig_hello")
    await probe.qq.wait_sent(lambda sent: sent.target == ("private", probe.qq.USER) and sent.text == "hello")
    await probe.tg.message("/rig_hello")
    assert (await probe.tg.wait("sendMessage")).data["text"] == "hello"
    chat = await probe.web.chat("/rig_hello")
    assert chat.ended
    assert chat.text == "hello"


async def test_only_rig_hosts_are_reachable_and_they_look_public(probe: Rig) -> None:
    n = len(probe.qq.sent)
    url = probe.files.put("public.bin", b"12345", host="cdn.rig.test")
    await probe.qq.group(f"/rig_get {url}")
    assert (await probe.qq.wait_sent(since=n)).text == f"5 bytes from {probe.hosts.hosts['cdn.rig.test']}"
    await probe.qq.group("/rig_get http://example.com/")
    await probe.qq.wait_sent(lambda sent: sent.text == "ClientConnectorDNSError", since=n)
    await probe.qq.group("/rig_get http://10.0.0.1/")
    await probe.qq.wait_sent(lambda sent: sent.text == "ClientConnectorError", since=n)
    assert [(row["kind"], row["host"]) for row in probe.bot.egress()] == [
        ("resolve", "example.com"),
        ("connect", "10.0.0.1"),
    ]


async def test_images_are_local_files_when_the_handler_runs(probe: Rig) -> None:
    url = probe.files.put("in.png", picture())
    first, n = await probe.qq.group("look", onebot.image(url)), len(probe.qq.sent)
    await probe.qq.group(onebot.reply(first), "/rig_facts", onebot.image(url))
    facts = json.loads((await probe.qq.wait_sent(since=n)).text.removeprefix("FACTS "))
    quoted, _, own = facts["chain"]
    assert quoted["chain"][1]["path"].startswith(str(probe.root))
    assert own["type"] == "Image"
    assert own["url"] == own["path"]
    assert not own["url"].startswith("http")
    assert facts["umo"] == f"qq:GroupMessage:{probe.qq.GROUP}"
    assert facts["has_bot"]
    assert not facts["own_react"]


async def test_a_slow_image_delays_the_handler(probe: Rig) -> None:
    n, began = len(probe.qq.sent), time.monotonic()
    await probe.qq.group("/rig_hello", onebot.image(probe.files.put("slow.png", picture(delay=1))))
    await probe.qq.wait_sent(since=n)
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("via", ["event", "umo"])
async def test_qq_fetches_what_it_is_told_to_send(probe: Rig, via: str, mp4: Path, link: str) -> None:
    for kind, source, sent_as, fetched_by in (
        ("video", str(mp4), mp4.as_uri(), []),
        ("url", link, link, ["rig-qq"]),  # AstrBot does not touch the link
    ):
        n, mark = len(probe.qq.sent), probe.timeline.mark()
        await probe.qq.group(f"/rig_send {kind} {source} {via}")
        video = (await probe.qq.wait_video(since=n)).videos[0]
        assert (video.source, video.sha) == (sent_as, sha(MP4))
        assert [call.data["ua"] for call in probe.files.requests("v.mp4", mark)] == fetched_by


async def test_a_telegram_video_is_always_an_upload(probe: Rig, mp4: Path, link: str) -> None:
    for kind, source in (("video", str(mp4)), ("url", link)):
        mark = probe.timeline.mark()
        await probe.tg.message(f"/rig_send {kind} {source}", chat=probe.tg.GROUP)
        assert (await probe.tg.wait("sendVideo", since=mark)).data["video"]["sha"] == sha(MP4)
    assert "aiohttp" in probe.files.requests("v.mp4", mark)[0].data["ua"], "AstrBot downloads a link itself"


async def test_telegram_refuses_51_mb(probe: Rig) -> None:
    diary, big, mark = Diary(probe), pad_mp4(probe.root / "big.mp4", MP4, 51 * 1024**2), probe.bot.log_mark()
    await probe.tg.message(f"/rig_send video {big}")
    assert "Request Entity Too Large" in await diary.wait("send failed")
    await until(
        lambda: [trace for trace in probe.bot.tracebacks(mark) if "\ntelegram.error" in trace],
        5.0,
        lambda: "no traceback of Telegram's library",
    )


async def test_a_lost_telegram_answer_is_an_exception_after_5_s(probe: Rig, mp4: Path) -> None:
    diary = Diary(probe)
    probe.tg.fail("sendVideo", "lost")
    await probe.tg.message(f"/rig_send video {mp4}")
    line = await diary.wait("send failed", 12)
    assert "TimedOut" in line
    assert "after 5." in line


@pytest.mark.parametrize(
    ("kind", "via", "delay", "arrives"),
    [
        ("video", "event", 0.3, False),
        ("video", "event", -1, False),
        ("video", "umo", -1, False),
        ("video", "umo", 0.3, True),
        ("file", "umo", 0.3, True),
    ],
)
async def test_webchat_loses_videos_unless_they_come_late(
    probe: Rig, mp4: Path, kind: str, via: str, delay: float, arrives: bool
) -> None:
    diary = Diary(probe)
    chat = await probe.web.chat(f"/rig_send {kind} {mp4} {via} {delay}")
    await diary.wait(f"sent {kind}")  # the plugin sees success every time
    await asyncio.sleep(0.3)
    said = await probe.web.said(chat.session_id)
    assert bool(said) == arrives
    if arrives:
        assert sha(await probe.web.attachment(said[0]["attachment_id"])) == sha(MP4)


async def test_reactions(probe: Rig) -> None:
    mark, n = probe.timeline.mark(), len(probe.qq.sent)
    await probe.tg.message("/rig_react 👍")
    assert (await probe.tg.wait("setMessageReaction", since=mark)).outcome == "ok"
    await probe.tg.message("/rig_react ✅")
    assert "REACTION_INVALID" in (await probe.tg.wait("setMessageReaction", since=mark, count=2)).outcome
    await probe.qq.group("/rig_react 👍")
    assert (await probe.qq.wait_sent(since=n)).text == "👍", "on QQ it is a message, not a reaction"


async def test_qq_refusals_reach_the_plugin(probe: Rig, mp4: Path, link: str) -> None:
    diary = Diary(probe)
    probe.qq.fail("send_group_msg", retcode=1200)
    await probe.qq.group(f"/rig_send url {link}")
    assert "ActionFailed" in await diary.wait("send failed")
    diary = Diary(probe)
    probe.qq.shares_filesystem = False
    await probe.qq.group(f"/rig_send video {mp4}")
    assert "ENOENT" in await diary.wait("send failed")


async def test_a_dropped_qq_connection_is_noticed_by_nobody(probe: Rig, link: str) -> None:
    diary, n = Diary(probe), probe.qq.connections
    probe.qq.fail("send_group_msg", "disconnect")
    await probe.qq.group(f"/rig_send url {link}")
    await until(lambda: probe.qq.connections > n, 5, probe.timeline.text)
    await asyncio.sleep(1)
    assert diary.new == "", "the send waits on: aiocqhttp gives up only after 180 s"


async def test_an_llm_tool_makes_a_round(probe: Rig) -> None:
    n, mark = len(probe.qq.sent), probe.timeline.mark()
    probe.llm.script(call_tool("rig_make_video", prompt="a cat"), say("here you are"))
    await probe.qq.group("/make me a video")
    assert (await probe.qq.wait_sent(since=n)).text == "here you are"
    first, second = probe.llm.requests(mark)
    schema = probe.llm.tools(first)["rig_make_video"]["parameters"]
    assert schema["properties"]["prompt"]["type"] == "string"
    assert probe.llm.tool_results(second)[-1] == "video of a cat is ready"


async def test_a_tool_in_the_background_runs_in_the_foreground(probe: Rig) -> None:
    """The permission wrapper that 4.29.1 puts around the tools of plugins drops ``is_background_task``."""
    n, mark = len(probe.qq.sent), probe.timeline.mark()
    probe.llm.script(call_tool("rig_background", n=1), say("done"))
    await probe.qq.group("/run it")
    await probe.qq.wait_sent(since=n)
    first, second = probe.llm.requests(mark)
    assert second.t - first.t > 1
    assert probe.llm.tool_results(second)[-1] == "background result 42"


async def test_saving_the_panel_reloads_the_plugin(probe: Rig) -> None:
    diary, name = Diary(probe), probe.bot.name
    panel = await probe.web.config(name)
    assert "greeting" in panel["metadata"][name]["items"]
    await probe.web.save_config(name, {**panel["config"], "greeting": "bonjour", "tool_seconds": 30})
    await diary.wait("terminated")
    await diary.wait("initialized")
    assert (await probe.web.chat("/rig_hello")).text == "bonjour"
    assert probe.bot.read_plugin_config()["tool_seconds"] == 30
    with pytest.raises(DashboardError, match="tool_seconds"):
        await probe.web.save_config(name, {**panel["config"], "tool_seconds": "soon"})


async def test_a_slow_tool_is_cancelled_and_holds_up_the_whole_group(probe: Rig) -> None:
    config = (await probe.web.config(probe.bot.name))["config"]
    await probe.web.save_config(probe.bot.name, {**config, "tool_seconds": 30})
    diary, n, mark = Diary(probe), len(probe.qq.sent), probe.timeline.mark()
    probe.llm.script(call_tool("rig_make_video", prompt="slow"), say("it failed"))
    await probe.qq.group("/make me a slow video")
    await probe.timeline.wait("llm", "chat", since=mark)
    await probe.qq.group("/hi", user=99)
    await diary.wait("tool cancelled")  # 3 s here, 120 s by default
    await probe.qq.wait_sent(lambda sent: sent.text == "ok (rig)", since=n)
    assert [sent.text for sent in probe.qq.sent[n:]] == ["it failed", "ok (rig)"]
    assert "execution timeout after 3 seconds" in probe.llm.tool_results(probe.llm.requests(mark)[1])[-1]


async def test_ctrl_c_terminates_plugins_and_sigterm_does_not(probe: Rig) -> None:
    diary = Diary(probe)
    await probe.qq.group("/rig_sleep 60")
    await probe.qq.wait_sent(lambda sent: sent.text == "sleeping")
    assert await probe.bot.stop() < 10
    assert [line.split(maxsplit=1)[1] for line in diary.new.splitlines()] == [
        "terminating",
        "sleep cancelled",
        "terminated",
    ]
    await probe.boot()  # the same root: data, config and log survive
    diary = Diary(probe)
    assert await probe.bot.sigterm() < 3
    assert diary.new == ""
