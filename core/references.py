"""Reference images on disk: kept the moment a command arrives, normalised before they are sent.

They stay beside their job until it is pruned, so that a retry has the same pictures; nothing holds them in memory
while a job waits.
"""

import asyncio
import io
import os
import shutil
import struct
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiofiles
from PIL import ExifTags, Image, ImageCms

from .errors import BadInput, Failure, Misconfigured
from .models import Reference
from .transport import MB, Transport

SOURCE_LIMIT = 30 * MB
PIXEL_LIMIT = 80_000_000  # a bomb of a few kB can unpack to gigabytes; no camera in a chat makes more than this
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "HEIF")
# What decoders raise for broken files, found by feeding them such: more kinds than their documentation says.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    RuntimeError,
    EOFError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
_MIMES = {".jpg": "image/jpeg", ".png": "image/png"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HARMLESS = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "progressive", "progression", "gamma", "srgb"}


class ReferenceStore:
    """The pictures of all jobs, one folder a job.

    Args:
        folder: where the job folders are made.
        max_side: pixels of the longest side after normalising.
        max_bytes: size after normalising.
    """

    def __init__(self, folder: Path, transport: Transport, *, max_side: int, max_bytes: int) -> None:
        self._folder, self._transport = folder, transport
        self._max_side, self._max_bytes = max_side, max_bytes
        # Decoding takes the memory and the core of one picture each; two at a time keep both bounded.
        self._working = asyncio.Semaphore(2)

    async def keep(
        self, job_id: str, sources: Sequence[Path | bytes | Reference], *, first: int = 1
    ) -> tuple[Reference, ...]:
        """Take the pictures of a message before the host deletes its temporary files.

        Args:
            sources: local files, contents, or references: to a file elsewhere, or with only a URL yet.
            first: the number of the first of them.

        Raises:
            Misconfigured: the disk does not take them.
        """
        try:
            return await asyncio.to_thread(self._keep, job_id, sources, first)
        except OSError as error:
            if first == 1:  # else there are pictures before them, which somebody still counts on
                await self.drop(job_id)
            raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error

    def _keep(self, job_id: str, sources: Sequence[Path | bytes | Reference], first: int) -> tuple[Reference, ...]:
        kept = []
        for number, source in enumerate(sources, first):
            target = self._target(job_id, f"{number}.raw")
            reference = source if isinstance(source, Reference) else Reference()
            local = Path(source.path) if isinstance(source, Reference) else source
            if isinstance(source, Reference) and not source.path:
                kept.append(source)
                continue
            if isinstance(local, bytes):
                target.write_bytes(local)
            elif os.path.isfile(local):
                try:
                    os.link(local, target)
                except OSError:
                    shutil.copyfile(local, target)
            # One that the host lost is kept as a path without a file: `prepare` says so, if it was the only one.
            kept.append(replace(reference, path=str(target)))
        return tuple(kept)

    def _target(self, job_id: str, name: str) -> Path:
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    async def prepare(self, job_id: str, references: Sequence[Reference], most: int) -> tuple[Reference, ...]:
        """Fetch and normalise the first usable pictures.

        Args:
            most: how many the model takes; broken ones are skipped.

        Raises:
            BadInput: there were pictures and none could be used; says which and why.
            Misconfigured: the disk does not take them.
        """
        usable: list[Reference] = []
        troubles: list[Failure] = []
        for number, reference in enumerate(references, 1):
            if len(usable) == most:
                break
            try:
                usable.append(await self._prepared(job_id, number, reference))
            except Misconfigured:
                raise  # a full disk is not the picture's fault
            except Failure as failure:
                troubles.append(failure)
        if references and most and not usable:
            cause = "avatar_unavailable" if all(r.avatar for r in references) else "picture_unreadable"
            which = ", ".join(map(str, range(1, len(troubles) + 1)))
            raise BadInput(cause, troubles[0].why.reason, which=which)
        return tuple(usable)

    async def _prepared(self, job_id: str, number: int, reference: Reference) -> Reference:
        if reference.mime and Path(reference.path).exists():
            return reference
        raw = Path(reference.path) if reference.path else self._target(job_id, f"{number}.raw")
        stem = self._target(job_id, str(number))
        done = next((path for path in map(stem.with_suffix, _MIMES) if path.exists()), None)
        if done is None or raw.exists():
            if not reference.path:
                await self._fetch(reference.url, raw)
            async with self._working:
                done = await asyncio.to_thread(normalise, raw, stem, self._max_side, self._max_bytes)
            await asyncio.to_thread(raw.unlink, missing_ok=True)  # the sign that the other file is whole
        return replace(reference, path=str(done), mime=_MIMES[done.suffix])

    async def _fetch(self, url: str, target: Path) -> None:
        size = 0
        async with self._transport.fetch(url, limit=SOURCE_LIMIT) as response, aiofiles.open(target, "wb") as file:
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > SOURCE_LIMIT:
                    raise BadInput("picture_too_big")
                await file.write(piece)

    async def drop(self, job_id: str) -> None:
        """Forget the pictures of one job."""
        await asyncio.to_thread(shutil.rmtree, self._folder / job_id, ignore_errors=True)

    async def sweep(self, known: Collection[str]) -> None:
        """Drop the folders of jobs that the ledger does not know any more."""

        def unknown() -> None:
            for folder in self._folder.iterdir() if self._folder.exists() else ():
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)

        await asyncio.to_thread(unknown)


def normalise(raw: Path, stem: Path, max_side: int, max_bytes: int) -> Path:
    """Make a picture fit for every upstream: upright, first frame, sRGB, no metadata, JPEG or PNG, small enough.

    One that is all this already is taken as it is, byte for byte.

    Args:
        stem: the result's path without its extension.
        max_side: pixels.

    Returns:
        The result's path.

    Raises:
        BadInput: it is no picture, or is broken, or far too large.
        Misconfigured: the disk does not take the result.
    """
    try:
        with Image.open(raw, formats=_formats()) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise BadInput("picture_too_big")
            if _fits(image, raw, max_side, max_bytes):
                image.load()  # a cut file shows only now
                suffix, data = (".jpg" if image.format == "JPEG" else ".png"), None
            else:
                suffix, data = _encoded(_upright(image, max_side), max_bytes)
    except _BROKEN as error:
        raise BadInput("picture_unreadable", f"{type(error).__name__}: {error}") from None
    path = stem.with_suffix(suffix)
    try:
        if data is None:
            shutil.copyfile(raw, path)
        else:
            path.write_bytes(data)
    except OSError as error:
        raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error
    return path


def _formats() -> list[str]:
    """What is decoded: not everything Pillow knows. Where HEIC's library has no wheel, it counts as unreadable."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener()
    return [name for name in _FORMATS if name in Image.OPEN]


def _fits(image: Image.Image, raw: Path, max_side: int, max_bytes: int) -> bool:
    return (
        image.format in ("JPEG", "PNG")
        and image.mode in ("RGB", "RGBA", "L")
        and max(image.size) <= max_side
        and raw.stat().st_size <= max_bytes
        and not _exif(image)  # this reads a PNG to its end, where text may stand too
        and {str(key).lower() for key in image.info} <= _HARMLESS
    )


def _exif(image: Image.Image) -> dict[int, Any]:
    """What a camera noted. Broken notes are no broken picture."""
    try:
        return dict(image.getexif())
    except _BROKEN:
        return {-1: "broken"}


def _upright(image: Image.Image, max_side: int) -> Image.Image:
    image.seek(0)
    profile = image.info.get("icc_profile")
    image.draft("RGB", (max_side, max_side))  # JPEG decodes straight to about the size we need
    image.thumbnail((max_side * 2, max_side * 2), Image.Resampling.BOX)
    turn = _TURNS.get(_exif(image).get(ExifTags.Base.Orientation, 1))
    if image.mode.startswith("I"):
        image = image.point(lambda value: value / 256)  # 16 bit: `convert` alone makes all but the darkest 1/256 white
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image.thumbnail((max_side, max_side), Image.Resampling.HAMMING)  # half of LANCZOS's time for what nobody can see
    if turn is not None:  # one of them is 0
        image = image.transpose(turn)
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode) or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile: the colours stay as they are
    return image


def _encoded(image: Image.Image, max_bytes: int) -> tuple[str, bytes]:
    if image.mode == "RGBA":
        data = _saved(image, "PNG", optimize=False)
        if len(data) <= max_bytes:
            return ".png", data
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    for quality in (92, 85, 75, 65):
        data = _saved(image, "JPEG", quality=quality)
        if len(data) <= max_bytes:
            return ".jpg", data
    while len(data) > max_bytes and max(image.size) > 64:
        image = image.resize((max(1, image.width * 4 // 5), max(1, image.height * 4 // 5)), Image.Resampling.LANCZOS)
        data = _saved(image, "JPEG", quality=75)
    return ".jpg", data


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()
