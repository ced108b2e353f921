"""A file server that can be slow, wrong, or hostile.

It stands on raw sockets, not on a web framework, because the point is to send broken HTTP on purpose: a wrong
Content-Length, a body cut short, no status line at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from .net import LOOPBACK
from .timeline import Call, Timeline


@dataclass
class Serve:
    """One answer of the file server. Everything left alone is a well-behaved 200."""

    body: bytes | Path = b""
    status: int = 200
    content_type: str = "video/mp4"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before the status line
    rate: float = 0.0  # bytes per second; 0 = as fast as it goes
    content_length: int | Literal["none"] | None = None  # a lie, or "none" to leave the header out
    cut_at: int | None = None  # reset the connection after this many body bytes
    hang_at: int | None = None  # stop sending after this many body bytes, keep the socket open
    redirect: str | None = None
    refuse: bool = False  # close without a byte

    @property
    def size(self) -> int:
        return self.body.stat().st_size if isinstance(self.body, Path) else len(self.body)

    def pieces(self, first: int, end: int) -> Iterator[bytes]:
        """The body from ``first`` to ``end``, up to where it is to be cut or to hang."""
        end = min([end, *(first + stop for stop in (self.cut_at, self.hang_at) if stop is not None)])
        step = int(max(1, min(65536, self.rate / 10))) if self.rate else 262144
        with self.body.open("rb") if isinstance(self.body, Path) else contextlib.nullcontext() as file:
            for start in range(first, end, step):
                stop = min(start + step, end)
                if file is None:
                    assert isinstance(self.body, bytes)
                    yield self.body[start:stop]
                else:
                    file.seek(start)
                    yield file.read(stop - start)


class FileServer:
    """``url = files.put("a.mp4", make_mp4())``; every request is on the timeline (channel ``files``)."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.port = 0
        self._answers: dict[str, list[Serve]] = {}
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            for client, writer in self._clients.items():
                writer.transport.abort()  # a client that reads nothing would hold up a polite close for ever
                client.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            self._server = None

    def put(self, name: str, *answers: Serve | bytes | Path, host: str = LOOPBACK) -> str:
        """Register answers for successive requests (the last one repeats) and return the URL.

        ``host="cdn.rig.test"`` gives a URL on an invented *public* host (see :class:`~devtools.rig.net.HostMap`).
        """
        self._answers["/" + name] = [a if isinstance(a, Serve) else Serve(a) for a in answers]
        return self.link(name, host)

    def link(self, name: str, host: str = LOOPBACK) -> str:
        return f"http://{host}:{self.port}/{name}"

    def requests(self, name: str | None = None, since: int = 0) -> list[Call]:
        return self.timeline.select(
            "files", since=since, where=lambda call: name in (None, call.data["path"].lstrip("/"))
        )

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self._serve(reader, writer))
        self._clients[client] = writer
        client.add_done_callback(self._clients.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ", 2)
            headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:]) if k}
            path = unquote(urlsplit(target).path)
            call = self.timeline.add(
                "files",
                method,
                path=path,
                target=target,
                host=headers.get("host"),
                range=headers.get("range"),
                ua=headers.get("user-agent"),
                auth="authorization" in headers,
                sent=0,
            )
            answers = self._answers.get(path) or [Serve(b"not found", 404, "text/plain")]
            serve = answers.pop(0) if len(answers) > 1 else answers[0]
            try:
                await self._answer(method, headers.get("range", ""), serve, writer, call)
            finally:
                call.done("closed by client" if writer.transport.is_closing() and serve.cut_at is None else "sent")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone, and the timeline says so
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, method: str, span: str, serve: Serve, writer: asyncio.StreamWriter, call: Call) -> None:
        await asyncio.sleep(serve.delay)
        if serve.refuse:
            return
        status, headers = serve.status, {"Content-Type": serve.content_type, **serve.headers}
        first, size = 0, serve.size
        end = size
        if status == 200 and span.startswith("bytes=") and "," not in span and serve.content_length is None:
            low, _, high = span[6:].partition("-")
            first = int(low) if low else max(0, size - int(high))
            end = min(size, int(high) + 1) if low and high else size
            status, headers["Content-Range"] = 206, f"bytes {first}-{end - 1}/{size}"
        if serve.redirect:
            status = status if 300 <= status < 400 else 302
            headers["Location"] = serve.redirect
        if serve.content_length != "none":
            headers["Content-Length"] = str(end - first if serve.content_length is None else serve.content_length)
        lines = [f"HTTP/1.1 {status} rig", "Connection: close", "Accept-Ranges: bytes"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        if method == "HEAD":
            return
        for piece in serve.pieces(first, end):
            writer.write(piece)
            await writer.drain()
            call.data["sent"] += len(piece)
            if serve.rate:
                await asyncio.sleep(len(piece) / serve.rate)
        if serve.hang_at is not None and call.data["sent"] >= serve.hang_at:
            await asyncio.sleep(3600)
        if serve.cut_at is not None and call.data["sent"] >= serve.cut_at:
            writer.transport.abort()
