"""An answer → the link of the video in it. Pure, and linear in the size of the answer, however hostile.

The rules and the reason for each are in upstreams.md §9: typed fields win over text; in a text, elements win over
links and links over bare URLs; what a URL is, its path's extension says, and a URL without one needs a witness.
"""

import base64
import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from . import words

VIDEO_TYPES = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
}
_NOT_VIDEO = frozenset(
    "jpg jpeg png webp gif bmp svg avif heic ico htm html css js json txt xml md pdf zip mp3 wav m3u8".split()  # noqa: SIM905 (a list of words reads best as words)
)

_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos|#\d{1,6}|#x[0-9a-f]{1,5});", re.IGNORECASE)
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_INLINE = re.compile(r"data:video/[\w.+-]+;base64,[\w+/=-]+", re.ASCII)
# [^<>] keeps a tag from running into the next one: that is what makes the scan linear.
_TAG = re.compile(r"<(video|source|a)\b([^<>]*)>([^<]{0,80})", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?<![\w-])(src|href)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.IGNORECASE)
_URL_END = r"""\s"'<>\\`\u0080-\U0010ffff"""
_LONGEST = 8192  # no server takes a longer URL; text that goes on is something else
_MOST = 2000  # candidates looked at: an answer with more of them is not an answer
# (?i:…) around the scheme only: without case, the range above ASCII would swallow i, k and s (U+0131, U+212A, U+017F).
_TARGET = re.compile(rf"\]\(\s*<?((?i:https?:)?/[^{_URL_END}\[\]]{{1,{_LONGEST}}})")
_BARE = re.compile(rf"(?i:https?)://[^{_URL_END}]{{1,{_LONGEST}}}")
_RELATIVE = re.compile(rf"/[^{_URL_END}]+")
_SERVED = re.compile(r"/files/video$|/media/videos/[^/]+$|/videos/[^/]+/content$")

_LINK_KEYS = ("upsample_video_url", "video_url", "videoUrl", "result_url", "file_url", "output_url")
_PLAIN_KEYS = ("url", "uri", "gcsUri")
_CONTAINERS = (
    "data", "output", "outputs", "result", "results", "task_result", "metadata", "response", "generateVideoResponse",
    "generatedSamples", "content", "detail",
)  # fmt: skip


def from_text(text: str, root: str) -> str | None:
    """Find the video's link in what a model wrote.

    Args:
        text: the whole content, streamed pieces joined.
        root: the API's address without ``/v1``; relative links are resolved against it.
    """
    text = _unescape(without_thoughts(text))
    if inline := _INLINE.search(text):
        return inline[0]
    tags = list(islice(_TAG.finditer(text), _MOST))
    for candidates in (_elements(tags), _embedded_json(text, root), _anchors(tags), _targets(text), _bare(text)):
        for url in candidates:
            return resolve(url, root)
    whole = text.strip()
    if _RELATIVE.fullmatch(whole) and (_extension(whole) in VIDEO_TYPES or _served_as_video(whole)):
        return resolve(whole, root)
    return None


def from_json(value: Any, root: str) -> str | None:
    """Find the video's link in the typed fields of an answer: a chat message, a job, an operation.

    Input pictures, covers and requests echoed in the answer are never looked at.
    """
    if isinstance(value, list):
        return next((url for item in value if (url := from_json(item, root))), None)
    if not isinstance(value, dict):
        return None
    for key in _LINK_KEYS:
        if url := _typed(value.get(key)):
            return resolve(url, root)
    for key in ("video", "videos"):
        for item in _as_list(value.get(key)):
            if url := _typed(item):
                return resolve(url, root)
    is_job = any(key in value for key in ("status", "object", "format"))
    for key in (*_PLAIN_KEYS, "output", "fail_reason"):
        url = _typed(value.get(key))
        if url and (_is_video(url) or (is_job and key == "url")):
            return resolve(url, root)
    return next((url for key in _CONTAINERS if (url := from_json(value.get(key), root))), None)


def content_link(job: Any, root: str) -> str | None:
    """A finished OpenAI-style job without any link stands at ``/content``, behind the key (upstreams.md §5)."""
    if not isinstance(job, dict) or job.get("object") != "video" or job.get("status") != "completed":
        return None
    return f"{root}/v1/videos/{job['id']}/content" if job.get("id") else None


def needs_key(url: str, root: str) -> bool:
    """Whether fetching this link takes the API key, so that no chat must ever get to see it."""
    path = urlsplit(url).path
    return same_origin(url, root) and (path.endswith("/content") or path.endswith(":download"))


def same_origin(url: str, other: str) -> bool:
    """Whether two addresses share scheme, host and port."""
    return origin(url) == origin(other)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; an unreadable one belongs nowhere."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", "", None


def resolve(url: str, root: str) -> str:
    """Make a link absolute. A gateway that does not know its own address gives paths: they hang on our root."""
    if re.match(r"[a-z][\w+.-]*:", url, re.IGNORECASE):
        return url
    if url.startswith("//"):
        return f"{urlsplit(root).scheme or 'https'}:{url}"
    parts = urlsplit(root)
    path = f"/{url.removeprefix('./').lstrip('/')}"
    if parts.path and path.startswith(f"{parts.path}/"):
        root = f"{parts.scheme}://{parts.netloc}"
    return root + path


def _unescape(text: str) -> str:
    """Undo HTML escaping, twice if need be; only with semicolon, because ``&copy=1`` is a parameter."""
    for _ in range(3):
        if "&" not in text:
            break
        text, changes = _ENTITY.subn(_entity, text)
        if not changes:
            break
    return text


def _entity(match: re.Match[str]) -> str:
    name = match[1].lower()
    if name.startswith("#"):
        number = int(name[2:], 16) if name[1] == "x" else int(name[1:])
        return chr(number) if 32 <= number < 0xD800 else match[0]
    return _ENTITIES[name]


def without_thoughts(text: str) -> str:
    """Drop closed ``<think>`` blocks; one that is never closed is only a marker (grok2api era A)."""
    kept, at = [], 0
    while (start := text.find("<think>", at)) >= 0 and (end := text.find("</think>", start)) >= 0:
        kept.append(text[at:start])
        at = end + len("</think>")
    return "".join((*kept, text[at:]))


def _elements(tags: list[re.Match[str]]) -> Iterator[str]:
    for tag in tags:
        if tag[1].lower() != "a":
            for url in _attribute(tag[2], "src"):
                if _extension(url) not in _NOT_VIDEO:
                    yield url


def _anchors(tags: list[re.Match[str]]) -> Iterator[str]:
    for tag in tags:
        if tag[1].lower() == "a":
            for url in _attribute(tag[2], "href"):
                if _is_video(url) or (not _extension(url) and _says_video(tag[3])):
                    yield url


def _attribute(attributes: str, name: str) -> Iterator[str]:
    for match in _ATTRIBUTE.finditer(attributes):
        url = _clean(match[2] or match[3] or match[4] or "")
        if match[1].lower() == name and re.match(r"https?://|/|\./|[\w-]+/", url, re.IGNORECASE):
            yield url


def _targets(text: str) -> Iterator[str]:
    """Markdown links ``[label](target "title")``."""
    for match in islice(_TARGET.finditer(text), _MOST):
        url = _clean(_balanced(match[1]))
        label = text[max(0, match.start() - 80) : match.start()].rpartition("[")[2]
        if _is_link(url) and (_is_video(url) or (not _extension(url) and _says_video(label))):
            yield url


def _bare(text: str) -> Iterator[str]:
    """Links that just stand there; one that is introduced as the input comes last."""
    inputs = []
    for match in islice(_BARE.finditer(text), _MOST):
        for url in _unglued(_clean(match[0])):
            if _is_video(url):
                if any(word in text[max(0, match.start() - 16) : match.start()].lower() for word in words.INPUT_LABELS):
                    inputs.append(url)
                else:
                    yield url
    yield from inputs


def _unglued(run: str) -> list[str]:
    """Two links with nothing between them: ``…/a.mp4https://…``."""
    second = run.find("http", 8)
    if second > 0 and _extension(run[:second]) in VIDEO_TYPES and run[second:].startswith(("http://", "https://")):
        return [run[:second], run[second:]]
    return [run]


def _embedded_json(text: str, root: str) -> Iterator[str]:
    """The whole text, or a fenced block of it, is JSON."""
    blocks = [text.strip()]
    fence = text.find("```")
    if fence >= 0:
        blocks.append(text[fence + 3 : text.find("```", fence + 3)].removeprefix("json").strip())
    for block in blocks:
        if block[:1] in ("{", "["):
            try:
                found = from_json(json.loads(block), root)
            except (ValueError, RecursionError):
                continue
            if found:
                yield found


def _typed(value: Any) -> str | None:
    """A link in a field that is meant for one."""
    if isinstance(value, dict):
        inline = value.get("bytesBase64Encoded")
        if isinstance(inline, str) and inline:
            return f"data:{value.get('mimeType') or 'video/mp4'};base64,{inline}"
        return next((url for key in _PLAIN_KEYS if (url := _typed(value.get(key)))), None)
    if not isinstance(value, str):
        return None
    url = value.strip()
    if url.startswith(("data:video/", "gs://")):
        return url
    return url if _is_link(url) and _extension(url) not in _NOT_VIDEO else None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_link(url: str) -> bool:
    return re.match(r"(https?:)?//[\w\[]|/[^/\s]", url, re.IGNORECASE) is not None


def _is_video(url: str) -> bool:
    return _extension(url) in VIDEO_TYPES or _served_as_video(url)


def _served_as_video(url: str) -> bool:
    """Routes that are known to serve videos without an extension (grok2api, new-api)."""
    if _extension(url):
        return False
    path = _path(url)
    if _SERVED.search(path):
        return "id=" in url if path.endswith("/files/video") else True
    name = path.rpartition("/")[2]
    if path.endswith(f"/images/{name}") and name.startswith("p_") and len(name) < 4096:
        try:
            stored = base64.urlsafe_b64decode(name[2:] + "=" * (-len(name[2:]) % 4)).decode("ascii")
        except ValueError:
            return False
        return _extension(stored) in VIDEO_TYPES
    return False


def is_video_file(url: str) -> bool:
    """Whether the path's extension is a video's."""
    return _extension(url) in VIDEO_TYPES


def _path(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


def _extension(url: str) -> str:
    """Lower-case extension of the path's last part; the query and the host do not count."""
    path = _path(url).rpartition("://")[2]
    if "/" not in path:
        return ""
    match = re.search(r"\.([A-Za-z0-9]{2,5})$", path[-64:])
    return match[1].lower() if match else ""


def _says_video(label: str) -> bool:
    label = label.lower()
    return any(word in label for word in words.VIDEO_LABELS) and not any(word in label for word in words.OTHER_LABELS)


def _clean(url: str) -> str:
    """End a URL where it ends: before quotes, brackets of the sentence, its punctuation."""
    url = re.split(rf"[{_URL_END}]", url.strip()[: _LONGEST + 1], maxsplit=1)[0]
    if len(url) > _LONGEST:
        return ""
    end = len(url)
    surplus = {closing: url.count(closing) - url.count(opening) for opening, closing in ("()", "[]", "{}")}
    while end and (url[end - 1] in ".,;:!?*" or surplus.get(url[end - 1], 0) > 0):
        end -= 1
        if url[end] in surplus:
            surplus[url[end]] -= 1
    return url[:end]


def _balanced(run: str) -> str:
    """Cut a Markdown target at the parenthesis that closes it."""
    depth = 0
    for at, char in enumerate(run):
        if char == "(":
            depth += 1
        elif char == ")":
            if not depth:
                return run[:at]
            depth -= 1
    return run
