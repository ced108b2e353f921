"""The boxes of an MP4 file (ISO/IEC 14496-12): is it whole, how long does it play, can it start at once.

Everything here walks a file that a stranger made: a bounded number of boxes, a bounded depth, and the pictures never in
memory. What is not understood is left alone.
"""

import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from .errors import UpstreamFailed
from .transport import MB

_BOXES = 100_000  # that are looked at in one file; a film in one-second fragments has about ten thousand
_BLOCK = MB
_TABLES = 8 * MB  # of chunk offsets, which are held in memory; an hour of video has about 1 MB
_META = 64 << 10

_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA specification, "Embedding manifests into BMFF"
_PROVENANCE = {b"jumb", b"c2pa"}
_MOVABLE = {b"ftyp", b"pdin", b"mdat", b"moov", b"free", b"skip", b"wide", b"uuid", b"udta", b"meta", *_PROVENANCE}
_INSIDE = {b"trak": {b"mdia"}, b"mdia": {b"minf"}, b"minf": {b"stbl", b"dinf"}}
_OFFSETS = {b"stco": "I", b"co64": "Q"}
# A compressed index, a list of other files, fragments, places of encryption data: offsets that are not corrected here.
_UNCLEAR = {b"cmov", b"rmra", b"mvex", b"saio"}


class _Unclear(Exception):
    """Something in the file is not as the standard has it, or more than is worth understanding."""


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a box stands.

    Attributes:
        at, head, size: bytes from the file's beginning, of its header, of all of it.
        name: its extended type where it is a ``uuid``.
        ends: whether it says its size; if not, it goes on to the file's end.
    """

    kind: bytes
    at: int
    head: int
    size: int
    name: bytes
    ends: bool

    @property
    def body(self) -> int:
        return self.at + self.head

    @property
    def end(self) -> int:
        return self.at + self.size


class _Boxes:
    """One file, read box by box."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _BOXES
        self.size = file.seek(0, os.SEEK_END)

    def read(self, at: int, size: int) -> bytes:
        """The bytes there; fewer only at the file's end."""
        self._file.seek(at)
        return self._file.read(size)

    def top(self) -> Iterator[_Box]:
        """The file's own boxes."""
        return self._between(0, self.size)

    def inside(self, box: _Box, after: int = 0) -> Iterator[_Box]:
        """The boxes that one is made of, after so many bytes of its own."""
        for inner in self._between(box.body + after, box.end):
            if not inner.ends:
                raise _Unclear
            yield inner

    def _between(self, at: int, end: int) -> Iterator[_Box]:
        while at < end:
            self._left -= 1
            start = self.read(at, 32)
            if not self._left or len(start) < 8 or at + 8 > end:
                raise _Unclear
            length, kind, head = int.from_bytes(start[:4]), start[4:8], 8
            ends = length != 0
            if length == 1:
                length, head = int.from_bytes(start[8:16]), 16
            elif not ends:
                length = end - at
            if length < head or at + length > end:
                raise _Unclear
            yield _Box(kind, at, head, length, start[head : head + 16] if kind == b"uuid" else b"", ends)
            at += length


def check_whole(path: Path) -> None:
    """Walk an MP4's top-level boxes (ISO/IEC 14496-12 §4.2): one that ends behind the file's end was cut.

    A server that closes the line without a Content-Length leaves no other sign of it.

    Raises:
        UpstreamFailed: the index or the pictures are missing.
        OSError: the file cannot be read.
    """
    missing = {b"moov", b"mdat"}
    with open(path, "rb", buffering=0) as file, suppress(_Unclear):
        boxes = _Boxes(file)
        if boxes.read(0, 12)[4:8] != b"ftyp":
            return
        for box in boxes.top():
            missing.discard(box.kind)
            if not missing:
                return
    raise UpstreamFailed("truncated")


def seconds(path: Path) -> float | None:
    """How long an MP4 plays, as its index says (§8.2.2); None where it does not say, and of any other file.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file, suppress(_Unclear):
        boxes = _Boxes(file)
        for box in boxes.top():
            if box.kind == b"moov":
                header = next((inner for inner in boxes.inside(box) if inner.kind == b"mvhd"), None)
                return _played(boxes.read(header.body, header.size - header.head)[:32]) if header else None
    return None


def _played(header: bytes) -> float | None:
    form = ">4x 8x 8x I Q" if header[:1] == b"\1" else ">4x 4x 4x I I"
    if len(header) < struct.calcsize(form):
        return None
    scale, duration = struct.unpack_from(form, header)
    known = scale and duration and duration not in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
    return duration / scale if known else None


def tidy(path: Path) -> bool:
    """Make an MP4 friendly to players and chats, where that is cheap.

    The index goes before the pictures, so that playing begins with the first bytes. Boxes that tell where a video comes
    from (C2PA) become ``free`` space of the same size, because QQ turns such files away.

    Nothing is moved in a file that is fragmented, broken or not wholly understood, nor where an offset would not fit
    its 32 bits, nor where the disk has no room for a second copy: a video that starts later is better than none.

    Args:
        path: is replaced at once, through a ``.tidy.part`` file beside it; nobody else may be writing it.

    Returns:
        Whether anything was changed.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        boxes = _Boxes(file)
        try:
            top = list(boxes.top())
        except _Unclear:
            return False
        if not any(box.kind == b"moov" for box in top):
            return False
        try:
            pieces = _in_order(boxes, top)
        except _Unclear:
            pieces = []
    told = [box for box in top if box.name == _C2PA or box.kind in _PROVENANCE]
    renamed = bool(told) and _rename(path, told)
    return (bool(pieces) and _rewrite(path, pieces)) or renamed


def _rename(path: Path, boxes: list[_Box]) -> bool:
    """In place: four bytes each, and after any of them the file is as good as before."""
    try:
        with open(path, "r+b") as file:
            for box in boxes:
                file.seek(box.at + 4)
                file.write(b"free")
    except OSError:
        return False
    return True


# ---- the index before the pictures ----

type _Piece = bytes | tuple[int, int]  # new bytes, or from where to where the old ones are taken


def _in_order(boxes: _Boxes, top: list[_Box]) -> list[_Piece]:
    """What the file is made of when its index stands before its pictures; nothing where it does already.

    Raises:
        _Unclear: it cannot be said for certain.
    """
    index, *more = [box for box in top if box.kind == b"moov"]
    first = next((box.at for box in top if box.kind == b"mdat"), boxes.size)
    if index.at < first:
        return []
    if more or not index.ends or not all(box.kind in _MOVABLE for box in top):
        raise _Unclear
    for box in top:
        _without_places(boxes, box)

    def moved(place: int) -> int:
        if index.at <= place < index.end:
            raise _Unclear
        return place + index.size if first <= place < index.at else place

    pieces: list[_Piece] = [(0, first)]
    at = index.at
    for place, table in sorted(_tables(boxes, index, moved)):
        pieces += [(at, place), table]
        at = place + len(table)
    return [*pieces, (at, index.end), (first, index.at), (index.end, boxes.size)]


def _tables(boxes: _Boxes, index: _Box, moved: Callable[[int], int]) -> Iterator[tuple[int, bytes]]:
    """Each track's chunk offsets (§8.7.5) as they have to be, and where they stand now."""
    left = _TABLES
    for track in _checked(boxes, index):
        if track.kind == b"trak":
            tables = [box for box in _below(boxes, track) if box.kind in _OFFSETS]
            left -= sum(table.size for table in tables)
            if len(tables) != 1 or left < 0:
                raise _Unclear
            yield tables[0].body + 8, _corrected(boxes, tables[0], moved)


def _corrected(boxes: _Boxes, table: _Box, moved: Callable[[int], int]) -> bytes:
    body = boxes.read(table.body, table.size - table.head)
    code, number = _OFFSETS[table.kind], int.from_bytes(body[4:8])
    here = array(code)
    with suppress(ValueError):  # half an offset at the end
        here.frombytes(body[8 : 8 + number * here.itemsize])
    if len(body) < 8 or len(here) != number:
        raise _Unclear
    try:
        there = array(code, map(moved, _turned(here)))
    except OverflowError:
        raise _Unclear from None
    return _turned(there).tobytes()


def _turned(numbers: "array[int]") -> "array[int]":
    """From the file's byte order to the machine's, and back."""
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _below(boxes: _Boxes, box: _Box) -> Iterator[_Box]:
    """What a track is made of, as deep as the standard has its chunk offsets."""
    for inner in _checked(boxes, box):
        yield inner
        if inner.kind in _INSIDE.get(box.kind, ()):
            yield from _below(boxes, inner)


def _checked(boxes: _Boxes, box: _Box) -> Iterator[_Box]:
    """The boxes inside, none of which holds an offset that would be wrong afterwards."""
    for inner in boxes.inside(box):
        if inner.kind in _UNCLEAR:
            raise _Unclear
        _without_places(boxes, inner)
        if inner.kind == b"dref":
            for entry in boxes.inside(inner, 8):
                if not boxes.read(entry.body, 4)[-1:] == b"\1":  # the pictures are in another file (§8.7.2)
                    raise _Unclear
        yield inner


def _without_places(boxes: _Boxes, box: _Box) -> None:
    """A ``meta`` may say where its items are in the file (``iloc``, §8.11.3)."""
    if box.kind == b"meta" and (box.size > _META or b"iloc" in boxes.read(box.at, box.size)):
        raise _Unclear


def _rewrite(path: Path, pieces: list[_Piece]) -> bool:
    """Put the file together anew; it stays as it is where the disk does not take that."""
    part = path.with_suffix(".tidy.part")
    try:
        with open(path, "rb", buffering=0) as source, open(part, "wb") as target:
            block = memoryview(bytearray(_BLOCK))
            for piece in pieces:
                if isinstance(piece, bytes):
                    target.write(piece)
                else:
                    _copy(source, target, *piece, block)
        os.replace(part, path)
    except OSError:
        return False
    finally:
        with suppress(OSError):
            part.unlink()
    return True


def _copy(source: FileIO, target: BinaryIO, at: int, end: int, block: memoryview) -> None:
    source.seek(at)
    while at < end:
        read = source.readinto(block[: end - at])
        if not read:
            raise OSError("the file has become shorter")
        target.write(block[:read])
        at += read
