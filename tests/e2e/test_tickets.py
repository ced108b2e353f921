"""Upstreams that hand out tickets: one paid create, looks until the video is there, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from PIL import Image

from devtools.rig import (
    Call,
    Rig,
    Serve,
    Step,
    cut,
    drop,
    error,
    hang,
    html_error,
    lost,
    make_png,
    moderated,
    ok,
    onebot,
    rate_limited,
    sha,
)
from devtools.rig.qq import Sent
from devtools.rig.upstreams import VectorEngine, Xai
from tests.e2e.world import MP4, link

PANEL = {"fallback": ["veo"], "max_running_jobs": 20}
Service = Literal["veo", "xai"]
SERVICES: tuple[Service, ...] = ("veo", "xai")
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}
VEO = {"model": "veo3.1-fast", "aspect_ratio": "16:9", "enhance_prompt": True, "enable_upsample": False}
XAI = {"model": "grok-imagine-video"}
_people = itertools.count(1)


def sections(rig: Rig) -> dict[str, Any]:
    """Two keys each, so that a look with another key than the create's would be seen."""
    return {
        "veo": {"base_url": rig.up.ve.base, "api_key": "sk-rig-v1\nsk-rig-v2", "poll_seconds": 1},
        "xai": {"base_url": rig.up.xai.base, "api_key": "sk-rig-x1\nsk-rig-x2", "poll_seconds": 1},
    }


@pytest.fixture(autouse=True)
def pictures(rig: Rig) -> None:
    for name, colour in COLOURS.items():
        rig.files.put(f"{name}.png", Serve(make_png(rgb=colour), content_type="image/png"))


@dataclass
class Person:
    """Somebody in a group of their own, so that many can ask at once."""

    rig: Rig
    number: int = field(default_factory=lambda: next(_people))
    sent: int = 0

    async def say(self, text: str, *colours: str, **extra: Any) -> None:
        """Write a message with pictures; what was sent before is not heard again."""
        self.sent = len(self.rig.qq.sent)
        shown = [onebot.image(self.rig.files.link(f"{colour}.png")) for colour in colours]
        await self.rig.qq.group(text, *shown, user=60_000 + self.number, group=70_000 + self.number, **extra)

    async def hears(self, *words: str, timeout: float = 20) -> str:
        """The next message with one of these words."""

        def mine(one: Sent) -> bool:
            return one.target[1] == 70_000 + self.number and any(word in one.text for word in words)

        return (await self.rig.qq.wait_sent(mine, since=self.sent, timeout=timeout)).text

    @property
    def videos(self) -> list[Sent]:
        return [one for one in self.rig.qq.sent if one.target[1] == 70_000 + self.number and one.videos]

    async def gets_video(self, timeout: float = 30) -> None:
        def mine(one: Sent) -> bool:
            return one.target[1] == 70_000 + self.number and bool(one.videos)

        got = await self.rig.qq.wait_sent(mine, since=self.sent, timeout=timeout)
        assert got.videos[0].sha == sha(MP4)


def up(rig: Rig, service: Service) -> VectorEngine | Xai:
    return rig.up.ve if service == "veo" else rig.up.xai


def creates(rig: Rig, service: Service, prompt: str) -> list[Call]:
    return [call for call in up(rig, service).creates() if call.data["body"].get("prompt") == prompt]


async def ticket_of(rig: Rig, service: Service, prompt: str) -> str:
    """Wait for the create; its ticket."""
    call = await rig.timeline.wait(
        up(rig, service).name, "create", where=lambda call: call.data["body"].get("prompt") == prompt
    )
    await asyncio.sleep(0.1)
    ticket: str = call.data["job"]
    return ticket


def colour_of(sent: Any) -> str:
    """Which of the pictures this is, be it a data URL or an object with one."""
    url = sent["url"] if isinstance(sent, dict) else sent
    head, _, payload = url.partition(",")
    assert head == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(payload, validate=True))).convert("RGB")
    seen = picture.resize((1, 1)).getpixel((0, 0))
    return next(name for name, colour in COLOURS.items() if seen == colour)


def shown_in(body: dict[str, Any]) -> list[str]:
    sent = body.get("images") or body.get("reference_images") or ([body["image"]] if "image" in body else [])
    return [colour_of(one) for one in sent]


# ---- the four modes ----

MODES = {"text": (), "picture": ("red",), "frames": ("red", "green"), "references": ("red", "green", "blue")}


def check_body(service: Service, mode: str, create: Call, prompt: str) -> None:
    body = dict(create.data["body"])
    assert shown_in(body) == list(MODES[mode])
    places = {name for name in ("images", "image", "reference_images") if body.pop(name, None) is not None}
    if service == "veo":
        assert places == ({"images"} if MODES[mode] else set())
        model = "veo3.1-fast-components" if mode == "references" else "veo3.1-fast"
        assert body == {**VEO, "model": model, "prompt": prompt}
    else:
        wanted = {"text": set(), "picture": {"image"}}
        assert places == wanted.get(mode, {"reference_images"}), "it knows no last frame: two are references"
        assert body == {**XAI, "prompt": prompt}


@pytest.mark.parametrize("service", SERVICES)
async def test_all_modes_on_qq(rig: Rig, service: Service) -> None:
    async def ask(mode: str) -> None:
        person, prompt = Person(rig), f"{service} on QQ of {mode}"
        await person.say(f"/视频 @{service} {prompt}", *MODES[mode])
        await person.gets_video()
        (create,) = creates(rig, service, prompt)
        check_body(service, mode, create, prompt)

    await asyncio.gather(*(ask(mode) for mode in MODES))


@pytest.mark.parametrize("service", SERVICES)
async def test_all_modes_on_webchat(rig: Rig, service: Service) -> None:
    uploaded = {
        name: await rig.web.upload(f"{name}.png", make_png(rgb=colour), "image/png") for name, colour in COLOURS.items()
    }

    async def ask(mode: str) -> None:
        prompt = f"{service} in the web of {mode}"
        chat = await rig.web.chat(f"/视频 @{service} {prompt}", *(uploaded[name] for name in MODES[mode]))
        assert "收到" in chat.text
        assert ("veo3.1-fast-components" in chat.text) is (service == "veo" and mode == "references")
        part = await rig.web.wait_said(chat.session_id)
        assert sha(await rig.web.attachment(part["attachment_id"])) == sha(MP4)
        (create,) = creates(rig, service, prompt)
        check_body(service, mode, create, prompt)

    await asyncio.gather(*(ask(mode) for mode in list(MODES)[:4]))


async def test_a_link_that_others_can_fetch_goes_as_it_is(rig: Rig) -> None:
    """The host replaces a picture's link by the path of its copy; the message as it came still has it."""
    person = Person(rig)
    good = Serve(make_png(), content_type="image/png")
    public = rig.files.put("public.png", good, host="cdn.rig.test")
    place = {"user": 60_000 + person.number, "group": 70_000 + person.number}
    await rig.qq.group("/视频 @veo public link", onebot.image(public), **place)
    await person.gets_video()
    (create,) = creates(rig, "veo", "public link")
    assert create.data["body"]["images"] == [public]


# ---- kept pictures ----


async def test_frames_one_by_one(rig: Rig) -> None:
    person = Person(rig)
    await person.say("/参考图 尾帧", "green")
    assert "1 张" in await person.hears("已记下")
    await person.say("/参考图 首帧", "red")
    assert "2 张" in await person.hears("已记下")
    await person.say("/参考图 查看")
    shown = await person.hears("你的参考图")
    assert shown.index("尾帧") < shown.index("首帧")
    await person.say("/视频 @veo from red to green")
    await person.gets_video()
    (create,) = creates(rig, "veo", "from red to green")
    check_body("veo", "frames", create, "from red to green")
    await person.say("/视频 @xai no last frame there")
    assert "不支持尾帧" in await person.hears("❌")
    assert not creates(rig, "xai", "no last frame there")
    await person.say("/参考图 清除")
    await person.hears("已清除")
    await person.say("/视频 @veo only words now")
    await person.gets_video()
    (create,) = creates(rig, "veo", "only words now")
    assert "images" not in create.data["body"]


@pytest.mark.parametrize("service", SERVICES)
async def test_references_one_by_one(rig: Rig, service: Service) -> None:
    person, prompt = Person(rig), f"all three of them by {service}"
    for count, colour in enumerate(COLOURS, 1):
        await person.say("/参考图", colour)
        assert f"{count} 张" in await person.hears("已记下")
    await person.say(f"/视频 @{service} {prompt}")
    await person.gets_video()
    (create,) = creates(rig, service, prompt)
    check_body(service, "references", create, prompt)


@pytest.mark.parametrize(
    ("typed", "colours", "mode", "ratio"),
    [
        ("/参考图 @veo -- {}", ("red",), "picture", "16:9"),
        ("/参考图 @veo 9:16 -- {}", ("red", "green"), "frames", "9:16"),
        ("/参考图 参考 @veo —— {}", ("red", "green", "blue"), "references", "16:9"),
    ],
    ids=["a picture", "two and a ratio", "a phone's dash"],
)
async def test_pictures_and_prompt_at_once(
    rig: Rig, typed: str, colours: tuple[str, ...], mode: str, ratio: str
) -> None:
    person, prompt = Person(rig), f"at once {mode}"
    await person.say(typed.format(prompt), *colours)
    await person.gets_video()
    (create,) = creates(rig, "veo", prompt)
    assert shown_in(create.data["body"]) == list(colours)
    assert create.data["body"]["aspect_ratio"] == ratio
    assert ("components" in create.data["body"]["model"]) is (mode == "references")


async def test_kept_pictures_on_webchat_belong_to_one_conversation(rig: Rig) -> None:
    uploaded = await rig.web.upload("red.png", make_png(rgb=COLOURS["red"]), "image/png")
    kept = await rig.web.chat("/参考图", uploaded)
    assert "已记下 1 张" in kept.text
    elsewhere = await rig.web.chat("/视频 @veo elsewhere")
    await rig.web.wait_said(elsewhere.session_id)
    assert "images" not in creates(rig, "veo", "elsewhere")[0].data["body"]
    chat = await rig.web.chat("/视频 @veo with the kept one", session_id=kept.session_id)
    assert "1 张参考图" in chat.text
    await rig.web.wait_said(chat.session_id)
    assert shown_in(creates(rig, "veo", "with the kept one")[0].data["body"]) == ["red"]


# ---- looks ----


async def test_troubles_of_looks_mean_nothing(rig: Rig) -> None:
    """429, an error page, a line that breaks: the same ticket is asked after again."""
    troubles = {
        "429 then a page": [rate_limited(), html_error()],
        "cut then 500": [cut(), error(500)],
        "dropped twice": [drop(), drop()],
        "Retry-After": [rate_limited(3)],
        "401": [error(401, "who are you")],
        "200 page": [html_error(200)],
    }

    async def ask(service: Service, name: str) -> None:
        person, prompt = Person(rig), f"{service}: {name}"
        await person.say(f"/视频 @{service} {prompt}", "red")
        await person.gets_video(timeout=25)
        (create,) = creates(rig, service, prompt)
        looks = up(rig, service).polls(ticket=create.data["job"])
        assert len(looks) == len(troubles[name]) + 1
        assert {look.data["auth"] for look in looks} == {create.data["auth"]}, "the key that made the ticket"
        if name == "Retry-After":
            assert looks[1].t - looks[0].t >= 3

    begun = []
    for name, steps in troubles.items():
        for service in SERVICES:
            up(rig, service).plan(ok(link(rig), looks=steps))
            asking = asyncio.create_task(ask(service, name))
            await ticket_of(rig, service, f"{service}: {name}")
            begun.append(asking)
    await asyncio.gather(*begun)


async def test_words_nobody_knows_mean_still_going(rig: Rig) -> None:
    async def ask(service: Service) -> None:
        person, prompt = Person(rig), f"odd words of {service}"
        up(rig, service).plan(ok(link(rig), delay=3, words=["QUEUED", "polishing", "unknown"], word="SUCCESS"))
        await person.say(f"/视频 @{service} {prompt}", "red")
        ticket = await ticket_of(rig, service, prompt)
        await rig.timeline.wait(up(rig, service).name, "poll", where=lambda call: call.data.get("job") == ticket)
        await person.say("/视频任务")
        listed = await person.hears("视频任务")
        assert "生成中" in listed
        assert "40%" in listed
        await person.gets_video()
        assert len(creates(rig, service, prompt)) == 1

    for service in SERVICES:
        await ask(service)


ENDINGS: dict[str, tuple[Service, Step, str, int]] = {
    "xAI refuses what it made": ("xai", Step(job="moderated"), "审核", 1),
    "xAI keeps it to itself": ("xai", Step(job="withheld"), "审核", 1),
    "VectorEngine's filter": ("veo", Step(job="moderated"), "审核", 1),
    "xAI does not know it any more": ("xai", Step(job="gone"), "没有这个任务", 1),
    "VectorEngine does not, either": ("veo", Step(job="gone"), "没有这个任务", 1),
    "failed": ("veo", Step(job="failed", reason="no GPU left"), "没有做成", 1),
    "expired": ("xai", Step(job="expired"), "没有做成", 1),
    "done without a video": ("veo", Step(""), "没有给出视频", 4),
}


async def test_endings_without_a_video_are_told_and_cost_no_second_create(rig: Rig) -> None:
    async def see(name: str, person: Person) -> None:
        service, _, words, looks = ENDINGS[name]
        assert words in await person.hears("❌", "⚠️")
        (create,) = creates(rig, service, name)
        await asyncio.sleep(2.5)
        assert len(creates(rig, service, name)) == 1
        assert len(up(rig, service).polls(ticket=create.data["job"])) == looks, "nobody asks after a dead job"
        assert not person.videos

    watching = []
    for name, (service, step, _, _) in ENDINGS.items():
        person = Person(rig)
        up(rig, service).plan(step)
        await person.say(f"/视频 @{service} {name}", "red")
        await ticket_of(rig, service, name)
        watching.append(see(name, person))
    await asyncio.gather(*watching)


async def test_creates_that_end_unclear_are_not_repeated(rig: Rig) -> None:
    """Taken and not answered, a line that drops, 500: told, and looked after by a person."""
    faults = {"taken, not answered": lost(link(rig)), "dropped": drop(), "error 500": error(500), "cut off": cut()}
    for name, step in faults.items():
        for service in SERVICES:
            person, prompt = Person(rig), f"{name} by {service}"
            up(rig, service).plan(step)
            await person.say(f"/视频 @{service} {prompt}", "red")
            assert "可能已经扣费" in await person.hears("⚠️", "❌")
            assert len(creates(rig, service, prompt)) == 1


async def test_a_refused_create_is_explained(rig: Rig) -> None:
    for service in SERVICES:
        person, prompt = Person(rig), f"unwanted by {service}"
        up(rig, service).plan(moderated())
        await person.say(f"/视频 @{service} {prompt}", "red")
        assert "审核" in await person.hears("❌")
        assert len(creates(rig, service, prompt)) == 1


async def test_cancelled_while_it_renders(rig: Rig) -> None:
    person = Person(rig)
    rig.up.ve.plan(ok(link(rig), delay=1.5))
    await person.say("/视频 @veo cancelled", "red")
    ticket = await ticket_of(rig, "veo", "cancelled")
    await person.say("/视频取消")
    assert "可能仍会扣费" in await person.hears("🛑")
    looks = len(rig.up.ve.polls(ticket=ticket))
    await asyncio.sleep(2.5)
    assert len(rig.up.ve.polls(ticket=ticket)) == looks
    assert not person.videos


# ---- other backends ----


async def test_a_model_for_this_conversation(rig: Rig) -> None:
    person = Person(rig)
    await person.say("/视频模型 veo")
    assert "veo-3.1-fast" in await person.hears("改用")
    await person.say("/视频模型")
    assert "✓ veo" in await person.hears("视频后端")
    await person.say("/视频 by the chosen one")
    await person.gets_video()
    assert len(creates(rig, "veo", "by the chosen one")) == 1
    await person.say("/视频模型 veo/veo-3-fast")
    await person.hears("改用")
    await person.say("/视频 frames of an older one", "red", "green")
    await person.gets_video()
    assert creates(rig, "veo", "frames of an older one")[0].data["body"]["model"] == "veo3-fast-frames"
    await person.say("/视频模型 gemini")
    assert "gemini.api_key" in await person.hears("API Key")
    await person.say("/视频模型 默认")
    assert "grok" in await person.hears("恢复默认")
    mark = rig.timeline.mark()
    await person.say("/视频 back to grok", "red")
    await person.gets_video()
    assert len(rig.up.grok.creates(mark)) == 1


async def test_fallback_never_follows_a_refusal_and_follows_an_empty_account(rig: Rig) -> None:
    person, mark = Person(rig), rig.timeline.mark()
    rig.up.grok.plan(moderated())
    await person.say("/视频 refused by grok", "red")
    assert "审核" in await person.hears("❌")
    rig.up.grok.plan(error(500))
    await person.say("/视频 unclear at grok", "red")
    assert "可能已经扣费" in await person.hears("⚠️")
    assert not rig.up.ve.creates(mark)
    rig.up.grok.plan(error(402, "pay first", "payment_required"))
    mark = rig.timeline.mark()
    await person.say("/视频 paid elsewhere", "red")
    await person.gets_video()
    assert len(rig.up.grok.creates(mark)) == 1
    (create,) = rig.up.ve.creates(mark)
    assert create.data["auth"].startswith("Bearer sk-rig-v"), "each upstream sees its own key only"
    assert shown_in(create.data["body"]) == ["red"]
    rig.up.grok.plan(error(402, "pay first", "payment_required"))
    await person.say("/视频 @grok and nobody else", "red")
    assert "余额" in await person.hears("❌")
    assert len(rig.up.ve.creates(mark)) == 1, "who names a backend means it"


# ---- the panel ----


@asynccontextmanager
async def panel_with(rig: Rig, **changes: dict[str, Any]) -> AsyncIterator[Callable[[], Any]]:
    """Other settings for a while; the plugin is loaded anew each time."""
    before = (await rig.web.config(rig.bot.name))["config"]

    async def save(sections: dict[str, dict[str, Any]]) -> None:
        changed = {name: before[name] | values for name, values in sections.items()}
        await rig.web.save_config(rig.bot.name, before | changed)

    await save(changes)
    try:
        yield lambda: save({})
    finally:
        await save({})


async def test_after_the_deadline_it_is_told_and_the_video_comes(rig: Rig) -> None:
    async with panel_with(rig, veo={"timeout_seconds": 1}, xai={"timeout_seconds": 2}):

        async def ask(service: Service) -> None:
            person, prompt = Person(rig), f"late by {service}"
            up(rig, service).plan(ok(link(rig), delay=5))
            await person.say(f"/视频 @{service} {prompt}", "red")
            assert "还在" in await person.hears("⏳", timeout=4.5)
            assert not person.videos
            await person.gets_video()
            assert len(creates(rig, service, prompt)) == 1
            told = [one for one in rig.qq.sent if one.target[1] == 70_000 + person.number and "⏳" in one.text]
            assert len(told) == 1, "once"

        person = Person(rig)
        rig.up.ve.plan(hang())
        await person.say("/视频 @veo no answer to the create", "red")
        assert "可能已经扣费" in await person.hears("⚠️")
        assert len(creates(rig, "veo", "no answer to the create")) == 1
        await asyncio.gather(*(ask(service) for service in SERVICES))


async def begun(rig: Rig, what: str, delay: float) -> list[tuple[Service, Person, str, str]]:
    """A job of each service that renders, and has been looked at: (service, person, prompt, ticket)."""

    async def begin(service: Service) -> tuple[Service, Person, str, str]:
        person, prompt = Person(rig), f"{what} under {service}"
        up(rig, service).plan(ok(link(rig), delay=delay))
        await person.say(f"/视频 @{service} {prompt}", "red")
        ticket = await ticket_of(rig, service, prompt)
        await rig.timeline.wait(up(rig, service).name, "poll", where=lambda call: call.data.get("job") == ticket)
        return service, person, prompt, ticket

    return await asyncio.gather(*(begin(service) for service in SERVICES))


async def check_resumed(rig: Rig, jobs: list[tuple[Service, Person, str, str]], mark: int) -> None:
    """The same tickets are asked after with the same keys, nothing is paid again, and each video comes once."""
    for service, person, prompt, ticket in jobs:
        await person.gets_video()
        (create,) = creates(rig, service, prompt)
        assert create.data["job"] == ticket
        looks = up(rig, service).polls(mark, ticket)
        assert looks
        assert {look.data["auth"] for look in looks} == {create.data["auth"]}
    await asyncio.sleep(1)
    for _, person, _, _ in jobs:
        assert len(person.videos) == 1
        texts = [one.text for one in rig.qq.sent if one.target[1] == 70_000 + person.number]
        assert not [text for text in texts if "⚠️" in text or "❌" in text]


async def test_a_saved_panel_loses_no_ticket(rig: Rig) -> None:
    jobs = await begun(rig, "saved", delay=4)
    async with panel_with(rig, video={"max_retries": 1}):
        await check_resumed(rig, jobs, rig.timeline.mark())


async def test_a_ticket_is_asked_after_where_it_was_given(rig: Rig) -> None:
    """The panel leads elsewhere now, names no private address any more, and other keys first."""
    jobs = await begun(rig, "moved", delay=5)
    changes = {
        "video": {"server_url": rig.up.grok.public_base},
        "veo": {"base_url": rig.up.ve.public_base, "api_key": "sk-rig-v3\nsk-rig-v2\nsk-rig-v1"},
        "xai": {"base_url": rig.up.xai.public_base, "api_key": "sk-rig-x3\nsk-rig-x2\nsk-rig-x1"},
    }
    async with panel_with(rig, **changes):
        mark = rig.timeline.mark()
        await check_resumed(rig, jobs, mark)
        for service, _, _, ticket in jobs:
            looks = up(rig, service).polls(mark, ticket)
            assert {look.data["host"] for look in looks} == {f"127.0.0.1:{rig.up.port}"}


# ---- crashes ----


@pytest.mark.parametrize("how", ["kill", "sigterm", "stop"])
async def test_a_restart_resumes_its_tickets(rig: Rig, how: str) -> None:
    chooser = Person(rig)
    await chooser.say("/视频模型 xai")
    await chooser.hears("改用")
    jobs = await begun(rig, how, delay=6)
    await getattr(rig.bot, how)()
    mark = rig.timeline.mark()
    await rig.boot()
    await check_resumed(rig, jobs, mark)
    await chooser.say(f"/视频 chosen before the {how}", "red")
    await chooser.gets_video()
    assert len(creates(rig, "xai", f"chosen before the {how}")) == 1


async def test_done_while_nobody_looked(rig: Rig) -> None:
    """The bot is down when the job ends: the first look after the start finds the video, or why there is none."""
    jobs = await begun(rig, "down", delay=4)
    sad = Person(rig)
    rig.up.ve.plan(Step(delay=2.5, job="failed"))
    await sad.say("/视频 @veo failed meanwhile", "red")
    await ticket_of(rig, "veo", "failed meanwhile")
    await rig.bot.kill()
    await asyncio.sleep(2)  # with the start that follows, longer than any of them renders
    mark = rig.timeline.mark()
    await rig.boot()
    await check_resumed(rig, jobs, mark)
    assert "没有做成" in await sad.hears("❌")
    assert len(creates(rig, "veo", "failed meanwhile")) == 1


async def test_where_the_host_is_public_pictures_go_as_links(rig: Rig) -> None:
    """With `callback_api_base` the upstream fetches the picture from the host, some of them twice."""
    await rig.bot.stop()
    config = json.loads((rig.bot.data / "cmd_config.json").read_text("utf-8-sig"))
    rig.bot.write_config(config | {"callback_api_base": rig.bot.url})
    await rig.boot()
    person = Person(rig)
    await person.say("/视频 @veo by links", "red", "green")
    await person.gets_video()
    (create,) = creates(rig, "veo", "by links")
    links = create.data["body"]["images"]
    assert len(links) == 2
    async with rig.hosts.session() as http:
        for away, colour in zip(links, ("red", "green"), strict=True):
            async with http.get(away) as answer:
                assert answer.status == 200
                data = await answer.read()
            assert colour_of("data:image/png;base64," + base64.b64encode(data).decode()) == colour
            async with http.get(away) as answer:
                assert answer.status == 200
