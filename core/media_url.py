"""An answer → the link of the video in it. Pure, and linear in the size of the answer, however hostile.

The rules and the reason for each are in upstreams.md §9: typed fields win over text; in a text, elements win over
links; what a URL is, its path's extension says, and a URL without one needs a witness.
"""

import base64
import json
import re
from collections.abc import Collection, Iterator
from html.entities import html5
from itertools import chain, islice
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from . import words

VIDEO_TYPES = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})
_NOT_VIDEO = frozenset(
    "jpg jpeg png webp gif bmp svg avif heic ico htm html css js json txt xml md pdf zip mp3 wav m3u8".split()  # noqa: SIM905 (a list of words reads best as words)
)

_LONGEST = 8192  # no server takes a longer URL; text that goes on is something else
_MOST = 2000  # candidates looked at: an answer with more of them is not an answer
_DEEPEST = 32  # containers in containers

_ENTITY = re.compile(r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
# What JSON and Markdown put before characters that belong to a link or to an element around it.
_ESCAPES = {r"\"": '"', r"\/": "/", r"\_": "_", r"\u0026": "&", r"\u003d": "=", r"\u003c": "<", r"\u003e": ">"}
_THINK = re.compile(r"<(/?)think(?:ing)?\b[^<>]{0,80}>", re.IGNORECASE)

_URL_END = r"""\x00-\x20\x7f"'<>\\`|^\u0080-\U0010ffff"""
# (?i:…) around the scheme only: without case, the range above ASCII would swallow i, k and s (U+0131, U+212A, U+017F).
# Patterns begin with plain characters, scheme looked up behind them: so the search for them runs at memory speed.
_BARE = re.compile(rf"://(?i:(?<=http://)|(?<=https://))[\w\[][^{_URL_END}]{{1,{_LONGEST}}}")
_GLUED = re.compile(r"(?<=[\w,;)\]}])(?=https?://)", re.IGNORECASE)  # behind / = ? & a second link is a parameter
_TARGET = re.compile(rf"\s{{0,8}}<?((?:(?i:https?:)?/|\.{{1,2}}/)[^{_URL_END}]{{1,{_LONGEST}}})")
_PATH = re.compile(rf"/(?<![^\sn]/)[^{_URL_END}/][^{_URL_END}]{{1,{_LONGEST}}}+(?=\s|\\n|$)")
_INLINE = re.compile(r"data:video/[\w.+-]{1,40}(?:;[\w.+=,-]{1,60}){0,3};base64,[\w+/=-]+", re.ASCII)

# [^<>] keeps a tag from running into the next one: that is what makes the scan linear.
_TAG = re.compile(r"<(video|source|a)\b([^<>]*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?<![\w-])(src|href|type)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.IGNORECASE)
_SRC = re.compile(r"https?://[\w\[]|/|\.{1,2}/|[\w-]+/", re.IGNORECASE)
_FENCE_HEAD = re.compile(r"\s*\w{0,10}\s*")

_SERVED = re.compile(r"/files/videos?(?:/[^/.]+)?$|/media/videos/[^/]+$|/videos/[^/]+/(?:content|download)$")
_BEHIND_KEY = re.compile(r"/content/?$|:download$|/videos/[^/]+/download/?$")
_PICTURES = re.compile(r"/(?:images?|img|pictures?|thumb\w*|covers?|posters?|previews?)(?:/|$)", re.IGNORECASE)
_INNER = re.compile(r"[?&][\w-]{1,40}=(https?(?::|%3A)(?:/|%2F){2}[^&#]+)", re.IGNORECASE)
_SNAPSHOT = re.compile(r"[?&](?:x-oss-process=video/snapshot|ci-process=snapshot|vframe/)", re.IGNORECASE)

# Names are compared without case, - and _: upstreams agree on the words, not on their spelling.
_LINK_KEYS = (
    "upsamplevideourl", "videourl", "videouri", "videolink", "resulturl", "fileurl", "outputurl", "downloadurl",
    "playurl", "mediaurl", "outputvideo", "resulturls", "fileurls",
)  # fmt: skip
_VIDEO_KEYS = ("video", "videos", "videourls", "outputvideos")
_PLAIN_KEYS = ("url", "uri", "gcsuri")
_JOB_KEYS = ("status", "state", "taskstatus", "format")
_CONTAINERS = (
    "data", "output", "outputs", "result", "results", "taskresult", "metadata", "response", "generatevideoresponse",
    "generatedsamples", "content", "detail", "file", "files", "media", "assets", "attachments", "items", "generations",
    "creations", "urls",
)  # fmt: skip


class _Found(NamedTuple):
    """A link in a text.

    Attributes:
        label: what its own words say that it is.
        intro: the words just before it.
    """

    url: str
    label: str
    intro: str


def from_text(text: str, root: str) -> str | None:
    """Find the video's link in what a model wrote.

    Args:
        text: the whole content, streamed pieces joined.
        root: the API's address without ``/v1``; relative links are resolved against it.
    """
    text = without_thoughts(_unescape(text))
    if inline := _INLINE.search(text):
        return inline[0]
    tags = list(islice(_TAG.finditer(text), _MOST))
    links = chain(_elements(text, tags), _embedded_json(text), _linked(text, tags), _lines(text), _alone(text))
    return next((link for url in links if (link := _absolute(url, root))), None)


def from_json(value: Any, root: str) -> str | None:
    """Find the video's link in the typed fields of an answer: a chat message, a job, an operation.

    Input pictures, covers and requests echoed in the answer are never looked at.
    """
    return next((link for url in _in_json(value) if (link := _absolute(url, root))), None)


def content_link(job: Any, root: str) -> str | None:
    """A finished OpenAI-style job without any link stands at ``/content``, behind the key (upstreams.md §5)."""
    if not isinstance(job, dict) or job.get("object") != "video" or job.get("status") != "completed":
        return None
    return f"{root}/v1/videos/{job['id']}/content" if job.get("id") else None


def needs_key(url: str, root: str) -> bool:
    """Whether fetching this link takes the API key, so that no chat must ever get to see it."""
    return same_origin(url, root) and _BEHIND_KEY.search(_path(url)) is not None


def at_home(url: str, root: str, ids: Collection[str]) -> str | None:
    """A job's ``/content`` at our own root, where the gateway named itself otherwise: new-api puts a setting of its own
    there, which is often ``localhost``.

    Args:
        ids: what the job is called.
    """
    found = re.search(r"/v1/videos/([^/]+)/content/?$", _path(url))
    return f"{root}/v1/videos/{found[1]}/content" if found and unquote(found[1]) in ids else None


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
    parts = urlsplit(root)
    if url.startswith("//"):
        return f"{parts.scheme or 'https'}:{url}"
    path = "/" + re.sub(r"^(?:\.{1,2}/)*/*", "", url)
    if parts.path and path.startswith(f"{parts.path}/"):
        root = f"{parts.scheme}://{parts.netloc}"
    return root + path


def is_video(url: str) -> bool:
    """Whether a URL alone shows that a video is behind it: by its extension, or by a route that serves nothing else."""
    return (_extension(url) in VIDEO_TYPES or _served_as_video(url)) and not _is_snapshot(url)


def without_thoughts(text: str) -> str:
    """Drop closed ``<think>`` blocks; one that is never closed is only a marker (grok2api era A).

    A text that closes a block it never opened began inside one: chat templates that open it leave only its end.
    """
    kept: list[str] = []
    at, start = 0, None
    for tag in islice(_THINK.finditer(text), 20 * _MOST):
        if not tag[1]:
            start = tag.start() if start is None else start
        elif start is not None or at == 0:
            kept.append(text[at : start or at])
            at, start = tag.end(), None
    return "".join((*kept, text[at:]))


def _absolute(url: str, root: str) -> str | None:
    """The link as it can be fetched; None for what only looks like one."""
    link = resolve(url, root)
    if link.startswith(("data:video/", "gs://")):
        return link
    scheme, host, _ = origin(link)
    return link if scheme in ("http", "https") and host else None


def _unescape(text: str) -> str:
    """Undo HTML escaping, twice if need be; only with semicolon, because ``&copy=1`` is a parameter."""
    for escaped, plain in _ESCAPES.items() if "\\" in text else ():
        text = text.replace(escaped, plain)
    for _ in range(3):
        if "&" not in text:
            break
        text, changes = _ENTITY.subn(_entity, text, count=20 * _MOST)
        if not changes:
            break
    return text


def _entity(match: re.Match[str]) -> str:
    name = match[1]
    if not name.startswith("#"):
        return html5.get(f"{name};") or html5.get(f"{name.lower()};") or match[0]
    number = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(number) if 32 <= number < 0xD800 else " "


# ---- in a text ----


def _elements(text: str, tags: list[re.Match[str]]) -> Iterator[str]:
    for tag in tags:
        if tag[1].lower() == "a" or _says(_intro(text, tag.start()), _INPUT):
            continue
        attributes = _attributes(tag[2])
        url = attributes.get("src", "")
        other = attributes.get("type", "").startswith(("audio/", "image/"))
        if _SRC.match(url) and _extension(url) not in _NOT_VIDEO and not other:
            yield url


def _attributes(attributes: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _ATTRIBUTE.finditer(attributes):
        quoted = (match[2] or match[3] or "").strip().partition("\\")[0].replace(" ", "%20")
        value = quoted or _clean(match[4] or "")
        if len(value) <= _LONGEST:
            found.setdefault(match[1].lower(), value)
    return found


def _embedded_json(text: str) -> Iterator[str]:
    """The whole text, a fenced block of it, or what stands in its outermost braces, is JSON."""
    blocks = [text, *text.split("```", 40)[1::2], text[text.find("{") : text.rfind("}") + 1]]
    for block in blocks:
        block = _FENCE_HEAD.sub("", block, count=1).rstrip()
        if block[:1] in ("{", "["):
            try:
                found = json.loads(block)
            except (ValueError, RecursionError):
                continue
            yield from _in_json(found)


def _linked(text: str, tags: list[re.Match[str]]) -> list[str]:
    """Links, the surest first: videos by their path, then those whose words say that they lead to one."""
    found = chain(_anchors(text, tags), _targets(text), _bare(text))
    ranked = sorted((rank, number, one.url) for number, one in enumerate(found) if (rank := _rank(one)))
    return [url for _, _, url in ranked]


def _rank(one: _Found) -> int:
    """How sure it is that this link leads to the video; 0 = not at all, else 1 is the surest."""
    if not one.url or _says(f"{one.label} {one.intro}", _INPUT):
        return 0
    named = one.label or (one.intro if one.intro.endswith((":", "：")) else "")
    if is_video(one.url):
        return 2 if _says(named or one.intro, _OTHER) else 1
    if _is_something_else(one.url) or _says(named, _OTHER):
        return 0
    if (inner := _INNER.search(one.url)) and is_video(unquote(inner[1])):
        return 3  # a redirector
    return 3 if _says(named, _FILE) else 4 if _says(named, _VIDEO) else 0


def _anchors(text: str, tags: list[re.Match[str]]) -> Iterator[_Found]:
    for tag in tags:
        if tag[1].lower() == "a":
            inner = re.split(r"</a\b", text[tag.end() : tag.end() + 200], maxsplit=1, flags=re.IGNORECASE)[0]
            url = _attributes(tag[2]).get("href", "")
            if _SRC.match(url):
                yield _Found(url, re.sub(r"<[^<>]*>", " ", inner).strip(), _intro(text, tag.start()))


def _targets(text: str) -> Iterator[_Found]:
    """Markdown links ``[label](target "title")``."""
    for sign in islice(re.finditer(r"\]\(", text), _MOST):
        at = sign.start()
        match = _TARGET.match(text, at + 2)
        if match and len(match[1]) <= _LONGEST:
            label = text[max(0, at - 80) : at].rpartition("[")[2]
            yield _Found(_clean(_balanced(match[1])), label, _intro(text, at - len(label) - 1))


def _bare(text: str) -> Iterator[_Found]:
    """Links that just stand there, two of them perhaps with nothing between."""
    for match in islice(_BARE.finditer(text), _MOST):
        if len(match[0]) > _LONGEST:
            continue
        at = match.start() - (5 if text[match.start() - 1] in "sS" else 4)
        for run in _GLUED.split(text[at : match.end()]):
            yield _Found(_clean(run), "", _intro(text, at))
            at += len(run)


def _intro(text: str, at: int) -> str:
    """The last words before a place, within their sentence."""
    before = text[max(0, at - 40) : max(0, at)].rstrip(" \t\r\n`*_~(<[（「『【")
    return re.split(r"\S*/\S*|[\n<>，。；,;!！?？]|\.\s", before)[-1]


def _lines(text: str) -> Iterator[str]:
    """Lines that are a path and nothing else: a gateway that does not know its own address."""
    for match in islice(_PATH.finditer(text), _MOST):
        before = text[max(0, match.start() - 80) : match.start()].rstrip(" \t")
        url = _clean(match[0])
        if (not before or before.endswith(("\n", "\\n"))) and is_video(url):
            yield url


def _alone(text: str) -> Iterator[str]:
    """A text that is one link and nothing else; a home page is none of those."""
    if len(text) <= 2 * _LONGEST:
        whole = text.replace("\\n", " ").strip(" \t\r\n<>`*\"'")
        url = _clean(whole)
        is_link = url == whole and re.match(r"https?://[\w\[]", url, re.IGNORECASE)
        if is_link and _path(url).count("/") >= 4 and not _is_something_else(url):
            yield url


# ---- in typed fields ----


def _in_json(value: Any, depth: int = 0, is_job: bool = False) -> Iterator[str]:
    """Links in an answer, the surest first.

    Args:
        is_job: it belongs to something that has a status: then its plain ``url`` is the result.
    """
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value[:_MOST]:
            if isinstance(item, dict | list):
                yield from _in_json(item, depth + 1, is_job)
            elif (url := _typed(item)) and is_video(url):
                yield url
        return
    if not isinstance(value, dict):
        return
    fields = {str(key).replace("_", "").replace("-", "").lower(): item for key, item in value.items()}
    kinds = [str(fields.get(key, "")) for key in ("type", "mimetype", "contenttype")]
    is_job |= any(key in fields for key in _JOB_KEYS) or not str(fields.get("object", "chat")).startswith("chat")
    sure = any(kind.startswith("video") for kind in kinds)
    unsure = any(kind.startswith(("image", "audio", "thumb", "cover", "poster", "preview")) for kind in kinds)
    for key in _LINK_KEYS:
        links = fields.get(key)
        for link in links[:_MOST] if isinstance(links, list) else [links]:
            if url := _typed(link):
                yield url
    for key in _VIDEO_KEYS:
        videos = fields.get(key)
        for item in videos[:_MOST] if isinstance(videos, list) else [videos]:
            if isinstance(item, dict) and item.get("respect_moderation") is False:
                continue  # xAI: what is there is not to be shown
            if url := _typed(item):
                yield url
            else:
                yield from _in_json(item, depth + 1, is_job)
    for key in (*_PLAIN_KEYS, "output", "failreason"):
        url = _typed(fields.get(key))
        if url and (is_video(url) or (key in _PLAIN_KEYS and sure) or (key == "url" and is_job and not unsure)):
            yield url
    for key in _CONTAINERS:
        yield from _in_json(fields.get(key), depth + 1, is_job)


def _typed(value: Any) -> str | None:
    """A link in a field that is meant for one."""
    if isinstance(value, dict):
        inline = value.get("bytesBase64Encoded")
        if isinstance(inline, str) and inline:
            return f"data:{value.get('mimeType') or 'video/mp4'};base64,{inline}"
        value = next((value[key] for key in ("url", "uri", "gcsUri") if isinstance(value.get(key), str)), None)
    if not isinstance(value, str):
        return None
    url = value.strip()
    if url.startswith(("data:video/", "gs://")):
        return url
    is_link = re.match(r"(https?:)?//[\w\[]|/[^/\s]", url, re.IGNORECASE)
    return url if is_link and _extension(url) not in _NOT_VIDEO else None


# ---- what a URL is ----


def _is_something_else(url: str) -> bool:
    """Whether a URL that does not look like a video shows that it is none, whatever its words say."""
    path = _path(url)
    return _extension(url) in _NOT_VIDEO or any(what.search(path) for what in (_PICTURES, _SERVED)) or _is_snapshot(url)


def _is_snapshot(url: str) -> bool:
    """A picture out of a video, as Chinese clouds make them from its own address."""
    return _SNAPSHOT.search(url) is not None


def _served_as_video(url: str) -> bool:
    """Routes that are known to serve videos without an extension (grok2api, new-api)."""
    path = _path(url)
    if _extension(url):
        return False
    if _SERVED.search(path):
        return "id=" in url if path.endswith(("/files/video", "/files/videos")) else True
    name = path.rpartition("/")[2]
    if path.endswith(f"/images/{name}") and name.startswith("p_"):
        coded = re.sub(r"(?:=|%3D)+$", "", name[2:], flags=re.IGNORECASE)
        try:
            stored = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode("ascii")
        except ValueError:
            return False
        return _extension(stored) in VIDEO_TYPES
    return False


def _path(url: str) -> str:
    return re.split(r"[?#]", url, maxsplit=1)[0]


def _extension(url: str) -> str:
    """Lower-case extension of the path's last part; the query and the host do not count."""
    _, slash, name = _path(url).rpartition("://")[2].rpartition("/")
    name = re.split(r"[&;!@]", name, maxsplit=1)[0]  # what clouds write behind it: v.mp4;id=1, t.jpg!small, t.jpg@100w
    match = re.search(r"\.([A-Za-z0-9]{2,5})$", name[-16:]) if slash else None
    return match[1].lower() if match else ""


def _any_of(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(rf"\b{word}" if word.isascii() else word for word in labels), re.IGNORECASE)


_INPUT, _OTHER = _any_of(words.INPUT_LABELS), _any_of(words.OTHER_LABELS)
_FILE, _VIDEO = _any_of(words.FILE_LABELS), _any_of(words.VIDEO_LABELS)


def _says(text: str, what: re.Pattern[str]) -> bool:
    return what.search(text) is not None


def _clean(url: str) -> str:
    """End a URL where it ends: before quotes, brackets of the sentence, its punctuation, its emphasis."""
    url = re.split(rf"[{_URL_END}]|\[/", url.strip()[: _LONGEST + 1], maxsplit=1)[0]
    if len(url) > _LONGEST:
        return ""
    end = len(url)
    surplus = {closing: url.count(closing) - url.count(opening) for opening, closing in ("()", "[]", "{}")}
    while end and (url[end - 1] in ".,;:!?*~" or surplus.get(url[end - 1], 0) > 0):
        end -= 1
        if url[end] in surplus:
            surplus[url[end]] -= 1
    url = url[:end]
    bare = url.rstrip("_/")  # _emphasis_, and the slash of <video src=…/>
    return bare if _extension(bare) in VIDEO_TYPES else url


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
