"""Turns one picture into a short clip by a slow camera move: the stand-in's videos are real, and worth a look."""

from __future__ import annotations

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

FPS = 24
LONGEST, SHORTEST = 720, 240  # of a clip's longer side, in pixels
ZOOM = 1.22  # how much closer the near end of a move is than the far one


def open_picture(data: bytes) -> Image.Image:
    """Decode and turn upright.

    Raises:
        ValueError: this is no picture.
    """
    try:
        return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError("this is not a picture that can be read") from error


def paint_backdrop(words: str) -> Image.Image:
    """Where no picture was sent: a soft gradient in two colours that come from the words."""
    first, second = (tuple(colour) for colour in (_digest(words)[:3], _digest(words)[3:6]))
    ramp = Image.radial_gradient("L").resize((LONGEST, LONGEST * 9 // 16))
    return Image.composite(Image.new("RGB", ramp.size, first), Image.new("RGB", ramp.size, second), ramp)


def make_film(picture: Image.Image, path: Path, *, seconds: float, ratio: float | None = None, seed: str = "") -> int:
    """Write an H.264 MP4, ready to be streamed, and beside it a ``.jpg`` poster; blocks for a second or two.

    Args:
        picture: what the camera moves over.
        path: the file to write.
        seconds: how long the clip is.
        ratio: width to height; the picture is cropped to it. Without one its own is kept.
        seed: chooses one of the camera moves.

    Returns:
        The number of frames.
    """
    width, height = map(float, picture.size)
    if ratio:
        width, height = min(width, height * ratio), min(height, width / ratio)
    scale = min(LONGEST, max(SHORTEST, width, height)) / max(width, height)
    size = (_even(width * scale), _even(height * scale))
    # a little larger than the clip, so that the near end of the move is still sharp
    ground = ImageOps.fit(picture, (round(size[0] * ZOOM), round(size[1] * ZOOM)), Image.Resampling.LANCZOS)
    frames = round(seconds * FPS)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as box:
        stream = box.add_stream("libx264", rate=Fraction(FPS), options={"preset": "veryfast", "crf": "21"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            shot = ground.resize(size, Image.Resampling.BICUBIC, box=_view(ground.size, number / (frames - 1), seed))
            if number == 0:
                shot.save(path.with_suffix(".jpg"), quality=85)
            box.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(shot), format="rgb24")))
        box.mux(stream.encode(None))
    return frames


def _view(ground: tuple[int, int], progress: float, seed: str) -> tuple[float, float, float, float]:
    """The part of the ground that is seen at ``progress`` (0–1): the whole of it, or closer and off to one corner."""
    move = _digest(seed)[0]
    eased = progress * progress * (3 - 2 * progress)
    nearness = eased if move & 1 else 1 - eased
    part = 1 - nearness * (1 - 1 / ZOOM)
    across, down = 0.25 + 0.5 * bool(move & 2), 0.25 + 0.5 * bool(move & 4)
    left, top = (ground[0] * (1 - part) * across, ground[1] * (1 - part) * down)
    return left, top, left + ground[0] * part, top + ground[1] * part


def _even(length: float) -> int:
    return max(16, round(length / 2) * 2)  # H.264 in 4:2:0 knows no odd sizes


def _digest(words: str) -> bytes:
    return hashlib.sha256(words.encode()).digest()
