"""A server that plays a script: whatever request comes next, on whatever connection, gets the next act.

An act is a list of steps. Bytes are sent as they are; the other steps are below. A connection is closed when its act is
over, unless the act ends with `KEEP`. A request for which the script has no act left is answered with 599.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class _Step:
    name: str


UNREAD = _Step("unread")  # first step only: do not read the request's body yet
READ = _Step("read")  # read it now
RESET = _Step("reset")  # the line breaks: RST
HANG = _Step("hang")  # say nothing more, and read nothing more
KEEP = _Step("keep")  # leave the connection open for another request
Step = bytes | _Step | Callable[[], Awaitable[object]]  # a callable is awaited: a pause, an event of the test's
Act = Sequence[Step]


@dataclass(eq=False)
class Request:
    """What came in. ``connection`` counts from 1."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    lines: list[tuple[str, str]]  # the same as it came: a header may stand there twice
    body: bytes = field(default=b"", repr=False)


def answer(body: bytes = b"", status: int = 200, *headers: str, length: int | None = None) -> bytes:
    """A whole answer; ``length`` lies about it."""
    said = {line.partition(":")[0].lower() for line in headers}
    lines = [f"HTTP/1.1 {status} scripted", *headers]
    if "transfer-encoding" not in said and length != -1:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def drip(data: bytes, size: int, pause: float = 0.0) -> list[Step]:
    """The same bytes in pieces of ``size``."""
    pieces: list[Step] = []
    for at in range(0, len(data), size):
        pieces += [data[at : at + size], lambda: asyncio.sleep(pause)]
    return pieces


class ScriptedServer:
    """``async with ScriptedServer([answer(b"hi")], [RESET]) as server: … server.url …``"""

    def __init__(self, *acts: Act, greeting: Step | None = None) -> None:
        self.acts = list(acts)
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._greeting = greeting  # said to whoever connects, before and instead of any request
        self._clients: set[asyncio.Task[None]] = set()

    def link(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def url(self) -> str:
        return self.link("")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        client = asyncio.create_task(self._serve(self.connections, reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._greeting:
                await self._do(self._greeting, writer)
                return
            while await self._play(number, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away
        finally:
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _play(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        split = [line.partition(":") for line in head[1:]]
        lines = [(name.lower(), value.strip()) for name, _, value in split if name]
        headers = dict(lines)
        act = list(self.acts.pop(0)) if self.acts else [answer(b"the script is over", 599)]
        request = Request(number, method, target, headers, lines)
        size = int(headers.get("content-length", 0))
        if act[:1] == [UNREAD]:
            del act[0]
        else:
            act.insert(0, READ)
        for step in act:
            if step is READ:
                request.body = await reader.readexactly(size)
            if request not in self.requests:
                self.requests.append(request)
            if step is KEEP:
                return True
            await self._do(step, writer)
        return False

    async def _do(self, step: Step, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif step is RESET:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif step is HANG:
            await asyncio.Event().wait()
        elif not isinstance(step, _Step):
            await step()
