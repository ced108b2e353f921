"""A request's body, whose length is known before any of its files is read: no picture is ever whole in memory."""

import asyncio
import binascii
import json
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_PIECE: Final = 192 * 1024  # a multiple of 3, so that base64 pieces join without padding


@dataclass(frozen=True)
class DataUrl:
    """Stands in a JSON body for the data URL of a file, which is read only while it is sent."""

    path: Path
    mime: str


@dataclass(frozen=True)
class Base64:
    """Stands in a JSON body for the content of a file as bare base64."""

    path: Path


@dataclass(frozen=True)
class Attachment:
    """A file in a form.

    Attributes:
        mime: its media type; the name that the upstream sees follows it.
    """

    path: Path
    mime: str

    @property
    def name(self) -> str:
        """What the upstream reads as the file's name: some judge a picture by it."""
        return f"picture.{self.mime.rpartition('/')[2].replace('jpeg', 'jpg')}"


@dataclass(frozen=True)
class Body:
    """A request body whose length is known before any of its files is read.

    Attributes:
        parts: bytes as they are; a file, sent as base64; or a file as it is.
    """

    parts: tuple[bytes | Path | Attachment, ...]
    content_type: str = "application/json"

    @classmethod
    def of_json(cls, value: Any) -> "Body":
        """Serialise ``value``, leaving a gap for every `DataUrl` and `Base64` in it."""
        gaps: list[DataUrl | Base64] = []
        mark = secrets.token_hex(8)

        def gap(item: Any) -> str:
            if not isinstance(item, DataUrl | Base64):
                raise TypeError(item)
            gaps.append(item)
            return f"data:{item.mime};base64,{mark}" if isinstance(item, DataUrl) else mark

        texts = json.dumps(value, ensure_ascii=False, default=gap).encode(errors="replace").split(mark.encode())
        parts: list[bytes | Path | Attachment] = [texts[0]]
        for item, text in zip(gaps, texts[1:], strict=True):
            parts += [item.path, text]
        return cls(tuple(parts))

    @classmethod
    def of_form(cls, fields: Iterable[tuple[str, str | Attachment]]) -> "Body":
        """A ``multipart/form-data`` body (RFC 7578). aiohttp's own keeps files open, and its length is not known."""
        boundary = secrets.token_hex(16)
        parts: list[bytes | Path | Attachment] = []
        for name, value in fields:
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
            if isinstance(value, Attachment):
                head += f'; filename="{value.name}"\r\nContent-Type: {value.mime}'
            content = value if isinstance(value, Attachment) else value.encode(errors="replace")
            parts += [f"{head}\r\n\r\n".encode(), content, b"\r\n"]
        parts.append(f"--{boundary}--\r\n".encode())
        return cls(tuple(parts), f"multipart/form-data; boundary={boundary}")

    def length(self) -> int:
        """Content-Length in bytes."""
        return sum(_length(part) for part in self.parts)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces, so that no picture is ever whole in memory.

        No file is open while a piece is on its way: a request that breaks off leaves nothing to be closed.
        """
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
                continue
            path, coded = (part.path, False) if isinstance(part, Attachment) else (part, True)
            at, size, buffer = 0, _PIECE, memoryview(bytearray(_PIECE))
            while size == _PIECE:
                size = await asyncio.to_thread(_read_piece, path, at, buffer)
                if size:
                    yield binascii.b2a_base64(buffer[:size], newline=False) if coded else bytes(buffer[:size])
                at += size


def _length(part: bytes | Path | Attachment) -> int:
    if isinstance(part, bytes):
        return len(part)
    return part.path.stat().st_size if isinstance(part, Attachment) else -(-part.stat().st_size // 3) * 4


def _read_piece(path: Path, at: int, buffer: memoryview) -> int:
    """Into the caller's buffer: memory that a thread takes stays with that thread, and there are many of them."""
    with path.open("rb") as file:
        file.seek(at)
        return file.readinto(buffer)
