"""Smaller copies: with a program that behaves as ffmpeg may, and with ffmpeg itself where it is installed."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from core import mp4
from core.shrink import TRIES, Shrinker
from core.transport import MB
from devtools.rig.media import make_mp4, pad_mp4
from tests.until import until

TWO_SECONDS = make_mp4(2)
ARGUMENTS = ["-y", "-nostdin", "-movflags", "+faststart", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-b:a", "96000"]

# What the program does with `target` and `small`, the bytes of a video that is small enough.
GOOD = """
for percent in range(0, 101, 5):
    print(f"frame=1\\nout_time_us={percent * 20000}\\nprogress=continue", flush=True)
open(target, "wb").write(small)
print("progress=end")
"""
SLOW = "open(target, 'wb').write(b'x'); time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open(target, 'wb').write(b'x'); time.sleep(60)"
NOISY = "while True: sys.stdout.write('x' * 100000)"
PARENT = "open(target, 'wb').write(b'x'); subprocess.run(['sleep', '60'])"


class World:
    """A large video, and a program beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_made = folder / "videos", folder / "calls"
        self.folder.mkdir()
        self.program = folder / "ffmpeg"
        self.video = self.another("000001.mp4")

    def another(self, name: str, data: bytes = TWO_SECONDS) -> Path:
        path = pad_mp4(self.folder / name, data, 3 * MB)
        os.utime(path, (1_000_000, 1_000_000))
        return path

    def does(self, what: str) -> str:
        """Write the program; its address."""
        small = self.program.with_name("small")
        small.write_bytes(TWO_SECONDS)
        self.program.write_text(
            f"#!{sys.executable} -IS\n"
            "import json, os, signal, subprocess, sys, time\n"
            "target = sys.argv[-1].removeprefix('file:')\n"
            f"small, calls, began = open({str(small)!r}, 'rb').read(), {str(self.calls_made)!r}, time.time()\n"
            "number = len(open(calls).readlines()) if os.path.exists(calls) else 0\n"
            "def told():\n"
            "    call = [os.getpid(), os.nice(0), began, time.time(), sys.argv[1:]]\n"
            "    print(json.dumps(call), file=open(calls, 'a'), flush=True)\n"
            f"told()\n{what}\n"
        )
        self.program.chmod(0o755)
        return str(self.program)

    def calls(self) -> list[list[Any]]:
        return (
            [json.loads(line) for line in self.calls_made.read_text().splitlines()] if self.calls_made.exists() else []
        )

    def options(self, call: int = 0) -> dict[str, str]:
        given = self.calls()[call][4]
        return {given[at]: given[at + 1] for at in range(len(given) - 1) if given[at].startswith("-")}

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_copy_that_is_small_enough(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "astrbot")
    heard: list[int] = []
    copy = await Shrinker().shrink(world.video, MB, ffmpeg=world.does(GOOD), report=heard.append)
    assert copy == world.folder / "000001.1mb.mp4"
    assert copy.read_bytes() == TWO_SECONDS
    assert world.files() == ["000001.1mb.mp4", "000001.mp4"]
    assert heard == [*range(10, 101, 10)]
    assert [f"{tens} %" in caplog.text for tens in heard] == [True] * 10
    assert warnings(caplog) == []


async def test_what_the_program_is_asked_for(world: World) -> None:
    await Shrinker().shrink(world.video, MB, ffmpeg=world.does(GOOD))
    [[_, nice, _, _, given]] = world.calls()
    assert nice == min(os.nice(0) + 10, 19)
    assert [one for one in ARGUMENTS if one not in given] == []
    options = world.options()
    assert options["-i"] == f"file:{world.video}"
    assert options["-protocol_whitelist"] == "file", "a video that refers to an address leads nowhere"
    assert int(options["-b:v"]) == int(MB * 0.92 * 8 / 2) - 96_000
    assert given[-1].startswith(f"file:{world.folder}/000001.1mb.")
    assert given[-1].endswith(".part")


# Bytes for two seconds → the longer side of the picture: few bits look better on fewer pixels.
SIDES = {2 * MB: 1920, MB: 1280, MB // 2: 1280, 300_000: 960, 200_000: 640, 60_000: 640}


@pytest.mark.parametrize("target", SIDES)
async def test_few_bits_are_given_to_few_pixels(target: int, world: World) -> None:
    await Shrinker().shrink(world.video, target, ffmpeg=world.does(GOOD))
    assert f"min(iw,{SIDES[target]})" in world.options()["-vf"]
    assert f"min(ih,{SIDES[target]})" in world.options()["-vf"]


async def test_what_is_small_enough_needs_no_copy(world: World) -> None:
    assert await Shrinker().shrink(world.video, 3 * MB, ffmpeg=world.does(GOOD)) == world.video
    assert world.calls() == []


async def test_without_the_program(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(world.folder))
    assert await Shrinker().shrink(world.video, MB) is None
    assert warnings(caplog) == []
    world.does(GOOD)
    monkeypatch.setenv("PATH", str(world.program.parent))
    assert await Shrinker().shrink(world.video, MB) is not None, "the one that is installed"


async def test_a_good_copy_is_used_again(world: World) -> None:
    shrinker, program = Shrinker(), world.does(GOOD)
    first = await shrinker.shrink(world.video, MB, ffmpeg=program)
    assert await shrinker.shrink(world.video, MB, ffmpeg=program) == first
    assert len(world.calls()) == 1


SPOILED: dict[str, Callable[[Path, Path], object]] = {
    "the video is another": lambda video, copy: os.utime(video),
    "it was cut": lambda video, copy: copy.write_bytes(TWO_SECONDS[:-100]),
    "it is no video": lambda video, copy: copy.write_bytes(b"x"),
    "it is empty": lambda video, copy: copy.write_bytes(b""),
    "it was made for more": lambda video, copy: pad_mp4(copy, TWO_SECONDS, MB + 1),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_another_copy_is_made_anew(name: str, world: World) -> None:
    program = world.does(GOOD)
    copy = await Shrinker().shrink(world.video, MB, ffmpeg=program)
    assert copy
    os.utime(copy, (2_000_000, 2_000_000))
    SPOILED[name](world.video, copy)
    assert await Shrinker().shrink(world.video, MB, ffmpeg=program) == copy
    assert len(world.calls()) == 2
    assert copy.read_bytes() == TWO_SECONDS


# What goes wrong → the word of it that is logged.
FAILURES: dict[str, tuple[str, str]] = {
    "it says why": ("print('Unknown encoder libx264', file=sys.stderr); sys.exit(8)", "8: Unknown encoder libx264"),
    "it says nothing": ("sys.exit(1)", "ended with 1"),
    "it is killed": ("os.kill(os.getpid(), 9)", "ended with -9"),
    "it fails when it is nearly done": (GOOD + "print('No space left on device'); sys.exit(1)", "No space left"),
    "it makes nothing": ("", "FileNotFoundError"),
    "an empty file": ("open(target, 'wb')", "no video"),
    "rubbish": ("open(target, 'wb').write(b'x' * 5000)", "no video"),
    "a cut video": ("open(target, 'wb').write(small[:-100])", "no video"),
    "it says what cannot be read": ("sys.stdout.buffer.write(b'\\xff\\xfe\\n' * 9); sys.exit(3)", "ended with 3"),
    "it says where it is in no number": (GOOD.replace("out_time_us=", "out_time_us=N/A") + "sys.exit(4)", "with 4"),
    "a line without an end": ("sys.stdout.write('x' * 8_000_000); sys.exit(5)", "ended with 5"),
    "it is too slow": (SLOW, "too long"),
    "it does not hear": (DEAF, "too long"),
    "it does not stop talking": (NOISY, "too long"),
    "it waits for another": (PARENT, "too long"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_one_line_and_leaves_nothing(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    what, word = FAILURES[name]
    began = time.monotonic()
    monkeypatch.setattr("core.shrink._LONGEST", 0.7)
    assert await Shrinker().shrink(world.video, MB, ffmpeg=world.does(what)) is None
    assert time.monotonic() - began < 3
    [line] = warnings(caplog)
    assert word in line
    assert "000001.mp4" in line
    assert world.files() == ["000001.mp4"]
    assert all(gone(call[0]) for call in world.calls())


async def test_the_time_limit_is_what_it_plays_ten_times_and_a_grace(world: World) -> None:
    short = pad_mp4(world.folder / "000002.mp4", make_mp4(0.1, fps=100), 3 * MB)
    began = time.monotonic()
    assert await Shrinker(grace=0.2).shrink(short, MB, ffmpeg=world.does(SLOW)) is None
    assert 1 < time.monotonic() - began < 2.5


async def test_a_program_that_is_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for program in (str(world.folder / "nothing"), str(world.video)):
        assert await Shrinker().shrink(world.video, MB, ffmpeg=program) is None
    assert len(warnings(caplog)) == 2
    assert world.files() == ["000001.mp4"]


async def test_a_video_that_is_none(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert await Shrinker().shrink(world.folder / "000009.mp4", MB, ffmpeg=world.does(GOOD)) is None
    assert len(warnings(caplog)) == 1


async def test_too_long_for_the_size_is_not_tried(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert await Shrinker().shrink(world.video, 40_000, ffmpeg=world.does(GOOD)) is None
    assert "do not fit" in warnings(caplog)[0]
    assert world.calls() == []


async def test_a_second_try_with_less(world: World) -> None:
    """An encoder overshoots where a picture changes all the time."""
    what = (
        "open(target, 'wb').write(small if number else small + (8 << 20).to_bytes(4) + b'free' + bytes((8 << 20) - 8))"
    )
    copy = await Shrinker().shrink(world.video, MB, ffmpeg=world.does(what))
    assert copy
    assert copy.stat().st_size <= MB
    first, second = (int(world.options(call)["-b:v"]) for call in (0, 1))
    assert (second + 96_000) * 8 < first + 96_000


async def test_no_third_try(world: World, caplog: pytest.LogCaptureFixture) -> None:
    what = "open(target, 'wb').write(small + (1 << 20).to_bytes(4) + b'free' + bytes((1 << 20) - 8))"
    assert await Shrinker().shrink(world.video, MB, ffmpeg=world.does(what)) is None
    assert len(world.calls()) == TRIES
    assert "too many" in warnings(caplog)[0]
    assert world.files() == ["000001.mp4"]


@pytest.mark.parametrize("what", [SLOW, DEAF, NOISY, PARENT], ids=["slow", "deaf", "noisy", "parent"])
async def test_whoever_is_cancelled_leaves_nothing(what: str, world: World) -> None:
    shrinker, program = Shrinker(), world.does(what)
    work = asyncio.create_task(shrinker.shrink(world.video, MB, ffmpeg=program))
    await until(world.calls)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 2)
    assert gone(world.calls()[0][0])
    assert world.files() == ["000001.mp4"]
    assert await shrinker.shrink(world.video, MB, ffmpeg=world.does(GOOD)), "the next has its turn"


async def test_one_at_a_time(world: World) -> None:
    shrinker = Shrinker()
    program = world.does("time.sleep(0.05); open(target, 'wb').write(small); told()")
    videos = [world.video, world.another("000002.mp4"), world.another("000003.mp4"), world.video]
    copies = await asyncio.gather(*(shrinker.shrink(video, MB, ffmpeg=program) for video in videos))
    assert None not in copies
    assert copies[0] == copies[3]
    ran = world.calls()[1::2]  # each tells of its beginning and of its end
    assert len(ran) == 3, "the same copy serves both who wanted it"
    for before, after in itertools.pairwise(ran):
        assert before[3] <= after[2]


# ---- a video whose index does not say how long it plays ----


async def test_the_program_is_asked_how_long_it_plays(world: World) -> None:
    what = "if target.endswith('.mkv'): print('  Duration: 00:00:04.00, start: 0'); sys.exit(1)\n" + GOOD
    video = world.another("000002.mkv", b"\x1a\x45\xdf\xa3")
    assert await Shrinker().shrink(video, MB, ffmpeg=world.does(what)) == world.folder / "000002.1mb.mp4"
    assert int(world.options(1)["-b:v"]) == int(MB * 0.92 * 8 / 4) - 96_000


@pytest.mark.parametrize("what", ["sys.exit(1)", "print('  Duration: N/A')", "print('  Duration: 00:00:00.00')"])
async def test_nobody_knows_how_long_it_plays(what: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    video = world.another("000002.mkv", b"\x1a\x45\xdf\xa3")
    assert await Shrinker().shrink(video, MB, ffmpeg=world.does(what)) is None
    assert "how long" in warnings(caplog)[0]
    assert len(world.calls()) == 1


# ---- ffmpeg itself ----

real = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg is installed: real copies are not tried")
SNOW = np.random.default_rng(7)


@cache
def snow(kind: str, width: int, height: int, sound: bool) -> bytes:
    """Three seconds that no encoder finds easy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"v.{kind}")
        with av.open(str(path), "w") as out:
            stream: Any = out.add_stream("mpeg4", rate=Fraction(12), options={"qscale": "1", "flags": "+qscale"})
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 20_000_000
            voice: Any = out.add_stream("aac", rate=16000, layout="mono") if sound else None
            for _ in range(36):
                picture = SNOW.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
                picture = picture.repeat(4, 0).repeat(4, 1)[:height, :width]
                out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
            for number in range(36 if voice else 0):
                heard = av.AudioFrame.from_ndarray(
                    SNOW.integers(-999, 999, (1, 1333), np.int16), format="s16", layout="mono"
                )
                heard.sample_rate, heard.pts = 16000, number * 1333
                out.mux(voice.encode(heard))
            for one in [stream, *([voice] if voice else [])]:
                out.mux(one.encode(None))
        return path.read_bytes()


# Kind, size, sound, bytes → the size of the copy's picture.
REAL: dict[str, tuple[str, int, int, bool, int, tuple[int, int]]] = {
    "lying": ("mp4", 1280, 720, True, 200_000, (640, 360)),
    "standing": ("mp4", 720, 1280, False, 400_000, (540, 960)),
    "odd": ("mov", 427, 241, False, 100_000, (426, 240)),
    "matroska": ("mkv", 640, 360, True, 500_000, (640, 360)),
}


@real
@pytest.mark.parametrize("name", REAL)
async def test_a_real_copy(name: str, tmp_path: Path) -> None:
    kind, width, height, sound, target, size = REAL[name]
    video = tmp_path / f"000001.{kind}"
    video.write_bytes(snow(kind, width, height, sound))
    assert video.stat().st_size > 2 * target
    heard: list[int] = []
    copy = await Shrinker().shrink(video, target, report=heard.append)
    assert copy
    assert copy.stat().st_size <= target
    with av.open(str(copy)) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == size
        assert file.streams.video[0].pix_fmt == "yuv420p"
        assert len(file.streams.audio) == sound
        assert len(list(file.decode(video=0))) in (36, 37)  # matroska's clock is coarse
    assert mp4.seconds(copy) == pytest.approx(3, abs=0.2)
    assert not mp4.tidy(copy), "its index comes first"
    assert heard[-1:] == [100]


@real
async def test_a_real_refusal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = pad_mp4(tmp_path / "000001.mp4", TWO_SECONDS.replace(b"avc1", b"what"), 2 * MB)
    assert await Shrinker().shrink(video, MB) is None
    assert "ffmpeg ended with" in warnings(caplog)[0]
    assert list(tmp_path.iterdir()) == [video]
