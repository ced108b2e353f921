"""What each command answers, to whom, in both languages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from astrbot.api.message_components import At, Image, Plain

from core import commands as module
from core.backends import Configured, configured
from core.capabilities import Capabilities
from core.commands import Commands
from core.config import Settings
from core.delivery import Delivery
from core.emoji_feedback import EmojiFeedback
from core.errors import Refused
from core.job_ledger import JobLedger
from core.job_runner import JobRunner
from core.keys import KeyRing
from core.models import State, VideoResult
from core.references import ReferenceStore
from core.texts import Language, Texts
from core.transport import MB, Transport, Trust
from core.video_manager import VideoManager
from core.words import COMMANDS
from devtools.rig.media import make_png
from tests.host import Chat, context_of, settled
from tests.internet import Internet
from tests.scripted_backend import Gate, ScriptedBackend
from tests.until import until

PICTURE = Image.fromBytes(make_png())
FIXED = Capabilities(text=False, references=1, durations=(), aspect_ratios=(), resolutions=())
LANGUAGES: list[Language] = ["zh", "en"]


class Room:
    """One group chat with the whole plugin behind it; only the upstream is scripted, and the chat's API recorded."""

    def __init__(self, folder: Path, language: Language, can: Capabilities, keys: str, panel: dict[str, Any]) -> None:
        self.folder, self.language, self.texts = folder, language, Texts(language)
        self.settings = Settings.model_validate({"language": language, "video": panel})
        self.backend, self.keys = ScriptedBackend(can), keys
        self.chat = Chat()
        self._messages = 0

    async def open(self) -> None:
        video = self.settings.video
        self.transport = Transport(Trust())
        self.ledger = JobLedger(self.folder / "jobs.db")
        await self.ledger.open()
        videos = VideoManager(self.folder / "videos", self.transport, max_cached=9, max_bytes=MB)
        references = ReferenceStore(self.folder / "references", self.transport, max_side=256, max_bytes=MB)
        self.backends: dict[str, Configured] = {"grok": Configured(self.backend, KeyRing(self.keys.split()), "m-1")}
        context = context_of(self.chat)
        self.delivery = Delivery(context, video, self.texts, EmojiFeedback(context), videos, lambda: "")
        self.runner = JobRunner(video, self.backends, self.ledger, references, videos, self.delivery)
        self.commands = Commands(
            self.settings, self.texts, self.backends, self.ledger, references, self.runner, self.delivery
        )

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

    async def make(language: Language = "zh", can: Capabilities | None = None, keys: str = "key", **panel: Any) -> Room:
        one = Room(tmp_path / str(len(rooms)), language, can or Capabilities(), keys, panel)
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
    "no key": ({"keys": ""}, Capabilities(), "a cat", "auth_failed.no_key", {}),
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
    one.commands._backends = configured(one.settings, one.transport)
    assert await one.say("video", "a cat", PICTURE) == [one.texts.say("misconfigured.bad_address")]
    assert await one.ledger.ids() == set()


async def test_a_picture_is_needed(room: Any) -> None:
    one = await room(can=FIXED, avatar_fallback="never")
    [answer] = await one.say("video", "a cat")
    assert one.texts.say("bad_input.needs_picture") in answer
    assert "#1" in answer
    assert one.backend.creates == []
    assert await one.ledger.unfinished() == [], "the person's place is free again"
    await one.start()


async def test_a_ledger_that_takes_nothing(room: Any) -> None:
    one = await room()
    await one.ledger.close()
    for command in ("video", "jobs", "cancel", "resend"):
        assert await one.say(command, "1", PICTURE) == [one.texts.say("misconfigured.ledger")]
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
    one = await room()
    await one.say("video", "@小明(7) dances", PICTURE, At(qq="7", name="小明"))
    await one.idle()
    assert one.backend.creates == [("dances", "key", 1)]


NOTES: dict[str, tuple[Capabilities, str, list[Any], dict[str, Any]]] = {
    "note_dropped": (
        Capabilities(durations=()), "a cat 6s", [PICTURE], {"names": "时长"},
    ),
    "note_avatar": (FIXED, "a cat", [], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTES)
async def test_what_the_person_should_know(name: str, room: Any) -> None:
    can, text, chain, facts = NOTES[name]
    one = await room(can=can)
    one.backend.steps.append(gate := Gate())
    [acknowledged, *_] = await one.say("video", text, *chain)
    assert one.texts.say("accepted", number=1) in acknowledged
    assert one.texts.say(name, **facts) in acknowledged
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
    assert one.texts.say("upstream_failed.private_address", host="127.0.0.1") in answer


# ---- help ----

ABLE: dict[str, tuple[Capabilities, list[str]]] = {
    "needs a picture, nothing to choose": (FIXED, ["able_picture", "able_fixed"]),
    "works without": (Capabilities(durations=(6, 10), resolutions=("480p",)), ["able_text"]),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ABLE)
async def test_help(name: str, language: Language, room: Any) -> None:
    can, keys = ABLE[name]
    one = await room(language, can, presets=["a:b"], max_running_jobs=7)
    [answer] = await one.say("help")
    for said in ("@grok", "m-1", "7", *(one.texts.say(key) for key in keys)):
        assert said in answer
    assert ("6 10" in answer) == (can.durations == (6, 10))


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
    ):
        for answer in await one.say(command, text):
            rest = re.sub(r"/?[\u4e00-\u9fff]+", "", answer) if "/" in answer else answer
            assert not re.search(r"[\u4e00-\u9fff]", rest), answer
    gate.let_go.set()
    await one.idle()


def test_every_command_is_tried() -> None:
    tried = set(re.findall(r'say\(\s*"(\w+)"', Path(__file__).read_text()))
    assert set(COMMANDS) <= tried


async def test_words_that_cannot_be_said_still_stop_the_event(room: Any) -> None:
    """Thrown out of the group, or muted: the chat's own model must not answer instead."""
    one = await room()
    one.chat.client.answers["send_group_msg"] = RuntimeError("muted")
    event = one.event(Plain("/视频"))
    with pytest.raises(RuntimeError):
        await one.commands.run("video", event, "")
    assert event.is_stopped()
