"""The other side of the measures, in a process of its own: videos by sendfile, and a chat upstream.

``python -m bench.servers FOLDER`` prints its port and serves until its standard input closes.

* ``GET /f/<KiB>.mp4``: a video of that size
* ``POST /d<ms>/v1/chat/completions``: takes the body in, answers ``<ms>`` after its last byte
* ``POST /check/v1/chat/completions``: answers at once and keeps the body, so that ``/stats`` can name its picture
* ``GET /stats``, ``GET /reset``
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

MB = 1 << 20
JOB_VIDEO_KB = 100  # what every job of the upstream makes


def box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    """The head of an MP4 box with ``content``; ``size`` where more of it follows."""
    return (size or 8 + len(content)).to_bytes(4) + kind + content


def video_file(folder: Path, kilobytes: int) -> Path:
    """Random bytes, as real video is (zeros would flatter who decodes them as text), in a valid MP4."""
    path = folder / f"{kilobytes}.mp4"
    if path.exists():
        return path
    head = box(b"ftyp", b"mp42\0\0\0\0mp42isom") + box(b"moov", os.urandom(1024))
    rest = kilobytes * 1024 - len(head)
    head += box(b"mdat", size=rest)
    rest -= 8
    block = os.urandom(8 * MB)
    with path.open("wb") as file:
        file.write(head)
        for number in range(-(-rest // MB)):
            start = number * 37 % 7 * MB + number % 4096
            file.write(block[start : start + min(MB, rest - number * MB)])
    return path


def picture_file(folder: Path, megabytes: int) -> Path:
    """A picture as the upstream gets it; nobody here decodes it."""
    path = folder / f"{megabytes}.jpg"
    if not path.exists():
        path.write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(megabytes * MB - 4))
    return path


@dataclass
class State:
    """What was asked of this server since the last reset."""

    creates: int = 0
    looks: int = 0
    fetches: int = 0
    bodies: list[bytes] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """With the fingerprint of every picture that was kept."""
        return {**asdict(self), "bodies": None, "pictures": [_picture_in(body) for body in self.bodies]}


def _picture_in(body: bytes) -> str:
    url = json.loads(body)["messages"][0]["content"][1]["image_url"]["url"]
    return hashlib.sha256(base64.b64decode(url.partition(",")[2], validate=True)).hexdigest()


class Peer(asyncio.BufferedProtocol):
    """One connection. All share one buffer, because bodies are only counted."""

    shared = bytearray(MB)
    state = State()
    folder: Path
    answer_body: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.head, self.left = b"", -1
        self.kept: list[bytes] | None = None
        self.answering: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answering:
            self.answering.cancel()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.shared

    def buffer_updated(self, nbytes: int) -> None:
        data = memoryview(self.shared)[:nbytes]
        if self.left < 0:
            self.head += bytes(data)
            head, found, rest = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.head = b""
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.path, _, self.query = first.split(" ")[1].partition("?")
            self.left = int(headers.get("content-length", 0))  # a body without a known length is never read
            self.kept = [] if self.path.startswith("/check/") else None
            data = memoryview(rest)
        self.left -= len(data)
        if self.kept is not None:
            self.kept.append(bytes(data))
        if self.left <= 0:
            self.left = -1
            self.answering = asyncio.create_task(self.answer())

    async def answer(self) -> None:
        if self.path.startswith("/f/"):
            type(self).state.fetches += 1
            await self.send_video(int(self.path[3:-4]))
        elif self.path.startswith("/d"):
            type(self).state.creates += 1
            await asyncio.sleep(int(self.path[2:].partition("/")[0]) / 1000)
            self.reply(self.answer_body)
        elif self.path.endswith("/v1/video/query"):
            type(self).state.looks += 1
            self.reply(b'{"id": "veo:1", "status": "processing", "video_url": null, "progress": 40}')
        elif self.path.startswith("/check/"):
            type(self).state.creates += 1
            type(self).state.bodies.append(b"".join(self.kept or ()))
            self.reply(self.answer_body)
        else:
            report = json.dumps(self.state.report()).encode()
            if self.path == "/reset":
                type(self).state = State()
            self.reply(report)

    def reply(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    async def send_video(self, kilobytes: int) -> None:
        path = video_file(self.folder, kilobytes)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {path.stat().st_size}\r\n\r\n"
        self.transport.write(head.encode())
        with path.open("rb") as file:
            await asyncio.get_running_loop().sendfile(self.transport, file)


async def main(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Peer, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    content = f'<video controls src="http://127.0.0.1:{port}/f/{JOB_VIDEO_KB}.mp4"></video>'
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    Peer.folder = folder
    Peer.answer_body = json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
