"""A smaller copy of a video, for a chat that takes no larger one; made by ffmpeg where the machine has it."""

import asyncio
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import mp4
from .errors import UpstreamFailed, scrub
from .transport import MB

logger = logging.getLogger("astrbot")
TRIES = 2
_SHARE = 0.92  # of the size that is asked for; the rest is the file's own and what an encoder overshoots
_SOUND = 96_000  # bits a second
_PICTURES = (64_000, 20_000_000)  # bits a second: below it nothing is to be seen, above it nothing is to be gained
_SIDES = ((4_000_000, 1920), (1_500_000, 1280), (700_000, 960), (0, 640))  # from so many bits a second: the longer side
_LONGEST = 3600.0  # seconds that a copy may take, however long it plays
_QUIETER = 10  # of `nice`
_LINE = 4096
_BELOW_NORMAL = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)  # Windows has no `nice`


class _Failed(Exception):
    """There is no copy, and why."""


@dataclass(frozen=True)
class _Plan:
    """What ffmpeg is asked for: bits a second, and pixels of the longer side."""

    bits: int
    side: int

    @classmethod
    def to_fit(cls, size: float, seconds: float) -> "_Plan":
        """What so many bytes allow for so many seconds.

        Raises:
            _Failed: nothing that is worth looking at.
        """
        least, most = _PICTURES
        bits = min(int(size * 8 / seconds) - _SOUND, most)
        if bits < least:
            raise _Failed(f"{seconds:.0f} s do not fit into {size / MB:.1f} MB")
        return cls(bits, next(side for enough, side in _SIDES if bits >= enough))

    def arguments(self, source: Path, target: Path) -> list[str]:
        """All that stands behind ``ffmpeg``. The input may be nothing but this file, whatever it refers to."""
        side = self.side
        size = f"scale=w='if(gte(iw,ih),trunc(min(iw,{side})/2)*2,-2)':h='if(gte(iw,ih),-2,trunc(min(ih,{side})/2)*2)'"
        return [
            *("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-progress", "pipe:1"),
            *("-protocol_whitelist", "file", "-i", f"file:{source}", "-map", "0:v:0", "-map", "0:a:0?"),
            *("-vf", size, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"),
            *("-b:v", str(self.bits), "-maxrate", str(self.bits * 3 // 2), "-bufsize", str(self.bits * 2)),
            *("-c:a", "aac", "-b:a", str(_SOUND), "-ac", "2", "-movflags", "+faststart"),
            *("-f", "mp4", "-y", f"file:{target}"),
        ]


class Shrinker:
    """Makes one copy at a time: encoding takes all that the machine has.

    Args:
        grace: seconds that a copy may take beyond ten times what the video plays.
    """

    def __init__(self, *, grace: float = 60.0) -> None:
        self._grace = grace
        self._turn = asyncio.Semaphore(1)

    async def shrink(
        self,
        path: Path,
        target_bytes: int,
        *,
        ffmpeg: str | None = None,
        report: Callable[[int], None] = lambda percent: None,
    ) -> Path | None:
        """Make a video small enough, once: ``<stem>.<target MB>mb.mp4`` beside it is used again.

        Args:
            target_bytes: what the copy may have at most.
            ffmpeg: the program; else the one that is installed.
            report: is told the percentage each time another ten are done.

        Returns:
            A video of at most so many bytes: the file itself where it is small enough. None where there is no ffmpeg
            or no copy came of it, which is logged.
        """
        program = ffmpeg or shutil.which("ffmpeg")
        small = path.with_name(f"{path.stem}.{target_bytes // MB}mb.mp4")
        try:
            if path.stat().st_size <= target_bytes:
                return path
            if await asyncio.to_thread(_is_good, small, path, target_bytes):
                return small
            if not program:
                return None
            async with self._turn:
                if not await asyncio.to_thread(_is_good, small, path, target_bytes):  # the one before may have made it
                    await self._make(program, path, small, target_bytes, report)
        except (OSError, _Failed) as trouble:
            logger.warning("[astrbot_plugin_gitee] no smaller copy of %s: %s", path.name, scrub(_words(trouble)))
            return None
        return small

    async def _make(
        self, program: str, path: Path, small: Path, target_bytes: int, report: Callable[[int], None]
    ) -> None:
        """Encode, and once more with less where it came out too large.

        Raises:
            _Failed, OSError: there is no copy.
        """
        seconds = await asyncio.to_thread(mp4.seconds, path) or await self._ask(program, path)
        part = small.with_suffix(f".{secrets.token_hex(4)}.part")
        budget = target_bytes * _SHARE
        try:
            for _ in range(TRIES):
                plan = _Plan.to_fit(budget, seconds)
                logger.info(
                    "[astrbot_plugin_gitee] %s: %d bit/s, %d pixels, for %d bytes",
                    *(path.name, plan.bits, plan.side, target_bytes),
                )
                progress = _Progress(path.name, seconds, report)
                await self._run(program, plan.arguments(path, part), 10 * seconds + self._grace, progress.line)
                size = part.stat().st_size
                if size <= target_bytes:
                    if not await asyncio.to_thread(_is_video, part):
                        raise _Failed("what ffmpeg made is no video")
                    await asyncio.to_thread(os.replace, part, small)
                    progress.reached(100)
                    return
                budget *= _SHARE * target_bytes / size
            raise _Failed(f"{size} bytes were too many")
        finally:
            with suppress(OSError):
                part.unlink()

    async def _ask(self, program: str, path: Path) -> float:
        """How long a video plays whose index does not say it; ffmpeg tells, and complains that it has nothing to do."""
        told: list[float] = []

        def read(line: str) -> None:
            if found := re.match(r"\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", line):
                hours, minutes, rest = found.groups()
                told.append(int(hours) * 3600 + int(minutes) * 60 + float(rest))

        with suppress(_Failed):
            arguments = ["-hide_banner", "-nostdin", "-protocol_whitelist", "file", "-i", f"file:{path}"]
            await self._run(program, arguments, self._grace, read)
        if not told or not told[0]:
            raise _Failed("nobody knows how long it plays")
        return told[0]

    async def _run(self, program: str, arguments: list[str], limit: float, read: Callable[[str], None]) -> None:
        """Run ffmpeg to its end, or end it.

        Raises:
            _Failed: it was too slow, or says that it failed.
            OSError: it cannot be started.
        """
        last = ""
        try:
            async with asyncio.timeout(min(limit, _LONGEST)), _running(program, arguments) as process:
                async for line in _lines(process):
                    read(line)
                    if not re.match(r"\w+=", line):
                        last = line
                code = await process.wait()
        except TimeoutError:
            raise _Failed("it took too long") from None
        if code:
            raise _Failed(f"ffmpeg ended with {code}: {last}")


class _Progress:
    """Tells of every ten percent, from the lines of ``-progress``."""

    def __init__(self, name: str, seconds: float, report: Callable[[int], None]) -> None:
        self._name, self._seconds, self._report = name, seconds, report
        self._told = 0

    def line(self, line: str) -> None:
        """Read one of its lines; ``out_time_us`` is how far the copy plays by now, in microseconds."""
        if found := re.fullmatch(r"out_time_us=(\d{1,18})", line):
            self.reached(min(int(int(found[1]) / self._seconds / 100_000) * 10, 90))  # the rest is known at the end

    def reached(self, percent: int) -> None:
        """Tell it, once."""
        if percent > self._told:
            self._told = percent
            logger.info("[astrbot_plugin_gitee] %s: %d %% of the smaller copy", self._name, percent)
            self._report(percent)


@asynccontextmanager
async def _running(program: str, arguments: list[str]) -> AsyncIterator[Process]:
    """A process that leaves others the machine, and does not outlive whoever waits for it."""
    nice = shutil.which("nice")
    process = await asyncio.create_subprocess_exec(
        *([nice, "-n", str(_QUIETER)] if nice else []),
        program,
        *arguments,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
        creationflags=_BELOW_NORMAL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)  # and what it started, which would keep its pipe open
                else:
                    process.kill()
            await process.communicate()  # a pipe that nobody empties would keep it from being over


async def _lines(process: Process) -> AsyncIterator[str]:
    """What it says, line by line; of a line without an end only the last of it."""
    assert process.stdout
    rest = b""
    while piece := await process.stdout.read(_LINE):
        *lines, rest = re.split(rb"[\r\n]+", rest + piece)
        rest = rest[-_LINE:]
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _is_good(small: Path, path: Path, target_bytes: int) -> bool:
    """Whether there is a copy already that is small enough, whole, and made of what the video is now."""
    try:
        copy, video = small.stat(), path.stat()
    except FileNotFoundError:
        return False
    return copy.st_size <= target_bytes and copy.st_mtime >= video.st_mtime and _is_video(small)


def _is_video(path: Path) -> bool:
    try:
        mp4.check_whole(path)
    except UpstreamFailed:
        return False
    return mp4.seconds(path) is not None


def _words(trouble: Exception) -> str:
    return f"{type(trouble).__name__}: {trouble.strerror}" if isinstance(trouble, OSError) else str(trouble)
