"""Video files on disk: download, check, number, prune. One download serves every later step."""

import asyncio
import base64
import hashlib
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import aiofiles
import aiohttp

from .errors import Misconfigured, Retryable, UpstreamFailed
from .mp4 import check_whole, tidy
from .transport import MB, Transport

TRIES = 3
KINDS = ("mp4", "mov", "webm", "mkv", "avi")  # what `kind_of` returns
_BLOCK = 3 * MB // 4  # two are under way at once
_HEAD = 512
_PART_LIFE = 3600.0  # seconds after which a .part file belongs to nobody any more


class Download:
    """One fetch of one video, however many wait for it."""

    def __init__(self, fetch: Callable[[Callable[[], None]], Coroutine[Any, Any, Path]]) -> None:
        self._looked = asyncio.Event()
        self._task = asyncio.create_task(fetch(self._looked.set))
        self._task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Path]) -> None:
        self._looked.set()
        if not task.cancelled():
            task.exception()  # whoever waits is told; if nobody does, it is no news

    @classmethod
    def of(cls, path: Path) -> "Download":
        """One that is over already."""

        async def found(looked: Callable[[], None]) -> Path:
            return path

        return cls(found)

    async def looked(self) -> None:
        """Wait until the first bytes are there and are a video's: from then on the link may be handed on.

        Raises:
            Failure: they are not, or nothing came.
        """
        await self._looked.wait()
        if self._task.done():
            self._task.result()

    async def file(self) -> Path:
        """Wait for the whole file.

        Raises:
            Failure: see `VideoManager.download`.
        """
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """Nobody wants it any more; returns when nothing of it is left."""
        self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def over(self) -> bool:
        """It has ended, well or not."""
        return self._task.done()


class VideoManager:
    """The folder of finished videos.

    Args:
        folder: holds one folder a conversation.
        max_cached: how many videos are kept, the newest; 0 keeps all.
        max_bytes: a download stops when it passes this, whatever its headers say.
    """

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        *,
        max_cached: int,
        max_bytes: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._folder, self._transport = folder, transport
        self._max_cached, self._max_bytes, self._sleep = max_cached, max_bytes, sleep
        self._in_use: Counter[str] = Counter()  # by path without extension
        self._pruning = asyncio.Lock()
        self._rounds = 0  # of pruning, begun so far

    def folder_of(self, conversation: str) -> Path:
        """Where a conversation's videos are. Names come from outside, so they are only a hint of the folder's name."""
        safe = re.sub(r"[^\w.-]+", "_", conversation, flags=re.ASCII)[:48].strip("._")
        return self._folder / f"{safe}-{hashlib.sha256(conversation.encode()).hexdigest()[:8]}"

    def find(self, conversation: str, number: int) -> Path | None:
        """The video of this number, if it is still there."""
        name = self.folder_of(conversation) / f"{number:06d}"
        return next((path for kind in KINDS if (path := name.with_suffix(f".{kind}")).exists()), None)

    def download(
        self,
        url: str,
        conversation: str,
        number: int,
        *,
        key_headers: Mapping[str, str] | None = None,
        key_root: str = "",
    ) -> Download:
        """Bring a finished video to disk: through a ``.part`` file, renamed when it is whole and is a video.

        An MP4 is made friendly to players and chats before (`mp4.tidy`).

        Args:
            key_headers, key_root: see `Transport.fetch`.

        Returns:
            The running download; it ends in `UpstreamFailed` where there is no video behind the link (cause
            ``download``: the line would not do it) and in `Misconfigured` where the disk does not take it.
        """
        folder = self.folder_of(conversation)

        async def fetch(looked: Callable[[], None]) -> Path:
            part = folder / f"{number:06d}.{secrets.token_hex(4)}.part"
            try:
                if not folder.is_dir():
                    await _on_disk(asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True))
                if url.startswith("data:"):
                    kind = await _on_disk(_to_the_end(self._unpack, url, part))
                else:
                    kind = await self._transfer(url, part, key_headers, key_root, looked)
                path = folder / f"{number:06d}.{kind}"
                await _on_disk(_to_the_end(_settle, part, kind))
                await _on_disk(asyncio.to_thread(os.replace, part, path))
            finally:
                with suppress(OSError):
                    part.unlink()
            await self.prune(keep=path)
            return path

        return Download(fetch)

    async def _transfer(
        self,
        url: str,
        part: Path,
        key_headers: Mapping[str, str] | None,
        key_root: str,
        looked: Callable[[], None],
    ) -> str:
        for attempt in range(TRIES):
            try:
                async with self._transport.fetch(
                    url, limit=self._max_bytes, key_headers=key_headers, key_root=key_root
                ) as response:
                    return await self._save(response, part, looked)
            except Retryable as trouble:
                if attempt == TRIES - 1:
                    raise UpstreamFailed("download", trouble.why.reason or trouble.why.cause) from None
                await self._sleep(min(trouble.retry_after or 2.0**attempt, 30))
        raise AssertionError("unreachable")

    async def _save(self, response: aiohttp.ClientResponse, part: Path, looked: Callable[[], None]) -> str:
        """Write one block in a thread while the next comes in; what is no video stops at its first bytes."""
        kind = ""
        pieces: list[bytes] = []
        size = total = 0
        writing: asyncio.Future[None] | None = None
        file = await _on_disk(aiofiles.open(part, "wb"))
        try:
            async for piece in response.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if not kind and size >= _HEAD:
                    kind = kind_of(b"".join(pieces), response.content_type)
                    looked()
                if size < _BLOCK:
                    continue
                total += size
                if total > self._max_bytes:
                    raise UpstreamFailed("too_big", limit=self._max_bytes // MB)
                if writing:
                    await _on_disk(writing)
                writing = asyncio.ensure_future(file.writelines(pieces))
                pieces, size = [], 0
            if total + size > self._max_bytes:
                raise UpstreamFailed("too_big", limit=self._max_bytes // MB)
            if writing:
                await _on_disk(writing)
            await _on_disk(file.writelines(pieces))
            await _on_disk(file.close())  # the last bytes meet the disk only here
            return kind or kind_of(b"".join(pieces), response.content_type)
        finally:
            if writing:
                await asyncio.wait([writing])
            if not file.closed:
                with suppress(OSError):
                    await file.close()

    def _unpack(self, url: str, part: Path) -> str:
        """Decode a ``data:video/…;base64,`` URL."""
        head, _, coded = url.partition(",")
        if len(coded) * 3 // 4 > self._max_bytes:
            raise UpstreamFailed("too_big", limit=self._max_bytes // MB)
        try:
            data = base64.b64decode(coded.replace("-", "+").replace("_", "/") + "=" * (-len(coded) % 4))
        except ValueError:
            raise UpstreamFailed("not_a_video", what=head[5:64]) from None
        part.write_bytes(data)
        return kind_of(data[:4096], head[5:].partition(";")[0])

    def using(self, path: Path) -> AbstractContextManager[None]:
        """Keep a file from being pruned while it is sent."""
        return self._sparing(_bare(path))

    def holding(self, conversation: str, number: int) -> AbstractContextManager[None]:
        """Keep a job's video, there or still to come, from being pruned until the job is over.

        Its chat may be away for hours, and of a video that came inside the answer there is no other copy.
        """
        return self._sparing(str(self.folder_of(conversation) / f"{number:06d}"))

    @contextmanager
    def _sparing(self, name: str) -> Iterator[None]:
        self._in_use[name] += 1
        try:
            yield
        finally:
            self._in_use[name] -= 1
            if not self._in_use[name]:
                del self._in_use[name]

    async def prune(self, keep: Path | None = None) -> None:
        """Delete the oldest videos above the limit, and parts that nobody finishes; never a file in use.

        Whoever asks while it is being done waits for the next round, which is one for all of them.
        """
        with self.using(keep) if keep else nullcontext():
            before = self._rounds
            async with self._pruning:
                if self._rounds == before:
                    self._rounds += 1
                    await asyncio.to_thread(self._prune, set(self._in_use))

    def _prune(self, spared: set[str]) -> None:
        found: list[tuple[float, Path]] = []
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            with suppress(NotADirectoryError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        found.append((entry.stat().st_mtime, Path(entry.path)))
        found.sort(reverse=True)
        stale = time.time() - _PART_LIFE
        old = [path for modified, path in found if path.suffix == ".part" and modified < stale]
        videos: dict[str, list[Path]] = {}
        for _, path in found:
            if path.suffix != ".part":
                videos.setdefault(_bare(path), []).append(path)
        if self._max_cached:
            for name in list(videos)[self._max_cached :]:
                old += videos[name] if name not in spared else []
        for path in old:
            path.unlink(missing_ok=True)


def _bare(path: Path) -> str:
    """A path without its extensions: a video and what was made of it belong together."""
    return str(path.parent / path.name.partition(".")[0])


async def _to_the_end[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run in a thread, which nothing stops: whoever is cancelled waits for it, so that clean-up comes after it."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    finally:
        await asyncio.wait([running])
        running.exception()


async def _on_disk[T](work: Awaitable[T]) -> T:
    """Name the disk's trouble where it happens: further out it would look like trouble on the line."""
    try:
        return await work
    except OSError as error:
        raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error


def kind_of(head: bytes, content_type: str) -> str:
    """Tell what a file is by its first bytes; its type only decides where they leave it open.

    Args:
        head: the first bytes, up to a few thousand.
        content_type: as the server says.

    Returns:
        The file name extension.

    Raises:
        UpstreamFailed: it is a web page, JSON, a picture, or nothing at all.
    """
    head = head[:4096]
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
            raise UpstreamFailed("not_a_video", what=head[8:12].decode())
        return "mov" if head[8:12] == b"qt  " else "mp4"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov" if "quicktime" in content_type else "mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "webm" if b"webm" in head[:64] else "mkv"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if not head:
        raise UpstreamFailed("not_a_video", what="0 B")
    picture = head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")) or head[8:12] == b"WEBP"
    if picture or not content_type.startswith("video/") or _is_text(head):
        raise UpstreamFailed("not_a_video", what=content_type)
    return {"video/webm": "webm", "video/quicktime": "mov", "video/x-matroska": "mkv"}.get(content_type, "mp4")


def _is_text(head: bytes) -> bool:
    return not any(byte < 9 or 13 < byte < 27 for byte in head[:512])


def _settle(part: Path, kind: str) -> None:
    """What every later step may count on: it is whole, and plays from its first bytes."""
    check_whole(part)
    if kind in ("mp4", "mov"):
        tidy(part)
