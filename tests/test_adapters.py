"""What our plan makes every adapter of the host send: their own code, up to the last call of the platform's API.

A row sets up one adapter with a client that writes down what it is given. An adapter that a new host brings has no row,
and fails here until somebody has looked at what it does with a video.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import astrbot
import pytest
from astrbot.api.event import MessageChain
from astrbot.api.message_components import Video
from astrbot.api.platform import AstrBotMessage, Group, MessageMember, MessageType, PlatformMetadata
from astrbot.core import db_helper
from astrbot.core.platform.message_session import MessageSession
from astrbot.core.platform.sources.webchat.webchat_queue_mgr import webchat_queue_mgr

from core import delivery as module
from core.config import Settings
from core.delivery import Delivery
from core.delivery_plan import PLATFORMS, Form, planned
from core.emoji_feedback import EmojiFeedback
from core.job_ledger import JobLedger
from core.models import Destination, Job, State, VideoRequest, VideoResult
from core.outbox import Parcel, Sending
from core.texts import Texts
from core.transport import Transport, Trust
from core.video_manager import Download, VideoManager
from devtools.rig.media import make_mp4
from tests.host import RecordingClient
from tests.scripted_server import ScriptedServer, answer

pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp")  # of an adapter's own SDK
SOURCES = Path(astrbot.__file__).parent / "core" / "platform" / "sources"
MP4 = make_mp4(seed=7)


@dataclass
class Stage:
    """One adapter, with all that it handed to its platform: text, or the content of files."""

    name: str
    session: str = "1001"
    got: list[str | bytes] = field(default_factory=list)
    event: Any = None
    platform: Any = None  # for adapters that are spoken to without an event

    def take(self, thing: Any) -> None:
        """Write down what the platform gets; a path on this machine counts as what lies there."""
        if isinstance(thing, bytes):
            self.got.append(thing)
        elif isinstance(thing, Path):
            self.got.append(thing.read_bytes())
        elif isinstance(thing, str) and thing.startswith("file://"):
            self.take(Path(unquote(urlsplit(thing).path)))
        elif isinstance(thing, str) and thing.startswith("/") and Path(thing).is_file():
            self.take(Path(thing))
        elif isinstance(thing, str):
            self.got.append(thing)
        elif isinstance(thing, dict):
            for one in thing.values():
                self.take(one)
        elif isinstance(thing, list | tuple):
            for one in thing:
                self.take(one)
        elif hasattr(thing, "read"):
            self.take(thing.read())

    def message(self, raw: Any = None) -> AstrBotMessage:
        made = AstrBotMessage()
        made.type, made.self_id, made.session_id, made.message_id = MessageType.GROUP_MESSAGE, "10", self.session, "777"
        made.message, made.message_str, made.raw_message = [], "", raw
        made.sender, made.group = MessageMember("42", "somebody"), Group(self.session)
        return made

    def of(self, where: str, kind: str, *client: Any, raw: Any = None, **more: Any) -> Any:
        """The adapter's event, made as its adapter makes it."""
        meta = PlatformMetadata(self.name, "", f"my-{self.name}")
        self.event = found(where, kind)("", self.message(raw), meta, self.session, *client, **more)
        return self.event


def found(where: str, name: str) -> Any:
    return getattr(importlib.import_module(f"astrbot.core.platform.sources.{where}"), name)


class Recorder(RecordingClient):
    """A client all of whose calls the stage writes down."""

    def __init__(self, stage: Stage, **answers: Any) -> None:
        super().__init__()
        self._stage = stage
        self.answers = answers

    async def call_action(self, action: str, /, *args: Any, **params: Any) -> Any:
        self._stage.take([args, params])
        return await super().call_action(action, **params)


class Blocking:
    """A client of calls that are not awaited."""

    def __init__(self, stage: Stage, answer: Any = None) -> None:
        self._stage, self._answer = stage, answer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **params: self._stage.take([args, params]) or self._answer


# ---- the rows ----


def aiocqhttp(stage: Stage) -> None:
    stage.of("aiocqhttp.aiocqhttp_message_event", "AiocqhttpMessageEvent", Recorder(stage))


def telegram(stage: Stage) -> None:
    stage.of("telegram.tg_event", "TelegramPlatformEvent", Recorder(stage))


def webchat(stage: Stage) -> None:
    """Its history is what a page shows: spoken to through the platform once no request is open."""
    adapter = found("webchat.webchat_adapter", "WebChatAdapter")({}, {}, asyncio.Queue())

    async def history(**row: Any) -> None:
        for part in row["content"]["message"]:
            stage.take(part.get("text"))
            if part.get("attachment_id"):
                stage.take(Path((await db_helper.get_attachment_by_id(part["attachment_id"])).path))

    stage.session = "webchat!me!page"
    stage.platform = SimpleNamespace(send=adapter.send_by_session, history=history)


def discord(stage: Stage) -> None:
    messageable = importlib.import_module("discord").abc.Messageable

    class Channel(messageable):  # type: ignore[misc, valid-type]
        async def send(self, content: str = "", files: Any = (), **_: Any) -> None:
            stage.take([content, [file.fp for file in files]])

        async def _get_channel(self) -> Any: ...

    client = SimpleNamespace(get_channel=lambda _: Channel(), get_message=lambda _: None)
    stage.of("discord.discord_platform_event", "DiscordPlatformEvent", client)


def slack(stage: Stage) -> None:
    uploaded = {"ok": True, "files": [{"permalink": "https://slack/x"}]}
    stage.of("slack.slack_event", "SlackMessageEvent", Recorder(stage, files_upload_v2=lambda **_: given(uploaded)))


async def given(value: Any) -> Any:
    return value


def misskey(stage: Stage) -> None:
    stage.session = "chat%42"
    adapter = found("misskey.misskey_adapter", "MisskeyPlatformAdapter")({}, {}, asyncio.Queue())
    adapter.api = Recorder(stage, upload_file=lambda **_: given({"id": "f"}))
    stage.of("misskey.misskey_event", "MisskeyPlatformEvent", adapter)


def lark(stage: Stage) -> None:
    def said(request: Any) -> Any:
        stage.take([getattr(request.request_body, name, None) for name in ("file", "content")])
        return given(SimpleNamespace(success=lambda: True, data=SimpleNamespace(file_key="k")))

    api = SimpleNamespace(file=SimpleNamespace(acreate=said), message=SimpleNamespace(areply=said))
    stage.of("lark.lark_event", "LarkMessageEvent", SimpleNamespace(im=SimpleNamespace(v1=api)))


class Web:
    """An HTTP session, of as much as is used."""

    def __init__(self, stage: Stage, said: Any) -> None:
        self._stage, self._said = stage, said

    @asynccontextmanager
    async def post(self, url: str, data: Any = None, json: Any = None, **_: Any) -> AsyncIterator[Any]:
        self._stage.take([json or {}, [part for *_, part in getattr(data, "_fields", ())]])
        yield SimpleNamespace(status=200, json=lambda: given(self._said), text=lambda: given(""))


def kook(stage: Stage) -> None:
    client = object.__new__(found("kook.kook_client", "KookClient"))
    client._http_client = Web(stage, {"code": 0, "data": {"url": "https://kook/x"}})
    stage.of("kook.kook_event", "KookEvent", client)


def satori(stage: Stage) -> None:
    """The other side opens the path: it stands beside us."""

    async def send(method: str, path: str, data: Any, *_: Any) -> Any:
        stage.take([data["content"], re.findall(r'src="([^"]+)"', data["content"])])
        return {"id": "1"}

    adapter = SimpleNamespace(logins=[{"platform": "x", "user": {"id": "10"}}], send_http_request=send)
    stage.of("satori.satori_event", "SatoriPlatformEvent", adapter)


def mattermost(stage: Stage) -> None:
    client = object.__new__(found("mattermost.client", "MattermostClient"))
    recorder = Recorder(stage, upload_file=lambda **_: given("f"))
    client.upload_file, client.create_post = recorder.upload_file, recorder.create_post
    stage.of("mattermost.mattermost_event", "MattermostMessageEvent", client)


def wecom(stage: Stage) -> None:
    client = SimpleNamespace(media=Blocking(stage, {"media_id": "m"}), message=Blocking(stage))
    stage.of("wecom.wecom_event", "WecomPlatformEvent", client)


def weixin_oc(stage: Stage) -> None:
    adapter = found("weixin_oc.weixin_oc_adapter", "WeixinOCAdapter")({"weixin_oc_token": "t"}, {}, asyncio.Queue())
    adapter._context_tokens["1001"] = "c"
    there = {"upload_param": "p", "upload_full_url": "https://weixin/x", "ret": 0}
    adapter.client = Recorder(stage, request_json=lambda **_: given(there), upload_to_cdn=lambda **_: given("q"))
    adapter.client.aes_padded_size = lambda size: size
    stage.of("weixin_oc.weixin_oc_event", "WeixinOCMessageEvent", adapter)


def qq_official(stage: Stage, where: str = "qqofficial.qqofficial_message_event.QQOfficialMessageEvent") -> None:
    botpy = importlib.import_module("botpy.message")

    async def request(route: Any, json: Any) -> Any:
        stage.take(base64.b64decode(json["file_data"]) if "file_data" in json else json)
        return {"file_uuid": "u", "file_info": "i", "ttl": 0}

    api = Recorder(stage)
    api._http = SimpleNamespace(request=request)
    raw = botpy.GroupMessage(api, "e", {"id": "777", "group_openid": "g", "author": {"member_openid": "42"}})
    module_name, _, kind = where.rpartition(".")
    stage.of(module_name, kind, SimpleNamespace(api=api), raw=raw)


def qq_official_webhook(stage: Stage) -> None:
    qq_official(stage, "qqofficial_webhook.qo_webhook_event.QQOfficialWebhookMessageEvent")


def line(stage: Stage) -> None:
    stage.of("line.line_event", "LineMessageEvent", Recorder(stage))


def dingtalk(stage: Stage) -> None:
    keys = {"client_id": "i", "client_secret": "s", "id": "my-dingtalk"}
    adapter = found("dingtalk.dingtalk_adapter", "DingtalkPlatformAdapter")(keys, {}, asyncio.Queue())
    recorder = Recorder(stage, upload_media=lambda **_: given("m"))
    adapter.upload_media, adapter._send_group_message = recorder.upload_media, recorder.send
    raw = SimpleNamespace(sender_id="42", sender_staff_id="42", conversation_type="2", conversation_id="1001")
    stage.of("dingtalk.dingtalk_event", "DingtalkMessageEvent", raw=raw, client=None, adapter=adapter)


def weixin_official_account(stage: Stage) -> None:
    client, raw = SimpleNamespace(message=Blocking(stage)), {"active_send_mode": True}
    where = "weixin_official_account.weixin_offacc_event"
    stage.of(where, "WeixinOfficialAccountPlatformEvent", client, {}, raw=raw)


def wecom_ai_bot(stage: Stage) -> None:
    queues = found("wecom_ai_bot.wecomai_queue_mgr", "WecomAIQueueMgr")()
    queue = queues.get_or_create_back_queue("s")
    queue.put = lambda said: given(stage.take(said.get("data")))
    raw = {"stream_id": "s"}
    stage.of("wecom_ai_bot.wecomai_event", "WecomAIBotMessageEvent", None, queues, raw=raw)


@dataclass(frozen=True)
class Row:
    """What reaches the platform.

    Attributes:
        file, url: what the first form of a file, and of a link, becomes there: its content, or the link.
    """

    make: Callable[[Stage], None]
    file: str = "content"
    url: str = "link"


ROWS: dict[str, Row] = {
    "aiocqhttp": Row(aiocqhttp),
    "telegram": Row(telegram),
    "webchat": Row(webchat),
    "discord": Row(discord),
    "slack": Row(slack),
    "misskey": Row(misskey),
    "lark": Row(lark, url="content"),  # the adapter downloads it and uploads it
    "kook": Row(kook),
    "satori": Row(satori, url="content"),
    "mattermost": Row(mattermost, url="content"),
    "wecom": Row(wecom, url="content"),
    "weixin_oc": Row(weixin_oc, url="content"),
    "qq_official": Row(qq_official),
    "qq_official_webhook": Row(qq_official_webhook),
    "line": Row(line, file="link"),
    "dingtalk": Row(dingtalk),
    "weixin_official_account": Row(weixin_official_account, file="link"),
    "wecom_ai_bot": Row(wecom_ai_bot, file="link"),
}


def test_every_adapter_of_the_host_has_its_row() -> None:
    named = {
        name
        for source in SOURCES.glob("*/*.py")
        for name in re.findall(r'^@register_platform_adapter\(\s*"([^"]+)"', source.read_text(), re.MULTILINE)
    }
    assert len(named) > 15
    assert named == set(ROWS) == set(PLATFORMS)


# ---- what comes of it ----


@dataclass
class Theatre:
    """A delivery, and a web server that has the video."""

    folder: Path
    link: str

    async def play(self, stage: Stage, **video: Any) -> Sending:
        """Deliver the video to this adapter as the plan says."""
        path = self.folder / "000003.mp4"
        path.write_bytes(MP4)
        origin = f"my-{stage.name}:GroupMessage:{stage.session}"

        async def fetch(_: Callable[[], None]) -> Path:
            return path

        async def sending() -> None: ...

        async def send_message(_: str, chain: MessageChain) -> bool:
            await stage.platform.send(MessageSession.from_str(origin), chain)
            return True

        context: Any = SimpleNamespace(send_message=send_message, platform_manager=SimpleNamespace(platform_insts=[]))
        settings = Settings.model_validate({"video": video, "delivery": {"caption": False}})
        videos = VideoManager(self.folder, Transport(Trust()), max_cached=1, max_bytes=1)
        ledger = JobLedger(self.folder / "ledger.db")
        delivery = Delivery(context, settings, Texts("zh"), EmojiFeedback(context), videos, ledger, lambda: "")
        job = Job(
            id="j", backend="grok", request=VideoRequest("a cat"), number=3, state=State.READY,
            destination=Destination(origin, stage.name, "42", "777", True), result=VideoResult(self.link),
        )  # fmt: skip
        if stage.event:
            delivery.remember(job, stage.event)
        try:
            return await delivery.deliver(job, Parcel(self.link, Download(fetch), sending))
        finally:
            await delivery.close()


@pytest.fixture
async def theatre(tmp_path: Path) -> AsyncIterator[Theatre]:
    async with ScriptedServer(*[[answer(MP4, 200, "Content-Type: video/mp4")]] * 4) as server:
        yield Theatre(tmp_path, server.link("/v.mp4"))


@pytest.fixture
async def stage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """The adapter of this row, with nothing but recorders behind it; the web chat with its database."""
    one = Stage(request.param)
    ROWS[request.param].make(one)
    if one.platform:
        await db_helper.initialize()
        monkeypatch.setattr(db_helper, "insert_platform_message_history", one.platform.history)
    yield one
    if one.platform:
        await db_helper.engine.dispose()


every_adapter = pytest.mark.parametrize("stage", ROWS, indirect=True)


def reached(stage: Stage, link: str) -> set[str]:
    """What the platform got: the video's content, its link, or neither."""
    words = "\n".join(one for one in stage.got if isinstance(one, str))
    words = json.dumps(words).replace("\\\\", "") + words
    return {name for name, there in (("content", MP4 in stage.got), ("link", link in words)) if there}


@every_adapter
async def test_a_file(stage: Stage, theatre: Theatre) -> None:
    assert await theatre.play(stage, send_mode="file") is Sending.SENT
    assert reached(stage, theatre.link) == {ROWS[stage.name].file}
    assert stage.got.count(MP4) <= 1, "once"


@every_adapter
async def test_a_link(stage: Stage, theatre: Theatre) -> None:
    """As a video where the platform has that, else as words."""
    assert await theatre.play(stage, send_mode="url") is Sending.SENT
    assert reached(stage, theatre.link) == {ROWS[stage.name].url}


# ---- what some of them drop ----

DROPPERS = {
    "slack": "a Video is no block there",
    "weixin_official_account": "nothing but words and pictures",
    "wecom_ai_bot": "nothing but words and pictures",
    "dingtalk": "no cover picture without ffmpeg, and no Video without a cover picture",
    "line": "the same; and the cover picture needs the host's file service",
}


@pytest.mark.parametrize("stage", DROPPERS, indirect=True)
async def test_what_they_drop_is_never_offered(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's adapter reports success, and the platform gets nothing: the plan knows."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "v.mp4"
    path.write_bytes(MP4)
    await stage.event.send(MessageChain([Video.fromFileSystem(str(path))]))
    assert stage.got == []
    plan = planned(stage.name, link="https://cdn.example.com/v.mp4", ffmpeg=False)
    assert not {Form.URL, Form.FILE, Form.SERVICE} & set(plan), DROPPERS[stage.name]


@pytest.mark.parametrize("name", ["discord", "misskey", "slack"])
def test_what_older_hosts_drop_is_never_offered(name: str) -> None:
    """behaviour.md §6: they ignore a Video and report success."""
    assert planned(name, link="https://cdn.example.com/v.mp4") == [Form.ATTACHMENT, Form.LINK]


async def test_an_open_page_drops_a_video(tmp_path: Path, theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a request is open a Video is lost, and a File is not: with the plan, the page gets the file."""
    monkeypatch.setattr(module, "WEBCHAT_SECONDS", 0.1)
    one = Stage("webchat")
    webchat(one)
    queue = webchat_queue_mgr.get_or_create_back_queue("request", "page")
    try:
        path = tmp_path / "v.mp4"
        path.write_bytes(MP4)
        session = MessageSession.from_str(f"webchat:FriendMessage:{one.session}")
        await one.platform.send(session, MessageChain([Video.fromFileSystem(str(path))]))
        while not queue.empty():
            assert queue.get_nowait()["type"] not in ("file", "video")
        assert await theatre.play(one, send_mode="file") is Sending.SENT
        shown = [queue.get_nowait() for _ in range(queue.qsize())]
        [file] = [said["data"] for said in shown if said["type"] == "file"]
        stored = importlib.import_module("astrbot.core.platform.sources.webchat.webchat_event").attachments_dir
        assert Path(stored, file.removeprefix("[FILE]").partition("|")[0]).read_bytes() == MP4
    finally:
        webchat_queue_mgr.remove_back_queue("request")


@pytest.mark.parametrize("stage", ["dingtalk"], indirect=True)
async def test_with_ffmpeg_it_is_a_video(stage: Stage, theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    cover = theatre.folder / "cover.jpg"
    cover.write_bytes(b"jpeg")
    monkeypatch.setattr(module, "_has_ffmpeg", lambda: True)
    adapter = importlib.import_module("astrbot.core.platform.sources.dingtalk.dingtalk_adapter")
    monkeypatch.setattr(adapter, "extract_video_cover", lambda _: given(str(cover)))
    assert await theatre.play(stage) is Sending.SENT
    assert reached(stage, theatre.link) == {"content"}
    assert "sampleVideo" in stage.got
