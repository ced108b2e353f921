"""MP4 files made friendly: what is moved, what is renamed, and what is left alone."""

from __future__ import annotations

import functools
import resource
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import mp4
from core.errors import UpstreamFailed
from core.mp4 import check_whole, seconds, tidy
from core.transport import MB
from devtools.rig.media import make_mp4, pad_mp4

C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
NESTED = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf"}


def box(kind: bytes, body: bytes = b"", *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def track(offsets: bytes) -> bytes:
    """A track's chunk offsets where they belong, and nothing else of it."""
    for kind in (b"stco", b"stbl", b"minf", b"mdia", b"trak"):
        offsets = box(kind, offsets)
    return offsets


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each box at the top."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            [size], head = struct.unpack_from(">Q", data, at + 8), 16
        size = size or len(data) - at
        found.append((kind, data[at + head : at + size]))
        at += size
    return found


def kinds(path: Path) -> list[str]:
    return [kind.decode() for kind, _ in boxes(path.read_bytes())]


def changed(data: bytes, inner: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The boxes again, with each of one kind, however deep, replaced by what `change` makes of its body."""
    return b"".join(
        change(body) if kind == inner else box(kind, changed(body, inner, change) if kind in NESTED else body)
        for kind, body in boxes(data)
    )


def shifted(data: bytes, place: Callable[[int], int]) -> bytes:
    """The same with other chunk offsets."""

    def change(body: bytes) -> bytes:
        places = [place(one) for [one] in struct.iter_unpack(">I", body[8:])]
        return box(b"stco", body[:8] + struct.pack(f">{len(places)}I", *places))

    return changed(data, b"stco", change)


def offsets(data: bytes) -> list[int]:
    found: list[int] = []

    def note(place: int) -> int:
        found.append(place)
        return place

    shifted(data, note)
    return sorted(found)


@functools.cache
def film(kind: str = "mp4", pictures: int = 1, sound: bool = False, **options: str) -> bytes:
    """Two seconds, index last unless the options say otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"v.{kind}")
        with av.open(str(path), "w", options=options) as out:
            streams: list[Any] = [out.add_stream("libx264", rate=Fraction(10)) for _ in range(pictures)]
            for stream in streams:
                stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
            voice: Any = out.add_stream("aac", rate=16000, layout="mono") if sound else None
            for number in range(20):
                for track, stream in enumerate(streams):
                    frame = np.full((48, 64, 3), number * 10 + 3 * track, np.uint8)
                    frame[number : number + 9, :20] = 255
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                if voice:
                    wave = (np.sin(np.arange(1600) / (4 + number)) * 9000).astype(np.int16)[None]
                    heard = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                    heard.sample_rate, heard.pts = 16000, number * 1600
                    out.mux(voice.encode(heard))
            for stream in [*streams, *([voice] if voice else [])]:
                out.mux(stream.encode(None))
        return path.read_bytes()


def shown(path: Path) -> list[list[bytes]]:
    """Every picture and every sound of every track, decoded."""
    with av.open(str(path)) as file:
        tracks: dict[int, list[bytes]] = {stream.index: [] for stream in file.streams}
        for packet in file.demux():
            tracks[packet.stream.index] += [frame.to_ndarray().tobytes() for frame in packet.decode()]  # type: ignore[union-attr]
        assert all(tracks.values())
        return list(tracks.values())


def parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before the index, the index's body, what comes after."""
    before, after, index = b"", b"", None
    for kind, body in boxes(data):
        if kind == b"moov":
            index = body
        elif index is None:
            before += box(kind, body)
        else:
            after += box(kind, body)
    assert index is not None
    return before, index, after


def with_co64(data: bytes) -> bytes:
    def wide(body: bytes) -> bytes:
        return box(b"co64", body[:8] + b"".join(struct.pack(">Q", one) for [one] in struct.iter_unpack(">I", body[8:])))

    return changed(data, b"stco", wide)


def with_long_sizes(data: bytes) -> bytes:
    """ffmpeg leaves eight free bytes before the pictures, for just this."""
    before, index, after = parts(data)
    at = before.index(b"\0\0\0\x08free")
    pictures = before[at + 16 :]
    return before[:at] + box(b"mdat", pictures, wide=True) + box(b"moov", index, wide=True) + after


def with_pictures_on_both_sides(data: bytes, last: bytes = b"") -> bytes:
    """Half of the pictures come after the index, in a box that may not say its size."""
    half = offsets(data)[len(offsets(data)) // 2]
    before, index, _ = parts(data)
    at = before.index(b"mdat") - 4
    gap = len(box(b"moov", index)) + 8
    index = boxes(shifted(box(b"moov", index), lambda place: place + gap if place >= half else place))[0][1]
    rest = box(b"mdat", before[half:])
    return before[:at] + box(b"mdat", before[at + 8 : half]) + box(b"moov", index) + (last or rest[:4]) + rest[4:]


def with_origin(data: bytes, *, front: bytes = b"", behind: bytes = b"") -> bytes:
    start = data[: int.from_bytes(data[:4])]
    return start + front + shifted(data, lambda place: place + len(front))[len(start) :] + behind


TOLD = box(b"uuid", C2PA + bytes(300))

MOVED: dict[str, Callable[[], bytes]] = {
    "one track": film,
    "as a camera writes it": lambda: film("mov"),
    "several tracks": lambda: film(pictures=2, sound=True),
    "offsets of 64 bits": lambda: with_co64(film(sound=True)),
    "sizes of 64 bits": lambda: with_long_sizes(film(sound=True)),
    "pictures before and after the index": lambda: with_pictures_on_both_sides(film(sound=True)),
    "the last pictures go on to the end": lambda: with_pictures_on_both_sides(film(sound=True), b"\0\0\0\0"),
    "something behind the index": lambda: film() + box(b"free", b"behind") + box(b"uuid", bytes(40)),
    "told where it comes from": lambda: with_origin(film(), front=TOLD, behind=TOLD),
    "without its brand": lambda: shifted(film("mov"), lambda place: place - int.from_bytes(film("mov")[:4]))[
        int.from_bytes(film("mov")[:4]) :
    ],
    "with a title": lambda: changed(film(), b"udta", lambda body: box(b"meta", bytes(60)) + box(b"udta", body)),
}


@pytest.mark.parametrize("name", MOVED)
def test_the_index_goes_before_the_pictures(name: str, tmp_path: Path) -> None:
    path = tmp_path / "000001.aa.part"
    path.write_bytes(MOVED[name]())
    before, size = shown(path), path.stat().st_size
    assert kinds(path).index("mdat") < kinds(path).index("moov")
    assert tidy(path)
    assert kinds(path).index("moov") < kinds(path).index("mdat")
    assert shown(path) == before
    assert path.stat().st_size == size
    assert not tidy(path), "it is tidy now"
    assert list(tmp_path.iterdir()) == [path]
    check_whole(path)


def test_the_two_sides_are_really_used() -> None:
    """Or the test above would say nothing of what stands behind the index."""
    data = with_pictures_on_both_sides(film(sound=True))
    assert offsets(data)[0] < data.index(b"moov") < offsets(data)[-1]


NEEDS_NOTHING: dict[str, Callable[[], bytes]] = {
    "index first": lambda: film(movflags="faststart"),
    "fragments": lambda: film(movflags="frag_keyframe+empty_moov"),
    "fragments with a list of them": lambda: film(movflags="frag_keyframe+empty_moov+dash"),
    "of the rig": lambda: make_mp4(0.3),
    "something else's uuid": lambda: film(movflags="faststart") + box(b"uuid", bytes(16) + C2PA),
    "its name elsewhere": lambda: film(movflags="faststart") + box(b"free", b"\0\0\1\0jumb" + C2PA),
}


def index_with(extra: bytes) -> Callable[[], bytes]:
    return lambda: film()[: -len(box(b"moov", parts(film())[1]))] + box(b"moov", parts(film())[1] + extra)


def track_with(extra: bytes, inner: bytes = b"stsd") -> Callable[[], bytes]:
    return lambda: changed(film(), inner, lambda body: box(inner, body) + extra)


# Index last, and yet it stays there: what a move would break, or what nobody can be certain of.
LEFT_ALONE: dict[str, Callable[[], bytes]] = {
    "fragments behind the index": lambda: film() + box(b"moof", box(b"mfhd", bytes(8))) + box(b"mdat", b"x"),
    "a box nobody knows": lambda: film() + box(b"what", b"x"),
    "two indexes": lambda: film() + box(b"moov", parts(film())[1]),
    "cut in the index": lambda: film()[:-1],
    "bytes behind the last box": lambda: film() + bytes(3),
    "a box of no size behind the index": lambda: film() + b"\0\0\0\x04free",
    "index that does not say its size": lambda: parts(film())[0] + b"\0\0\0\0moov" + parts(film())[1],
    "compressed index": lambda: parts(film())[0] + box(b"moov", box(b"cmov", b"x" * 90)),
    "compressed and not": index_with(box(b"cmov", b"x")),
    "fragments to come": index_with(box(b"mvex", b"")),
    "pictures in other films": index_with(box(b"rmra", b"")),
    "items by place": index_with(box(b"meta", bytes(4) + box(b"iloc", bytes(8)))),
    "items by place, outside": lambda: film() + box(b"meta", bytes(4) + box(b"iloc", bytes(8))),
    "too much about it to look through": index_with(box(b"meta", bytes(70_000))),
    "places of encryption data": track_with(box(b"saio", bytes(12))),
    "pictures in another file": lambda: changed(
        film(), b"dref", lambda body: box(b"dref", body[:8] + box(b"url ", bytes(4) + b"file:///else\0"))
    ),
    "two tables in a track": track_with(box(b"stco", bytes(8))),
    "no table in a track": lambda: changed(film(), b"stco", lambda body: box(b"free", body)),
    "fewer offsets than it says": lambda: changed(film(), b"stco", lambda body: box(b"stco", body[:-1])),
    "no end of offsets": lambda: changed(film(), b"stco", lambda body: box(b"stco", body[:4] + b"\xff" * 4 + body[8:])),
    "no room for a number of offsets": lambda: changed(film(), b"stco", lambda body: box(b"stco", b"\0\0")),
    "an offset into the index itself": lambda: shifted(film(), lambda place: len(film()) - 9),
    "a box in a track that is too long": track_with(b"\0\0\xff\xfffree"),
    "a box in a track that is too short": track_with(b"\0\0\0\7free"),
    "a box in the index that does not end": index_with(b"\0\0\0\0free"),
    "half a box in a track": track_with(b"\0\0\0"),
    "no index": lambda: parts(film())[0],
    "not an mp4": lambda: film("mkv"),
    "nothing": lambda: b"",
    "text": lambda: b"<!doctype html>" * 30,
}


@pytest.mark.parametrize("name", [*NEEDS_NOTHING, *LEFT_ALONE])
def test_what_needs_nothing_or_is_not_understood_is_left_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / "000001.aa.part"
    data = (NEEDS_NOTHING | LEFT_ALONE)[name]()
    path.write_bytes(data)
    stamp = path.stat()
    assert not tidy(path)
    assert path.read_bytes() == data
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns), "nobody wrote it"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["offsets that fit", "offsets that do not"])
def test_offsets_keep_to_their_32_bits(name: str, tmp_path: Path) -> None:
    """Pictures of 4 GiB, nearly all of them a hole in the file: what stands at their end cannot go further."""
    path = tmp_path / "v.mp4"
    end = 1 << 32
    fits = name == "offsets that fit"
    index = box(b"moov", track(struct.pack(">III", 0, 1, end - (400 if fits else 40))))
    with path.open("wb") as file:
        file.write(box(b"ftyp", b"isom") + struct.pack(">I4sQ", 1, b"mdat", end - 12))
        file.seek(end)
        file.write(index)
    with path.open("rb", buffering=0) as file:
        walk = mp4._Boxes(file)
        if fits:
            pieces = mp4._in_order(walk, list(walk.top()))
            assert struct.pack(">I", end - 400 + len(index)) in pieces
        else:
            with pytest.raises(mp4._Unclear):
                mp4._in_order(walk, list(walk.top()))
            assert not tidy(path)


# ---- where it comes from ----

ORIGINS: dict[str, bytes] = {
    "c2pa": TOLD,
    "c2pa with a long size": box(b"uuid", C2PA + bytes(300), wide=True),
    "c2pa to the end": b"\0\0\0\0uuid" + C2PA + bytes(300),
    "jumb": box(b"jumb", b"x" * 50),
    "its own kind": box(b"c2pa", b"x" * 50),
    "twice": TOLD + box(b"jumb"),
}


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
@pytest.mark.parametrize("name", ORIGINS)
def test_where_it_comes_from_is_not_told(name: str, flags: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    data = film(movflags=flags) + ORIGINS[name]
    path.write_bytes(data)
    pictures, inode = shown(path), path.stat().st_ino
    assert tidy(path)
    assert not {"uuid", "jumb", "c2pa"} & set(kinds(path))
    assert (path.stat().st_size, path.stat().st_ino) == (len(data), inode), "four bytes, not a copy"
    assert shown(path) == pictures
    assert not tidy(path)


def test_it_is_renamed_though_the_index_stays(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(LEFT_ALONE["fragments to come"]() + TOLD)
    assert tidy(path)
    assert kinds(path)[-2:] == ["moov", "free"]


# ---- whole, and how long ----


def test_a_whole_file() -> None:
    """More of this, over a line, in test_video_manager.py."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v")
        for data in (film(), film(movflags="frag_keyframe+empty_moov"), film("mkv"), b"", with_long_sizes(film())):
            path.write_bytes(data)
            check_whole(path)
        for cut in (1, 100, len(film()) - 40):
            path.write_bytes(film()[:-cut])
            with pytest.raises(UpstreamFailed, match="truncated"):
                check_whole(path)


HEADER = struct.pack(">IIIII", 0, 0, 0, 1000, 2500)
LENGTHS: dict[str, tuple[bytes, float | None]] = {
    "index last": (film(), 2.0),
    "index first": (film(movflags="faststart"), 2.0),
    "a long header": (box(b"moov", box(b"mvhd", struct.pack(">IQQIQ", 1 << 24, 0, 0, 500, 1000) + bytes(80))), 2.0),
    "a header behind others": (box(b"moov", box(b"free") + box(b"mvhd", HEADER)), 2.5),
    "fragments": (film(movflags="frag_keyframe+empty_moov"), None),
    "not known": (box(b"moov", box(b"mvhd", HEADER[:-4] + b"\xff" * 4)), None),
    "no scale": (box(b"moov", box(b"mvhd", bytes(12) + struct.pack(">II", 0, 9))), None),
    "cut header": (box(b"moov", box(b"mvhd", HEADER[:-1])), None),
    "no header": (box(b"moov", box(b"free")), None),
    "no index": (box(b"mdat"), None),
    "cut": (film()[:-1], None),
    "matroska": (film("mkv"), None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_how_long_it_plays(name: str, tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(LENGTHS[name][0])
    assert seconds(path) == LENGTHS[name][1]


# ---- strangers' files ----

KINDS = [b"ftyp", b"moov", b"mdat", b"trak", b"mdia", b"minf", b"stbl", b"stco", b"co64", b"dref", b"dinf", b"meta"]
KINDS += [b"free", b"uuid", b"jumb", b"mvhd", b"moof", b"\0\0\0\0"]
SIZES = st.one_of(st.none(), st.none(), st.none(), st.sampled_from([0, 1, 7, 8, 0xFFFFFFFF]), st.integers(0, 400))


@st.composite
def any_box(draw: st.DrawFn, inner: st.SearchStrategy[bytes]) -> bytes:
    kind, body, said = draw(st.sampled_from(KINDS)), draw(inner), draw(SIZES)
    if draw(st.integers(0, 9)) == 0:
        long = draw(st.sampled_from([len(body) + 16, 0, 15, 1 << 63, (1 << 64) - 1]))
        return struct.pack(">I4sQ", 1, kind, long) + body
    return struct.pack(">I4s", len(body) + 8 if said is None else said, kind) + body


leaf = st.one_of(st.binary(max_size=40), st.just(C2PA), st.just(struct.pack(">IIII", 0, 2, 30, 40)))
one_box = st.recursive(any_box(leaf), lambda more: any_box(st.lists(more, max_size=4).map(b"".join)), max_leaves=25)


@settings(max_examples=400)
@given(st.lists(one_box, max_size=6).map(b"".join), st.binary(max_size=9))
@example(box(b"mdat", bytes(60)) + box(b"moov", track(struct.pack(">III", 0, 1, 9))), b"")
@example(box(b"free") * 9000, b"")
@example(b"".join([struct.pack(">I4s", 8 * (900 - deep), b"trak") for deep in range(900)]), b"")
def test_no_file_does_harm(data: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v.mp4")
        path.write_bytes(data + rest)
        seconds(path)
        with suppress(UpstreamFailed):
            check_whole(path)
        assert tidy(path) or path.read_bytes() == data + rest
        assert path.stat().st_size == len(data + rest)
        assert not tidy(path)
        assert [one.name for one in Path(folder).iterdir()] == ["v.mp4"]


HUGE: dict[str, bytes] = {
    "boxes": box(b"ftyp") + box(b"free") * 500_000,
    "boxes in the index": box(b"ftyp") + box(b"mdat") + box(b"moov", box(b"free") * 500_000),
    "tracks": box(b"ftyp") + box(b"mdat") + box(b"moov", box(b"trak", box(b"mdia", box(b"minf"))) * 50_000),
    "offsets": box(b"ftyp") + box(b"mdat") + box(b"moov", track(struct.pack(">II", 0, 3 << 20) + bytes(12 << 20))),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_file_of_nothing_but_boxes_is_given_up_early(name: str, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(HUGE[name])
    began = time.process_time()
    assert not tidy(path)
    assert time.process_time() - began < 1.5
    assert path.read_bytes() == HUGE[name]


def test_a_large_file_stays_on_disk(tmp_path: Path) -> None:
    """300 MB between the pictures and the index: a few blocks of it are in memory at a time."""
    before, index, _ = parts(film())
    path = pad_mp4(tmp_path / "v.mp4", before, 300 * MB)
    with path.open("ab") as file:
        file.write(box(b"moov", index))
    pictures = shown(path)
    tracemalloc.start()
    try:
        assert tidy(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * MB
    finally:
        tracemalloc.stop()
    assert shown(path) == pictures
    assert path.stat().st_size == 300 * MB + len(box(b"moov", index))


@pytest.mark.parametrize("room", [0, 1000])
def test_where_there_is_no_room_the_file_stays_as_it_is(room: int, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(film())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        assert not tidy(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == film()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for ask in (tidy, check_whole, seconds):
        with pytest.raises(FileNotFoundError):
            ask(tmp_path / "v.mp4")
