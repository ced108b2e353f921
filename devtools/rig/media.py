"""Small real media, made on the spot, so that no test depends on a file that only looks like a video."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def make_png(width: int = 64, height: int = 48, rgb: tuple[int, int, int] = (200, 60, 30)) -> bytes:
    """A plain picture in one colour."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    rows = b"".join(b"\0" + bytes(rgb) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def make_mp4(seconds: float = 1.0, size: tuple[int, int] = (128, 96), fps: int = 12, seed: int = 0) -> bytes:
    """A playable H.264 MP4 (a moving gradient). ``seed`` makes files distinguishable."""
    width, height = size
    gradient = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v.mp4")
        with av.open(str(path), "w", options={"movflags": "faststart"}) as box:
            stream = box.add_stream("libx264", rate=Fraction(fps), options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(max(2, int(seconds * fps))):
                picture = np.roll(gradient, 5 * number + seed, axis=1)
                box.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            box.mux(stream.encode(None))
        return path.read_bytes() + struct.pack(">I4sI", 12, b"free", seed)


def pad_mp4(path: Path, data: bytes, total: int) -> Path:
    """Write ``data`` and grow it to ``total`` bytes with a trailing sparse ``free`` box: still a valid MP4."""
    with path.open("wb") as file:
        file.write(data)
        file.write(struct.pack(">I4sQ", 1, b"free", total - len(data)))
        file.truncate(total)
    return path
