"""What one piece of work costs the process that does it: wall, CPU, peak memory, the worst loop stall."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import resource
import time
from pathlib import Path
from typing import Any, Self

TICK = 0.005  # seconds


def rss_mb(field: str = "VmRSS") -> float:
    """Resident memory of this process now, in MB; ``VmHWM`` for its peak."""
    found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def cpu_seconds() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Meter:
    """``async with Meter() as meter: await work()``; then ``meter.sample()``.

    A ticker sleeps 5 ms again and again in the same loop; a tick that comes n ms late means that nothing else could run
    for n ms. Peak memory is the kernel's own high-water mark, reset at the start.
    """

    async def __aenter__(self) -> Self:
        gc.collect()
        self._late: list[float] = []
        self._ticker = asyncio.create_task(self._tick())
        await asyncio.sleep(0.05)
        self._late.clear()
        Path("/proc/self/clear_refs").write_text("5")
        self._rss, self._cpu, self._began = rss_mb(), cpu_seconds(), time.perf_counter()
        return self

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            self._late.append(time.perf_counter() - began - TICK)

    async def __aexit__(self, *failure: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._began, cpu_seconds() - self._cpu
        self.peak_mb = rss_mb("VmHWM") - self._rss
        await asyncio.sleep(2 * TICK)  # let a late last tick be counted
        self._ticker.cancel()

    def sample(self) -> dict[str, float]:
        """Seconds, CPU seconds, MB above the start, and the worst stall in ms."""
        stall = max(self._late, default=0.0) * 1000
        return {"wall": self.wall, "cpu": self.cpu, "rss": self.peak_mb, "stall": stall}


class Foreign:
    """How many cores others used meanwhile: above a tenth or so, a measure says more about them than about us."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), _machine_cpu(), _tree_cpu(os.getpid())

    def cores(self) -> float:
        """Since this object was made; interrupts are left out, because our own loopback traffic causes them."""
        busy, own = _machine_cpu() - self._busy, _tree_cpu(os.getpid()) - self._own
        return max(0.0, (busy - own) / (time.perf_counter() - self._began))


def _machine_cpu() -> float:
    return _seconds(Path("/proc/stat").read_text().split()[1:4])


def _tree_cpu(root: int) -> float:
    """CPU seconds of a process, its living descendants, and all children they have buried."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(stat.parent.name)
        parents[process], used[process] = int(fields[1]), _seconds(fields[11:15])
    total, todo = 0.0, [root]
    while todo:
        process = todo.pop()
        total += used.get(process, 0.0)
        todo += [child for child, parent in parents.items() if parent == process]
    return total


def _seconds(ticks: Any) -> float:
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
