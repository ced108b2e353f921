"""What each command answers, to whom, in both languages."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import PIL.Image
import pytest
from astrbot.api.message_components import At, Image, Plain, Reply

from core import orders as module
from core.backends import Configured, configured
from core.capabilities import Capabilities, Mode
from core.commands import Commands
from core.config import Settings
from core.delivery import Delivery
from core.emoji_feedback import EmojiFeedback
from core.errors import BadInput, Misconfigured, OutOfQuota, Refused, UnknownCharge, UpstreamFailed, Why
from core.job_ledger import JobLedger, LedgerFailed
from core.job_runner import JobRunner
from core.kept_references import LIFE, MOST, KeptReferences
from core.keys import KeyRing
from core.models import Role, State, VideoResult
from core.orders import MODES, Orders, owner_of
from core.references import ReferenceStore
from core.texts import KEYS, Language, Texts
from core.transport import MB, Transport, Trust
from core.video_manager import VideoManager
from core.words import COMMANDS, ROLES
from devtools.rig.media import make_png
from tests.host import Chat, context_of, settled
from tests.internet import Internet
from tests.scripted_backend import INLINE, Gate, ScriptedBackend, TicketingBackend
from tests.until import until

PICTURE = Image.fromBytes(make_png())
FIXED = Capabilities(text=False, first_of_many=True, durations=(), aspect_ratios=(), resolutions=())
VEO = Capabilities(
    last_frame=True,
    references=3,
    durations=(),
    aspect_ratios=("16:9", "9:16"),
    resolutions=(),
    siblings={Mode.REFERENCES: "v-1-components"},
)
LANGUAGES: list[Language] = ["zh", "en"]


class Room:
    """One group chat with the whole plugin behind it; only the upstream is scripted, and the chat's API recorded."""

    def __init__(self, folder: Path, language: Language, can: Capabilities, keys: str, panel: dict[str, Any]) -> None:
        self.folder, self.language, self.texts = folder, language, Texts(language)
        self.settings = Settings.model_validate({"language": language, "video": panel, "delivery": {"caption": False}})
        self.backend, self.keys = ScriptedBackend(can), keys
        self.veo, self.veo_keys = TicketingBackend(VEO), ""
        self.later = 0.0  # seconds that passed for the kept pictures
        self.chat = Chat()
        self._messages = 0

    async def open(self) -> None:
        video = self.settings.video
        self.transport = Transport(Trust())
        self.ledger = JobLedger(self.folder / "jobs.db")
        await self.ledger.open()
        videos = VideoManager(self.folder / "videos", self.transport, max_cached=9, max_bytes=MB)
        references = ReferenceStore(self.folder / "references", self.transport, max_side=256, max_bytes=MB)
        kept_store = ReferenceStore(self.folder / "kept", self.transport, max_side=256, max_bytes=MB)
        self.kept = KeptReferences(self.folder / "kept_lists", kept_store, self.clock)
        self.backends: dict[str, Configured] = {"grok": Configured(self.backend, KeyRing(self.keys.split()), "m-1")}
        self.backends["veo"] = Configured(self.veo, KeyRing(self.veo_keys.split()), "v-1", interval=1.0)
        context = context_of(self.chat)
        self.delivery = Delivery(
            context, self.settings, self.texts, EmojiFeedback(context), videos, self.ledger, lambda: ""
        )
        self.runner = JobRunner(
            video, self.backends, self.ledger, references, videos, self.delivery, sleep=lambda _: asyncio.sleep(0)
        )
        self.orders = Orders(
            self.settings, self.texts, self.backends, self.ledger, references, self.kept, self.runner, self.delivery
        )
        self.commands = Commands(
            self.settings, self.texts, self.backends, self.ledger, self.kept, self.runner, self.delivery, self.orders
        )

    def clock(self) -> float:
        return time.time() + self.later

    async def close(self) -> None:
        closed = asyncio.Event()

        async def last() -> None:
            await self.delivery.close()
            await self.ledger.close()
            await self.transport.close()
            closed.set()

        await self.runner.close(last)
        for task in asyncio.all_tasks():
            if "astrbot_plugin_gitee:deed" in task.get_name():
                task.cancel()
        await asyncio.wait_for(closed.wait(), 2)

    def event(self, *chain: Any, user: str = "", admin: bool = False, message_id: str = "") -> Any:
        self._messages += 1
        return self.chat.event(*chain, user=user, admin=admin, message_id=message_id or str(1000 + self._messages))

    async def say(self, command: str, text: str = "", *chain: Any, event: Any = None, **who: Any) -> list[str]:
        """Give a command; what the chat reads because of it."""
        before = len(self.words())
        event = event or self.event(*chain, **who)
        await self.commands.run(command, event, text)
        assert event.is_stopped()
        assert event.call_llm, "the chat's own model has nothing to add"
        await settled()
        return self.words()[before:]

    def words(self) -> list[str]:
        messages = [call["message"] for call in self.chat.client.named("send_group_msg")]
        return [part["data"]["text"] for message in messages for part in message if part["type"] == "text"]

    def videos(self) -> int:
        messages = [call["message"] for call in self.chat.client.named("send_group_msg")]
        return sum(part["type"] == "video" for message in messages for part in message)

    async def start(self, text: str = "a cat", **who: Any) -> Gate:
        """A job that renders until its gate is opened."""
        gate = Gate()
        self.backend.steps.append(gate)
        assert await self.say("video", text, PICTURE, **who) == []
        await asyncio.wait_for(gate.reached.wait(), 2)
        return gate

    async def idle(self) -> None:
        """Until no job is on its way."""
        await until(lambda: not any("astrbot_plugin_gitee" in task.get_name() for task in asyncio.all_tasks()))


@pytest.fixture
async def room(tmp_path: Path, internet: Internet) -> AsyncIterator[Any]:
    rooms: list[Room] = []

    async def make(
        language: Language = "zh",
        can: Capabilities | None = None,
        keys: str = "key",
        veo_keys: str = "",
        veo: Capabilities | None = None,
        **panel: Any,
    ) -> Room:
        one = Room(tmp_path / str(len(rooms)), language, can or Capabilities(), keys, panel)
        one.veo_keys, one.veo.can = veo_keys, veo or VEO
        rooms.append(one)
        await one.open()
        return one

    yield make
    for one in rooms:
        await one.close()


# ---- refusals before anything is sent ----

# Panel, capabilities, what is typed → the sentence and what fills it.
REFUSED: dict[str, tuple[dict[str, Any], Capabilities, str, str, dict[str, Any]]] = {
    "nothing typed": ({}, Capabilities(), "", "bad_input.usage", {}),
    "only parameters": ({}, Capabilities(), "6s 9:16", "bad_input.usage", {}),
    "switched off": ({"enabled": False}, Capabilities(), "a cat", "bad_input.disabled", {}),
    "a backend nobody has": (
        {}, Capabilities(), "@sora a cat", "bad_input.unknown_backend", {"name": "sora", "offered": "@grok"},
    ),
    "no key": ({"keys": ""}, Capabilities(), "a cat", "auth_failed.no_key", {"key": "video.api_key"}),
    "a length it does not do": (
        {}, Capabilities(durations=(6, 10)), "a cat 7s",
        "bad_input.duration_not_offered", {"wanted": 7, "offered": "6 10"},
    ),
    "a ratio it does not do": (
        {}, Capabilities(aspect_ratios=("16:9",)), "a cat 竖屏",
        "bad_input.aspect_ratio_not_offered", {"wanted": "9:16", "offered": "16:9"},
    ),
    "a size it does not do": (
        {}, Capabilities(resolutions=("480p",)), "1080P a cat",
        "bad_input.resolution_not_offered", {"wanted": "1080p", "offered": "480p"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_at_once(name: str, language: Language, room: Any) -> None:
    panel, can, text, key, facts = REFUSED[name]
    one = await room(language, can, **panel)
    assert await one.say("video", text, PICTURE) == [one.texts.say(key, **facts)]
    assert await one.ledger.ids() == set()
    answer = await one.commands.tool(one.event(), text.replace("6s 9:16", ""), "auto", 7 if "7s" in text else 0, "", "")
    assert answer
    assert one.backend.creates == [] or name not in ("nothing typed", "only parameters", "switched off", "no key")


@pytest.mark.parametrize("typed", ["not an address", "ftp://gw.example.com", "http://", ""])
async def test_an_address_that_is_none(typed: str, room: Any) -> None:
    one = await room(server_url=typed, api_key="key")
    one.commands._backends = configured(one.settings, one.transport, _nothing)
    one.orders._backends = one.commands._backends
    assert await one.say("video", "a cat", PICTURE) == [
        one.texts.say("misconfigured.bad_address", server="video.server_url")
    ]
    assert await one.ledger.ids() == set()


async def test_a_picture_is_needed(room: Any) -> None:
    one = await room(can=FIXED, avatar_fallback="never")
    [answer] = await one.say("video", "a cat")
    assert one.texts.say("bad_input.needs_picture") in answer
    assert "#1" in answer
    assert one.backend.creates == []
    assert await one.ledger.unfinished() == [], "the person's place is free again"
    await one.start()


async def test_a_panel_saved_this_moment(room: Any) -> None:
    one = await room()
    await one.ledger.close()
    assert await one.say("video", "1", PICTURE) == [one.texts.say("starting")]
    assert await one.commands.tool(one.event(), "a cat", "auto", 0, "", "") == one.texts.say("starting")


async def test_a_ledger_that_takes_nothing(room: Any) -> None:
    one = await room()
    one.ledger._commit = lambda works: [LedgerFailed("No space left on device")] * len(works)
    for command, text in (("video", "1"), ("jobs", "1"), ("cancel", "1"), ("resend", "1"), ("models", "")):
        assert await one.say(command, text, PICTURE) == [one.texts.say("misconfigured.ledger")]
    assert await one.commands.tool(one.event(), "a cat", "auto", 0, "", "") == one.texts.say("misconfigured.ledger")


# ---- a job ----


async def test_from_command_to_video(room: Any) -> None:
    one = await room(presets=["跳舞:a cat dances"])
    gate = await one.start("跳舞 in the rain 9:16 6s")
    [job] = await one.ledger.unfinished()
    assert job.request.prompt == "a cat dances, in the rain"
    assert (job.request.duration, job.request.aspect_ratio) == (6, "9:16")
    assert len(job.request.references) == 1
    gate.let_go.set()
    await one.idle()
    assert one.videos() == 1
    assert one.words() == [], "the emoji say the rest"
    marks = [(call["emoji_id"], call["set"]) for call in one.chat.client.named("set_msg_emoji_like")]
    assert marks == [("125", True), ("79", True), ("125", False)]
    assert one.delivery._events == {}


async def test_a_failure_is_told_in_words(room: Any) -> None:
    one = await room()
    one.backend.steps.append(Refused("", "nsfw"))
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    [answer] = one.words()
    assert one.texts.say("refused") in answer
    assert "nsfw" in answer


async def test_names_do_not_reach_the_prompt(room: Any) -> None:
    one = await room(can=Capabilities(first_of_many=True))
    await one.say("video", "@小明(7) dances", PICTURE, At(qq="7", name="小明"))
    await one.idle()
    assert one.backend.creates == [("dances", "key", 1)]


NOTES: dict[str, tuple[Capabilities, str, list[Any], dict[str, Any]]] = {
    "note_dropped": (
        Capabilities(durations=()), "a cat 6s", [PICTURE], {"names": "时长"},
    ),
    "note_avatar": (FIXED, "a cat", [], {}),
    "note_first": (FIXED, "a cat", [PICTURE, PICTURE], {}),
    "note_sibling": (VEO, "a cat", [PICTURE] * 3, {"model": "v-1-components"}),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
async def test_what_the_person_should_know(name: str, room: Any) -> None:
    can, text, chain, facts = NOTES[name]
    one = await room(can=can)
    one.backend.steps.append(gate := Gate())
    [acknowledged, *_] = await one.say("video", text, *chain)
    assert one.texts.say("accepted", number=1) in acknowledged
    assert one.texts.say(name, **facts) in acknowledged
    others = {key for key in KEYS if key.startswith("note_")} - {name, "note_dropped", "note_sibling", "note_kept"}
    assert not [key for key in others if one.texts.say(key) in acknowledged]
    gate.let_go.set()


async def test_the_place_in_the_queue(room: Any) -> None:
    one = await room(max_running_jobs=1, max_jobs_per_user=5)
    gate = await one.start()
    assert await one.say("video", "a dog", PICTURE, user="7") == [one.texts.say("queued", number=2, position=1)]
    [line] = await one.say("jobs", user="7")
    assert one.texts.say("position", position=1) in line
    gate.let_go.set()
    await one.idle()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_one_job_a_person(language: Language, room: Any) -> None:
    one = await room(language)
    gate = await one.start()
    assert await one.say("video", "a dog", PICTURE) == [one.texts.say("too_many", number=1, limit=1)]
    assert await one.commands.tool(one.event(), "a dog", "auto", 0, "", "") == one.texts.say(
        "too_many", number=1, limit=1
    )
    other = await one.start(user="7")
    gate.let_go.set()
    other.let_go.set()
    await one.idle()
    assert len(one.backend.creates) == 2


async def test_a_message_that_comes_twice_is_one_job(room: Any) -> None:
    one = await room(max_jobs_per_user=5)
    gate = await one.start(message_id="55")
    assert await one.say("video", "a cat", PICTURE, message_id="55") == []
    gate.let_go.set()
    await one.idle()
    assert await one.say("video", "a cat", PICTURE, message_id="55") == [], "not even afterwards"
    assert len(one.backend.creates) == 1


async def test_cancelled_while_its_pictures_are_gathered(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await room()
    reached, let_go = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> list[Any]:
        reached.set()
        await let_go.wait()
        return []

    monkeypatch.setattr(module, "find_images", slow)
    ordering = asyncio.create_task(one.say("video", "a cat"))
    await reached.wait()
    assert one.texts.say("cancelled.free", number=1) in await one.say("cancel")
    let_go.set()
    await ordering
    assert one.words() == [one.texts.say("cancelled.free", number=1)]
    assert one.backend.creates == []


@pytest.mark.parametrize("ending", [RuntimeError("a bug"), asyncio.CancelledError()], ids=repr)
async def test_no_place_is_lost_when_gathering_breaks_off(
    ending: BaseException, room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host stops a handler, or something unforeseen happens: the person may order again at once."""
    one = await room()

    async def broken(*_: Any, **__: Any) -> list[Any]:
        raise ending

    monkeypatch.setattr(module, "find_images", broken)
    with pytest.raises(type(ending)):
        await one.say("video", "a cat")
    assert await one.ledger.unfinished() == []


# ---- the tool ----


async def test_the_tool_accepts_in_one_sentence(room: Any) -> None:
    one = await room()
    one.backend.steps.append(gate := Gate())
    event = one.event(PICTURE, message_id="55")
    answer = await asyncio.wait_for(one.commands.tool(event, "a  cat\nruns", "auto", 6.0, "9:16", "720p"), 2)
    assert answer == one.texts.say("tool_accepted", number=1)
    again = await one.commands.tool(one.event(message_id="55"), "a cat runs", "auto", 6, "", "")
    assert again == one.texts.say("tool_duplicate", number=1)
    await gate.reached.wait()
    [job] = await one.ledger.unfinished()
    assert job.request.prompt == "a cat runs"
    assert (job.request.duration, job.request.aspect_ratio, job.request.resolution) == (6, "9:16", "720p")
    assert one.words() == [], "the model speaks to the person, not we"
    gate.let_go.set()
    one.delivery._context.conversation_manager = SimpleNamespace(get_curr_conversation_id=_nothing)
    await one.idle()


async def _nothing(*_: Any) -> None:
    return None


# What models write → what is meant.
WRITTEN: dict[str, tuple[tuple[Any, str, str], tuple[int | None, str | None, str | None]]] = {
    "the defaults": ((0, "", ""), (None, None, None)),
    "as text": (("6", "16:9", "720p"), (6, "16:9", "720p")),
    "with its unit": (("6s", "16：9", "720P"), (6, "16:9", "720p")),
    "a whole number as a float": ((6.0, "1:1", ""), (6, "1:1", None)),
    "half seconds": ((6.5, "", ""), (None, None, None)),
    "less than nothing": ((-3, "", ""), (None, None, None)),
    "nothing at all": ((None, "None", "null"), (None, None, None)),
    "words": (("short", "landscape", "HD"), (None, None, None)),
    "in the wrong place": ((0, "720p", "16:9"), (None, "16:9", "720p")),
    "far too much": ((10**9, "", ""), (None, None, None)),
}


async def test_what_models_write(room: Any) -> None:
    one = await room(max_jobs_per_user=99, max_running_jobs=99)
    one.delivery._context.conversation_manager = SimpleNamespace(get_curr_conversation_id=_nothing)
    for number, (name, (written, meant)) in enumerate(WRITTEN.items(), 1):
        answer = await one.commands.tool(one.event(), "a cat", "auto", *written)
        assert answer == one.texts.say("tool_accepted", number=number), name
        job = await one.ledger.find(one.chat.origin, number)
        assert (job.request.duration, job.request.aspect_ratio, job.request.resolution) == meant, name
    await one.idle()


async def test_the_tool_can_leave_pictures_out(room: Any) -> None:
    one = await room()
    one.delivery._context.conversation_manager = SimpleNamespace(get_curr_conversation_id=_nothing)
    await one.commands.tool(one.event(PICTURE), "a cat", "text", 0, "", "")
    await one.idle()
    assert one.backend.creates == [("a cat", "key", 0)]


# ---- kept pictures ----

F, L, R = Role.FIRST_FRAME, Role.LAST_FRAME, Role.REFERENCE


def sized(*widths: int) -> list[Image]:
    """Pictures that can be told apart."""
    return [Image.fromBytes(make_png(width, 64)) for width in widths]


def widths(references: Any) -> list[int]:
    """Which pictures of `sized` these are."""
    found = []
    for one in references:
        with PIL.Image.open(one.path) as image:
            found.append(image.width)
    return found


# What stands behind /参考图, how many pictures come with it → the answer, what fills it, the roles that are kept.
KEPT: dict[str, tuple[str, int, str, dict[str, Any], list[Role | None]]] = {
    "one picture": ("", 1, "kept", {"count": 1}, [None]),
    "several": ("", 3, "kept", {"count": 3}, [None] * 3),
    "a first frame": ("首帧", 1, "kept", {"count": 1}, [F]),
    "a first and a last one": (" 首帧  尾帧 ", 2, "kept", {"count": 2}, [F, L]),
    "the other way round": ("尾帧 首帧", 2, "kept", {"count": 2}, [L, F]),
    "references, said once": ("参考", 3, "kept", {"count": 3}, [R] * 3),
    "in English": ("First LAST", 2, "kept", {"count": 2}, [F, L]),
    "short": ("ref", 1, "kept", {"count": 1}, [R]),
    "nothing to keep": ("", 0, "kept_none", {}, []),
    "nothing to show": ("查看", 0, "kept_none", {}, []),
    "nothing to forget": ("清除", 0, "kept_cleared", {}, []),
    "in other words": ("清空", 1, "kept_cleared", {}, []),
    "full-width": ("ＣＬＥＡＲ", 0, "kept_cleared", {}, []),
    "a prompt without its dashes": ("a cat runs", 1, "bad_input.kept_usage", {}, []),
    "a parameter for no video": ("首帧 6s", 1, "bad_input.kept_usage", {}, []),
    "dashes stuck to the prompt": ("--a", 1, "bad_input.kept_usage", {}, []),
    "dashes and no prompt": ("--", 1, "bad_input.kept_usage", {}, []),
    "parameters, dashes and no prompt": ("6s 首帧 ——", 1, "bad_input.kept_usage", {}, []),
    "too many": ("", MOST + 1, "bad_input.kept_too_many", {"most": MOST}, []),
}


def kept_as(one: Any, role: Role) -> str:
    said: str = one.texts.say("kept_as", role=one.texts.say(f"role_{role}"))
    return said


def named(text: str) -> int:
    """How many roles a text names."""
    return sum(word.lower() in ROLES for word in text.split())


@pytest.mark.parametrize("name", KEPT)
async def test_keeping_pictures(name: str, room: Any) -> None:
    text, pictures, key, facts, roles = KEPT[name]
    one = await room()
    role = one.texts.say("kept_as", role=one.texts.say(f"role_{roles[0]}")) if roles and named(text) == 1 else ""
    answer = one.texts.say(key, **facts, role=role) if key == "kept" else one.texts.say(key, **facts)
    assert await one.say("references", text, *[PICTURE] * pictures) == [answer]
    kept, _ = await one.kept.of(owner_of(one.event()))
    assert [reference.role for reference in kept] == roles
    assert await one.ledger.ids() == set()


# What stands behind /参考图 with one picture → the backend, the request and the picture's role.
AT_ONCE: dict[str, tuple[str, str, str, dict[str, Any], Role]] = {
    "a prompt": ("-- a cat", "grok", "a cat", {}, F),
    "with parameters": ("6s 9:16 -- a cat", "grok", "a cat", {"duration": 6, "aspect_ratio": "9:16"}, F),
    "with parameters behind": ("-- a cat 720p", "grok", "a cat", {"resolution": "720p"}, F),
    "with a role": ("参考 -- a cat", "grok", "a cat", {}, R),
    "a role among parameters": ("6S 首帧 竖屏 -- a cat", "grok", "a cat", {"duration": 6, "aspect_ratio": "9:16"}, F),
    "one dash of a phone": ("6s — a cat", "grok", "a cat", {"duration": 6}, F),
    "two dashes of a Chinese keyboard": ("6s —— a cat", "grok", "a cat", {"duration": 6}, F),
    "full-width ones": ("6s －－ a cat", "grok", "a cat", {"duration": 6}, F),
    "more dashes belong to the prompt": ("6s -- a -- b — c", "grok", "a -- b — c", {"duration": 6}, F),
    "roles in the prompt are words": ("-- the 首帧 of a cat", "grok", "the 首帧 of a cat", {}, F),
    "a preset": ("-- 跳舞 in the rain", "grok", "a cat dances, in the rain", {}, F),
    "another backend": ("@veo -- a cat", "veo", "a cat", {}, F),
}


@pytest.mark.parametrize("name", AT_ONCE)
async def test_keeping_and_making_at_once(name: str, room: Any) -> None:
    text, backend, prompt, fields, role = AT_ONCE[name]
    one = await room(can=replace(Capabilities(), references=3), veo_keys="k", presets=["跳舞:a cat dances"])
    await one.say("references", text, PICTURE)
    await one.idle()
    used = {"grok": one.backend, "veo": one.veo}[backend]
    [request] = used.requests
    assert request.prompt == prompt
    asked = {name: getattr(request, name) for name in ("duration", "aspect_ratio", "resolution")}
    assert {name: value for name, value in asked.items() if value is not None} == fields
    assert [reference.role for reference in request.references] == [role]
    assert one.videos() == 1


async def test_pictures_come_one_after_the_other(room: Any) -> None:
    """As from mobile QQ: no message there holds both a picture and words."""
    one = await room(can=VEO)
    await one.say("references", "尾帧", *sized(100))
    assert await one.say("references", "首帧", *sized(110)) == [one.texts.say("kept", count=2, role=kept_as(one, F))]
    shown = await one.say("references", "查看")
    assert shown[0].splitlines() == [
        one.texts.say("kept_now", count=2, minutes=10),
        *(
            one.texts.say("kept_line", place=place, role=one.texts.say(f"role_{role}"))
            for place, role in enumerate((L, F), 1)
        ),
    ]
    sent = [part["type"] for call in one.chat.client.named("send_group_msg") for part in call["message"]]
    assert sent.count("image") == 2
    assert await one.say("references") == shown, "what else could be meant"
    [acknowledged] = await one.say("video", "a cat")
    assert one.texts.say("note_kept", count=2) in acknowledged
    await one.idle()
    [request] = one.backend.requests
    assert widths(request.references) == [110, 100]
    assert [reference.role for reference in request.references] == [F, L]


async def test_quoted_pictures_and_people_s_portraits_are_kept_too(room: Any) -> None:
    """In this order; a portrait is only a link so far, so there is nothing of it to show."""
    one = await room()
    chain = [At(qq="7", name="n"), *sized(110), Reply(id="1", chain=sized(100))]
    assert await one.say("references", "@n(7) 参考", *chain) == [one.texts.say("kept", count=3, role=kept_as(one, R))]
    kept, _ = await one.kept.of(owner_of(one.event()))
    assert [(bool(reference.path), reference.avatar) for reference in kept] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert widths(kept[:2]) == [100, 110]
    [shown] = await one.say("references", "show")
    assert len(shown.splitlines()) == 4


async def test_the_sender_s_portrait_is_not_kept_for_want_of_a_picture(room: Any) -> None:
    one = await room()
    assert await one.say("references", "首帧") == [one.texts.say("kept_none")]


async def test_whose_pictures_are_used(room: Any) -> None:
    """A message's own pictures, then one's own kept ones of the last ten minutes, and nobody else's."""
    one = await room(max_jobs_per_user=9)
    used = []
    await one.say("references", "", *sized(100))
    for chain, user in ((sized(120), ""), ([], ""), ([], "7")):
        await one.say("video", "a cat", *chain, user=user)
        await one.idle()
        used.append(widths(one.backend.requests[-1].references))
    one.later = LIFE + 1
    await one.say("video", "a cat")
    await one.idle()
    used.append(widths(one.backend.requests[-1].references))
    assert used == [[120], [100], [], []]
    assert await one.say("references", "查看") == [one.texts.say("kept_none")]


async def test_the_list_that_starts_anew_leaves_jobs_alone(room: Any) -> None:
    """They were ordered with other pictures, and those are what they get."""
    one = await room(max_running_jobs=1, max_jobs_per_user=5)
    gate = await one.start()
    await one.say("references", "", *sized(100))
    await one.say("video", "waits")
    await one.say("references", "清除")
    await one.say("references", "", *sized(120))
    gate.let_go.set()
    await one.idle()
    assert widths(one.backend.requests[-1].references) == [100]


# ---- what a model makes of pictures ----

# Capabilities, what is given as /参考图, how many pictures → why it is refused.
NOT_MADE: dict[str, tuple[Capabilities, str, int, Why]] = {
    "four to one that takes three": (
        VEO, "-- a cat", 4, BadInput("pictures_not_offered", given=4, offered="0–3").why,
    ),
    "two to one that takes one": (
        Capabilities(), "-- a cat", 2, BadInput("pictures_not_offered", given=2, offered="0 1").why,
    ),
    "a last frame where there is none": (
        Capabilities(), "首帧 尾帧 -- a cat", 2, BadInput("last_frame_not_offered", offered="0 1").why,
    ),
    "a last frame where the first of many is used": (
        FIXED, "首帧 尾帧 -- a cat", 2, BadInput("last_frame_not_offered", offered="1").why,
    ),
    "a first frame where there are only references": (
        Capabilities(text=False, first_frame=False, references=3), "首帧 -- a cat", 1,
        BadInput("first_frame_not_offered", offered="1 2 3").why,
    ),
    "an end without a beginning": (VEO, "尾帧 -- a cat", 1, BadInput("roles_do_not_fit").why),
    "a frame and a reference": (VEO, "首帧 参考 -- a cat", 2, BadInput("roles_do_not_fit").why),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_MADE)
async def test_what_cannot_be_made_is_said_before_it_is_paid(name: str, room: Any) -> None:
    can, text, pictures, why = NOT_MADE[name]
    one = await room(can=can)
    assert await one.say("references", text, *[PICTURE] * pictures) == [one.texts.failed(1, why, None)]
    assert one.backend.creates == []
    assert await one.ledger.unfinished() == [], "the person's place is free again"


# The tool's mode, how many pictures the message has → the roles of what is sent; or the sentence.
TOLD: dict[str, tuple[str, int, list[Role] | str]] = {
    "auto, none": ("auto", 0, []),
    "auto, two": ("auto", 2, [F, L]),
    "auto, three": ("auto", 3, [R, R, R]),
    "text leaves them out": ("text", 2, []),
    "image takes the first": ("image", 2, [F]),
    "image needs one": ("image", 0, "bad_input.needs_picture"),
    "frames": ("frames", 3, [F, L]),
    "frames of one": ("frames", 1, [F]),
    "references of one": ("references", 1, [R]),
    "references": ("references", 2, [R, R]),
    "references, too many": ("references", 4, "bad_input.pictures_not_offered"),
    "references need one": ("references", 0, "bad_input.needs_picture"),
    "what no mode is called is auto": ("cinematic", 2, [F, L]),
}


def test_every_mode_is_tried() -> None:
    assert set(MODES) < {mode for mode, _, _ in TOLD.values()}


@pytest.mark.parametrize("name", TOLD)
async def test_the_tool_says_what_pictures_are_for(name: str, room: Any) -> None:
    mode, pictures, roles = TOLD[name]
    one = await room(can=VEO)
    one.delivery._context.conversation_manager = SimpleNamespace(get_curr_conversation_id=_nothing)
    answer = await one.commands.tool(one.event(*sized(*range(100, 100 + pictures))), "a cat", mode, 0, "", "")
    await one.idle()
    if isinstance(roles, str):
        assert one.texts.say(roles, given=pictures, offered="0–3") in answer
        assert one.backend.creates == []
    else:
        assert answer.startswith(one.texts.say("tool_accepted", number=1))
        [request] = one.backend.requests
        assert [reference.role for reference in request.references] == roles
        assert widths(request.references) == list(range(100, 100 + len(roles)))


async def test_the_tool_takes_kept_pictures_too(room: Any) -> None:
    one = await room(can=VEO)
    one.delivery._context.conversation_manager = SimpleNamespace(get_curr_conversation_id=_nothing)
    await one.say("references", "尾帧", *sized(100, 110, 120))
    await one.commands.tool(one.event(), "a cat", "frames", 0, "", "")
    await one.idle()
    [request] = one.backend.requests
    assert [(one.role, width) for one, width in zip(request.references, widths(request.references), strict=True)] == [
        (F, 100),
        (L, 110),
    ], "its mode says what they are for"


# ---- models ----


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_list_of_models(language: Language, room: Any) -> None:
    """What has a key, and what is in use; each with what it can do."""
    one, two = await room(language, FIXED), await room(language, FIXED, veo_keys="k")
    [alone], [both] = await one.say("models"), await two.say("models")
    modes = {"m-1": ["image"], "v-1": ["text", "image", "frames", "references"]}
    able = {
        model: one.texts.say(
            "able_from",
            modes=one.texts.say("comma").join(one.texts.say(f"able_{mode}", most=3) for mode in modes[model]),
        )
        for model in modes
    }
    assert (able["m-1"] in alone, "v-1" in alone) == (True, False)
    assert [line[0] for line in both.splitlines() if "-1" in line] == ["✓", "·"]
    assert all(able[model] in both for model in modes)
    await two.say("models", "veo/v-2")
    [chosen] = await two.say("models")
    assert [line[0] for line in chosen.splitlines() if "-1" in line or "-2" in line] == ["·", "✓"]
    assert "v-2" in chosen
    [help_] = await two.say("help")
    assert "v-2" in help_


# What stands behind /视频模型 → the answer, what fills it, and what makes the next video here.
CHOICES: dict[str, tuple[str, str, dict[str, Any], tuple[str, str]]] = {
    "a backend": ("veo", "model_chosen", {"backend": "veo", "model": "v-1"}, ("veo", "v-1")),
    "a model": ("veo/V-3.1", "model_chosen", {"backend": "veo", "model": "V-3.1"}, ("veo", "V-3.1")),
    "as it is named elsewhere": (" @VEO / v-2 ", "model_chosen", {"backend": "veo", "model": "v-2"}, ("veo", "v-2")),
    "full-width": ("＠ｖｅｏ／v-2", "model_chosen", {"backend": "veo", "model": "v-2"}, ("veo", "v-2")),
    "no model": ("veo/", "model_chosen", {"backend": "veo", "model": "v-1"}, ("veo", "v-1")),
    "a model with a slash": ("veo/a/b", "model_chosen", {"backend": "veo", "model": "a/b"}, ("veo", "a/b")),
    "the one that is the default": ("grok", "model_chosen", {"backend": "grok", "model": "m-1"}, ("grok", "m-1")),
    "nobody's": ("sora", "bad_input.unknown_choice", {"name": "sora", "offered": "grok veo"}, ("grok", "m-1")),
    "the default": ("默认", "model_default", {"backend": "grok", "model": "m-1"}, ("grok", "m-1")),
    "the default, in English": ("Default", "model_default", {"backend": "grok", "model": "m-1"}, ("grok", "m-1")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
async def test_choosing_a_model(name: str, room: Any) -> None:
    text, key, facts, used = CHOICES[name]
    one = await room(veo_keys="k")
    assert await one.say("models", text) == [one.texts.say(key, **facts)]
    assert await one.orders.in_use(one.chat.origin) == used
    assert await one.orders.in_use("another chat") == ("grok", "m-1")
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    assert (one.backend.models, one.veo.models) == (([], [used[1]]) if used[0] == "veo" else ([used[1]], []))


@pytest.mark.parametrize("language", LANGUAGES)
async def test_choosing_what_has_no_key(language: Language, room: Any) -> None:
    one = await room(language)
    said = one.texts.say("auth_failed.no_key", key="veo.api_key")
    assert await one.say("models", "veo") == [said]
    assert await one.say("video", "@veo a cat", PICTURE) == [said]
    assert await one.orders.in_use(one.chat.origin) == ("grok", "m-1")


async def test_going_back_to_the_default(room: Any) -> None:
    one = await room(veo_keys="k")
    await one.say("models", "veo/v-2")
    for word in ("@veo a cat", "a cat"):
        await one.say("video", word, PICTURE)
        await one.idle()
    await one.say("video", "@grok a cat", PICTURE)
    await one.idle()
    await one.say("models", "默认")
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    await one.say("video", "@veo a cat", PICTURE)
    await one.idle()
    assert one.veo.models == ["v-2", "v-2", "v-1"], "the chosen model is that of the chosen backend, named or not"
    assert one.backend.models == ["m-1", "m-1"]


async def test_a_choice_that_the_panel_has_no_more(room: Any) -> None:
    one = await room(veo_keys="k")
    await one.say("models", "veo")
    del one.backends["veo"]
    assert await one.orders.in_use(one.chat.origin) == ("grok", "m-1")


# What is typed, with which keys → who is asked. Where the first says that it has no such model, the next is tried,
# unless the message names one.
NEXT: dict[str, tuple[str, str, int, int]] = {
    "not named": ("a cat", "key", 1, 1),
    "named": ("@grok a cat", "key", 1, 0),
    "without a key": ("a cat", "", 0, 1),
    "named, without a key": ("@grok a cat", "", 0, 0),
}


@pytest.mark.parametrize("name", NEXT)
async def test_who_names_a_backend_means_it(name: str, room: Any) -> None:
    text, keys, first, second = NEXT[name]
    one = await room(keys=keys, veo_keys="k", fallback=["veo", "grok"])
    one.backend.default = Misconfigured("model")
    await one.say("video", text, PICTURE)
    await one.idle()
    assert (len(one.backend.creates), len(one.veo.creates)) == (first, second)
    assert one.videos() == second
    assert len(one.words()) == 1 - second, "the failure is told where it is the end"


# ---- lists ----


@pytest.mark.parametrize("language", LANGUAGES)
async def test_presets(language: Language, room: Any) -> None:
    one = await room(language)
    assert await one.say("presets") == [one.texts.say("no_presets")]
    two = await room(language, presets=["跳舞:a cat dances", "雨：it rains"])
    [answer] = await two.say("presets")
    for name, prompt in (("跳舞", "a cat dances"), ("雨", "it rains")):
        assert two.texts.say("preset_line", name=name, prompt=prompt) in answer.splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_jobs(language: Language, room: Any) -> None:
    one = await room(language, max_jobs_per_user=5)
    assert await one.say("jobs") == [one.texts.say("no_jobs")]
    gate = await one.start("my cat " + "runs " * 20)
    other = await one.start("their dog", user="7")
    [mine] = await one.say("jobs")
    [theirs] = await one.say("jobs", user="7")
    [everybody_s] = await one.say("jobs", user="1", admin=True)
    assert "#1" in mine
    assert "#2" not in mine
    assert ("#2" in theirs, "#1" in theirs) == (True, False)
    assert ("#1" in everybody_s, "#2" in everybody_s) == (True, True)
    assert one.texts.say("state_submitting") in mine
    assert "50%" in mine
    assert len(mine.splitlines()[1]) < 80, "a long prompt is shortened"
    gate.let_go.set()
    other.let_go.set()
    await one.idle()
    [mine] = await one.say("jobs")
    assert one.texts.say("state_delivered") in mine
    assert "50%" not in mine


async def test_a_single_job_is_its_owner_s_to_see(room: Any) -> None:
    """A prompt may be private."""
    one = await room()
    one.backend.steps.append(Refused())
    await one.say("video", "my secret", PICTURE)
    await one.idle()
    for who, shown in (({}, True), ({"user": "7"}, False), ({"user": "7", "admin": True}, True)):
        [answer] = await one.say("jobs", "1", **who)
        assert ("my secret" in answer) == shown
        assert shown or answer == one.texts.say("not_yours", number=1)


async def test_how_long_it_will_take(room: Any) -> None:
    """From this bot's own history of the model."""
    one = await room(max_jobs_per_user=5)

    async def past(seconds: float) -> None:
        gate = await one.start()
        [job] = await one.ledger.unfinished()
        await one.runner.cancel(job)
        job = await one.ledger.get(job.id)
        done = job.to(State.DELIVERED, submitted_at=1000.0, ready_at=1000.0 + seconds)
        await one.ledger.save(done)
        gate.let_go.set()

    for seconds in (50, 60, 4000):
        await past(seconds)
    gate = await one.start()
    [answer] = await one.say("jobs")
    [left] = re.findall(r"约 (\d+) 秒", answer)
    assert 55 <= int(left) <= 60, "the middle one"
    gate.let_go.set()
    await one.idle()


# ---- numbers ----

# What is typed behind a command → the number it means; None = none, or a word about numbers.
NUMBERS = {"1": "1", "#1": "1", "＃１": "1", " 1 ": "1", "001": "1", "999": "no_such_job", "0": "no_such_job"}
NO_NUMBERS = ["abc", "1 2", "-1", "1.5", "一", "##x", "9" * 12, "²x"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("command", ["jobs", "cancel", "resend"])
async def test_numbers(command: str, language: Language, room: Any) -> None:
    one = await room(language)
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    for typed, meant in NUMBERS.items():
        [answer] = await one.say(command, typed)
        if meant == "1":
            assert "#1" in answer, typed
        else:
            assert answer == one.texts.say("bad_input.no_such_job", number=int(typed)), typed
        await one.idle()
    said = one.texts.say("bad_input.bad_number", command=f"/{COMMANDS[command][0]}")
    for typed in NO_NUMBERS:
        assert await one.say(command, typed) == [said], typed


# ---- cancelling ----


@pytest.mark.parametrize("language", LANGUAGES)
async def test_cancelling(language: Language, room: Any) -> None:
    one = await room(language, max_jobs_per_user=5, max_running_jobs=1)
    assert await one.say("cancel") == [one.texts.say("nothing_to_cancel")]
    gate = await one.start()
    await one.say("video", "a dog", PICTURE)
    assert await one.say("cancel", user="7") == [one.texts.say("nothing_to_cancel")], "one's own newest"
    assert await one.say("cancel", "1", user="7") == [one.texts.say("not_yours", number=1)]
    assert await one.say("cancel", "2", user="7") == [one.texts.say("not_yours", number=2)]
    assert await one.say("cancel") == [one.texts.say("cancelled.free", number=2)]
    assert await one.say("cancel", "1", user="7", admin=True) == [one.texts.say("cancelled.billed_perhaps", number=1)]
    assert one.backend.cancelled == 1
    gate.let_go.set()
    await one.say("video", "a bird", PICTURE)
    await one.idle()
    assert await one.say("cancel", "3") == [one.texts.say("too_late", number=3, state=one.texts.say("state_delivered"))]
    assert await one.say("cancel", "1") == [one.texts.say("cancelled.billed_perhaps", number=1)]


# ---- sending again ----


@pytest.mark.parametrize("language", LANGUAGES)
async def test_sending_again(language: Language, room: Any) -> None:
    one = await room(language, max_jobs_per_user=5)
    assert await one.say("resend") == [one.texts.say("nothing_to_resend")]
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    assert one.videos() == 1
    one.backend.steps.append(Refused())
    await one.say("video", "a dog", PICTURE)
    await one.idle()
    assert (await one.say("resend"))[0] == one.texts.say("resending", number=1), "the newest that has a video"
    await one.idle()
    assert one.videos() == 2
    assert await one.say("resend", "2") == [one.texts.say("no_video_in", number=2, state=one.texts.say("state_failed"))]
    assert len(one.backend.creates) == 2
    assert one.delivery._events == {}


async def test_sending_again_answers_the_command_s_own_message(room: Any) -> None:
    """Some platforms let a bot speak only in answer to a message (qq_official)."""
    one = await room()
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    one.delivery._context.platform_manager.platform_insts.clear()
    await one.say("resend")
    await one.idle()
    assert one.videos() == 2


async def test_sending_again_what_is_being_sent(room: Any) -> None:
    one = await room()
    let_go = asyncio.Event()

    async def slow(**_: Any) -> None:
        await let_go.wait()

    one.chat.client.answers["send_group_msg"] = [slow]
    await one.commands.run("video", one.event(PICTURE), "a cat")
    await until(lambda: one.chat.client.named("send_group_msg"))
    assert await one.say("resend", "1") == [one.texts.say("being_sent", number=1)]
    let_go.set()
    await one.idle()
    assert one.videos() == 1
    assert one.delivery._events == {}


async def test_a_video_that_needs_the_key_is_named_not_linked(room: Any) -> None:
    one = await room(send_mode="file")
    one.backend.steps.append(VideoResult("http://127.0.0.1:9/v1/videos/1/content", private=True))
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    [answer] = one.words()
    assert "127.0.0.1:9" not in answer
    assert one.texts.say("upstream_failed.private_address", host="127.0.0.1", server="video.server_url") in answer


# ---- help ----

# What a model can do → what is said of it, in keys; and the choices.
ABLE: dict[str, tuple[Capabilities, list[str], list[str]]] = {
    "needs a picture, nothing to choose": (FIXED, ["able_image"], []),
    "works without": (
        Capabilities(durations=(6, 10), resolutions=("480p",)),
        ["able_text", "able_image"],
        ["6", "10", "480p"],
    ),
    "everything": (VEO, ["able_text", "able_image", "able_frames", "able_references"], ["16:9", "9:16"]),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ABLE)
async def test_help(name: str, language: Language, room: Any) -> None:
    can, modes, choices = ABLE[name]
    one = await room(language, can, presets=["a:b"], max_running_jobs=7)
    [answer] = await one.say("help")
    listed = one.texts.say("comma").join(one.texts.say(mode, most=can.references) for mode in modes)
    for said in ("@grok", "m-1", "7", one.texts.say("able_from", modes=listed), *choices):
        assert said in answer
    assert (one.texts.say("able_fixed") in answer) == (not choices)
    assert ("3" in answer) == (can.references == 3)


async def test_the_english_answers_are_english(room: Any) -> None:
    """Command names stay what they are."""
    one = await room("en", max_jobs_per_user=1)
    gate = await one.start()
    for command, text in (
        ("video", ""),
        ("video", "a cat"),
        ("jobs", ""),
        ("cancel", "x"),
        ("resend", ""),
        ("presets", ""),
        ("models", ""),
        ("references", ""),
        ("references", "x"),
    ):
        for answer in await one.say(command, text):
            rest = re.sub(r"/?[\u4e00-\u9fff]+", "", answer) if "/" in answer else answer
            assert not re.search(r"[\u4e00-\u9fff]", rest), answer
    gate.let_go.set()
    await one.idle()


def test_every_command_is_tried() -> None:
    tried = set(re.findall(r'say\(\s*"(\w+)"', Path(__file__).read_text()))
    assert set(COMMANDS) <= tried


async def test_once_more(room: Any) -> None:
    """A definite failure is tried again at once, with the same pictures and parameters."""
    one = await room(can=VEO)
    one.backend.steps.append(OutOfQuota())
    await one.say("video", "a cat 9:16", *sized(100, 110))
    await one.idle()
    assert await one.say("retry") != [one.texts.say("nothing_to_retry")]
    await one.idle()
    first, second = one.backend.requests
    assert second == replace(first, references=second.references)
    assert widths(second.references) == widths(first.references) == [100, 110]
    assert one.videos() == 1


@pytest.mark.parametrize("end", [UnknownCharge("cut"), Refused(), UpstreamFailed("dead"), INLINE])
async def test_once_more_of_what_may_have_been_charged(end: Any, room: Any) -> None:
    one = await room()
    one.backend.steps.append(end)
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    asked = one.texts.say("retry_confirm", number=1, seconds=60)
    assert await one.say("retry", "1") == [asked]
    assert len(one.backend.creates) == 1
    await one.say("retry", "1")
    await one.idle()
    assert len(one.backend.creates) == 2
    assert await one.say("retry", "1") == [asked], "each time anew"


async def test_a_redelivered_message_is_no_second_word(room: Any) -> None:
    one = await room()
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    asked = one.texts.say("retry_confirm", number=1, seconds=60)
    for _ in range(3):
        assert await one.say("retry", "1", event=one.event(message_id="5555")) == [asked]
    assert len(one.backend.creates) == 1


async def test_a_young_clock_does_not_answer_for_anybody(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await room()
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    monkeypatch.setattr("core.commands.time.monotonic", lambda: 3.0)
    assert await one.say("retry", "1") == [one.texts.say("retry_confirm", number=1, seconds=60)]


async def test_once_more_is_for_its_owner_and_what_is_over(room: Any) -> None:
    one = await room()
    assert await one.say("retry") == [one.texts.say("nothing_to_retry")]
    gate = await one.start()
    assert await one.say("retry", "1") == [one.texts.say("retry_running", number=1)]
    gate.let_go.set()
    await one.idle()
    assert await one.say("retry", "1", user="7") == [one.texts.say("not_yours", number=1)]
    assert len(one.backend.creates) == 1


async def test_the_model_asks_how_it_stands(room: Any) -> None:
    one = await room()
    assert await one.commands.status(one.event(), 0) == one.texts.say("no_jobs")
    await one.say("video", "a cat", PICTURE)
    await one.idle()
    for number in (0, 1, "1", "#1", 1.0, None):
        assert "#1" in await one.commands.status(one.event(), number)
    for event, number in ((one.event(), 2), (one.event(user="7"), 1)):
        assert await one.commands.status(event, number) == one.texts.say("no_jobs")


async def test_the_diagnosis(room: Any) -> None:
    """Keys are asked without paying; each form is offered to this very chat, and remembered."""
    one = await room(keys="good bad")
    one.backend.bad_keys.add("bad")
    assert await one.say("diagnose", "") == [one.texts.say("bad_input.admins_only")]
    event = one.event(Plain("/视频诊断"), admin=True)
    await one.commands.run("diagnose", event, "")
    await until(lambda: any("视频诊断\n" in words for words in one.words()), 5)
    report = one.words()[-1]
    assert "Key 1：✓ 有效（http://gateway.example/v1/models）" in report
    assert "Key 2：✗" in report
    assert "【veo】没有填 Key" in report
    assert "✓ 视频（本地文件）" in report
    assert one.backend.creates == []
    assert await one.ledger.ids() == set(), "it is no job"


async def test_words_that_cannot_be_said_still_stop_the_event(room: Any) -> None:
    """Thrown out of the group, or muted: the chat's own model must not answer instead."""
    one = await room()
    one.chat.client.answers["send_group_msg"] = RuntimeError("muted")
    event = one.event(Plain("/视频"))
    with pytest.raises(RuntimeError):
        await one.commands.run("video", event, "")
    assert event.is_stopped()
