"""Backend: Grok Imagine through chat-completions gateways (grok2api and its relatives; upstreams.md §2).

One long request is all there is: no ticket, no second look. So the answer is read as it comes, progress is known, and
a stream that was cut is told from one that ended: what was cut may have been paid.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import media_url, words
from .body import Body, DataUrl
from .capabilities import Capabilities
from .config import BadAddress, VideoSettings, api_root
from .envelope import is_html, is_refusal, name, name_value, read_json, refuse_all_but_api
from .errors import Misconfigured, Refused, UnknownCharge, UpstreamFailed
from .models import VideoRequest, VideoResult
from .transport import Answer, Transport

_LARGE = 1 << 18  # characters; above it, reading would be felt by the other chats and goes to a thread
_CHECK_SECONDS = 60.0
_SHOWN = 4000  # characters of a text in which its own words are looked for
_PERCENT = re.compile(r"(\d{1,3})(?:\.\d+)?\s*[%％]")
_PICTURE = re.compile(r"!\[[^\]]*\]\(|<img\b|\.(?:jpe?g|png|webp|gif)\b|data:image/|b64_json", re.IGNORECASE)
_ERROR = re.compile(rf"\s*(?:❌|error\b|(?:{'|'.join(words.FAILED)}))", re.IGNORECASE)


@dataclass(frozen=True)
class _Model:
    """What a generation of gateways takes, and how it spells it.

    Attributes:
        spelling: request field → field of ``video_config``.
        sizes: aspect ratio → pixel size, where the gateway wants pixels.
    """

    can: Capabilities
    spelling: dict[str, tuple[str, ...]]
    sizes: dict[str, str]


_SIZES = {"16:9": "1280x720", "9:16": "720x1280", "1:1": "1024x1024"}
_MODELS: dict[str, _Model] = {
    # Without a picture, 0.9 draws one; it has one length and one size.
    "grok-imagine-0.9": _Model(
        Capabilities(text=False, first_of_many=True, durations=(), aspect_ratios=(), resolutions=()), {}, {}
    ),
    "grok-imagine-1.0": _Model(
        Capabilities(
            first_of_many=True,
            durations=tuple(range(6, 31)),
            aspect_ratios=("16:9", "9:16", "1:1", "3:2", "2:3"),
            resolutions=("480p", "720p"),
        ),
        {"duration": ("video_length",), "aspect_ratio": ("aspect_ratio",), "resolution": ("resolution_name",)},
        {},
    ),
    "grok-imagine-video": _Model(
        Capabilities(
            references=7, durations=(6, 10, 12, 16, 20), aspect_ratios=tuple(_SIZES), resolutions=("480p", "720p")
        ),
        {"duration": ("seconds",), "aspect_ratio": ("size",), "resolution": ("resolution_name",)},
        _SIZES,
    ),
}
# A name we do not know may be any of them behind an alias: it gets every spelling.
_OTHER = _Model(
    Capabilities(first_of_many=True),
    {
        "duration": ("video_length", "seconds"),
        "aspect_ratio": ("aspect_ratio", "size"),
        "resolution": ("resolution_name",),
    },
    _SIZES,
)


def _model(name: str) -> _Model:
    return next((model for prefix, model in _MODELS.items() if name.lower().startswith(prefix)), _OTHER)


def build(request: VideoRequest, model: str) -> Body:
    """The request, as generations A, B and D take it.

    ``stream`` is always explicit, because its default differs; it is true, because behind Cloudflare an answer that
    says nothing for 100 s is cut while the paid job goes on.
    """
    content: Any = request.prompt
    if request.references:
        pictures = [DataUrl(Path(reference.path), reference.mime) for reference in request.references]
        content = [
            {"type": "text", "text": request.prompt},
            *({"type": "image_url", "image_url": {"url": picture}} for picture in pictures),
        ]
    payload: dict[str, Any] = {"model": model, "stream": True, "messages": [{"role": "user", "content": content}]}
    known = _model(model)
    config: dict[str, Any] = {}
    for field, names in known.spelling.items():
        value = getattr(request, field)
        for spelled in names if value is not None else ():
            converted = known.sizes.get(value) if spelled == "size" else value
            if converted is not None:
                config[spelled] = converted
    if config:
        payload["video_config"] = config | {"preset": "normal"}
    return Body.of_json(payload)


# What every chunk and every message has; anything else in them may hold the video.
_OF_CHUNKS = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
_OF_MESSAGES = {"role", "content", "reasoning_content", "reasoning", "refusal"}
_COMPLAINTS = ("message", "msg", "detail", "errors", "error_message", "fail_reason")


class ChatReader:
    """Reads a chat answer as it comes: JSON or an event stream, judged by the body because both headers lie.

    Args:
        root: the API's address without ``/v1``.
        report: is told the percentage whenever the upstream names one.
    """

    def __init__(self, root: str, report: Callable[[int], None] = lambda percent: None) -> None:
        self._root, self._report = root, report
        self._streamed: bool | None = None
        self._head = ""
        self._broken = False
        self._rest: list[str] = []  # the line that is not whole yet, in pieces
        self._event: list[str] = []  # the data lines of the event that is not whole yet
        self._is_error = False
        self._content: list[str] = []
        self._thoughts: list[str] = []
        self._typed: list[Any] = []
        self._error: Any = None
        self._finish = ""
        self._refused = False
        self._ended = False

    def feed(self, text: str) -> bool:
        """Take in the next piece of the body.

        Returns:
            True when the stream said that it is done, whatever the connection does.
        """
        if self._streamed is None:
            text = self._head = (self._head + text).lstrip("\ufeff \t\r\n")
            if len(text) < len("event:") and "\n" not in text:
                return False
            self._streamed = re.match(r"(data|event|id|retry)?:", text) is not None
        if not self._streamed:
            return False
        *lines, rest = text.split("\n")
        for line in lines:
            self._line("".join((*self._rest, line)).removesuffix("\r"))
            self._rest.clear()
        self._rest.append(rest)
        return self._ended

    def _line(self, line: str) -> None:
        field, _, value = line.partition(":")
        if not line:
            self._dispatch()
        elif field == "data" and value.strip() == "[DONE]":
            self._dispatch()
            self._ended = True
        elif field == "data":
            self._event.append(value.removeprefix(" "))
        elif field == "event":
            self._is_error = value.strip() == "error"

    def _dispatch(self) -> None:
        """Handle one whole event; what is no JSON by now was cut."""
        lines, failed = self._event, self._is_error
        self._event, self._is_error = [], False
        whole = "\n".join(lines)
        # Some gateways leave out the empty line between two events.
        for data in lines if len(lines) > 1 and read_json(whole) is None else [whole]:
            value = read_json(data)
            if isinstance(value, dict):
                self._take(value)
            if failed and self._error is None and data:
                self._error = value or data

    def _take(self, value: dict[str, Any]) -> None:
        """One chunk of a stream, or a whole answer: the gateways do not keep them apart."""
        choices = value.get("choices")
        choices = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else None
        if value.get("error") or (choices is None and any(value.get(key) for key in _COMPLAINTS)):
            self._error = value
        for choice in choices or ():
            self._error = choice if choice.get("error") else self._error
            message = choice.get("message") or {"content": choice.get("text")}
            self._said(choice.get("delta") or message)
            finish = choice.get("finish_reason")
            self._finish = finish if isinstance(finish, str) and finish else self._finish
        if not value.keys() <= _OF_CHUNKS:
            self._typed.append(value)

    def _said(self, message: Any) -> None:
        if not isinstance(message, dict):
            message = {"content": message}
        content = message.get("content")
        said: list[str] = []
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                said.append(text)
            elif isinstance(part, dict):
                self._typed.append(part)
        if not message.keys() <= _OF_MESSAGES:
            self._typed.append({key: item for key, item in message.items() if key != "content"})
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            self._refused = True
            said.append(message["refusal"])
        thought = message.get("reasoning_content") or message.get("reasoning")
        thoughts = [thought] if isinstance(thought, str) else []
        self._content += said
        self._thoughts += thoughts
        for text in (*thoughts, *said):
            if percents := _PERCENT.findall(text[-_SHOWN:]):
                self._report(min(int(percents[-1]), 100))

    def result(self, answer: Answer) -> VideoResult:
        """What the whole answer means.

        Args:
            answer: the answer whose text was fed.

        Raises:
            Failure: there is no video in it; see the table in `errors.py`.
        """
        if answer.status >= 300:
            raise name(answer.status, answer.headers, answer.text)
        if self._streamed:
            self._line("".join(self._rest).removesuffix("\r"))
            self._dispatch()
            complete = self._ended or bool(self._finish)
        else:
            complete = self._whole(answer) or answer.ending == "whole"
        if url := self._link(complete):
            return VideoResult(url, private=media_url.needs_key(url, self._root))
        if self._error is not None:
            started = any((*self._thoughts, *self._content))
            raise name_value(answer.status, answer.headers, self._error, started=started)
        raise self._nothing(answer, complete)

    def _whole(self, answer: Answer) -> bool:
        """Take in an answer that is no stream; True where its own brackets say that nothing is missing."""
        value = read_json(answer.text)
        values = value if isinstance(value, list) else [value]
        if value is None and self._head[:1] in ("{", "["):
            lines = [read_json(line) for line in answer.text.splitlines()]  # a stream without its "data:"
            values = [line for line in lines if isinstance(line, dict)]
            self._broken = not values or lines[-1] is None
        elif value is None and (is_html(answer.text) or "html" in _content_type(answer)):
            raise Misconfigured("web_page")
        elif value is None or isinstance(value, str):
            self._content.append(value or answer.text)
        for one in values:
            if isinstance(one, dict):
                self._take(one)
        return value is not None

    def _link(self, complete: bool) -> str | None:
        if url := media_url.from_json(self._typed, self._root):
            return url
        content = "".join(self._content)
        url = media_url.from_text(content, self._root)
        if url and not complete and media_url.from_text(f"{content}x", self._root) != url:
            # It stands at the very end of a cut stream, so half of it may be missing, unless it came in one piece.
            last = self._content[-1]
            one_piece = media_url.from_text(last, self._root) == url and media_url.is_video(url)
            if not one_piece or (len(last.split()) > 1 and "?" in url):
                return None
        return url

    def _nothing(self, answer: Answer, complete: bool) -> Exception:
        content = media_url.without_thoughts("".join(self._content)).strip()
        said = content or "".join(self._thoughts)[-_SHOWN:].strip().rpartition("\n")[2]
        if self._refused or is_refusal(self._finish) or is_refusal(said):
            return Refused("", said)
        if answer.ending == "timeout":
            return UnknownCharge("timeout", said)
        if self._finish == "error" or _ERROR.match(said):
            return UnknownCharge("error_answer", said)
        if self._broken or not complete or answer.ending == "cut":
            return UnknownCharge("cut", said)
        if _PICTURE.search(content[:_SHOWN] or ("" if self._streamed else answer.text[:_SHOWN])):
            return UpstreamFailed("picture")
        return UnknownCharge("no_link" if content else "empty", said)


def _content_type(answer: Answer) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == "content-type"), "")


class GrokVideoService:
    """The panel's section ``video``: server, key, model."""

    def __init__(self, settings: VideoSettings, transport: Transport) -> None:
        self._settings, self._transport = settings, transport

    @property
    def root(self) -> str:
        """See `Backend.root`."""
        try:
            return api_root(self._settings.server_url)
        except BadAddress:
            raise Misconfigured("bad_address", address=self._settings.server_url) from None

    def capabilities(self, model: str) -> Capabilities:
        """What this model takes, by the generation its name belongs to."""
        return _model(model).can

    def key_headers(self, key: str) -> dict[str, str]:
        """See `Backend.key_headers`."""
        return {"Authorization": f"Bearer {key}"}

    async def submit(
        self, request: VideoRequest, *, model: str, key: str, report: Callable[[int], None]
    ) -> VideoResult:
        """Make the video: one paid request.

        Raises:
            Failure: see the table in `errors.py`.
        """
        reader = ChatReader(self.root, report)
        answer = await self._transport.exchange(
            "POST",
            f"{self.root}/v1/chat/completions",
            headers={**self.key_headers(key), "Accept": "application/json, text/event-stream"},
            body=build(request, model),
            billable=True,
            timeout=self._settings.timeout_seconds,
            on_text=reader.feed,
        )
        if len(answer.text) > _LARGE:
            return await asyncio.to_thread(reader.result, answer)
        return reader.result(answer)

    async def check(self, *, key: str) -> str:
        """See `Backend.check`."""
        url = f"{self.root}/v1/models"
        answer = await self._transport.exchange(
            "GET", url, headers=self.key_headers(key), billable=False, timeout=_CHECK_SECONDS
        )
        refuse_all_but_api(answer)
        return url
