"""The fakes themselves, without AstrBot: if these fail, no end-to-end test means anything."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import av
import pytest

from devtools.rig import (
    FileServer,
    HostMap,
    Serve,
    Step,
    Timeline,
    Upstreams,
    cut,
    drop,
    empty,
    error,
    hang,
    html_error,
    lost,
    make_mp4,
    make_png,
    ok,
    pad_mp4,
    rate_limited,
    sha,
)
from devtools.rig.astrbot_proc import install_plugin
from devtools.rig.onebot import OneBot
from devtools.rig.upstreams import VectorEngine, Xai


@dataclass
class Lab:
    files: FileServer
    up: Upstreams
    http: aiohttp.ClientSession

    async def post(self, url: str, **options: float) -> tuple[int, str, str]:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        timeout = aiohttp.ClientTimeout(total=options.get("timeout", 10))
        async with self.http.post(url, json=body, timeout=timeout) as answer:
            return answer.status, answer.headers.get("Retry-After", answer.content_type), await answer.text()

    async def get(self, url: str, **headers: str) -> tuple[int, bytes]:
        async with self.http.get(url, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    timeline, hosts = Timeline(), HostMap()
    files, up = FileServer(timeline), Upstreams(timeline)
    await files.start()
    await up.start()
    async with hosts.session(headers={"Authorization": "Bearer k"}) as http:
        yield Lab(files, up, http)
    await up.stop()
    await files.stop()


def frames(path: Path) -> int:
    with av.open(str(path)) as box:
        return sum(1 for _ in box.decode(video=0))


def test_media_are_real(tmp_path: Path) -> None:
    data = make_mp4(seconds=0.5, seed=3)
    assert sha(data) != sha(make_mp4(seconds=0.5, seed=4))
    small = tmp_path / "v.mp4"
    small.write_bytes(data)
    big = pad_mp4(tmp_path / "big.mp4", data, 3 * 1024**3)
    assert big.stat().st_size == 3 * 1024**3
    assert big.stat().st_blocks * 512 < 1024**2, "it must not fill the disk"
    assert frames(small) == frames(big) == 6
    assert make_png().startswith(b"\x89PNG")


async def test_an_honest_file(lab: Lab) -> None:
    data = make_mp4(seed=1)
    assert await lab.get(lab.files.put("a.mp4", data, host="cdn.rig.test")) == (200, data)
    assert await lab.get(lab.files.link("a.mp4"), Range="bytes=10-19") == (206, data[10:20])
    assert (await lab.get(lab.files.link("nothing.mp4")))[0] == 404


@pytest.mark.parametrize(
    "lie",
    [Serve(b"x" * 1000, content_length=1009), Serve(b"x" * 1000, cut_at=100), Serve(b"x" * 1000, refuse=True)],
    ids=["longer than it is", "cut", "refused"],
)
async def test_a_broken_file(lab: Lab, lie: Serve) -> None:
    with pytest.raises(aiohttp.ClientError):
        await lab.get(lab.files.put("liar.mp4", lie))


async def test_a_slow_file_a_hanging_one_and_a_redirect(lab: Lab) -> None:
    data = make_mp4(seed=1)
    began = time.monotonic()
    assert await lab.get(lab.files.put("slow.mp4", Serve(data, rate=len(data) * 2))) == (200, data)
    assert 0.3 < time.monotonic() - began < 2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lab.get(lab.files.put("hang.mp4", Serve(data, hang_at=50))), 0.3)
    away = Serve(redirect="http://10.0.0.1/x")
    assert (await lab.get(lab.files.put("r.mp4", away)))[0] == 302


async def test_successive_answers(lab: Lab) -> None:
    url = lab.files.put("flaky.mp4", Serve(status=503), Serve(b"y"))
    assert [(await lab.get(url))[0] for _ in range(3)] == [503, 200, 200]
    assert len(lab.files.requests("flaky.mp4")) == 3


async def test_grok_answers(lab: Lab) -> None:
    grok, link = lab.up.grok, lab.files.link("v.mp4")
    chat = f"{grok.base}/v1/chat/completions"
    grok.plan(ok(link, fmt="url"), ok(link, delay=0.4, sse=True), rate_limited(2), html_error(), empty())
    assert f'"content": "{link}"' in (await lab.post(chat))[2]
    _, kind, text = await lab.post(chat)
    assert kind == "text/event-stream"
    assert link in text
    assert "正在生成" in text
    assert text.endswith("data: [DONE]\n\n")
    assert (await lab.post(chat))[:2] == (429, "2")
    assert (await lab.post(chat))[:2] == (502, "text/html")
    assert '"content": ""' in (await lab.post(chat))[2]
    assert "no plan" in (await lab.post(chat))[2]
    grok.keys = {"another"}
    assert (await lab.post(chat))[0] == 401


@pytest.mark.parametrize("step", [drop(), cut()], ids=["dropped", "cut"])
async def test_grok_breaks_off(lab: Lab, step: Step) -> None:
    lab.up.grok.plan(step)
    with pytest.raises(aiohttp.ClientError):
        await lab.post(f"{lab.up.grok.base}/v1/chat/completions")


async def test_grok_hangs_until_the_client_hangs_up(lab: Lab) -> None:
    lab.up.grok.plan(hang())
    with pytest.raises(TimeoutError):
        await lab.post(f"{lab.up.grok.base}/v1/chat/completions", timeout=0.2)
    await lab.up.timeline.wait("grok", where=lambda call: call.outcome == "client hung up", timeout=2)
    assert len(lab.up.grok.creates()) == 1


async def test_xai_jobs(lab: Lab) -> None:
    xai, link = lab.up.xai, lab.files.link("v.mp4")
    xai.plan(ok(link, delay=0.2))
    assert "request_id" in (await lab.post(f"{xai.base}/v1/videos/generations"))[2]
    [ticket] = xai.jobs
    assert (await lab.get(f"{xai.base}/v1/videos/{ticket}"))[0] == 202
    await asyncio.sleep(0.25)
    assert link.encode() in (await lab.get(f"{xai.base}/v1/videos/{ticket}"))[1]
    assert (await lab.get(f"{xai.base}/v1/videos/nobody"))[0] == 404


async def test_ve_jobs(lab: Lab) -> None:
    ve = lab.up.ve
    ve.plan(ok("u", delay=0.2), ok("u", job="failed"))
    for _ in range(2):
        await lab.post(f"{ve.base}/v1/video/create")
    good, bad = (f"{ve.base}/v1/video/query?id={quote(ticket, safe='')}" for ticket in ve.jobs)
    ve.plan_poll(error(500))
    assert (await lab.get(good))[0] == 500
    assert b'"processing"' in (await lab.get(good))[1]
    await asyncio.sleep(0.25)
    assert b'"completed"' in (await lab.get(good))[1]
    assert b'"failed"' in (await lab.get(bad))[1]
    assert [call.outcome for call in ve.polls()] == [500, "pending", "done", "failed"]


@dataclass
class Jobs:
    """A service with tickets, and how to ask it."""

    lab: Lab
    service: str
    create: str
    look: str

    @property
    def up(self) -> Xai | VectorEngine:
        return self.lab.up.xai if self.service == "xai" else self.lab.up.ve

    async def begin(self, step: Step) -> str:
        """Let a job begin; its ticket."""
        self.up.plan(step)
        await self.lab.post(f"{self.up.base}{self.create}")
        return [*self.up.jobs][-1]

    async def ask(self, ticket: str) -> tuple[int, Any]:
        status, body = await self.lab.get(f"{self.up.base}{self.look}{quote(ticket, safe='')}")
        return status, json.loads(body) if body.startswith(b"{") else body.decode()


@pytest.fixture(params=["xai", "ve"])
def jobs(request: pytest.FixtureRequest, lab: Lab) -> Jobs:
    if request.param == "xai":
        return Jobs(lab, "xai", "/v1/videos/generations", "/v1/videos/")
    return Jobs(lab, "ve", "/v1/video/create", "/v1/video/query?id=")


def shown(body: Any) -> str | None:
    """The video's link."""
    link: str | None = body.get("video_url") or body.get("video", {}).get("url")
    return link or None


async def test_a_jobs_first_looks_go_wrong_and_only_its_own(jobs: Jobs) -> None:
    troubles = [
        rate_limited(3),
        html_error(),
        error(500),
        Step(),
        cut(),
        drop(),
        drop(),
    ]  # aiohttp asks again after one drop
    poor = await jobs.begin(ok("u", looks=troubles))
    lucky = await jobs.begin(ok("v"))
    assert shown((await jobs.ask(lucky))[1]) == "v"
    seen = [await jobs.ask(poor) for _ in troubles[:4]]
    assert [status for status, _ in seen] == [429, 502, 500, 200]
    assert shown(seen[3][1]) == "u"
    for _ in range(2):
        with pytest.raises(aiohttp.ClientError):
            await jobs.ask(poor)
    assert shown((await jobs.ask(poor))[1]) == "u", "then it is fine"
    assert len(jobs.up.polls(ticket=poor)) == 8
    assert len(jobs.up.polls(ticket=lucky)) == 1
    assert {call.data["auth"] for call in jobs.up.polls()} == {"Bearer k"}


async def test_a_look_that_hangs(jobs: Jobs) -> None:
    ticket = await jobs.begin(ok("u", looks=[hang()]))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(jobs.ask(ticket), 0.2)
    assert shown((await jobs.ask(ticket))[1]) == "u"


async def test_status_words(jobs: Jobs) -> None:
    ticket = await jobs.begin(ok("u", delay=0.3, words=["Queued", "odd"], word="SUCCESS"))
    assert [(await jobs.ask(ticket))[1]["status"] for _ in range(3)] == ["Queued", "odd", "odd"]
    await asyncio.sleep(0.3)
    assert (await jobs.ask(ticket))[1]["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("step", "xai", "ve"),
    [
        (ok(""), (200, "done"), (200, "completed")),
        (ok("u", job="failed", reason="no GPU"), (200, "no GPU"), (200, "no GPU")),
        (ok("u", job="expired"), (200, "expired"), (200, "failed")),
        (ok("u", job="moderated"), (400, "content moderation"), (200, "unsafe")),
        (ok("u", job="withheld"), (200, '"respect_moderation": false'), (200, "completed")),
        (ok("u", job="gone"), (404, "not found"), (404, "not found")),
        (ok("u", job="forever"), (202, "pending"), (200, "processing")),
    ],
    ids=["done without a link", "failed", "expired", "moderated", "withheld", "gone", "forever"],
)
async def test_how_a_job_ends(jobs: Jobs, step: Step, xai: tuple[int, str], ve: tuple[int, str]) -> None:
    status, body = await jobs.ask(await jobs.begin(step))
    wanted, words = xai if jobs.service == "xai" else ve
    assert status == wanted
    assert words in json.dumps(body)
    assert shown(body) is None


async def test_a_create_that_is_taken_and_not_answered(jobs: Jobs) -> None:
    jobs.up.plan(lost("u"), hang(), drop(), error(500))
    with pytest.raises(aiohttp.ClientError):
        await jobs.lab.post(f"{jobs.up.base}{jobs.create}")
    [ticket] = jobs.up.jobs
    assert shown((await jobs.ask(ticket))[1]) == "u", "it was taken"
    with pytest.raises(TimeoutError):
        await jobs.lab.post(f"{jobs.up.base}{jobs.create}", timeout=0.2)
    with pytest.raises(aiohttp.ClientError):
        await jobs.lab.post(f"{jobs.up.base}{jobs.create}")
    assert (await jobs.lab.post(f"{jobs.up.base}{jobs.create}"))[0] == 500
    assert list(jobs.up.jobs) == [ticket], "the others were not"
    assert len(jobs.up.creates()) == 4
    assert {call.data["auth"] for call in jobs.up.creates()} == {"Bearer k"}


async def test_qq_takes_an_upload_in_chunks_and_sends_it() -> None:
    qq, data = OneBot(Timeline(), HostMap()), make_mp4(seed=5)
    qq.shares_filesystem = False
    for number, start in enumerate(range(0, len(data), 1000)):
        chunk = base64.b64encode(data[start : start + 1000]).decode()
        await qq.do(
            "upload_file_stream", {"stream_id": "s", "chunk_index": number, "chunk_data": chunk, "total_chunks": 9}
        )
    path = (await qq.do("upload_file_stream", {"stream_id": "s", "is_complete": True}))["file_path"]
    await qq.do("send_private_msg", {"user_id": 1, "message": [{"type": "video", "data": {"file": path}}]})
    assert qq.sent[0].videos[0].sha == sha(data)


def test_only_what_a_user_would_get_is_installed(tmp_path: Path) -> None:
    wanted = {"main.py", "core/build/part.py", ".astrbot-plugin/i18n/en-US.json"}
    for name in (*wanted, "tests/test.py", "build/x", ".git/HEAD", "core/__pycache__/x.pyc", ".ruff_cache/x"):
        (tmp_path / "plugin" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plugin" / name).touch()
    install_plugin(tmp_path / "plugin", tmp_path / "copy")
    assert {str(p.relative_to(tmp_path / "copy")) for p in (tmp_path / "copy").rglob("*") if p.is_file()} == wanted
