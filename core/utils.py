"""What a message holds for us: its pictures, the people it names, and its text without their names."""

import asyncio
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import aiohttp
from astrbot.api.event import AstrMessageEvent
from astrbot.api.message_components import At, BaseMessageComponent, File, Forward, Image, Node, Nodes, Reply

from .models import Reference

logger = logging.getLogger("astrbot")

PATIENCE = 10.0  # seconds for one question to a platform
_DEPTH = 3  # how deep a forward inside a forward is followed
_PICTURE_FILE = re.compile(r"\.(jpe?g|png|webp|gif|bmp|heic|avif)$", re.IGNORECASE)
_BOT_TOKEN = re.compile(r"/bot\d+:")  # Telegram's links hold the bot's own key: no upstream may see one


@dataclass(frozen=True)
class Found:
    """One image of a message.

    Attributes:
        avatar: it is only somebody's portrait.
        sender: the sender's own, for want of anything else.
        link: where it stands in the net; the host keeps only its own copy's path.
    """

    image: Image
    avatar: bool = False
    sender: bool = False
    link: str = ""


async def get_images_from_event(event: AstrMessageEvent, include_avatar: bool = True) -> list[Image]:
    """The images of one message: quoted ones, its own, the avatars of people it names; else the sender's avatar.

    Args:
        include_avatar: whether avatars count.
    """
    return [found.image for found in await find_images(event, mentioned=include_avatar, sender=include_avatar)]


async def find_images(event: AstrMessageEvent, *, mentioned: bool, sender: bool, links: bool = False) -> list[Found]:
    """As `get_images_from_event`, telling avatars from pictures.

    Args:
        mentioned: the avatars of people the message names count, in addition.
        sender: the sender's avatar counts where there is nothing else.
        links: also find out where the pictures stand in the net, where the platform tells.
    """
    chain = event.get_messages()
    found: list[Found] = []
    for reply in (part for part in chain if isinstance(part, Reply)):
        images = await _quoted_images(event, reply)
        segments = (await _ask(event, "get_msg", message_id=_number(reply.id))).get("message") if links else None
        found += _linked(images, _links_in_segments(segments))
    own = await _images_of(event, [part for part in chain if not isinstance(part, Reply)])
    found += _linked(own, _own_links(event) if links else [])
    if mentioned:
        for person in _mentioned(event):
            found += [Found(image, avatar=True) for image in await _avatar(event, person)]
    if sender and not found:
        found = [Found(image, avatar=True, sender=True) for image in await _avatar(event, event.get_sender_id())]
    return found


def text_without_mentions(event: AstrMessageEvent, text: str) -> str:
    """Take the names of people out of a text: adapters write ``@name(id)`` or ``@name`` where somebody was named."""
    for part in event.get_messages():
        if isinstance(part, At):
            name, person = " ".join(str(part.name or "").split()), str(part.qq)
            text = text.replace(f"@{name}({person})", " ")
            for written in filter(None, (person, name)):
                # A name of letters and digits ends where they end; where another ends, only a space can tell.
                end = r"(?![0-9A-Za-z_])" if re.fullmatch(r"[0-9A-Za-z_]+", written) else r"(?=\s|$)"
                text = re.sub(rf"@{re.escape(written)}{end}", " ", text)
    return " ".join(text.encode(errors="replace").decode().split())  # half an emoji cannot be saved


async def sources_of(found: Iterable[Found]) -> list[Path | bytes | Reference]:
    """What `ReferenceStore.keep` takes: the local file, the content, or the link of each image."""
    sources: list[Path | bytes | Reference] = []
    for one in found:
        refs = [ref for ref in (one.image.url, one.image.file, one.image.path) if ref]
        local = next((path for path in map(_local, refs) if os.path.isfile(path)), None)
        local = local or await _fetched_by_host(one)
        link = next((ref for ref in (*refs, one.link) if ref.startswith(("http://", "https://"))), "")
        if _BOT_TOKEN.search(link):
            link = ""
        if link:
            sources.append(Reference(path=str(local or ""), url=link, avatar=one.avatar))
        elif local:
            sources.append(local)
        elif inline := next((ref for ref in refs if ref.startswith(("base64://", "data:"))), None):
            sources.append(await asyncio.to_thread(_decoded, inline))
        elif refs:
            sources.append(_local(refs[0]))  # it is not there: whoever reads it says so
    return sources


async def _fetched_by_host(one: Found) -> Path | None:
    """A message's picture that older hosts leave as a link: they know their platforms' servers, and trust them."""
    if one.avatar or not (one.image.url or one.image.file or "").startswith(("http://", "https://")):
        return None
    try:
        return Path(await asyncio.wait_for(one.image.convert_to_file_path(), PATIENCE))
    except (TimeoutError, OSError, ValueError, aiohttp.ClientError) as error:
        logger.warning("a picture could not be fetched: %s", type(error).__name__)
        return None


def _local(ref: str) -> Path:
    """The path in a path or a ``file:`` URI."""
    return Path(url2pathname(urlsplit(ref).path) if ref.startswith("file:") else ref)


def _decoded(ref: str) -> bytes:
    import binascii

    try:
        return binascii.a2b_base64(ref.removeprefix("base64://").rpartition(",")[2])
    except binascii.Error:
        return b""


def _mentioned(event: AstrMessageEvent) -> list[str]:
    """Who the message names: not the bot, not everybody, each once."""
    people = (str(part.qq) for part in event.get_messages() if isinstance(part, At))
    return [person for person in dict.fromkeys(people) if person not in ("all", str(event.get_self_id()))]


async def _quoted_images(event: AstrMessageEvent, reply: Reply) -> list[Image]:
    images = await _images_of(event, reply.chain or [])
    if images or reply.chain:
        return images
    # The host leaves the chain empty when it could not read the message, or a line break follows the command.
    answer = await _ask(event, "get_msg", message_id=_number(reply.id))
    return await _images_in_segments(event, answer.get("message"))


async def _images_of(event: AstrMessageEvent, parts: Iterable[BaseMessageComponent], depth: int = 0) -> list[Image]:
    images: list[Image] = []
    for part in parts if depth < _DEPTH else ():
        if isinstance(part, Image):
            images.append(part)
        elif isinstance(part, File) and _PICTURE_FILE.search(part.name or ""):
            images.append(_picture_file(part))
        elif isinstance(part, Nodes):
            images += await _images_of(event, [inner for node in part.nodes for inner in node.content], depth + 1)
        elif isinstance(part, Node):
            images += await _images_of(event, part.content, depth + 1)
        elif isinstance(part, Forward):
            answer = await _ask(event, "get_forward_msg", id=part.id)
            for message in _objects(answer.get("messages")):
                segments = message.get("message") or message.get("content")
                images += await _images_in_segments(event, segments, depth + 1)
    return images


def _picture_file(file: File) -> Image:
    """A picture that was sent as a file, so that it keeps its quality. A link is fetched later, within our limits."""
    return Image(file=file.file_ or "", url=file.url or "")


async def _images_in_segments(event: AstrMessageEvent, segments: Any, depth: int = 0) -> list[Image]:
    """The images in a OneBot message."""
    images: list[Image] = []
    for segment in _objects(segments):
        [data] = _objects([segment.get("data")]) or [{}]
        if segment.get("type") == "image" and (data.get("url") or data.get("file")):
            images.append(Image(file=data.get("file") or "", url=data.get("url") or ""))
        elif segment.get("type") == "forward" and data.get("id"):
            images += await _images_of(event, [Forward(id=str(data["id"]))], depth)
        elif segment.get("type") == "node":
            images += await _images_in_segments(event, data.get("content"), depth + 1)
    return images


def _linked(images: list[Image], links: list[str]) -> list[Found]:
    """Images with their links; where their numbers differ, nobody knows which is whose."""
    paired = links if len(links) == len(images) else [""] * len(images)
    return [Found(image, link=link) for image, link in zip(images, paired, strict=True)]


def _own_links(event: AstrMessageEvent) -> list[str]:
    """Where the pictures of the message itself stand, as its platform delivered it."""
    raw: Any = event.message_obj.raw_message
    match event.get_platform_name():
        case "aiocqhttp" if isinstance(raw, dict):
            return _links_in_segments(raw.get("message"))
        case "discord":
            files = getattr(raw, "attachments", None) or []
            return [file.url for file in files if str(file.content_type).startswith("image/")]
    return []


def _links_in_segments(segments: Any) -> list[str]:
    """The pictures' links in a OneBot message."""
    pictures = (one.get("data") for one in _objects(segments) if one.get("type") == "image")
    return [str(data.get("url") or "") for data in _objects([*pictures])]


def _objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list that a bridge sent; nothing where it sent something else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


async def _ask(event: AstrMessageEvent, action: str, **params: Any) -> dict[str, Any]:
    """Ask a OneBot bridge; empty on other platforms and when it does not know."""
    bot = getattr(event, "bot", None)
    if event.get_platform_name() != "aiocqhttp" or bot is None:
        return {}
    import aiocqhttp.exceptions  # type: ignore[import-untyped]

    try:
        answer = await asyncio.wait_for(bot.call_action(action, **params, **routing(event)), PATIENCE)
    except (TimeoutError, OSError, LookupError, aiocqhttp.exceptions.Error) as error:
        logger.warning("%s was not answered: %s", action, type(error).__name__)
        return {}
    return answer if isinstance(answer, dict) else {}


def routing(event: AstrMessageEvent | None) -> dict[str, int]:
    """Which account a OneBot call is for: an adapter with several of them refuses one that does not say."""
    account = str(event.get_self_id()) if event else ""
    return {"self_id": int(account)} if account.isdigit() else {}


def _number(value: str | int) -> str | int:
    return int(value) if str(value).lstrip("-").isdigit() else value


async def _avatar(event: AstrMessageEvent, person: str) -> list[Image]:
    """Somebody's portrait, where the platform shows it to a bot."""
    platform = event.get_platform_name()
    if platform == "aiocqhttp" and person.isdigit():
        return [Image.fromURL(f"https://q4.qlogo.cn/headimg_dl?dst_uin={person}&spec=640")]
    if platform == "telegram" and person.isdigit():
        return await _telegram_avatar(event, int(person))
    if platform == "discord":
        return _discord_avatar(event, person)
    return []


async def _telegram_avatar(event: AstrMessageEvent, person: int) -> list[Image]:
    """The photo's content, because its link would hold the bot's token."""
    import telegram.error

    client: Any = getattr(event, "client", None)
    if client is None:
        return []
    try:
        async with asyncio.timeout(PATIENCE):
            photos = await client.get_user_profile_photos(person, limit=1)
            if not photos.photos:
                return []
            file = await photos.photos[0][-1].get_file()
            return [Image.fromBytes(bytes(await file.download_as_bytearray()))]
    except (TimeoutError, telegram.error.TelegramError) as error:
        logger.warning("the avatar could not be fetched: %s", type(error).__name__)
        return []


def _discord_avatar(event: AstrMessageEvent, person: str) -> list[Image]:
    raw: Any = event.message_obj.raw_message
    for one in (getattr(raw, "author", None), *(getattr(raw, "mentions", None) or ())):
        avatar = getattr(one, "display_avatar", None)
        if avatar and str(one.id) == person:
            return [Image.fromURL(avatar.url)]
    return []
