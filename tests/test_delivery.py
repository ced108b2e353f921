"""How each chat platform gets its video: what is tried in which order, and what is made of each ending."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiocqhttp.exceptions as onebot
import pytest
import telegram.error
from astrbot.api.message_components import File, Plain, Reply, Video
from astrbot.core import db_helper
from astrbot.core.conversation_mgr import ConversationManager
from astrbot.core.platform.sources.webchat.webchat_queue_mgr import webchat_queue_mgr

from core import delivery as module
from core import delivery_plan, emoji_feedback
from core.config import Settings
from core.delivery import Delivery
from core.delivery_plan import PLATFORMS
from core.emoji_feedback import EmojiFeedback
from core.errors import Failure, Misconfigured, Undelivered, UpstreamFailed, Why
from core.job_ledger import JobLedger
from core.models import Job, State, VideoRequest, VideoResult
from core.outbox import Mood, Parcel, Sending
from core.texts import Texts
from core.transport import MB, Transport, Trust
from core.video_manager import Download, VideoManager
from tests.host import Chat, context_of, settled
from tests.until import until

LINK = "https://cdn.example.com/v.mp4?sig=%2F"
REFUSED = ValueError("cannot send this")
GONE = Path("gone")


class Desk:
    """A delivery with one chat, one finished job, one file."""

    def __init__(self, folder: Path, chat: Chat, **panel: Any) -> None:
        self.chat, self.client = chat, chat.client
        self.path = folder / "000003.mp4"
        self.path.write_bytes(b"\0\0\0\x18ftypmp42 and so on")
        self.callback_base = ""
        self.noted = 0
        self.videos = VideoManager(folder, Transport(Trust()), max_cached=1, max_bytes=1)
        context = context_of(chat)
        context.conversation_manager = ConversationManager(db_helper)
        self.emoji = EmojiFeedback(context)
        delivery = {"caption": False, **panel.pop("delivery", {})}
        settings = Settings.model_validate({"video": panel, "delivery": delivery})
        self.ledger = JobLedger(folder / f"{uuid.uuid4().hex}.db")
        self.delivery = Delivery(
            context, settings, Texts("zh"), self.emoji, self.videos, self.ledger, lambda: self.callback_base
        )
        self.job = Job(
            id="j", backend="grok", request=VideoRequest("a cat"), destination=chat.destination(), number=3,
            state=State.READY, result=VideoResult(LINK),
        )  # fmt: skip

    def parcel(self, link: str | None = LINK, trouble: Failure | None = None, looks: bool = True) -> Parcel:
        """The video; with ``trouble`` it cannot be fetched, which shows early or late."""

        async def fetch(looked: Callable[[], None]) -> Path:
            if trouble and looks:
                looked()
                await asyncio.sleep(0)
            if trouble:
                raise trouble
            return self.path

        async def sending() -> None:
            self.noted += 1

        return Parcel(link, Download(fetch), sending)

    async def open(self) -> Desk:
        """With a memory of what was refused; without, a desk has none."""
        await self.ledger.open()
        return self

    async def deliver(self, parcel: Parcel | None = None, *, live: bool = True) -> Sending:
        if live:
            self.delivery.remember(self.job, self.chat.event())
        return await self.delivery.deliver(self.job, parcel or self.parcel())

    def forms(self) -> list[str]:
        """What was sent, in the words of the table."""
        return [_form(params["chain"]) for params in self.client.named("send")]


def _form(chain: list[Any]) -> str:
    parts = [part for part in chain if not isinstance(part, Reply)]
    assert len(parts) == 1, "a video is never mixed with text"
    match parts[0]:
        case Plain():
            return "link"
        case File():
            return "attachment"
        case Video(file=file):
            assert len(chain) == 1, "nor with a quote"
            return "url" if file.startswith("http") else "base64" if file.startswith("base64://") else "file"
    raise AssertionError(chain)


@pytest.fixture(autouse=True)
def ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were installed, wherever these tests run; the plan asks."""
    monkeypatch.setattr(module, "_has_ffmpeg", lambda: True)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(platform: str | Chat = "aiocqhttp", **panel: Any) -> Desk:
        chat = platform if isinstance(platform, Chat) else Chat(platform, plain=True)
        desks.append(Desk(tmp_path, chat, **panel))
        return desks[-1]

    yield make
    for one in desks:
        await one.delivery.close()


# ---- the order ----

# behaviour.md §6: adapters that ignore a Video and report success never get one.
ORDER = {
    "aiocqhttp": "url file base64 attachment link",
    "telegram": "file attachment link",
    "webchat": "file attachment link",
    "discord": "attachment link",
    "slack": "attachment link",
    "misskey": "attachment link",
    "lark": "file url attachment link",
    "kook": "file url attachment link",
    "satori": "file url attachment link",
    "mattermost": "file url attachment link",
    "wecom": "file url attachment link",
    "weixin_oc": "file url attachment link",
    "qq_official": "file url attachment link",
    "qq_official_webhook": "file url attachment link",
    "line": "link",
    "dingtalk": "file attachment link",
    "weixin_official_account": "link",
    "wecom_ai_bot": "link",
    "somebody_s_own": "attachment link",
}


def test_every_platform_is_here() -> None:
    assert set(ORDER) - {"somebody_s_own"} == set(PLATFORMS)


@pytest.mark.parametrize("platform", ORDER)
async def test_the_order_of_forms(platform: str, desk: Callable[..., Desk]) -> None:
    every = ORDER[platform].split()
    modes = {
        "auto": every,
        "url": [form for form in every if form in ("url", "link")],
        "file": [form for form in every if form != "url"],
    }
    for mode, forms in modes.items():
        one = desk(platform, send_mode=mode)
        one.client.answers["send"] = REFUSED
        assert await one.deliver() is Sending.REFUSED
        tried = one.forms()
        if platform in ("aiocqhttp", "telegram", "discord", "lark"):
            assert tried.pop() == "link", "once with a quote, once without: the quoted message may be gone"
        assert tried == forms, mode
        pieces = platform == "aiocqhttp" and mode != "url"  # the bridge of this test takes none
        assert one.noted == len(forms) + pieces, "that it may be there is noted before each"


@pytest.mark.parametrize("platform", ORDER)
async def test_what_is_taken_is_the_last(platform: str, desk: Callable[..., Desk]) -> None:
    forms = ORDER[platform].split()
    for taken in range(len(forms)):
        one = desk(platform)
        one.client.answers["send"] = [REFUSED] * taken
        assert await one.deliver() is Sending.SENT
        assert one.forms() == forms[: taken + 1]


@pytest.mark.parametrize("platform", ORDER)
async def test_after_an_unclear_ending_nothing_more_is_sent(platform: str, desk: Callable[..., Desk]) -> None:
    """It may have arrived: the same video twice is worse than a question."""
    forms = ORDER[platform].split()
    for at in range(len(forms)):
        one = desk(platform)
        one.client.answers["send"] = [REFUSED] * at + [TimeoutError()]
        assert await one.deliver() is Sending.UNKNOWN
        assert one.forms() == forms[: at + 1]


@pytest.mark.parametrize("mode", ["auto", "url", "file"])
@pytest.mark.parametrize("platform", ORDER)
async def test_a_link_that_needs_the_key_is_never_shown(platform: str, mode: str, desk: Callable[..., Desk]) -> None:
    one = desk(platform, send_mode=mode)
    one.job = replace(one.job, result=VideoResult(LINK, private=True))
    one.client.answers["send"] = REFUSED
    with pytest.raises(Undelivered) as caught:
        await one.deliver(one.parcel(link=None))
    assert caught.value.why.facts == {"file": "000003.mp4", "size": ""}
    assert one.forms() == [form for form in ORDER[platform].split() if form not in ("url", "link")], (
        "send_mode=url is no reason to send nothing"
    )
    await one.delivery.tell(one.job, caught.value.why)
    await one.delivery.tell(one.job, Why("upstream_failed", "gone"))
    assert "cdn.example.com" not in str(one.client.calls)


async def test_line_fetches_from_https_only(desk: Callable[..., Desk]) -> None:
    for link, base, forms in ((LINK, "https://bot", "url file link"), (LINK.replace("s:", ":"), "http://bot", "link")):
        one = desk("line")
        one.callback_base = base
        one.client.answers["send"] = REFUSED
        await one.deliver(one.parcel(link=link))
        assert one.forms() == forms.split()


async def test_base64_is_the_last_resort_of_small_files(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, base, tried in ((100, "", True), (10, "", False), (100, "https://bot.example.com", False)):
        monkeypatch.setattr(delivery_plan, "BASE64_LIMIT", limit)
        one = desk()
        one.callback_base = base  # with it the host makes a link of its own, which breaks this form
        one.client.answers["send"] = REFUSED
        await one.deliver()
        assert ("base64" in one.forms()) == tried


# ---- what cannot be fetched ----

UNFETCHED: dict[str, tuple[Failure, bool, str, type[Failure] | None]] = {
    # what goes wrong, whether it shows only later, what is sent, what is raised
    "the line does not do it": (UpstreamFailed("download"), False, "url link", None),
    "the line breaks later": (UpstreamFailed("download"), True, "url link", None),
    "a full disk": (Misconfigured("disk"), False, "url link", None),
    "a full disk, later": (Misconfigured("disk"), True, "url link", None),
    "a web page behind the link": (UpstreamFailed("not_a_video"), False, "", UpstreamFailed),
    "cut, as shows at its end": (UpstreamFailed("truncated"), True, "url", UpstreamFailed),
    "a private address": (UpstreamFailed("private_address"), False, "", UpstreamFailed),
}


@pytest.mark.parametrize("name", UNFETCHED)
async def test_what_cannot_be_fetched(name: str, desk: Callable[..., Desk]) -> None:
    trouble, late, forms, raised = UNFETCHED[name]
    one = desk(Chat("aiocqhttp", group=False, plain=True))
    one.client.answers["send"] = REFUSED
    parcel = one.parcel(trouble=trouble, looks=late)
    if raised:
        with pytest.raises(raised):
            await one.deliver(parcel)
    else:
        assert await one.deliver(parcel) is Sending.REFUSED
    assert one.forms() == forms.split()


async def test_what_cannot_be_fetched_and_has_no_link_is_told(desk: Callable[..., Desk]) -> None:
    one = desk()
    with pytest.raises(UpstreamFailed):
        await one.deliver(one.parcel(link=None, trouble=UpstreamFailed("download"), looks=False))


async def test_a_file_that_is_gone_is_not_sent(desk: Callable[..., Desk]) -> None:
    one = desk("telegram")
    one.path.unlink()
    assert await one.deliver() is Sending.SENT
    assert one.forms()[-1] == "link"


# ---- endings ----


async def test_a_chat_whose_platform_is_not_there(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.delivery._context.platform_manager.platform_insts.clear()
    assert await one.deliver(live=False) is Sending.ABSENT


async def test_a_send_that_never_returns(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEND_SECONDS", 0.05)
    one = desk()

    async def hang(**_: Any) -> None:
        await asyncio.sleep(60)

    one.client.answers["send"] = hang
    assert await asyncio.wait_for(one.deliver(), 2) is Sending.UNKNOWN


# ---- through the real adapters ----


async def test_on_qq(desk: Callable[..., Desk]) -> None:
    """The bridge is given the link, then the path, then pieces, then the content, then the file, then words."""
    one = desk(Chat("aiocqhttp"))
    failed = onebot.ActionFailed({"retcode": 1200, "wording": "rich media transfer failed"})
    one.client.answers["send_group_msg"] = [failed] * 5
    assert await one.deliver() is Sending.SENT
    sent = [(params["group_id"], params["message"]) for params in one.client.named("send_group_msg")]
    assert {group for group, _ in sent} == {1001}
    kinds = [[(part["type"], str(part["data"].get("file", ""))[:12]) for part in message] for _, message in sent]
    assert kinds[:4] == [
        [("video", LINK[:12])],
        [("video", one.path.as_uri()[:12])],
        [("video", "base64://AAA")],
        [("file", one.path.as_uri()[:12])],
    ]
    assert [part["type"] for part in sent[4][1]] == ["reply", "text"]
    assert [part["type"] for part in sent[5][1]] == ["text"], "the message to quote is gone"
    assert LINK in sent[5][1][0]["data"]["text"]


async def test_on_telegram(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("telegram", "-100123#7"))
    one.client.answers["send_video"] = telegram.error.BadRequest("Wrong type")
    assert await one.deliver() is Sending.SENT
    [video] = one.client.named("send_video")
    assert (video["chat_id"], video["message_thread_id"], video["video"]) == ("-100123", "7", str(one.path))
    [file] = one.client.named("send_document")
    assert (file["document"], file["filename"]) == (str(one.path), "视频_3.mp4")
    assert one.client.named("send_message") == []


async def test_on_telegram_when_nobody_knows(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("telegram"))
    one.client.answers["send_video"] = telegram.error.TimedOut()
    assert await one.deliver() is Sending.UNKNOWN
    assert one.client.named("send_document", "send_message") == []


@pytest.mark.parametrize("platform", ["aiocqhttp", "telegram"])
async def test_after_a_restart_the_chat_is_found_again(platform: str, desk: Callable[..., Desk]) -> None:
    one = desk(Chat(platform))
    assert await one.deliver(live=False) is Sending.SENT
    [sent] = one.client.named("send_group_msg", "send_video")
    assert str(sent.get("group_id") or sent.get("chat_id")) == "1001"


# ---- words ----


@pytest.mark.parametrize("platform", ORDER)
async def test_who_is_spoken_to_is_quoted_where_others_read_along(platform: str, desk: Callable[..., Desk]) -> None:
    quoting = platform in ("aiocqhttp", "telegram", "discord", "lark")
    for group, message_id in ((True, "777"), (False, "777"), (True, "")):
        chat = Chat(platform, group=group, plain=True)
        one = desk(chat)
        one.job = replace(one.job, destination=chat.destination(message_id))
        assert await one.delivery.say(one.job, "hello") is Sending.SENT
        [call] = one.client.named("send")
        quoted = [part.id for part in call["chain"] if isinstance(part, Reply)]
        assert quoted == (["777"] if quoting and group and message_id else [])


async def test_an_unclear_quote_is_not_said_twice(desk: Callable[..., Desk]) -> None:
    one = desk()
    one.client.answers["send"] = [TimeoutError()]
    assert await one.delivery.say(one.job, "hello") is Sending.UNKNOWN
    assert len(one.client.calls) == 1


# Why there is no video → whether its link is shown, for whatever it is worth.
TOLD = {
    "too big to fetch": (Why("upstream_failed", "too_big", facts={"limit": "100"}), True),
    "the chat refused it": (Why("undelivered"), True),
    "the link leads inside": (Why("upstream_failed", "private_address", facts={"host": "10.0.0.1"}), False),
    "no web link": (Why("upstream_failed", "not_http"), False),
    "refused": (Why("refused", reason="no"), False),
    "it may be there: a link is no second video": (Why("unknown_delivery"), True),
}


@pytest.mark.parametrize("name", TOLD)
async def test_telling_why(name: str, desk: Callable[..., Desk]) -> None:
    why, shown = TOLD[name]
    one = desk()
    assert await one.delivery.tell(one.job, why) is Sending.SENT
    [call] = one.client.named("send")
    assert (LINK in call["chain"][-1].text) == shown
    assert "#3" in call["chain"][-1].text


# ---- acknowledging ----

# acknowledge, emoji works, position, notes → text or not
ACKNOWLEDGED: dict[str, tuple[str, bool, int | None, tuple[str, ...], bool]] = {
    "the emoji says it": ("auto", True, None, (), False),
    "the emoji does not work here": ("auto", False, None, (), True),
    "it waits: the emoji does not say enough": ("auto", True, 2, (), True),
    "there is something to know": ("auto", True, None, ("note",), True),
    "always in words": ("text", True, None, (), True),
    "never in words": ("emoji", False, 2, ("note",), False),
}


@pytest.mark.parametrize("name", ACKNOWLEDGED)
async def test_acknowledging(name: str, desk: Callable[..., Desk]) -> None:
    how, works, position, notes, words = ACKNOWLEDGED[name]
    one = desk(Chat("telegram"), acknowledge=how)
    if not works:
        one.client.answers["set_message_reaction"] = telegram.error.BadRequest("Reaction_invalid")
    one.delivery.begin(one.job, one.chat.event())
    await one.delivery.acknowledge(one.job, position, notes)
    await settled()
    said = [params["text"] for params in one.client.named("send_message")]
    assert len(said) == words
    assert all(note in said[0] for note in notes if words)
    assert not words or not position or str(position) in said[0]


@pytest.mark.parametrize("chat", [Chat("slack"), Chat("telegram")], ids=["no emoji there", "no message to put it on"])
async def test_acknowledging_where_there_is_no_emoji(chat: Chat, desk: Callable[..., Desk]) -> None:
    one = desk(chat)
    one.job = replace(one.job, destination=chat.destination(""))
    one.delivery.begin(one.job, one.chat.event())
    await one.delivery.acknowledge(one.job, None, ())
    assert len(chat.client.named("send", "send_message")) == 1


async def test_a_slow_emoji_delays_no_acknowledgement(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("telegram"), acknowledge="text")
    never = asyncio.Event()

    async def slow(**_: Any) -> None:
        await never.wait()

    one.client.answers["set_message_reaction"] = slow
    one.delivery.begin(one.job, one.chat.event())
    await asyncio.wait_for(one.delivery.acknowledge(one.job, None, ()), 1)
    assert len(one.client.named("send_message")) == 1


# ---- what is kept ----


@pytest.mark.parametrize("mood", [Mood.SUCCESS, Mood.FAILED, Mood.NONE])
async def test_no_event_is_kept_after_the_last_mark(mood: Mood, desk: Callable[..., Desk]) -> None:
    one = desk(Chat("telegram"))
    one.delivery.begin(one.job, one.chat.event())
    one.delivery.mark(one.job, mood)
    await until(lambda: not one.emoji._latest)
    assert (one.delivery._events, one.delivery._begun, one.delivery._background) == ({}, {}, set())


async def test_the_chat_s_model_learns_how_it_ended(desk: Callable[..., Desk]) -> None:
    """In the host's own history, and only where there is a conversation."""
    await db_helper.initialize()
    one = desk()
    manager: Any = one.delivery._context.conversation_manager
    await one.delivery.note(replace(one.job, state=State.DELIVERED))
    assert await manager.get_curr_conversation_id(one.chat.origin) is None
    current = await manager.new_conversation(one.chat.origin)
    await one.delivery.note(replace(one.job, state=State.DELIVERED))
    history = json.loads((await manager.get_conversation(one.chat.origin, current)).history)
    assert [turn["role"] for turn in history] == ["user", "assistant"]
    assert all("#3" in turn["content"] for turn in history)
    await db_helper.engine.dispose()


# ---- the web chat ----


@pytest.fixture
def open_request() -> Any:
    """A browser that waits for an answer in this chat."""
    webchat_queue_mgr.get_or_create_back_queue("request", "page")
    yield SimpleNamespace(over=lambda: webchat_queue_mgr.remove_back_queue("request"))
    webchat_queue_mgr.remove_back_queue("request")


def page() -> Chat:
    return Chat("webchat", "webchat!me!page", group=False, plain=True)


async def test_a_video_waits_until_the_page_s_request_is_over(open_request: Any, desk: Callable[..., Desk]) -> None:
    """While it is open the host drops a Video and reports success."""
    one = desk(page())
    delivery = asyncio.create_task(one.deliver())
    await asyncio.sleep(0.02)
    assert one.forms() == []
    open_request.over()
    assert await delivery is Sending.SENT
    assert one.forms() == ["file"]


async def test_a_request_that_stays_open_gets_a_file(
    open_request: Any, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WEBCHAT_SECONDS", 0.1)
    one = desk(page())
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["attachment"]


async def test_a_page_that_only_listens_is_not_waited_for(desk: Callable[..., Desk]) -> None:
    webchat_queue_mgr.get_or_create_back_queue("ws_sub_1", "page")
    try:
        one = desk(page())
        assert await asyncio.wait_for(one.deliver(), 1) is Sending.SENT
    finally:
        webchat_queue_mgr.remove_back_queue("ws_sub_1")


def words(one: Desk) -> str:
    """What stands in the chat as words."""
    parts = [part for params in one.client.named("send") for part in params["chain"]]
    return "\n".join(part.text for part in parts if isinstance(part, Plain))


# ---- what was learnt before ----


async def test_what_was_refused_is_tried_last_the_next_time(desk: Callable[..., Desk]) -> None:
    one = await desk().open()
    one.client.answers["send"] = [REFUSED]
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["url", "file"]
    assert await one.ledger.refused_forms("my-aiocqhttp") == {"url"}
    one.client.calls.clear()
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["file"]


async def test_a_success_is_forgiven(desk: Callable[..., Desk]) -> None:
    one = await desk().open()
    await one.ledger.note_form("my-aiocqhttp", "url", refused=True)
    one.client.answers["send"] = [REFUSED] * 3
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["file", "base64", "attachment", "url"]
    assert "url" not in await one.ledger.refused_forms("my-aiocqhttp")
    one.client.calls.clear()
    await one.deliver()
    assert one.forms() == ["url"]


async def test_each_platform_is_remembered_by_itself(desk: Callable[..., Desk]) -> None:
    """Two QQ bridges: one stands beside us, the other in a container."""
    one = await desk().open()
    await one.ledger.note_form("another-qq", "url", refused=True)
    await one.deliver()
    assert one.forms() == ["url"]


# How a send ends → what is remembered of its form.
LEARNT: dict[str, tuple[Any, str]] = {
    "refused": (REFUSED, "file url stream"),
    "taken": (None, "file"),
    "nobody knows": (TimeoutError(), "file"),
    "the platform is not up": (onebot.ApiNotAvailable(), "file"),
}


@pytest.mark.parametrize("name", LEARNT)
async def test_only_what_is_definite_is_remembered(name: str, desk: Callable[..., Desk]) -> None:
    """``file`` was known before; where the link is refused, this bridge is found not to take pieces either."""
    ending, known = LEARNT[name]
    one = await desk().open()
    await one.ledger.note_form("my-aiocqhttp", "file", refused=True)
    one.client.answers["send"] = [ending]
    await one.deliver()
    assert await one.ledger.refused_forms("my-aiocqhttp") == set(known.split())


async def test_a_link_as_words_is_never_put_off(desk: Callable[..., Desk]) -> None:
    one = await desk("weixin_official_account").open()
    one.client.answers["send"] = REFUSED
    assert await one.deliver() is Sending.REFUSED
    assert await one.ledger.refused_forms("my-weixin_official_account") == set()


# ---- paths ----


async def test_a_path_is_named_as_the_bridge_has_it(desk: Callable[..., Desk], tmp_path: Path) -> None:
    """behaviour.md §6: the host maps the paths of Files only, and by a setting of its own."""
    one = desk(Chat("aiocqhttp"), send_mode="file", delivery={"path_mapping": [f"{tmp_path}:/app/媒体"]})
    failed = onebot.ActionFailed({"retcode": 1200, "wording": "rich media transfer failed"})
    one.client.answers["send_group_msg"] = [failed] * 2
    assert await one.deliver() is Sending.SENT
    sent = [part for params in one.client.named("send_group_msg") for part in params["message"]]
    there = "file:///app/%E5%AA%92%E4%BD%93/000003.mp4"
    assert [(part["type"], part["data"]["file"]) for part in sent if "base64" not in part["data"]["file"]] == [
        ("video", there),
        ("file", there),
    ]
    assert sent[-1]["data"]["name"] == "视频_3.mp4"


@pytest.mark.parametrize("platform", ["telegram", "discord", "lark"])
async def test_elsewhere_our_own_path_is_right(platform: str, desk: Callable[..., Desk]) -> None:
    """Their adapters open the file themselves."""
    one = desk(platform, send_mode="file", delivery={"path_mapping": ["/:/nowhere"]})
    one.client.answers["send"] = [REFUSED]
    await one.deliver()
    parts = [params["chain"][0] for params in one.client.named("send")]
    files = [part.file_ for part in parts if isinstance(part, File)]
    assert files[:1] == [str(one.path)]
    assert all(part.file == one.path.as_uri() for part in parts if isinstance(part, Video))


async def test_a_file_in_pieces_is_named_by_the_bridge(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("aiocqhttp"), send_mode="file")
    failed = onebot.ActionFailed({"retcode": 1200, "wording": "ENOENT"})
    one.client.answers |= {"send_group_msg": [failed], "upload_file_stream": take_pieces}
    assert await one.deliver() is Sending.SENT
    [_, last] = one.client.named("send_group_msg")
    assert last["message"] == [{"type": "video", "data": {"file": "file:///napcat/temp/x"}}]


async def take_pieces(**params: Any) -> Any:
    """A bridge that knows how."""
    return {"file_path": "/napcat/temp/x"} if params.get("is_complete") else {}


# ---- sizes ----


class FakeShrinker:
    """Makes any video 9 bytes long, or nothing at all."""

    def __init__(self, *, works: bool = True) -> None:
        self.works, self.asked = works, list[int]()

    async def shrink(self, path: Path, target: int) -> Path | None:
        self.asked.append(target)
        small = path.with_name(f"{path.stem}.small.mp4")
        small.write_bytes(b"\0\0\0\x18ftyps")
        return small if self.works else None


def grown(one: Desk, megabytes: int) -> FakeShrinker:
    """Let the video be that large; no ffmpeg."""
    with one.path.open("r+b") as file:
        file.truncate(megabytes * MB)
    shrinker = FakeShrinker(works=False)
    one.delivery._shrinker = shrinker  # type: ignore[assignment]
    return shrinker


# platform, MB → what is sent where there is no ffmpeg; the size is said with the link only where it is why
TOO_LARGE: dict[str, tuple[str, int, str, bool]] = {
    "Discord, just right": ("discord", 10, "attachment", False),
    "Discord": ("discord", 11, "link", True),
    "Telegram, just right": ("telegram", 50, "file", False),
    "Telegram": ("telegram", 51, "link", True),
    "WeCom: as a file, which may be larger": ("wecom", 15, "url", False),
    "DingTalk": ("dingtalk", 21, "link", True),
    "Lark: the other side fetches it": ("lark", 31, "url", False),
    "QQ: the bridge fetches it": ("aiocqhttp", 120, "url", False),
    "a platform without a known limit": ("webchat", 300, "file", False),
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_what_is_too_large_for_a_platform(name: str, desk: Callable[..., Desk]) -> None:
    platform, size, form, with_size = TOO_LARGE[name]
    one = desk(platform)
    grown(one, size)
    assert await one.deliver() is Sending.SENT
    assert one.forms() == [form]
    assert (f"{size} MB" in words(one)) is with_size
    assert (LINK in words(one)) is (form == "link")


async def test_on_qq_what_is_too_large_for_a_video_becomes_a_file(desk: Callable[..., Desk]) -> None:
    one = desk(send_mode="file")
    grown(one, 120)
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["attachment"]


async def test_too_large_and_not_to_be_shown(desk: Callable[..., Desk]) -> None:
    one = desk("discord")
    one.job = replace(one.job, result=VideoResult(LINK, private=True))
    grown(one, 11)
    with pytest.raises(Undelivered) as caught:
        await one.deliver(one.parcel(link=None))
    assert caught.value.why == Why("undelivered", "too_large", facts={"file": "000003.mp4", "size": "11"})
    assert await one.delivery.tell(one.job, caught.value.why) is Sending.SENT
    assert "000003.mp4" in words(one)
    assert "11 MB" in words(one)
    assert "cdn.example.com" not in words(one)


@pytest.mark.parametrize("platform", ["telegram", "discord", "dingtalk", "aiocqhttp"])
async def test_a_smaller_copy_is_sent_where_there_is_ffmpeg(platform: str, desk: Callable[..., Desk]) -> None:
    one = desk(platform, send_mode="file")
    shrinker = grown(one, 120)
    shrinker.works = True
    assert await one.deliver() is Sending.SENT
    [call] = one.client.named("send")
    [part] = call["chain"]
    assert "000003.small.mp4" in (part.file if isinstance(part, Video) else part.file_)
    assert shrinker.asked == [max(PLATFORMS[platform].video_limit or 0, PLATFORMS[platform].file_limit or 0)]


@pytest.mark.parametrize("platform", ["telegram", "discord"])
async def test_no_copy_is_made_where_none_is_wanted(platform: str, desk: Callable[..., Desk]) -> None:
    one = desk(platform, delivery={"shrink": "never"})
    shrinker = grown(one, 51)
    assert await one.deliver() is Sending.SENT
    assert one.forms() == ["link"]
    assert shrinker.asked == []


async def test_what_fits_is_not_touched(desk: Callable[..., Desk]) -> None:
    one = desk("telegram")
    shrinker = grown(one, 50)
    await one.deliver()
    assert shrinker.asked == []


# ---- what is only logged ----


def swallowing(one: Desk, *, words_too: bool = False) -> None:
    """An adapter that logs what goes wrong, and reports success."""

    async def send(chain: list[Any]) -> None:
        if words_too or not isinstance(chain[-1], Plain):
            logging.getLogger("astrbot").error("upload failed: 40004")

    one.client.answers["send"] = send


@pytest.mark.parametrize("platform", ["dingtalk", "wecom", "lark", "somebody_s_own"])
async def test_a_swallowed_error_is_followed_by_the_link(platform: str, desk: Callable[..., Desk]) -> None:
    """Once, as words: the video may be there all the same."""
    one = desk(platform)
    swallowing(one)
    assert await one.deliver() is Sending.SENT
    assert one.forms() == [ORDER[platform].split()[0], "link"]
    assert LINK in words(one)


async def test_a_swallowed_error_and_a_link_not_to_be_shown(desk: Callable[..., Desk]) -> None:
    one = desk("dingtalk")
    one.job = replace(one.job, result=VideoResult(LINK, private=True))
    swallowing(one)
    assert await one.deliver(one.parcel(link=None)) is Sending.UNKNOWN
    assert one.forms() == ["file"]


async def test_words_that_are_complained_about_end_there(desk: Callable[..., Desk]) -> None:
    one = desk("dingtalk")
    swallowing(one, words_too=True)
    assert await one.delivery.say(one.job, "hello") is Sending.SENT
    assert len(one.client.calls) == 1


# ---- unclear, and then found ----


@pytest.mark.parametrize(("there", "outcome"), [(True, Sending.SENT), (False, Sending.UNKNOWN)])
@pytest.mark.parametrize("group", [True, False], ids=["group", "friend"])
async def test_an_unclear_send_on_qq_is_looked_up(
    group: bool, there: bool, outcome: Sending, desk: Callable[..., Desk]
) -> None:
    one = desk(Chat("aiocqhttp", group=group))
    lost = onebot.NetworkError("WebSocket API call timeout")
    one.client.answers |= {"send_group_msg": [lost], "send_private_msg": [lost]}
    found = {"user_id": 10000, "time": time.time(), "message": [{"type": "video", "data": {"file": LINK}}]}
    action = "get_group_msg_history" if group else "get_friend_msg_history"
    one.client.answers[action] = {"messages": [found] if there else []}
    assert await one.deliver() is outcome
    assert len(one.client.named("send_group_msg", "send_private_msg")) == 1, "never twice"
    assert len(one.client.named(action)) == 1


@pytest.mark.parametrize(
    ("lost", "found", "times"), [(0, False, 1), (1, True, 1), (1, False, 2), (2, False, 3), (9, False, 3)]
)
async def test_words_that_may_be_lost_are_said_again(
    lost: int, found: bool, times: int, desk: Callable[..., Desk]
) -> None:
    """On QQ, where the chat can be asked: without them a job may end in silence."""
    one = desk(Chat("aiocqhttp", group=False))
    one.client.answers["send_private_msg"] = [onebot.NetworkError("WebSocket API call timeout")] * lost

    async def history(**_: Any) -> Any:
        sent = one.client.named("send_private_msg")[-1]["message"]
        return {"messages": [{"user_id": 10000, "time": time.time(), "message": sent}] if found else []}

    one.client.answers |= {"get_friend_msg_history": history, "get_login_info": lambda **_: given({"user_id": 10000})}
    outcome = await one.delivery.tell(one.job, Why("unknown_delivery"))
    assert outcome is (Sending.UNKNOWN if lost == 9 else Sending.SENT)
    assert len(one.client.named("send_private_msg")) == times


async def given(value: Any) -> Any:
    return value


async def test_elsewhere_words_are_said_once(desk: Callable[..., Desk]) -> None:
    """They usually arrived, and nobody can be asked."""
    one = desk("telegram")
    one.client.answers["send"] = [TimeoutError()]
    assert await one.delivery.tell(one.job, Why("unknown_delivery")) is Sending.UNKNOWN
    assert len(one.client.named("send")) == 1


async def test_a_copy_is_looked_up_by_its_own_size(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("aiocqhttp"), send_mode="file")
    grown(one, 120).works = True
    one.client.answers["send_group_msg"] = [onebot.NetworkError("WebSocket API call timeout")]
    data = {"file": "ABC.mp4", "file_size": "9"}
    found = {"user_id": 10000, "time": time.time(), "message": [{"type": "video", "data": data}]}
    one.client.answers["get_group_msg_history"] = {"messages": [found]}
    assert await one.deliver() is Sending.SENT


async def test_elsewhere_nobody_can_be_asked(desk: Callable[..., Desk]) -> None:
    one = desk(Chat("telegram"))
    one.client.answers["send_video"] = [telegram.error.TimedOut()]
    assert await one.deliver() is Sending.UNKNOWN
    assert [action for action, _ in one.client.calls if action != "send_chat_action"] == ["send_video"]


# ---- the line behind it ----

CAPTION = {"delivery": {"caption": True}}


def said(one: Desk) -> list[tuple[str, str]]:
    """What stands in the chat as words: whom it quotes, and what it says."""
    chains = [params["chain"] for params in one.client.named("send")]
    quoted = [(next((str(p.id) for p in chain if isinstance(p, Reply)), ""), chain[-1]) for chain in chains]
    return [(reply, part.text) for reply, part in quoted if isinstance(part, Plain)]


# platform, how it goes → whether the line comes
CAPTIONS: dict[str, tuple[str, list[Any], dict[str, Any], bool]] = {
    "sent": ("aiocqhttp", [], CAPTION, True),
    "sent in a later form": ("aiocqhttp", [REFUSED], CAPTION, True),
    "Telegram": ("telegram", [], CAPTION, True),
    "Discord": ("discord", [], CAPTION, True),
    "a link says it itself": ("telegram", [REFUSED] * 2, CAPTION, False),
    "nobody knows": ("aiocqhttp", [TimeoutError()], CAPTION, False),
    "where nothing can be quoted": ("kook", [], CAPTION, False),
    "switched off": ("aiocqhttp", [], {}, False),
    "only emoji are wanted": ("aiocqhttp", [], CAPTION | {"acknowledge": "emoji"}, False),
}


@pytest.mark.parametrize("name", CAPTIONS)
@pytest.mark.parametrize("group", [True, False], ids=["group", "friend"])
async def test_the_line_behind_a_video(name: str, group: bool, desk: Callable[..., Desk]) -> None:
    platform, endings, panel, comes = CAPTIONS[name]
    one = desk(Chat(platform, group=group, plain=True), **json.loads(json.dumps(panel)))
    result = VideoResult(LINK, cost=0.25, currency="USD")
    one.job = replace(one.job, model="m-1", result=result, submitted_at=100.0, ready_at=142.4)
    one.client.answers["send"] = list(endings)
    await one.deliver()
    await until(lambda: not one.delivery._background)
    line = one.delivery._texts.say("caption", number=3, model="m-1", seconds=42, cost=" · 0.25 USD")
    assert [words for words in said(one) if "m-1" in words[1]] == ([("777", line)] if comes else [])
    first = next((one for one in one.forms() if one != "link"), None)
    assert first, "the line never comes before the video"


async def test_a_cost_that_nobody_knows_is_not_said(desk: Callable[..., Desk]) -> None:
    one = desk(**json.loads(json.dumps(CAPTION)))
    one.job = replace(one.job, model="m-1", submitted_at=100.0, ready_at=101.0)
    await one.deliver()
    await until(lambda: len(said(one)) == 1)
    assert said(one)[0][1].endswith("m-1 · 1 秒")


async def test_a_line_that_cannot_be_said_changes_nothing(desk: Callable[..., Desk]) -> None:
    one = desk(**json.loads(json.dumps(CAPTION)))
    one.client.answers["send"] = [None, REFUSED, REFUSED]
    assert await one.deliver() is Sending.SENT
    await until(lambda: not one.delivery._background)
    assert one.forms() == ["url", "link", "link"]


# ---- typing ----


@pytest.mark.parametrize("mood", [Mood.SUCCESS, Mood.FAILED, Mood.NONE])
async def test_typing_stops_with_the_last_mark(
    mood: Mood, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emoji_feedback, "TYPING_SECONDS", 0.01)
    one = desk("telegram")
    event = one.chat.event()
    typed = 0

    async def send_typing() -> None:
        nonlocal typed
        typed += 1

    event.send_typing = send_typing
    one.delivery.begin(one.job, event)
    await until(lambda: typed > 2)
    one.delivery.mark(one.job, mood)
    await until(lambda: not one.emoji._all)
    before = typed
    await asyncio.sleep(0.05)
    assert typed == before


async def test_where_there_is_no_typing_none_is_shown(desk: Callable[..., Desk]) -> None:
    one = desk("aiocqhttp")
    event = one.chat.event()
    event.send_typing = None  # would be an error
    one.delivery.begin(one.job, event)
    await settled()
    assert [action for action, _ in one.client.calls] == ["set_msg_emoji_like"]
