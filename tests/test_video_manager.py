"""Video files on disk: what is let in, what is left behind, what is kept."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from core.errors import Failure, Misconfigured, UpstreamFailed
from core.mp4 import tidy
from core.transport import MB, Transport, Trust
from core.video_manager import TRIES, Download, VideoManager, kind_of
from devtools.rig.media import make_mp4, make_png
from tests.internet import PUBLIC, Internet
from tests.scripted_server import HANG, RESET, Act, ScriptedServer, answer, drip
from tests.until import until

CHAT = "aiocqhttp:GroupMessage:1001"


@functools.cache
def clip(kind: str) -> bytes:
    """A second of something playable."""
    if kind == "mp4":
        return make_mp4(0.3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"v.{kind}")
        with av.open(str(path), "w") as box:
            stream: Any = box.add_stream("libvpx" if kind == "webm" else "libx264", rate=Fraction(10))
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for shade in range(4):
                frame = np.full((48, 64, 3), shade * 60, np.uint8)
                box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            box.mux(stream.encode(None))
        return path.read_bytes()


def friendly(data: bytes) -> bytes:
    """As players and chats like it best; the manager leaves nothing less (test_mp4.py says what it is)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v")
        path.write_bytes(data)
        tidy(path)
        return path.read_bytes()


def playable(path: Path) -> bool:
    with av.open(str(path)) as box:
        return any(box.decode(video=0))


class World:
    """A manager, its folder, and how long it waited."""

    def __init__(self, folder: Path, transport: Transport) -> None:
        self.folder, self.transport = folder / "videos", transport
        self.waited: list[float] = []

    def manager(self, max_cached: int = 20, max_bytes: int = 4 * MB) -> VideoManager:
        async def sleep(seconds: float) -> None:
            self.waited.append(seconds)

        return VideoManager(self.folder, self.transport, max_cached=max_cached, max_bytes=max_bytes, sleep=sleep)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def world(tmp_path: Path, internet: Internet) -> AsyncIterator[World]:
    internet["cdn.example.com"] = PUBLIC
    transport = Transport(Trust())
    yield World(tmp_path, transport)
    await transport.close()


def link(server: ScriptedServer, path: str = "/v") -> str:
    return server.link(path, "cdn.example.com")


def video(kind: str = "mp4", content_type: str = "video/mp4", **options: Any) -> bytes:
    return answer(clip(kind), 200, f"Content-Type: {content_type}", **options)


# ---- what is a video ----

# What the server says it is → the file's extension. The first bytes decide; headers only where those leave it open.
KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "mp4": (video, "mp4"),
    "webm": (lambda: video("webm", "video/webm"), "webm"),
    "mov": (lambda: video("mov", "video/quicktime"), "mov"),
    "mkv": (lambda: video("mkv", "video/x-matroska"), "mkv"),
    "webm that says mp4": (lambda: video("webm", "video/mp4"), "webm"),
    "mov that says mp4": (lambda: video("mov", "video/mp4"), "mov"),
    "mp4 that says nothing in particular": (lambda: video(content_type="application/octet-stream"), "mp4"),
    "mp4 that says it is a web page": (lambda: video(content_type="text/html; charset=utf-8"), "mp4"),
    "mp4 that says it is a picture": (lambda: video(content_type="image/jpeg"), "mp4"),
    "mp4 without any type": (lambda: answer(clip("mp4")), "mp4"),
    "without a length": (lambda: video(length=-1), "mp4"),
}


@pytest.mark.parametrize("name", KINDS)
async def test_videos_are_kept(name: str, world: World) -> None:
    make, extension = KINDS[name]
    async with ScriptedServer([make()]) as server:
        path = await world.manager().download(link(server), CHAT, 7).file()
    assert path.name == f"000007.{extension}"
    sent = clip(name.partition(" ")[0] if name.partition(" ")[0] in ("webm", "mov", "mkv") else "mp4")
    assert path.read_bytes() == friendly(sent)
    assert playable(path)
    assert world.files() == [path.name]


HTML = b"<!doctype html><html><head><title>expired</title></head></html>" + b" " * 600
JSON = b'{"error": {"message": "expired"}}' + b" " * 600

# What comes instead of a video → what is told.
NO_VIDEO: dict[str, tuple[Act, str, str]] = {
    "a web page": ([answer(HTML, 200, "Content-Type: text/html")], "not_a_video", "text/html"),
    "a web page that says it is a video": ([answer(HTML, 200, "Content-Type: video/mp4")], "not_a_video", "video/mp4"),
    "json": ([answer(JSON, 200, "Content-Type: application/json")], "not_a_video", "application/json"),
    "json that says it is a video": ([answer(JSON, 200, "Content-Type: video/mp4")], "not_a_video", ""),
    "short text": ([answer(b"gone", 200, "Content-Type: text/plain")], "not_a_video", "text/plain"),
    "a picture": ([answer(make_png(), 200, "Content-Type: image/png")], "not_a_video", "image/png"),
    "a picture that says it is a video": ([answer(make_png(), 200, "Content-Type: video/mp4")], "not_a_video", ""),
    "an avif": ([answer(b"\0\0\0\x1cftypavif" + bytes(900), 200, "Content-Type: video/mp4")], "not_a_video", "avif"),
    "bytes of no kind": ([answer(bytes(range(256)) * 4, 200, "Content-Type: application/zip")], "not_a_video", ""),
    "nothing": ([answer(b"", 200, "Content-Type: video/mp4")], "not_a_video", "0 B"),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], "http_status", ""),
    "an index without pictures": (
        [answer(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08moov", 200, "Content-Type: video/mp4")], "truncated", "",
    ),
    "cut without a sign of it": ([answer(make_mp4(0.3)[:-900], 200, "Content-Type: video/mp4")], "truncated", ""),
    "gone": ([answer(HTML, 404)], "gone", ""),
    "gone for good": ([answer(b"", 410)], "gone", ""),
    "forbidden": ([answer(b"", 403)], "http_status", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_VIDEO)
async def test_what_is_no_video_leaves_nothing(name: str, world: World) -> None:
    act, cause, what = NO_VIDEO[name]
    async with ScriptedServer(act) as server:
        download = world.manager().download(link(server), CHAT, 1)
        with pytest.raises(UpstreamFailed) as caught:
            await download.file()
        with pytest.raises(UpstreamFailed):
            await download.looked()
        assert len(server.requests) == 1, "asking again would bring the same"
    assert caught.value.why.cause == cause
    assert what in caught.value.why.facts.get("what", "")
    assert cause != "not_a_video" or caught.value.why.facts["what"], "the sentence names it"
    assert world.files() == []


# ---- lines ----

WHOLE = [video()]
CUT = [video(length=len(clip("mp4")) + 1000)]
TROUBLE: dict[str, tuple[list[Act], bool]] = {
    "an error, then the video": ([[answer(b"", 500)], WHOLE], True),
    "too many requests, then the video": ([[answer(b"", 429, "Retry-After: 4")], WHOLE], True),
    "reset twice, then the video": ([[RESET], [RESET], WHOLE], True),
    "cut, then the video": ([CUT, WHOLE], True),
    "cut in the middle, then the video": ([[video()[:-500]], WHOLE], True),
    "always cut": ([CUT] * TRIES, False),
    "always an error": ([[answer(b"", 502)]] * TRIES, False),
}


@pytest.mark.parametrize("name", TROUBLE)
async def test_trouble_on_the_line_is_tried_again(name: str, world: World) -> None:
    acts, arrives = TROUBLE[name]
    async with ScriptedServer(*acts) as server:
        download = world.manager().download(link(server), CHAT, 1)
        if arrives:
            assert (await download.file()).read_bytes() == clip("mp4")
        else:
            with pytest.raises(UpstreamFailed, match="download"):
                await download.file()
        assert len(server.requests) == len(acts)
    assert 1 <= len(world.waited) <= len(acts) - 1, "aiohttp itself repeats a GET once when the line breaks at once"
    assert world.waited == [4] or "Retry-After" not in str(acts)
    assert world.files() == (["000001.mp4"] if arrives else [])


async def test_a_longer_file_than_announced_is_cut(world: World) -> None:
    """HTTP ends it where it was announced to end."""
    async with ScriptedServer(*[[video(length=len(clip("mp4")) - 900)]] * TRIES) as server:
        with pytest.raises(UpstreamFailed):
            await world.manager().download(link(server), CHAT, 1).file()
    assert world.files() == []


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [3 * MB, 3 * MB + 1])
async def test_the_limit_holds_whatever_is_announced(announced: bool, size: int, world: World) -> None:
    body = clip("mp4") + (size - len(clip("mp4"))).to_bytes(4) + b"free" + bytes(size - len(clip("mp4")) - 8)
    act = [answer(body, 200, "Content-Type: video/mp4", length=None if announced else -1)]
    async with ScriptedServer(act) as server:
        download = world.manager(max_bytes=3 * MB).download(link(server), CHAT, 1)
        if size <= 3 * MB:
            assert (await download.file()).stat().st_size == size
        else:
            with pytest.raises(UpstreamFailed, match="too_big") as caught:
                await download.file()
            assert caught.value.why.facts == {"limit": "3"}
            assert world.files() == []


async def test_an_endless_file_is_stopped_early(world: World) -> None:
    async with ScriptedServer([video(length=-1), *[bytes(MB)] * 500]) as server:
        with pytest.raises(UpstreamFailed, match="too_big"):
            await world.manager(max_bytes=2 * MB).download(link(server), CHAT, 1).file()
    assert world.files() == []


# ---- links ----


@pytest.mark.parametrize("link", ["http://127.0.0.1:9/v.mp4", "http://192.168.0.1/v.mp4", "http://[::1]/v.mp4"])
async def test_private_links_are_refused(link: str, world: World) -> None:
    with pytest.raises(UpstreamFailed, match="private_address"):
        await world.manager().download(link, CHAT, 1).file()


async def test_a_link_that_needs_the_key_gets_it(world: World) -> None:
    async with ScriptedServer([answer(b"", 401)], [video()]) as server:
        root = link(server, "")
        headers = {"Authorization": "Bearer k"}
        await world.manager().download(f"{root}/v.mp4", CHAT, 1, key_headers=headers, key_root=root).file()
        assert [request.headers.get("authorization") for request in server.requests] == [None, "Bearer k"]


INLINE = {
    "as it should be": "data:video/mp4;base64,{}",
    "with parameters": "data:video/mp4;codecs=avc1;base64,{}",
    "of another type": "data:application/octet-stream;base64,{}",
}


@pytest.mark.parametrize("name", INLINE)
@pytest.mark.parametrize("code", [base64.b64encode, base64.urlsafe_b64encode])
async def test_a_video_inside_the_answer(name: str, code: Callable[[bytes], bytes], world: World) -> None:
    url = INLINE[name].format(code(clip("mp4")).decode().rstrip("="))
    path = await world.manager().download(url, CHAT, 1).file()
    assert path.read_bytes() == clip("mp4")


BAD_INLINE = {
    "data:": "not_a_video",
    "data:video/mp4;base64,": "not_a_video",
    "data:video/mp4;base64,A": "not_a_video",  # no base64: one character too many
    "data:video/mp4;base64,你好": "not_a_video",
    "data:text/html;base64," + base64.b64encode(HTML).decode(): "not_a_video",
    "data:video/mp4;base64," + base64.b64encode(clip("mp4")[:-900]).decode(): "truncated",
    "data:video/mp4;base64," + "A" * 6 * MB: "too_big",
}


@pytest.mark.parametrize("url", BAD_INLINE, ids=lambda url: url[:40])
async def test_what_is_no_video_inside_the_answer(url: str, world: World) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await world.manager().download(url, CHAT, 1).file()
    assert caught.value.why.cause == BAD_INLINE[url]
    assert BAD_INLINE[url] != "not_a_video" or "what" in caught.value.why.facts, "the sentence names it"
    assert world.files() == []


# ---- waiting for it ----


async def test_the_link_is_good_before_the_whole_is_there(world: World) -> None:
    rest = asyncio.Event()
    whole = video()
    async with ScriptedServer([whole[:1500], rest.wait, whole[1500:]]) as server:
        download = world.manager().download(link(server), CHAT, 1)
        await asyncio.wait_for(download.looked(), 2)
        assert not download.over
        rest.set()
        assert (await download.file()).exists()
        assert download.over


async def test_what_is_no_video_is_refused_before_the_whole_is_there(world: World) -> None:
    async with ScriptedServer([answer(HTML, 200, "Content-Type: video/mp4", length=MB), HANG]) as server:
        with pytest.raises(UpstreamFailed, match="not_a_video"):
            await asyncio.wait_for(world.manager().download(link(server), CHAT, 1).looked(), 2)


async def test_one_fetch_serves_everybody_who_waits(world: World) -> None:
    async with ScriptedServer(drip(video(), 400)) as server:
        download = world.manager().download(link(server), CHAT, 1)
        impatient = asyncio.create_task(download.file())
        await download.looked()
        impatient.cancel()
        paths = await asyncio.gather(download.file(), download.file(), download.looked())
        assert paths[0] == paths[1]
        assert len(server.requests) == 1


async def test_cancelling_leaves_nothing(world: World) -> None:
    async with ScriptedServer([video()[:1500], HANG]) as server:
        download = world.manager().download(link(server), CHAT, 1)
        await download.looked()
        assert world.files()[0].endswith(".part")
        await download.cancel()
        with pytest.raises(asyncio.CancelledError):
            await download.file()
    assert world.files() == []


async def test_cancelling_a_video_inside_the_answer_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = asyncio.Event(), Path.write_bytes
    loop = asyncio.get_running_loop()

    def slow(path: Path, data: bytes) -> int:
        loop.call_soon_threadsafe(written.set)
        time.sleep(0.05)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", slow)
    download = world.manager().download("data:video/mp4;base64," + base64.b64encode(clip("mp4")).decode(), CHAT, 1)
    await written.wait()
    await download.cancel()
    await asyncio.sleep(0.08)
    assert world.files() == []


LATE = clip("mov").replace(b"ftypqt  ", b"ftypmp42", 1)  # its index comes last
TOLD = b"\0\0\0\x20uuid" + bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(8)


async def test_a_video_is_friendly_once_it_is_there(world: World) -> None:
    """Over the line and inside the answer: playing begins at once, and it does not say where it comes from."""
    data = LATE + TOLD
    async with ScriptedServer([answer(data, 200, "Content-Type: video/mp4")]) as server:
        over_the_line = await world.manager().download(link(server), CHAT, 1).file()
    inside = await world.manager().download("data:video/mp4;base64," + base64.b64encode(data).decode(), CHAT, 2).file()
    assert data.index(b"mdat") < data.index(b"moov")
    for path in (over_the_line, inside):
        saved = path.read_bytes()
        assert saved.index(b"moov") < saved.index(b"mdat")
        assert len(saved) == len(data)
        assert b"uuid" not in saved
        assert playable(path)
    assert world.files() == ["000001.mp4", "000002.mp4"]


async def test_what_is_no_mp4_is_not_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.video_manager.tidy", lambda path: pytest.fail("it would be read as what it is not"))
    async with ScriptedServer([video("webm")]) as server:
        assert (await world.manager().download(link(server), CHAT, 1).file()).read_bytes() == clip("webm")


async def test_cancelling_while_it_is_made_friendly_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def slow(path: Path) -> bool:
        data = path.read_bytes()
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.05)
        path.write_bytes(data)  # as a rewritten file comes to its place
        return True

    monkeypatch.setattr("core.video_manager.tidy", slow)
    async with ScriptedServer([answer(LATE, 200, "Content-Type: video/mp4")]) as server:
        download = world.manager().download(link(server), CHAT, 1)
        await begun.wait()
        await download.cancel()
        assert world.files() == []
        await asyncio.sleep(0.08)
    assert world.files() == []


async def test_a_failed_download_nobody_waits_for_is_no_news(world: World) -> None:
    """An exception that is never retrieved would be logged with a traceback, and fails this test run."""
    download = world.manager().download("http://127.0.0.1/", CHAT, 1)
    await until(lambda: download.over)


async def test_one_that_is_there_already(tmp_path: Path) -> None:
    download = Download.of(tmp_path)
    await download.looked()
    assert await download.file() == tmp_path


# ---- numbers and names ----

NAMES = [
    CHAT,
    "telegram:GroupMessage:-100123#7",
    "../../etc/passwd",
    "/absolute",
    "..",
    ".",
    "",
    "a/b\\c\0d",
    "*?[x]",
    "CON:FriendMessage:1",
    "群聊:群:测试",
    "x" * 5000,
    "💥" * 300,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:20].encode("unicode_escape").decode())
async def test_a_conversation_s_name_cannot_lead_elsewhere(name: str, world: World) -> None:
    manager = world.manager()
    async with ScriptedServer([video()]) as server:
        path = await manager.download(link(server), name, 3).file()
    assert path.resolve().parent.parent == world.folder.resolve()
    assert path.parent.name not in (".", "..")
    assert len(path.parent.name.encode()) < 80
    assert manager.find(name, 3) == path
    assert manager.find(name, 4) is None


def test_conversations_have_folders_of_their_own(world: World) -> None:
    folders = {world.manager().folder_of(name) for name in [*NAMES, "a b", "a_b", "A_b", "a/b"]}
    assert len({str(folder).lower() for folder in folders}) == len(NAMES) + 4


async def test_what_is_still_coming_is_not_found(world: World) -> None:
    async with ScriptedServer([video()[:1500], HANG]) as server:
        manager = world.manager()
        download = manager.download(link(server), CHAT, 1)
        await download.looked()
        assert manager.find(CHAT, 1) is None
        await download.cancel()


# ---- pruning ----


async def fill(world: World, manager: VideoManager, numbers: range, chat: str = CHAT) -> list[Path]:
    """Finished videos, a second apart."""
    paths = []
    async with ScriptedServer(*[[video()]] * len(numbers)) as server:
        for number in numbers:
            paths.append(await manager.download(link(server), chat, number).file())
            os.utime(paths[-1], (1_000_000 + number, 1_000_000 + number))
    return paths


async def test_the_newest_are_kept_across_conversations(world: World) -> None:
    manager = world.manager(max_cached=3)
    await fill(world, manager, range(1, 4))
    await fill(world, manager, range(4, 6), "telegram:FriendMessage:1")
    assert world.files() == ["000003.mp4", "000004.mp4", "000005.mp4"]


async def test_zero_keeps_all(world: World) -> None:
    await fill(world, world.manager(max_cached=0), range(1, 6))
    assert len(world.files()) == 5


async def test_the_one_just_made_is_kept_though_its_clock_is_behind(world: World) -> None:
    manager = world.manager(max_cached=1)
    [old] = await fill(world, manager, range(1, 2))
    os.utime(old, (time.time() + 9999,) * 2)
    [new] = await fill(world, manager, range(2, 3))
    assert new.exists()


async def test_a_file_in_use_is_never_pruned(world: World) -> None:
    manager = world.manager(max_cached=1)
    [sent] = await fill(world, manager, range(1, 2))
    with manager.using(sent), manager.using(sent):
        await fill(world, manager, range(2, 5))
        assert world.files() == ["000001.mp4", "000004.mp4"]
    await manager.prune()
    assert world.files() == ["000004.mp4"]


async def test_a_video_whose_job_is_not_over_is_never_pruned(world: World) -> None:
    """Its chat may be away for hours, and for a video that came inside the answer the file is all there is."""
    manager = world.manager(max_cached=1)
    with manager.holding(CHAT, 1):
        with manager.holding(CHAT, 1):  # /视频重发 while it is being delivered
            await fill(world, manager, range(1, 4))
        await fill(world, manager, range(4, 6))
        assert world.files() == ["000001.mp4", "000005.mp4"]
    await manager.prune()
    assert world.files() == ["000005.mp4"]


async def test_parts_that_nobody_finishes_go_and_others_stay(world: World) -> None:
    manager = world.manager(max_cached=1)
    folder = manager.folder_of(CHAT)
    folder.mkdir(parents=True)
    for name, age in (("000001.aa.part", 7200), ("000002.bb.part", 60)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - age,) * 2)
    await manager.prune()
    assert world.files() == ["000002.bb.part"]


async def test_what_was_made_of_a_video_goes_with_it(world: World) -> None:
    """A smaller copy counts as no video of its own, and is in use while the video is."""
    manager = world.manager(max_cached=2)
    for path in await fill(world, manager, range(1, 3)):
        small = path.with_suffix(".9mb.mp4")
        small.write_bytes(path.read_bytes())
        os.utime(small, (path.stat().st_mtime,) * 2)
    await manager.prune()
    assert world.files() == ["000001.9mb.mp4", "000001.mp4", "000002.9mb.mp4", "000002.mp4"]
    with manager.holding(CHAT, 1):
        await fill(world, manager, range(3, 5))
        assert world.files() == ["000001.9mb.mp4", "000001.mp4", "000003.mp4", "000004.mp4"]
    await manager.prune()
    assert world.files() == ["000003.mp4", "000004.mp4"]


async def test_pruning_an_empty_place(world: World) -> None:
    await world.manager(max_cached=1).prune()


# ---- the disk ----


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond ``size``: the system's own refusal, at the very byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "missing",
    [
        1,  # the last byte: it is still in a buffer when the file is closed
        5000,
        1 * MB,
        2_500_000,
    ],
)
async def test_a_full_disk_is_the_admin_s_not_the_line_s(missing: int, world: World) -> None:
    size = 3 * MB
    body = clip("mp4") + (size - len(clip("mp4"))).to_bytes(4) + b"free" + bytes(size - len(clip("mp4")) - 8)
    act = [answer(body, 200, "Content-Type: video/mp4")]
    async with ScriptedServer(act, act, act) as server:
        with room_for(size - missing), pytest.raises(Misconfigured) as caught:
            await world.manager().download(link(server), CHAT, 1).file()
        assert caught.value.why.cause == "disk"
        assert len(server.requests) == 1, "fetching it again makes no room"
    assert world.files() == []


async def test_a_full_disk_and_a_small_video(world: World) -> None:
    async with ScriptedServer([video()], [video()], [video()]) as server:
        with room_for(100), pytest.raises(Misconfigured, match="disk"):
            await world.manager().download(link(server), CHAT, 1).file()
        inline = "data:video/mp4;base64," + base64.b64encode(clip("mp4")).decode()
        with room_for(100), pytest.raises(Misconfigured, match="disk"):
            await world.manager().download(inline, CHAT, 1).file()
        assert len(server.requests) == 1
    assert world.files() == []


async def test_a_folder_that_cannot_be_written(world: World) -> None:
    world.folder.write_bytes(b"a file where the folder should be")
    async with ScriptedServer([video()]) as server:
        with pytest.raises(Misconfigured, match="disk"):
            await world.manager().download(link(server), CHAT, 1).file()


# ---- first bytes ----

HEADS: dict[str, tuple[bytes, str, str | None]] = {
    "fragmented mp4": (b"\0\0\0\x1cftypiso5", "", "mp4"),
    "quicktime": (b"\0\0\0\x14ftypqt  ", "video/mp4", "mov"),
    "old quicktime without ftyp": (b"\0\0\0\x08wide\0\0\0\0mdat", "video/quicktime", "mov"),
    "mp4 that begins with its index": (b"\0\0\1\0moov\0\0\0lmvhd", "video/mp4", "mp4"),
    "avi": (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo", "avi"),
    "webp is RIFF too": (b"RIFF\0\0\0\0WEBPVP8 ", "video/mp4", None),
    "heic is ftyp too": (b"\0\0\0\x18ftypheic", "video/mp4", None),
    "gif": (b"GIF89a" + bytes(20), "video/mp4", None),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "video/mp4", None),
    "matroska without a name": (b"\x1a\x45\xdf\xa3" + bytes(100), "", "mkv"),
    "a transport stream that says so": (b"\x47\x40\0\x10" + bytes(200), "video/mp2t", "mp4"),
    "a transport stream that does not": (b"\x47\x40\0\x10" + bytes(200), "application/octet-stream", None),
    "a playlist": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "video/mp4", None),
    "chinese text": ("视频已过期".encode(), "video/mp4", None),
}


@pytest.mark.parametrize("name", HEADS)
def test_first_bytes(name: str) -> None:
    head, content_type, kind = HEADS[name]
    if kind:
        assert kind_of(head, content_type) == kind
    else:
        with pytest.raises(Failure, match="not_a_video"):
            kind_of(head, content_type)
