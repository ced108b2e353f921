"""The panel, checked and frozen: whatever was typed there becomes settings that can be trusted."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

_HOST = re.compile(r"(localhost|[\w-]+(?:\.[\w-]+)+|\[[0-9a-fA-F:]+\])(:\d+)?(/.*)?", re.ASCII)
_PROXY = re.compile(r"(https?|socks5h?|socks4a?|socks)://\S+", re.IGNORECASE)


_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_OWN_HEADERS = {"content-length", "transfer-encoding", "host", "connection", "content-type"}


class BadAddress(ValueError):
    """What stands in an address field is no address."""


def api_root(typed: str) -> str:
    """Complete a server address as people type it: with or without scheme, ``/``, ``/v1`` or the whole path.

    Returns:
        Scheme, host and path prefix, to which ``/v1/…`` is appended; never ends in a slash.

    Raises:
        BadAddress: it names no http(s) host.
    """
    address = typed.strip().strip("<>\"'")
    if "://" not in address:
        named = _HOST.fullmatch(address)
        if not named:
            raise BadAddress(typed)
        address = f"{'http' if named[1] == 'localhost' or _is_numeric(named[1]) else 'https'}://{address}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise BadAddress(typed) from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or re.search(r"\s", parts.netloc):
        raise BadAddress(typed)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = re.sub(
        r"(/v1(beta\d?)?(/.*)?|/chat/completions)?/*$", "", re.sub(r"//+", "/", parts.path), flags=re.IGNORECASE
    )
    return f"{parts.scheme.lower()}://{host}{f':{port}' if port else ''}{path}"


def _is_numeric(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _within(low: float, high: float) -> BeforeValidator:
    """Clamp a number instead of refusing it: a slider that was dragged too far is no reason to stand still."""

    def clamp(value: Any) -> Any:
        try:
            number = float(value)
        except (TypeError, OverflowError):
            raise ValueError(value) from None
        if math.isnan(number):
            raise ValueError(value)
        return min(max(number, low), high)

    return BeforeValidator(clamp)


def _whole(low: int, high: int) -> tuple[BeforeValidator, BeforeValidator]:
    return BeforeValidator(lambda number: round(number)), _within(low, high)


def _complete_proxy(value: Any) -> Any:
    """``host:port`` is an HTTP proxy; what is none is left for `load` to name."""
    typed = str(value).strip()
    return f"http://{typed}" if typed and "://" not in typed and _HOST.fullmatch(typed) else typed


Name = Annotated[str, BeforeValidator(lambda value: str(value).strip())]


def _split_keys(value: Any) -> Any:
    return tuple(dict.fromkeys(re.findall(r"[^\s,，;；]+", value))) if isinstance(value, str) else value


Keys = Annotated[tuple[str, ...], BeforeValidator(_split_keys)]


def _read_presets(lines: Any) -> dict[str, str]:
    """``name:prompt`` lines, with either colon; a line that is none is left out (`bad_presets` names it)."""
    if isinstance(lines, Mapping):
        return dict(lines)
    if not isinstance(lines, list | tuple):
        raise ValueError(lines)
    found = (re.fullmatch(r"\s*([^\s:：@]+)\s*[:：]\s*(\S.*?)\s*", str(line), re.DOTALL) for line in lines)
    return {match[1]: match[2] for match in found if match}


BackendName = Literal["grok", "xai", "veo", "openai", "gemini", "gitee"]


def _names(value: Any) -> Any:
    """Backends by name; one that we do not know is left out (`load` names it)."""
    typed = re.split(r"[\s,，;；]+", value) if isinstance(value, str) else value
    if not isinstance(typed, list | tuple):
        raise ValueError(value)
    found = (str(name).strip().lstrip("@").lower() for name in typed)
    return tuple(dict.fromkeys(name for name in found if name in get_args(BackendName)))


def _headers(value: Any) -> dict[str, str]:
    """``name: value`` lines, or names and values; what is none, and the ones that HTTP itself sets, are left out."""
    if isinstance(value, list | tuple):
        value = {name: content for name, colon, content in (str(line).partition(":") for line in value) if colon}
    if not isinstance(value, Mapping):
        raise ValueError(value)
    pairs = {str(name).strip(): str(content).strip() for name, content in value.items()}
    return {
        name: content
        for name, content in pairs.items()
        if _HEADER.fullmatch(name) and name.lower() not in _OWN_HEADERS and content.isprintable() and content.isascii()
    }


class VideoSettings(BaseModel):
    """The panel's section ``video``; behaviour of each key stands in the panel's own hints."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    enabled: bool = True
    backend: BackendName = "grok"
    fallback: Annotated[tuple[str, ...], BeforeValidator(_names)] = ()
    server_url: Name = "https://api.x.ai"
    api_key: Keys = ()
    model: Name = "grok-imagine-0.9"
    timeout_seconds: Annotated[int, *_whole(1, 3600)] = 180
    max_retries: Annotated[int, *_whole(0, 5)] = 2
    retry_delay: Annotated[float, _within(0, 60)] = 2
    retry_policy: Literal["safe", "always"] = "safe"
    send_mode: Literal["auto", "url", "file"] = "auto"
    max_cached_videos: Annotated[int, *_whole(0, 10_000)] = 20
    max_video_mb: Annotated[int, *_whole(1, 4096)] = 100
    max_jobs_per_user: Annotated[int, *_whole(1, 1000)] = 1
    max_running_jobs: Annotated[int, *_whole(1, 1000)] = 4
    presets: Annotated[dict[str, str], BeforeValidator(_read_presets)] = Field(default_factory=dict)
    avatar_fallback: Literal["auto", "always", "never"] = "auto"
    image_max_side: Annotated[int, *_whole(256, 4096)] = 1536
    image_max_mb: Annotated[float, _within(0.1, 20)] = 1.5
    proxy: Annotated[str, BeforeValidator(_complete_proxy)] = ""
    acknowledge: Literal["auto", "text", "emoji"] = "auto"


# A section lists its fields in the order of the panel, and a class those of its bases first, the last base foremost: so
# what every section has is put together from pieces.


class _Reached(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    base_url: Name = ""
    api_key: Keys = ()
    model: Name = ""


class _PictureModel(_Reached):
    image_model: Name = ""


class _Watched(_Reached):
    poll_seconds: Annotated[int, *_whole(1, 300)] = 10
    timeout_seconds: Annotated[int, *_whole(1, 3600)] = 1800
    aspect_ratio: Name = ""


class _FreeLength(_Watched):
    resolution: Name = ""
    duration: Annotated[int, *_whole(0, 60)] = 0


class _VeoChoices(_Watched):
    enhance_prompt: bool = True
    enable_upsample: bool = False
    image_transport: Literal["auto", "url", "data"] = "auto"


class UpstreamSettings(_Watched):
    """What the panel has for every upstream that works by ticket.

    Attributes:
        aspect_ratio, resolution, duration: what is made when the person chooses nothing; empty and 0 are the model's.
    """

    extra_headers: Annotated[dict[str, str], BeforeValidator(_headers)] = Field(default_factory=dict)


class VeoSettings(UpstreamSettings, _VeoChoices):
    """The panel's section ``veo``: the unified create/query API of VectorEngine and its relatives."""

    base_url: Name = "https://api.vectorengine.ai"
    model: Name = "veo-3.1-fast"
    aspect_ratio: Name = "16:9"


class XaiSettings(UpstreamSettings, _FreeLength):
    """The panel's section ``xai``."""

    base_url: Name = "https://api.x.ai"
    model: Name = "grok-imagine-video"
    poll_seconds: Annotated[int, *_whole(1, 300)] = 5


class OpenaiSettings(UpstreamSettings, _FreeLength):
    """The panel's section ``openai``: OpenAI's video API, and the gateways that speak it."""

    base_url: Name = "https://api.openai.com"
    model: Name = "sora-2"


class GeminiSettings(UpstreamSettings, _FreeLength):
    """The panel's section ``gemini``: Google's own Veo."""

    base_url: Name = "https://generativelanguage.googleapis.com"
    model: Name = "veo-3.1-fast-generate-preview"


class GiteeSettings(UpstreamSettings, _FreeLength, _PictureModel):
    """The panel's section ``gitee``.

    Attributes:
        model: makes videos of a text.
        image_model: makes videos of a picture; empty = `model`.
    """

    base_url: Name = "https://ai.gitee.com"
    model: Name = "Wan2.1-T2V-14B"
    image_model: Name = "Wan2_2-I2V-A14B"


def _read_mapping(lines: Any) -> tuple[tuple[str, str], ...]:
    """``here:there`` lines of absolute paths; a line that is none is left out."""
    if not isinstance(lines, list | tuple):
        raise ValueError(lines)
    found = (re.fullmatch(r"\s*(/[^:：]*?)/*\s*[:：]\s*(/[^:：]*?)/*\s*", str(line)) for line in lines)
    return tuple((match[1], match[2]) for match in found if match)


class DeliverySettings(BaseModel):
    """The panel's section ``delivery``.

    Attributes:
        path_mapping: our folder and what the bridge calls it, where it runs in another container.
        shrink: whether videos over a platform's limit are made smaller with ffmpeg.
        caption: whether a line behind the video quotes the request.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    path_mapping: Annotated[tuple[tuple[str, str], ...], BeforeValidator(_read_mapping)] = ()
    shrink: Literal["auto", "never"] = "auto"
    caption: bool = True


class Settings(BaseModel):
    """The whole panel."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: Literal["zh", "en"] = "zh"
    video: VideoSettings = Field(default_factory=VideoSettings)
    xai: XaiSettings = Field(default_factory=XaiSettings)
    veo: VeoSettings = Field(default_factory=VeoSettings)
    openai: OpenaiSettings = Field(default_factory=OpenaiSettings)
    gemini: GeminiSettings = Field(default_factory=GeminiSettings)
    gitee: GiteeSettings = Field(default_factory=GiteeSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)

    @property
    def addresses(self) -> dict[str, str]:
        """Every upstream's address as it was typed, by its key in the panel."""
        typed = {f"{name}.base_url": getattr(self, name).base_url for name in get_args(BackendName) if name != "grok"}
        return {"video.server_url": self.video.server_url, **typed}


def load(panel: Mapping[str, Any]) -> tuple[Settings, list[tuple[str, dict[str, str]]]]:
    """Read the panel. Never fails: what cannot be understood gets its default and is named.

    Returns:
        The settings, and what is odd about the panel: (text key, what to fill in) for the log.
    """
    odd: list[tuple[str, dict[str, str]]] = []
    values = _without_none(panel)
    for _ in range(2):
        try:
            settings = Settings.model_validate(values)
            break
        except ValidationError as error:
            for place in {tuple(map(str, found["loc"][:2])) for found in error.errors()}:
                odd.append(("odd_setting", {"key": ".".join(place)}))
                section = values[place[0]] if len(place) > 1 else values
                section.pop(place[-1], None)
    else:
        settings = Settings()
    lines = values.get("video", {}).get("presets", [])
    odd += [("odd_preset", {"line": str(line)}) for line in lines if not _read_presets([line])]
    for key, address in settings.addresses.items():
        try:
            api_root(address)
        except BadAddress:
            odd.append(("odd_address", {"key": key, "value": address}))
    if settings.video.proxy and not _PROXY.fullmatch(settings.video.proxy):
        shown = re.sub(r"[^/\s]*@", "***@", settings.video.proxy)  # its password
        odd.append(("odd_proxy", {"key": "video.proxy", "value": shown}))
        settings = settings.model_copy(update={"video": settings.video.model_copy(update={"proxy": ""})})
    return settings, odd


def upstream_roots(settings: Settings) -> list[str]:
    """The addresses the admin configured: they may be private, because gateways often run next door."""
    roots = []
    for address in settings.addresses.values():
        with suppress(BadAddress):
            roots.append(api_root(address))
    return roots


def _without_none(panel: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in panel.items()
        if value is not None
    }
