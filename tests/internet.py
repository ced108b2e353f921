"""A small internet: names with addresses of our choice, and public addresses that are really loopback.

It replaces the system's resolver and the last step of connecting, nothing in between: what a guard lets through is
what is connected to.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Self

import pytest

PUBLIC = "93.184.216.34"
LOOPBACK = "127.0.0.1"


class Internet:
    """``net["cdn.example.com"] = PUBLIC``; several lists of addresses are given out one after the other."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._names: dict[str, Iterator[Sequence[str]]] = {}
        self.connected: list[str] = []  # addresses that were connected to, in order
        self.asked: list[str] = []  # names that were resolved, in order

    def __setitem__(self, name: str, answers: str | Sequence[Sequence[str]]) -> None:
        rows = [[answers]] if isinstance(answers, str) else list(answers)
        self._names[name] = itertools.chain(rows, itertools.repeat(rows[-1]))

    def __enter__(self) -> Self:
        resolve, connect = socket.getaddrinfo, asyncio.selector_events.BaseSelectorEventLoop.sock_connect

        def getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
            name = host.decode() if isinstance(host, bytes) else str(host)
            if name not in self._names:
                if name.rstrip(".").rpartition(".")[2].isdigit() or name.startswith("0x") or ":" in name:
                    return resolve(host, port, *args, **options)  # a literal in some spelling: the system reads it
                self.asked.append(name)
                if name == "localhost":
                    return resolve(host, port, *args, **options)
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            self.asked.append(name)
            found = []
            for address in next(self._names[name]):
                found += resolve(address, port, *args, **options)
            return found

        async def sock_connect(loop: Any, sock: socket.socket, address: Any) -> None:
            self.connected.append(address[0])
            if address[0] not in (LOOPBACK, "::1"):
                address = (LOOPBACK, address[1])
            await connect(loop, sock, address)

        self._patch.setattr(socket, "getaddrinfo", getaddrinfo)
        self._patch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", sock_connect)
        return self

    def __exit__(self, *_: object) -> None:
        """`pytest.MonkeyPatch` takes it back."""
