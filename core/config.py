"""The panel, checked and frozen: whatever was typed there becomes settings that can be trusted."""

import math
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

_HOST = re.compile(r"(localhost|[\w-]+(?:\.[\w-]+)+|\[[0-9a-fA-F:]+\])(:\d+)?(/.*)?", re.ASCII)
_PROXY = re.compile(r"(https?|socks5h?|socks4a?|socks)://\S+", re.IGNORECASE)


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
    path = re.sub(r"(/v1(/.*)?|/chat/completions)?/*$", "", re.sub(r"//+", "/", parts.path), flags=re.IGNORECASE)
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


class VideoSettings(BaseModel):
    """The panel's section ``video``; behaviour of each key stands in the panel's own hints."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    enabled: bool = True
    backend: Literal["grok"] = "grok"
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


class Settings(BaseModel):
    """The whole panel."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    language: Literal["zh", "en"] = "zh"
    video: VideoSettings = Field(default_factory=VideoSettings)


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
    try:
        api_root(settings.video.server_url)
    except BadAddress:
        odd.append(("odd_address", {"key": "video.server_url", "value": settings.video.server_url}))
    if settings.video.proxy and not _PROXY.fullmatch(settings.video.proxy):
        odd.append(("odd_proxy", {"key": "video.proxy", "value": settings.video.proxy}))
        settings = settings.model_copy(update={"video": settings.video.model_copy(update={"proxy": ""})})
    return settings, odd


def upstream_roots(settings: Settings) -> list[str]:
    """The addresses the admin configured: they may be private, because gateways often run next door."""
    try:
        return [api_root(settings.video.server_url)]
    except BadAddress:
        return []


def _without_none(panel: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in panel.items()
        if value is not None
    }
