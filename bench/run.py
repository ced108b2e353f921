"""All measures in one run, ours beside the limit: ``python -m bench.run [--quick] [--only NAME]``.

Prints a table and, when everything was measured, writes it to ``bench/RESULTS.md``. What is measured is a copy of the
plugin that is made at the start, so that nobody's editing disturbs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.rig import REPOSITORY, plugin_name
from devtools.rig.astrbot_proc import install_plugin

from . import real
from .looks import blind, learned, simulated
from .meter import Foreign
from .servers import JOB_VIDEO_KB, picture_file, video_file

RESULTS = Path(__file__).parent / "RESULTS.md"
SUBJECTS = ("limit", "ours")
NOISY = 0.25  # cores that others use: a full run waits for them, and makes such a repetition again
PATIENCE = 20.0  # seconds
AGAIN = 2  # times

Sample = dict[str, float]
Samples = dict[str, list[Sample]]  # by subject, one a repetition


@dataclass(frozen=True)
class Goal:
    """What must hold between the medians (limit, ours) and of the median ratio."""

    text: str
    holds: Callable[[float, float, float], bool]


def times(most: float) -> Goal:
    return Goal(f"≤ {most:g}×", lambda limit, ours, ratio: ratio <= most)


def at_most(most: float) -> Goal:
    return Goal(f"≤ {most:g}", lambda limit, ours, ratio: ours <= most)


def plus(more: float) -> Goal:
    return Goal(f"≤ limit + {more:g}", lambda limit, ours, ratio: ours <= limit + more)


CALM = Goal("≤ 10 or 2×", lambda limit, ours, ratio: ours <= max(10.0, 2 * limit))
ANY = Goal("", lambda limit, ours, ratio: True)


@dataclass
class Table:
    """The rows, as Markdown."""

    rows: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, what: str, unit: str, samples: Samples, key: str, goal: Goal, digits: int = 1) -> None:
        """One row: medians and ranges; the ratio is the median of the repetitions' own, so that drift cancels out."""
        limit, ours = ([sample[key] for sample in samples[subject]] for subject in SUBJECTS)
        positive = min(*limit, *ours) > 0
        ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, limit, strict=True)) if positive else 0.0
        holds = goal.holds(statistics.median(limit), statistics.median(ours), ratio)
        shown = f"{ratio:.2f}" if positive else ""
        self.row(what, unit, _range(limit, digits), _range(ours, digits), shown, goal.text, holds)

    def row(self, what: str, unit: str, limit: str, ours: str, ratio: str, goal: str, holds: bool) -> None:
        ok = ("✓" if holds else "**✗**") if goal else ""
        self.rows.append(f"| {what}, {unit} | {limit} | {ours} | {ratio} | {goal} | {ok} |")
        print(self.rows[-1], flush=True)
        if not holds:
            self.missed.append(what)

    def failed(self, what: str, error: Exception) -> None:
        """A measure whose subject did something wrong; a number would say nothing."""
        self.row(what, "done right", "", str(error).strip().rpartition("\n")[2][:200], "", "yes", False)


HEAD = "| what | limit | ours | ratio | goal | ok |\n| --- | --- | --- | --- | --- | --- |"


def _range(values: list[float], digits: int) -> str:
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


class Lab:
    """The server, the folders, and how a measure is repeated.

    Args:
        memory, disk: temporary folders; the disk's is where AstrBot's data would be.
        plugin: what is measured.
        quick: fewer repetitions.
    """

    def __init__(self, server: str, memory: Path, disk: Path, plugin: Path, *, quick: bool) -> None:
        self.server, self.memory, self.disk, self.quick = server, memory, disk, quick
        self.plugins = {"limit": real.LIMIT, "ours": disk / "plugin"}
        install_plugin(plugin, self.plugins["ours"])
        self.noise: list[float] = []

    def in_turn(self, measure: Callable[[str], Sample], repetitions: int) -> Samples:
        """The subjects alternate inside a repetition, so that drift hits both alike."""
        samples: Samples = {subject: [] for subject in SUBJECTS}
        for number in range(repetitions):
            for subject in SUBJECTS if number % 2 == 0 else reversed(SUBJECTS):
                for _ in range(1 if self.quick else 1 + AGAIN):
                    if not self.quick:
                        _wait_for_quiet()
                    foreign = Foreign()
                    sample = measure(subject)
                    cores = foreign.cores()
                    if cores < NOISY:
                        break
                self.noise.append(cores)
                samples[subject].append(sample)
        return samples

    def repeat(self, measure: str, full: int, quick: int, **arguments: Any) -> Samples:
        """A measure of `bench.subject`, each time in a fresh process."""
        common = {"server": self.server, "memory": str(self.memory), "disk": str(self.disk)}
        return self.in_turn(
            lambda subject: self.child(subject, measure, common | arguments), quick if self.quick else full
        )

    def child(self, subject: str, measure: str, arguments: dict[str, Any]) -> Sample:
        """One measure in a process of its own, which imports the copy of the plugin."""
        command = [sys.executable, "-m", "bench.subject", subject, measure, json.dumps(arguments)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled files
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.plugins["ours"], env=environment)
        if done.returncode:
            raise RuntimeError(f"{subject}: {done.stderr}")
        sample: Sample = json.loads(done.stdout.splitlines()[-1])
        return sample


def _wait_for_quiet() -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        foreign = Foreign()
        time.sleep(0.3)
        if foreign.cores() < NOISY:
            return


# ---- the measures, in the order of the table -------------------------------------------------------------------------


def downloads(lab: Lab, table: Table) -> None:
    for megabytes, full, quick in ((50, 9, 3), (300, 7, 2), (1024, 5, 1)):
        video_file(lab.memory, megabytes * 1024)
        for query, name in (("", ""), ("?sig=0f1e2d&expires=9999999999", " with ?sig=…")):
            samples = lab.repeat("download", full, quick, megabytes=megabytes, query=query)
            what = f"download {megabytes} MB{name}"
            table.add(what, "wall s", samples, "wall", times(1.1), 3)
            table.add(what, "CPU s/GB", samples, "cpu_per_gb", at_most(1.5), 2)
            table.add(what, "RSS + MB", samples, "rss", at_most(4))
            table.add(what, "stall ms", samples, "stall", CALM)


def requests(lab: Lab, table: Table) -> None:
    for megabytes, count in ((1, 20), (5, 8), (20, 4)):
        picture = str(picture_file(lab.memory, megabytes))
        samples = lab.repeat("request", 9, 3, picture=picture, times=count)
        what = f"request with a picture of {megabytes} MB"
        scaled = {name: [{**one, "wall": one["wall"] * 1000} for one in some] for name, some in samples.items()}
        table.add(what, "wall ms", scaled, "wall", times(1.5))
        table.add(what, "RSS + MB", samples, "rss", at_most(2))
        table.add(what, "stall ms", samples, "stall", at_most(10))


def jobs(lab: Lab, table: Table) -> None:
    picture = str(picture_file(lab.memory, 1))
    video_file(lab.memory, JOB_VIDEO_KB)
    for count, full, quick, over, stall in ((200, 5, 2, 1.0, at_most(50)), (1000, 3, 1, 5.0, ANY)):
        samples = lab.repeat("jobs", full, quick, picture=picture, count=count, seconds=2.0)
        what = f"{count} jobs at once"
        table.add(what, "s over the upstream's 2", samples, "over", at_most(over), 2)
        table.add(what, "RSS + MB a job", samples, "rss_per_job", at_most(0.05), 3)
        table.add(what, "stall ms", samples, "stall", stall)


def corpus(lab: Lab, table: Table) -> None:
    samples = lab.repeat("corpus", 3, 1)
    right, cases = (samples["ours"][0][key] for key in ("right", "of"))
    limit = f"{samples['limit'][0]['right']} of {cases}"
    table.row("link, corpus", "read right", limit, f"{right} of {cases}", "", "all", right == cases)
    table.add("link, corpus", "median ms", samples, "median", at_most(0.2), 3)


def tickets(lab: Lab, table: Table) -> None:
    samples = lab.repeat("tickets", 5, 1, count=500, seconds=12.0)
    what = "500 tickets taken up after a restart"
    table.add(what, "RSS + kB a ticket", samples, "kb_per_job", at_most(20))
    table.add(what, "stall ms", samples, "stall", at_most(50))
    table.add(what, "looks a ticket in 12 s", samples, "looks", ANY)


def looks(lab: Lab, table: Table) -> None:
    """When looks are due, on a virtual clock; the limit is a blind look every `BLIND` of the length."""
    for seconds in (10, 60, 300):
        for spread in (0.05, 0.1):
            samples = {
                "limit": [{"figure": simulated(blind, seconds, spread, seed)} for seed in range(5)],
                "ours": [{"figure": simulated(learned, seconds, spread, seed)} for seed in range(5)],
            }
            what = f"looks × mean delay ÷ length, jobs of {seconds} s ± {spread:.0%}"
            table.add(what, "once 20 are known", samples, "figure", at_most(0.12) if spread < 0.1 else ANY, 3)


def hostile(lab: Lab, table: Table) -> None:
    samples = lab.repeat("hostile", 3, 1, characters=10 << 20)
    kinds = [key.removesuffix("/whole") for key in samples["ours"][0] if key.endswith("/whole")]
    for kind in kinds:
        table.add(f"link, 10 MB: `{kind}`", "ms", samples, f"{kind}/whole", at_most(200), 0)
    growth = {
        name: [{"growth": max(one[f"{kind}/whole"] / max(one[f"{kind}/half"], 10) for kind in kinds)} for one in some]
        for name, some in samples.items()
    }
    table.add("link, 10 MB against 5 MB, the worst kind", "times as long", growth, "growth", at_most(3), 2)


def start(lab: Lab, table: Table) -> None:
    """In a root like AstrBot's, on a disk; the first start of each, which compiles, is not counted."""
    for subject, folder in lab.plugins.items():
        install_plugin(folder, lab.disk / subject / "data" / "plugins" / plugin_name(folder))

    def measure(subject: str) -> Sample:
        root = lab.disk / subject
        shutil.rmtree(root / "data" / "plugin_data", ignore_errors=True)
        return lab.child(subject, "start", {"root": str(root), "plugin": plugin_name(lab.plugins[subject])})

    for subject in SUBJECTS:
        measure(subject)
    samples = lab.in_turn(measure, 2 if lab.quick else 5)
    table.add("import and initialise", "ms", samples, "start", at_most(100), 0)


def people(lab: Lab, table: Table) -> None:
    alone = 3 if lab.quick else 8
    for picture, name in ((real.photo(), "to be normalised"), (real.small_photo(), "fit as they are")):

        def measure(subject: str, picture: bytes = picture) -> Sample:
            return asyncio.run(real.people(lab.plugins[subject], picture, alone=alone, crowd=30))

        samples = lab.in_turn(measure, 1 if lab.quick else 3)
        what = f"AstrBot, one person, pictures {name}"
        table.add(f"{what}: message → first sign", "ms", samples, "sign", plus(20))
        table.add(f"{what}: message → upstream", "ms", samples, "upstream", plus(80))
        table.add(f"{what}: done → video", "ms", samples, "video", plus(20))
        what = f"AstrBot, 30 people at once, pictures {name}"
        # Normalising 30 photos is work that the bare plugin does not do: with them, the row only tells how much it is.
        goal = ANY if name == "to be normalised" else times(1.2)
        table.add(f"{what}: first message → last video", "s (upstream 2 s)", samples, "crowd_wall", goal, 2)
        table.add(f"{what}: lost", "videos", samples, "lost", at_most(0), 0)


def many(lab: Lab, table: Table) -> None:
    samples = lab.in_turn(lambda subject: asyncio.run(real.many(lab.plugins[subject], jobs=300)), 1 if lab.quick else 3)
    what = "AstrBot after 300 jobs"
    table.add(f"{what}: above what it held after 100", "RSS MB", samples, "rss", at_most(5))
    table.add(f"{what}: left open", "tasks", samples, "tasks", at_most(0), 0)
    table.add(f"{what}: left open", "sockets", samples, "sockets", at_most(0), 0)
    table.add(f"{what}: left open", "files", samples, "files", at_most(0), 0)


MEASURES: dict[str, Callable[[Lab, Table], None]] = {
    measure.__name__: measure
    for measure in (downloads, requests, jobs, tickets, looks, corpus, hostile, start, people, many)
}


@contextmanager
def lab(plugin: Path, *, quick: bool) -> Iterator[Lab]:
    """The folders and the server, for as long as the run takes."""
    build = REPOSITORY / "build"
    build.mkdir(exist_ok=True)
    shm = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=shm if shm.is_dir() else None) as memory,
        tempfile.TemporaryDirectory(prefix="bench-", dir=build) as disk,
    ):
        command = [sys.executable, "-m", "bench.servers", memory]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY) as server:
            assert server.stdin
            assert server.stdout
            video_file(Path(memory), 1024)
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            try:
                yield Lab(url, Path(memory), Path(disk), plugin, quick=quick)
            finally:
                server.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.run")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under three minutes")
    parser.add_argument("--only", choices=MEASURES, help="one measure; the results are not written")
    parser.add_argument("--plugin", type=Path, default=REPOSITORY, help="another copy of it; likewise not written")
    chosen = parser.parse_args()
    table, began = Table(), time.monotonic()
    print(HEAD, flush=True)
    with lab(chosen.plugin, quick=chosen.quick) as here:
        for name in [chosen.only] if chosen.only else MEASURES:
            try:
                MEASURES[name](here, table)
            except (AssertionError, RuntimeError) as error:
                table.failed(name, error)
    minutes = (time.monotonic() - began) / 60
    noise = here.noise or [0.0]
    kind = "quick" if chosen.quick else "full"
    head = (
        f"# Results\n\n{time.strftime('%Y-%m-%d')}, {kind} run of `python -m bench.run`: {minutes:.1f} minutes, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores. Others used at most {max(noise):.2f} cores "
        f"(median {statistics.median(noise):.2f}).\n"
        "Medians and ranges; what they mean is in [README.md](README.md).\n"
    )
    if not chosen.only and chosen.plugin == REPOSITORY:
        RESULTS.write_text("\n".join([head, HEAD, *table.rows, ""]), encoding="utf-8")
    print(f"\n{minutes:.1f} minutes; others used at most {max(noise):.2f} cores")
    if table.missed:
        print("missed: " + "; ".join(dict.fromkeys(table.missed)))


if __name__ == "__main__":
    main()
