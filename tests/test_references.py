"""Reference images: kept before the host deletes them, normalised before they are sent."""

from __future__ import annotations

import asyncio
import io
import random
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image, ImageCms

from core.errors import BadInput, Misconfigured
from core.models import Reference, Role
from core.references import ReferenceStore, normalise
from core.transport import MB, Transport, Trust
from tests.internet import PUBLIC, Internet
from tests.scripted_server import ScriptedServer, answer

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 200, 30)
SECRET = b"GPS 31.2304N 121.4737E"
Make = Callable[[], bytes]


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Left half red, right half blue: a turn shows."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def notes(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET.decode()
    return exif.tobytes()


def chunked(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks."""
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of(width: int, height: int, bits: int = 1, colour: int = 0, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return chunked((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def with_text(late: bool) -> bytes:
    """As image generators write their prompts; some tools put it behind the pixels."""
    whole, text = saved(halves(), "PNG"), b"parameters\0" + SECRET
    at = len(whole) - 12 if late else 33
    return whole[:at] + chunked((b"tEXt", text))[8:] + whole[at:]


def frames(kind: str) -> bytes:
    """Two frames; the first one counts."""
    return saved(halves(), kind, save_all=True, append_images=[Image.new("RGB", (40, 20), GREEN)], duration=50)


def heic(orientation: int = 1) -> bytes:
    pillow_heif.register_heif_opener()
    return saved(halves(size=(64, 32)), "HEIF", exif=notes(orientation), quality=95)


def p3_profile() -> bytes:
    """sRGB's profile with the primaries of Display P3 (as every iPhone writes), adapted to D50."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for at in range(132, 132 + 12 * int.from_bytes(profile[128:132]), 12):
        if values := primaries.get(bytes(profile[at : at + 4])):
            start = int.from_bytes(profile[at + 4 : at + 8]) + 8
            profile[start : start + 12] = struct.pack(">iii", *(round(value * 65536) for value in values))
    return bytes(profile)


# ---- taken as they are ----

FINE: dict[str, Make] = {
    "jpeg": lambda: saved(halves(), "JPEG"),
    "progressive jpeg": lambda: saved(halves(), "JPEG", progressive=True, dpi=(72, 72)),
    "grey jpeg": lambda: saved(halves("L"), "JPEG"),
    "png": lambda: saved(halves(), "PNG"),
    "png with transparency": lambda: saved(halves("RGBA"), "PNG", dpi=(72, 72)),
    "as large as allowed": lambda: saved(halves(size=(1536, 100)), "JPEG"),
}


def made(folder: Path, data: bytes, side: int = 1536, size: int = 1536 * 1024) -> Path:
    """Normalise these bytes; the result must keep what every result keeps."""
    raw = folder / "1.raw"
    raw.write_bytes(data)
    path = normalise(raw, folder / "1", side, size)
    with Image.open(path) as image:
        image.load()
        assert image.format == {".jpg": "JPEG", ".png": "PNG"}[path.suffix]
        assert max(image.size) <= side
        assert image.mode in ("RGB", "RGBA", "L")
        assert not image.getexif()
        assert not {"icc_profile", "xmp", "comment", "exif"} & image.info.keys()
    assert SECRET not in path.read_bytes()
    assert path.stat().st_size <= size
    return path


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_already_stays_byte_for_byte(name: str, tmp_path: Path) -> None:
    data = FINE[name]()
    assert made(tmp_path, data).read_bytes() == data


# ---- made fine ----

# What is sent → where the red half is afterwards.
PICTURES: dict[str, tuple[Make, str]] = {
    "as the camera held it": (lambda: saved(halves(), "JPEG", exif=notes()), "left"),
    "mirrored": (lambda: saved(halves(), "JPEG", exif=notes(2)), "right"),
    "upside down": (lambda: saved(halves(), "JPEG", exif=notes(3)), "right"),
    "upside down and mirrored": (lambda: saved(halves(), "JPEG", exif=notes(4)), "left"),
    "turned and mirrored": (lambda: saved(halves(), "JPEG", exif=notes(5)), "top"),
    "turned right: most portraits": (lambda: saved(halves(), "JPEG", exif=notes(6)), "top"),
    "turned and mirrored the other way": (lambda: saved(halves(), "JPEG", exif=notes(7)), "bottom"),
    "turned left": (lambda: saved(halves(), "JPEG", exif=notes(8)), "bottom"),
    "png with exif": (lambda: saved(halves(), "PNG", exif=notes(6)), "top"),
    "webp with exif": (lambda: saved(halves(), "WEBP", exif=notes(6), lossless=True), "top"),
    "heic": (heic, "left"),
    "heic of a portrait": (lambda: heic(6), "top"),
    "avif": (lambda: saved(halves(size=(64, 32)), "AVIF"), "left"),
    "png with text": (lambda: with_text(late=False), "left"),
    "png with text at its end": (lambda: with_text(late=True), "left"),
    "jpeg with a comment": (lambda: saved(halves(), "JPEG", comment=SECRET), "left"),
    "jpeg with xmp": (lambda: saved(halves(), "JPEG", xmp=b"<x:xmpmeta>" + SECRET), "left"),
    "animated gif": (lambda: frames("GIF"), "left"),
    "animated webp": (lambda: frames("WEBP"), "left"),
    "animated png": (lambda: frames("PNG"), "left"),
    "two pictures in one jpeg, as some phones write": (lambda: frames("MPO"), "left"),
    "palette": (lambda: saved(halves("P"), "PNG"), "left"),
    "palette with a transparent colour": (lambda: saved(halves("P"), "PNG", transparency=0), "left"),
    "cmyk": (lambda: saved(halves("CMYK"), "JPEG"), "left"),
    "bmp": (lambda: saved(halves(), "BMP"), "left"),
    "tiff": (lambda: saved(halves(), "TIFF"), "left"),
    "interlaced palette gif": (lambda: saved(halves("P"), "GIF", interlace=1), "left"),
    "a display p3 photo": (lambda: saved(halves(), "JPEG", icc_profile=p3_profile()), "left"),
    "a broken colour profile": (lambda: saved(halves(), "JPEG", icc_profile=b"no profile"), "left"),
    "broken exif": (lambda: saved(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "left"),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_become_upright_and_clean(name: str, tmp_path: Path) -> None:
    make, red = PICTURES[name]
    with Image.open(made(tmp_path, make())) as image:
        assert image.width > image.height if red in ("left", "right") else image.height > image.width
        picture = image.convert("RGB").resize((100, 100), Image.Resampling.NEAREST)
    spots = {"left": (10, 50), "right": (90, 50), "top": (50, 10), "bottom": (50, 90)}
    seen = {side: _nearest(picture.getpixel(spot)) for side, spot in spots.items()}
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[red]
    assert (seen[red], seen[opposite]) == ("red", "blue")


def _nearest(pixel: Any) -> str:
    colours = {"red": RED, "blue": BLUE, "green": GREEN, "white": (255, 255, 255), "black": (0, 0, 0)}
    return min(colours, key=lambda name: sum(abs(a - b) for a, b in zip(colours[name], pixel, strict=True)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_display_p3_becomes_srgb(mode: str, tmp_path: Path) -> None:
    """The numbers of P3 mean a stronger colour than the same numbers of sRGB, which is what upstreams take them for."""
    image = Image.new(mode, (8, 8), (200, 100, 50, 128)[: len(mode)])
    with Image.open(made(tmp_path, saved(image, "PNG", icc_profile=p3_profile()))) as result:
        pixel: Any = result.getpixel((4, 4))
    assert pixel[:3] == pytest.approx((215, 93, 31), abs=5), "(200, 100, 50) in P3"
    assert len(pixel) == 3 or pixel[3] == 128


@pytest.mark.parametrize("size", [(256, 4), (4000, 4)])
def test_sixteen_bit_grey_keeps_its_shades(size: tuple[int, int], tmp_path: Path) -> None:
    row = b"\0" + b"".join(struct.pack(">H", x * 65535 // (size[0] - 1)) for x in range(size[0]))
    with Image.open(made(tmp_path, png_of(*size, 16, 0, row * size[1]))) as image:
        shades = [image.convert("L").getpixel((image.width * part // 8, 0)) for part in range(8)]
    assert shades == pytest.approx([part * 32 for part in range(8)], abs=4)


def test_transparency_survives(tmp_path: Path) -> None:
    image = halves("RGBA", (3000, 20))
    image.putalpha(0)
    with Image.open(made(tmp_path, saved(image, "PNG"))) as result:
        assert result.format == "PNG"
        assert result.getpixel((5, 5))[3] == 0  # type: ignore[index]


# ---- limits ----


def test_a_camera_s_picture_is_made_small(tmp_path: Path) -> None:
    photo = Image.radial_gradient("L").resize((4000, 3000)).convert("RGB")
    with Image.open(made(tmp_path, saved(photo, "JPEG", exif=notes(6)))) as image:
        assert image.size == (1152, 1536)


def noise(mode: str) -> bytes:
    """What compresses worst."""
    size = (350, 250)
    return saved(Image.frombytes(mode, size, random.Random(1).randbytes(size[0] * size[1] * len(mode))), "PNG")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("limit", [100_000, 25_000, 5_000])
def test_what_does_not_compress_gets_smaller_until_it_fits(mode: str, limit: int, tmp_path: Path) -> None:
    path = made(tmp_path, noise(mode), size=limit)
    assert path.suffix == ".jpg"
    with Image.open(path) as image:
        assert image.size == (350, 250) or limit < 100_000, "first the quality gives way, then the size"


def test_a_side_limit_of_its_own(tmp_path: Path) -> None:
    with Image.open(made(tmp_path, saved(halves(size=(1000, 10)), "PNG"), side=256)) as image:
        assert image.size == (256, 3)


# ---- no pictures ----

BROKEN: dict[str, Make] = {
    "nothing": lambda: b"",
    "text": lambda: b"hello, I am a picture",
    "a web page": lambda: b"<!doctype html><html><body><img src=x></body></html>",
    "svg: may name other files": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "eps: Pillow would start Ghostscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "pdf": lambda: b"%PDF-1.7\n1 0 obj<<>>endobj\n",
    "icon": lambda: saved(halves(size=(16, 16)), "ICO"),
    "a cut jpeg": lambda: saved(halves(size=(400, 200)), "JPEG")[:1500],
    "a cut png": lambda: noise("RGB")[:5000],
    "a cut png that would be taken as it is": lambda: saved(halves(), "PNG")[:-30],
    "a cut webp": lambda: frames("WEBP")[:60],
    "a cut heic": lambda: heic()[:400],
    "only a head": lambda: b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "gif of no size": lambda: b"GIF89a" + bytes(7),
    "an avif without a picture": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_picture_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        made(tmp_path, BROKEN[name]())
    assert caught.value.why.cause == "picture_unreadable"
    assert [path.name for path in tmp_path.iterdir()] == ["1.raw"]


BOMBS = {
    "above our limit": (9000, 9000, "picture_too_big"),
    "above what Pillow warns of": (10_000, 10_000, "picture_too_big"),
    "above what Pillow refuses": (60_000, 60_000, "picture_unreadable"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_not_unpacked(name: str, tmp_path: Path) -> None:
    width, height, cause = BOMBS[name]
    with pytest.raises(BadInput) as caught:
        made(tmp_path, png_of(width, height, rows=bytes(1000)))
    assert caught.value.why.cause == cause


@pytest.mark.filterwarnings("ignore")  # Pillow's about the damage
def test_mutilated_pictures_raise_nothing_else(tmp_path: Path) -> None:
    """Decoders raise more kinds of errors than they tell; a longer run of this found those in `_BROKEN`."""
    chance = random.Random(7)
    seeds = [
        saved(halves(), "JPEG", exif=notes(6)),
        saved(halves(), "PNG"),
        frames("GIF"),
        heic(),
        PICTURES["avif"][0](),
    ]
    for number in range(200):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
        (tmp_path / "raw").write_bytes(data[: chance.randint(1, len(data))] if chance.random() < 0.2 else data)
        try:
            normalise(tmp_path / "raw", tmp_path / "1", 32, 100_000)
        except BadInput:
            continue


# ---- the store ----


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReferenceStore]:
    transport = Transport(Trust())
    yield ReferenceStore(tmp_path / "references", transport, max_side=256, max_bytes=100_000)
    await transport.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "host" / "picture.png"
    path.parent.mkdir()
    path.write_bytes(FINE["png"]())
    return path


def contents(references: tuple[Reference, ...]) -> list[bytes]:
    return [Path(one.path).read_bytes() for one in references]


async def test_pictures_outlive_their_source(store: ReferenceStore, picture: Path) -> None:
    kept = await store.keep("job", [picture, FINE["jpeg"]()])
    picture.unlink()
    ready = await store.prepare("job", kept, 2)
    assert contents(ready) == [FINE["png"](), FINE["jpeg"]()]
    assert [one.mime for one in ready] == ["image/png", "image/jpeg"]


async def test_a_picture_on_the_same_disk_is_linked(store: ReferenceStore, picture: Path) -> None:
    [kept] = await store.keep("job", [picture])
    assert Path(kept.path).samefile(picture)


async def test_a_picture_on_another_disk_is_copied(
    store: ReferenceStore, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", link)
    [kept] = await store.keep("job", [picture])
    assert not Path(kept.path).samefile(picture)
    assert contents((kept,)) == [FINE["png"]()]


async def test_normalising_does_not_touch_the_source(store: ReferenceStore, picture: Path) -> None:
    """Source and kept file may be one: whatever is written must be another."""
    picture.write_bytes(PICTURES["turned right: most portraits"][0]())
    before = picture.read_bytes()
    await store.prepare("job", await store.keep("job", [picture]), 1)
    assert picture.read_bytes() == before


async def test_the_first_usable_pictures_are_taken(store: ReferenceStore) -> None:
    kept = await store.keep("job", [b"broken", FINE["png"](), b"", FINE["jpeg"](), FINE["grey jpeg"]()])
    assert contents(await store.prepare("job", kept, 2)) == [FINE["png"](), FINE["jpeg"]()]


async def test_all_broken_says_which(store: ReferenceStore) -> None:
    with pytest.raises(BadInput) as caught:
        await store.prepare("job", await store.keep("job", [b"broken", b""]), 1)
    assert (caught.value.why.cause, caught.value.why.facts) == ("picture_unreadable", {"which": "1, 2"})
    assert "UnidentifiedImageError" in caught.value.why.reason


async def test_a_picture_the_host_lost_is_not_passed_over_in_silence(store: ReferenceStore, tmp_path: Path) -> None:
    """Without it the request would go out without a picture, and be paid."""
    for gone in (tmp_path / "gone.jpg", tmp_path):
        kept = await store.keep("job", [gone])
        with pytest.raises(BadInput) as caught:
            await store.prepare("job", kept, 1)
        assert caught.value.why.cause == "picture_unreadable"


async def test_no_pictures_are_no_error(store: ReferenceStore) -> None:
    assert await store.prepare("job", await store.keep("job", []), 1) == ()


async def test_a_model_that_takes_none_gets_none(store: ReferenceStore) -> None:
    assert await store.prepare("job", await store.keep("job", [b"broken"]), 0) == ()


async def test_preparing_again_changes_nothing(store: ReferenceStore) -> None:
    ready = await store.prepare("job", await store.keep("job", [heic()]), 1)
    assert await store.prepare("job", ready, 1) == ready


async def test_a_crash_after_normalising_loses_no_picture(store: ReferenceStore) -> None:
    """The ledger still names the raw files, which are gone: the normalised ones stand beside them."""
    kept = await store.keep("job", [heic(), FINE["png"]()])
    ready = await store.prepare("job", kept, 2)
    assert await store.prepare("job", kept, 2) == ready


async def test_a_crash_while_normalising_starts_anew(store: ReferenceStore) -> None:
    """The raw file is still there, so what stands beside it may be half a file."""
    [kept] = await store.keep("job", [FINE["png"]()])
    Path(kept.path).with_suffix(".png").write_bytes(b"half")
    assert contents(await store.prepare("job", (kept,), 1)) == [FINE["png"]()]


async def test_a_full_disk_is_told_and_leaves_nothing(
    store: ReferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_bytes(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    kept = await store.keep("other", [heic()])
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(Misconfigured, match="disk"):
        await store.keep("job", [FINE["png"]()])
    with pytest.raises(Misconfigured, match="disk"):
        await store.prepare("other", kept, 1)
    assert not (tmp_path / "references" / "job").exists()


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = ReferenceStore(tmp_path / "file", Transport(Trust()), max_side=256, max_bytes=100_000)
    with pytest.raises(Misconfigured, match="disk"):
        await store.keep("job", [b"x"])


async def test_a_picture_behind_a_link(store: ReferenceStore, internet: Internet) -> None:
    internet["q4.qlogo.cn"] = PUBLIC
    async with ScriptedServer([answer(heic(), 200, "Content-Type: text/html")], [answer(b"no", 404)]) as server:
        link = Reference(url=server.link("/a", "q4.qlogo.cn"), avatar=True)
        [ready] = await store.prepare("job", await store.keep("job", [link]), 1)
        assert ready.mime == "image/jpeg"
        assert (ready.avatar, ready.url) == (True, link.url)
        with pytest.raises(BadInput) as caught:
            await store.prepare("other", [link], 1)
        assert caught.value.why.cause == "avatar_unavailable"


async def test_a_link_to_a_private_address_is_not_followed(store: ReferenceStore, internet: Internet) -> None:
    async with ScriptedServer([answer(FINE["png"]())]) as server:
        with pytest.raises(BadInput):
            await store.prepare("job", [Reference(url=server.link("/a.png"))], 1)
        assert server.connections == 0


async def test_a_link_to_something_endless(
    store: ReferenceStore, internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("core.references.SOURCE_LIMIT", MB)
    internet["a.example.com"] = PUBLIC
    async with ScriptedServer([answer(b"", length=-1), *[bytes(MB)] * 50]) as server:
        with pytest.raises(BadInput):
            await store.prepare("job", [Reference(url=server.link("/a", "a.example.com"))], 1)
    assert sum(path.stat().st_size for path in (tmp_path / "references" / "job").iterdir()) < 3 * MB


async def test_dropping_and_sweeping(store: ReferenceStore, tmp_path: Path) -> None:
    for job in ("one", "two", "three"):
        await store.keep(job, [b"x"])
    await store.drop("one")
    await store.drop("one")
    await store.sweep({"two"})
    assert [path.name for path in (tmp_path / "references").iterdir()] == ["two"]


async def test_sweeping_before_there_is_anything(store: ReferenceStore) -> None:
    await store.sweep(set())


async def test_the_loop_goes_on_while_a_picture_is_worked_on(store: ReferenceStore) -> None:
    data = saved(Image.effect_noise((3000, 2000), 90).convert("RGB"), "JPEG", quality=90, exif=notes(6))
    kept = await store.keep("job", [data])
    work = asyncio.create_task(store.prepare("job", kept, 1))
    longest, loop = 0.0, asyncio.get_running_loop()
    started = loop.time()
    while not work.done():
        begun = loop.time()
        await asyncio.sleep(0.005)
        longest = max(longest, loop.time() - begun)
    assert longest < (loop.time() - started) / 2


# ---- files with a link, pictures that come later ----


async def test_a_file_that_has_a_link_too_keeps_both(store: ReferenceStore, picture: Path) -> None:
    """An upstream that fetches gets the link, and the file is there all the same."""
    link = "https://img.example.com/a.png"
    [kept] = await store.keep("job", [Reference(path=str(picture), url=link, role=Role.LAST_FRAME)])
    picture.unlink()
    [ready] = await store.prepare("job", [kept], 1)
    assert (ready.url, ready.role) == (link, Role.LAST_FRAME)
    assert ready.mime
    assert Path(ready.path).exists()


async def test_more_pictures_go_behind_those_that_are_there(store: ReferenceStore) -> None:
    first = await store.keep("job", [b"a", b"b"])
    second = await store.keep("job", [b"c"], first=3)
    assert [Path(one.path).read_bytes() for one in (*first, *second)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(("first", "left"), [(1, 0), (3, 2)])
async def test_a_full_disk_takes_only_what_came_with_it(
    first: int, left: int, store: ReferenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.keep("job", [b"a", b"b"])

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Misconfigured, match="disk"):
        await store.keep("job", [b"c"], first=first)
    assert len(list((tmp_path / "references").rglob("*.raw"))) == left
