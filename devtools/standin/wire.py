"""What a protocol of the stand-in is, and how all of them read pictures and wishes."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from aiohttp import web
from PIL import Image

from devtools.film import open_picture

if TYPE_CHECKING:
    from .server import StandIn

LARGEST_PICTURE = 20 * 1024**2  # bytes


class Wire(Protocol):
    """One upstream's way of talking."""

    MODELS: tuple[str, ...]

    def __init__(self, stand_in: StandIn) -> None: ...

    def routes(self) -> list[web.RouteDef]: ...


class Rejected(Exception):
    """An order that the real upstream would not take either."""

    def __init__(self, message: str, code: str = "", param: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.param = message, code, param


async def read_json(request: web.Request) -> dict[str, Any]:
    """The body's JSON object.

    Raises:
        Rejected: it is none.
    """
    try:
        body = await request.json()
    except ValueError:
        raise Rejected("the body is not JSON", "invalid_json") from None
    if not isinstance(body, dict):
        raise Rejected("the body is no JSON object", "invalid_json")
    return body


async def linked_picture(link: Any, param: str) -> Image.Image:
    """The picture behind an address, or inside a data URI with base64.

    Raises:
        Rejected: there is nothing, or nothing that can be read; ``param`` is the field to blame.
    """
    if not isinstance(link, str) or not link:
        raise Rejected(f"{param} holds no picture", "empty_media", param)
    if link.startswith(("http://", "https://")):
        return await picture(await _download(link, param), param)
    head, _, payload = link.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise Rejected(f"{param} is neither an address nor a data URI with base64", "invalid_media", param)
    return await encoded_picture(payload, param)


async def encoded_picture(text: Any, param: str) -> Image.Image:
    """The picture in bare base64.

    Raises:
        Rejected: there is none.
    """
    if not isinstance(text, str) or not text:
        raise Rejected(f"{param} holds no picture", "empty_media", param)
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Rejected(f"{param} is not base64", "invalid_base64", param) from None
    return await picture(data, param)


async def picture(data: bytes, param: str) -> Image.Image:
    """The picture in a file.

    Raises:
        Rejected: it is none, or too large.
    """
    if len(data) > LARGEST_PICTURE:
        raise Rejected("the picture is too large", "invalid_media", param)
    try:
        return await asyncio.to_thread(open_picture, data)
    except ValueError as error:
        raise Rejected(str(error), "invalid_media", param) from None


async def _download(link: str, param: str) -> bytes:
    try:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(link, raise_for_status=True) as answer:
            data = bytearray()
            async for piece in answer.content.iter_chunked(65536):
                data += piece
                if len(data) > LARGEST_PICTURE:
                    break
            return bytes(data)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Rejected(f"the picture cannot be fetched: {error}", "invalid_media", param) from None


def one_of(wish: Any, offered: Collection[Any], param: str, code: str = "invalid_value") -> None:
    """See that a wish is offered; none at all always is.

    Raises:
        Rejected: it is not.
    """
    if wish is not None and wish not in offered:
        raise Rejected(f"{param} is one of {', '.join(map(str, offered))}", code, param)


def ratio_of(wish: str | None) -> float | None:
    """``"16:9"`` or ``"1280x720"`` as width to height."""
    if wish is None:
        return None
    width, height = map(int, wish.replace("x", ":").split(":"))
    return width / height


def short(seconds: float) -> float:
    """How long the clip is that passes for one of so many seconds: a stand-in is allowed to be short."""
    return min(max(seconds, 3), 6)
