"""How a fake is told to misbehave: the failures that a plugin has to survive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["error", "hang", "delay", "disconnect", "lost", "silent"]


@dataclass
class Fault:
    """One planned misbehaviour of one API.

    kind: ``error`` (raise ``reply``, after ``seconds``), ``hang`` (never answer), ``delay`` (answer after ``seconds``),
    ``disconnect`` (drop the connection instead of answering), ``lost`` (do the work, deliver, and then never answer:
    the "did it arrive?" case), ``silent`` (answer that all is well, but deliver nothing; QQ only).
    """

    kind: FaultKind
    reply: Exception | None = None
    seconds: float = 0.0
    times: int = 1  # -1 = for ever
    when: Callable[[dict[str, Any]], bool] = lambda params: True


class FaultBook:
    """The faults still to come, by API name."""

    def __init__(self) -> None:
        self._faults: dict[str, list[Fault]] = {}

    def add(self, name: str, fault: Fault) -> Fault:
        self._faults.setdefault(name, []).append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def take(self, name: str, params: dict[str, Any]) -> Fault | None:
        for fault in self._faults.get(name, []):
            if fault.times != 0 and fault.when(params):
                fault.times -= 1
                return fault
        return None
