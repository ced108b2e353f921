"""In which forms a video is offered to a platform, in which order, and how large it may be.

Some adapters drop what they cannot send and still report success, so this is a table, decided before anything is sent
(docs/behaviour.md §6).
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .transport import MB


class Form(StrEnum):
    """In what form a video is handed to an adapter."""

    URL = "url"  # a Video of a link, which the other side fetches
    FILE = "file"  # a Video of a local file, by its path
    SERVICE = "service"  # a Video of a link to the host's file service, which the other side fetches once
    STREAM = "stream"  # a Video of a file that was handed to the bridge in pieces before
    BASE64 = "base64"  # a Video with its content inside the message
    ATTACHMENT = "attachment"  # a File
    LINK = "link"  # the link as text


BASE64_LIMIT = 20 * MB


@dataclass(frozen=True)
class Platform:
    """How one kind of adapter takes videos.

    Attributes:
        forms: best first.
        video_limit, file_limit: bytes that a Video and a File may have; None = not known.
        quotes: a text may quote the person's message.
    """

    forms: tuple[Form, ...]
    video_limit: int | None = None
    file_limit: int | None = None
    quotes: bool = False


_UPLOADS = (Form.FILE, Form.ATTACHMENT, Form.LINK)
_EITHER = (Form.FILE, Form.URL, Form.ATTACHMENT, Form.LINK)
_FILES_ONLY = (Form.ATTACHMENT, Form.LINK)  # their adapters ignore a Video, or what older hosts make of it
PLATFORMS: dict[str, Platform] = {
    "aiocqhttp": Platform(tuple(Form), video_limit=100 * MB, quotes=True),
    "telegram": Platform(_UPLOADS, video_limit=50 * MB, file_limit=50 * MB, quotes=True),
    "webchat": Platform(_UPLOADS),
    "discord": Platform(_FILES_ONLY, file_limit=10 * MB, quotes=True),
    "slack": Platform(_FILES_ONLY),
    "misskey": Platform(_FILES_ONLY),
    "lark": Platform(_EITHER, video_limit=30 * MB, file_limit=30 * MB, quotes=True),
    "kook": Platform(_EITHER),
    "satori": Platform(_EITHER),
    "mattermost": Platform(_EITHER),
    "wecom": Platform(_EITHER, video_limit=10 * MB, file_limit=20 * MB),
    "weixin_oc": Platform(_EITHER),
    "qq_official": Platform(_EITHER, video_limit=10 * MB, file_limit=10 * MB),
    "qq_official_webhook": Platform(_EITHER, video_limit=10 * MB, file_limit=10 * MB),
    "line": Platform((Form.URL, Form.SERVICE, Form.LINK)),
    "dingtalk": Platform(_UPLOADS, video_limit=20 * MB, file_limit=20 * MB),
    "weixin_official_account": Platform((Form.LINK,)),
    "wecom_ai_bot": Platform((Form.LINK,)),
}
_STRANGER = Platform(_FILES_ONLY)
# Their adapters want a cover picture, make it with ffmpeg, and where that fails drop the Video without a word.
_COVERED = {"dingtalk", "line"}


def platform_of(name: str) -> Platform:
    """How this kind of adapter takes videos; one that we do not know gets a file, then the link."""
    return PLATFORMS.get(name, _STRANGER)


def takes_videos(name: str) -> bool:
    """Whether a file of ours is offered to it as a Video before it is one as a File."""
    return Form.FILE in platform_of(name).forms


def planned(
    name: str,
    *,
    mode: Literal["auto", "url", "file"] = "auto",
    link: str | None = None,
    public_base: str = "",
    refused: Collection[str] = (),
    ffmpeg: bool = True,
) -> list[Form]:
    """The forms to try, best first; the link as text is always the last.

    Args:
        name: kind of adapter.
        mode: the panel's ``send_mode``.
        link: as a chat may see it.
        public_base: the host's ``callback_api_base``.
        refused: forms that this very platform refused the last time; they come last.
        ffmpeg: whether it is installed here.
    """
    forms = [form for form in platform_of(name).forms if _possible(form, name, link or "", public_base)]
    if name in _COVERED and not ffmpeg:
        forms = [form for form in forms if form in (Form.ATTACHMENT, Form.LINK)]
    match mode:
        case "url" if link:
            forms = [form for form in forms if form in (Form.URL, Form.LINK)]
        case "file":
            forms = [form for form in forms if form is not Form.URL]
    return sorted(forms, key=lambda form: (form is Form.LINK, form in refused))


def _possible(form: Form, name: str, link: str, public_base: str) -> bool:
    match form:
        case Form.URL if name == "line":  # it shows a cover besides, by a link of the host's file service
            return link.startswith("https://") and public_base.startswith("https://")
        case Form.URL:
            return bool(link)
        case Form.LINK:
            return bool(link)
        case Form.SERVICE:
            return public_base.startswith("https://") or bool(public_base and name != "line")
        case Form.BASE64:
            return not public_base  # the host would put a link in its place
    return True


def limit_of(name: str, form: Form) -> int | None:
    """How many bytes a video may have in this form; None = not known, or no matter."""
    if form is Form.BASE64:
        return BASE64_LIMIT
    if form is Form.LINK:
        return None
    platform = platform_of(name)
    return platform.file_limit if form is Form.ATTACHMENT else platform.video_limit


def mapped(path: str, mapping: Collection[tuple[str, str]]) -> str:
    """A path as the other side sees it, where it mounts our folders elsewhere."""
    for ours, theirs in mapping:
        if path == ours or path.startswith(f"{ours}/"):
            return theirs + path[len(ours) :]
    return path
