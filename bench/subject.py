"""One measure of one subject in a process of its own: ``python -m bench.subject {limit|ours} MEASURE ARGUMENTS``.

The arguments are JSON, and so is what is printed. The working directory is the plugin that is measured.
"""

from __future__ import annotations

import asyncio
import filecmp
import gc
import hashlib
import importlib
import json
import os
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from .meter import Meter

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
PREFIX = "https://h.example.org"
Sample = dict[str, float]


class Subject(Protocol):
    """What is measured of the limit and of ours.

    Args:
        upstream: the API's address without ``/v1``.
        memory: a folder on a memory file system.
        disk: a folder where the plugin's data would be.
    """

    def __init__(self, upstream: str, memory: Path, disk: Path) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def download(self, url: str) -> Path:
        """A video to a file."""

    async def request(self, picture: Path) -> str:
        """One paid request with a normalised picture; the link of the video."""

    async def jobs(self, count: int, picture: Path) -> list[str]:
        """So many jobs at once, each from the command to the delivered video; what went wrong."""

    async def hold(self, count: int) -> None:
        """Have so many tickets, of which one was looked at: that opened the session and started the threads."""

    async def look(self, seconds: float) -> None:
        """Look at all of them, for so long."""

    def find(self, answer: str, root: str, status: int = 200) -> str | None:
        """The link in a chat answer."""


def _subject(name: str, upstream: str, memory: str, disk: str) -> Subject:
    made: Subject = importlib.import_module(f"bench.{name}").Subject(upstream, Path(memory), Path(disk))
    return made


def _ask(server: str, path: str) -> dict[str, Any]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"{server}{path}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


async def download(name: str, *, server: str, memory: str, disk: str, megabytes: int, query: str) -> Sample:
    """One video. The first megabyte ever is not measured: it opens the session and starts the threads."""
    subject = _subject(name, server, memory, disk)
    await subject.start()
    (await subject.download(f"{server}/f/1024.mp4")).unlink()
    _ask(server, "/reset")
    async with Meter() as meter:
        path = await subject.download(f"{server}/f/{megabytes * 1024}.mp4{query}")
    await subject.close()
    assert _ask(server, "/stats")["fetches"] == 1, "fetched more than once"
    assert filecmp.cmp(path, Path(memory) / f"{megabytes * 1024}.mp4", shallow=False), "another video arrived"
    path.unlink()
    sample = meter.sample()
    return {**sample, "cpu_per_gb": sample["cpu"] * 1024 / megabytes}


async def request(name: str, *, server: str, memory: str, disk: str, picture: str, times: int) -> Sample:
    """Requests one after the other; wall is of one. Every picture that arrived is compared."""
    subject = _subject(name, f"{server}/check", memory, disk)
    await subject.start()
    await subject.request(Path(picture))
    _ask(server, "/reset")
    async with Meter() as meter:
        for _ in range(times):
            await subject.request(Path(picture))
    await subject.close()
    sent = hashlib.sha256(Path(picture).read_bytes()).hexdigest()
    assert _ask(server, "/reset")["pictures"] == [sent] * times, "another picture arrived"
    sample = meter.sample()
    return {**sample, "wall": sample["wall"] / times}


async def jobs(name: str, *, server: str, memory: str, disk: str, picture: str, count: int, seconds: float) -> Sample:
    """Many at once, with an upstream that takes ``seconds``; over is what comes on top of them."""
    subject = _subject(name, f"{server}/d{seconds * 1000:.0f}", memory, disk)
    await subject.start()
    troubles = await subject.jobs(2, Path(picture))
    _ask(server, "/reset")
    async with Meter() as meter:
        troubles += await subject.jobs(count, Path(picture))
    await subject.close()
    creates = _ask(server, "/stats")["creates"]
    assert creates == count, f"{creates} creates for {count} jobs"
    assert not troubles, f"{len(troubles)} troubles: {troubles[0]}"
    sample = meter.sample()
    return {**sample, "over": sample["wall"] - seconds, "rss_per_job": sample["rss"] / count}


async def tickets(name: str, *, server: str, memory: str, disk: str, count: int, seconds: float) -> Sample:
    """Many tickets, left by the last run, are looked at for a while; none of them is done."""
    subject = _subject(name, server, memory, disk)
    await subject.start()
    await subject.hold(count)
    _ask(server, "/reset")
    async with Meter() as meter:
        await subject.look(seconds)
    await subject.close()
    stats = _ask(server, "/stats")
    assert stats["looks"] >= count, f"{stats['looks']} looks at {count} tickets"
    sample = meter.sample()
    return {**sample, "kb_per_job": sample["rss"] * 1024 / count, "looks": stats["looks"] / count}


async def corpus(name: str, *, server: str, memory: str, disk: str) -> Sample:
    """Every recorded chat answer: how many are read right, and how long one takes."""
    subject = _subject(name, server, memory, disk)
    right, times = 0, []
    cases = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(CORPUS.glob("*.json"))]
    cases = [case for case in cases if case["phase"] == "chat"]
    for case in cases:
        body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"], ensure_ascii=False)
        wanted = case["expect"]["url"] if case["expect"]["kind"] == "video" else None
        for _ in range(20):
            began = time.perf_counter()
            found = subject.find(body, case["base_url"], case["http_status"])
            times.append(time.perf_counter() - began)
        right += found == wanted
    return {"right": right, "of": len(cases), "median": statistics.median(times) * 1000}


async def hostile(name: str, *, server: str, memory: str, disk: str, characters: int) -> Sample:
    """Every kind of hostile answer, whole and half the size: ms, the best of three."""
    from .hostile import KINDS, make

    subject = _subject(name, server, memory, disk)
    took: dict[str, list[float]] = {}
    for kind in KINDS:
        for size in (characters // 2, characters):
            answer, tries = make(kind, size), []
            for _ in range(3):
                gc.collect()
                began = time.perf_counter()
                subject.find(answer, PREFIX)
                tries.append((time.perf_counter() - began) * 1000)
            took.setdefault(kind, []).append(min(tries))
    return {
        f"{kind}/{size}": ms for kind, pair in took.items() for size, ms in zip(("half", "whole"), pair, strict=True)
    }


async def start(name: str, *, root: str, plugin: str) -> Sample:
    """Import and initialise an installed plugin, ms, where AstrBot has imported all of its own already."""
    os.environ["ASTRBOT_ROOT"] = root
    sys.path.insert(0, root)
    for part in ("initial_loader", "core_lifecycle", "platform.sources.aiocqhttp.aiocqhttp_platform_adapter"):
        importlib.import_module(f"astrbot.core.{part}")
    from astrbot.core.star.star import star_registry

    gc.collect()
    began = time.perf_counter()
    importlib.import_module(f"data.plugins.{plugin}.main")
    imported = time.perf_counter()
    star: Any = star_registry[-1].star_cls_type
    tools = SimpleNamespace(get_func=lambda name: None)
    instance = star(SimpleNamespace(get_config=dict, get_llm_tool_manager=lambda: tools), {})
    await instance.initialize()
    sample = {"start": (time.perf_counter() - began) * 1000, "import": (imported - began) * 1000}
    await instance.terminate()
    return sample


MEASURES = {measure.__name__: measure for measure in (download, request, jobs, tickets, corpus, hostile, start)}

if __name__ == "__main__":
    _, subject_name, measure_name, arguments = sys.argv
    print(json.dumps(asyncio.run(MEASURES[measure_name](subject_name, **json.loads(arguments)))))
