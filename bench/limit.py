"""The limit: the barest correct aiohttp code for each measure. No retries, no guard, no understanding of answers."""

from __future__ import annotations

import asyncio
import binascii
import json
import os
import random
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

INTERVAL, SPREAD = 5, 3  # seconds
_BLOCK = 1 << 20
_STEP = 192 * 1024  # a multiple of 3, so that base64 pieces join without padding
_LINK = re.compile(r"https?://[^\s<>\"'()\[\]\\]+")


class Subject:
    """See `bench.subject.Subject`."""

    def __init__(self, upstream: str, memory: Path, disk: Path) -> None:
        self._upstream, self._folder = upstream, memory

    async def start(self) -> None:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_BLOCK // 4,
        )
        self._uploads = asyncio.Semaphore(4)

    async def close(self) -> None:
        await self._http.close()

    async def download(self, url: str) -> Path:
        """Fill one buffer while a thread writes the other; rename only what is whole."""
        path = self._folder / f"{uuid.uuid4().hex}.mp4"
        part, total = path.with_suffix(".part"), 0
        writing: asyncio.Task[int] | None = None
        pieces: list[bytes] = []
        size = 0
        async with self._http.get(url) as answer:
            answer.raise_for_status()
            with open(part, "wb", buffering=0) as file:  # noqa: ASYNC230 (opening stalls nobody; the writing is in a thread)
                async for piece in answer.content.iter_any():
                    pieces.append(piece)
                    size, total = size + len(piece), total + len(piece)
                    if size >= _BLOCK:
                        if writing:
                            await writing
                        writing = asyncio.create_task(asyncio.to_thread(os.writev, file.fileno(), pieces))
                        pieces, size = [], 0
                if writing:
                    await writing
                if pieces:
                    await asyncio.to_thread(os.writev, file.fileno(), pieces)
            if answer.content_length not in (None, total):
                raise OSError("truncated")
        os.replace(part, path)
        return path

    async def request(self, picture: Path) -> str:
        """Send the body from the file in pieces: nothing of the picture is ever whole in memory.

        At most four bodies are on the way up at once, and the loop breathes between pieces: a thousand jobs started
        together would otherwise stop it for as long as all their first steps take.
        """
        parts = [
            {"type": "text", "text": "a cat dances"},
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,@"}},
        ]
        body = json.dumps({"model": "m", "stream": False, "messages": [{"role": "user", "content": parts}]})
        before, after = (part.encode() for part in body.split("@"))
        length = len(before) + -(-picture.stat().st_size // 3) * 4 + len(after)
        await self._uploads.acquire()
        holding = True

        def release() -> None:
            nonlocal holding
            if holding:
                holding = False
                self._uploads.release()

        async def pieces() -> AsyncIterator[bytes]:
            yield before
            with open(picture, "rb") as file:  # noqa: ASYNC230 (a warm file of 192 KiB pieces: the floor does no more)
                while raw := file.read(_STEP):
                    yield binascii.b2a_base64(raw, newline=False)
                    await asyncio.sleep(0)
            yield after
            release()

        headers = {"Authorization": "Bearer sk", "Content-Type": "application/json", "Content-Length": str(length)}
        try:
            url = f"{self._upstream}/v1/chat/completions"
            async with self._http.post(url, data=pieces(), headers=headers) as answer:
                answer.raise_for_status()
                link = self.find(await answer.text(), "")
        finally:
            release()
        assert link
        return link

    async def jobs(self, count: int, picture: Path) -> list[str]:
        async def one() -> None:
            await self.download(await self.request(picture))

        await asyncio.gather(*(one() for _ in range(count)))
        return []

    async def hold(self, count: int) -> None:
        self._tickets = [f"veo:{number}" for number in range(count)]
        await self._ask(self._tickets[0])

    async def look(self, seconds: float) -> None:
        """A bare loop for each, the first looks spread as ours are."""

        async def one(ticket: str) -> None:
            await asyncio.sleep(random.random() * SPREAD)
            while True:
                await self._ask(ticket)
                await asyncio.sleep(INTERVAL * random.uniform(0.95, 1.05))

        loops = [asyncio.create_task(one(ticket)) for ticket in self._tickets]
        await asyncio.sleep(seconds)
        for loop in loops:
            loop.cancel()

    async def _ask(self, ticket: str) -> None:
        async with self._http.get(f"{self._upstream}/v1/video/query", params={"id": ticket}) as answer:
            assert (await answer.json(content_type=None))["status"]

    def find(self, answer: str, root: str, status: int = 200) -> str | None:
        """One parse, one linear scan: the floor for time, not for accuracy."""
        try:
            if answer.lstrip().startswith("data:"):
                rows = [json.loads(line[5:]) for line in answer.splitlines() if line.startswith("data: {")]
                text = "".join(row["choices"][0]["delta"].get("content") or "" for row in rows)
            else:
                text = json.loads(answer)["choices"][0]["message"]["content"]
            found: list[str] = _LINK.findall(text)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return next((url for url in found if any(end in url.lower() for end in (".mp4", ".webm", ".mov"))), None)
