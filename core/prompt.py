"""What was typed behind the command → backend, preset, prompt and parameters."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from unicodedata import normalize

from . import words

ASPECT_RATIOS = frozenset({"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "9:21", "21:9"})
RESOLUTIONS = frozenset({"480p", "720p", "1080p", "4k"})
_SECONDS = re.compile(rf"(\d{{1,3}})(?:s|{words.SECONDS})")


@dataclass(frozen=True)
class Typed:
    """A command's text, taken apart.

    Attributes:
        backend: the name behind ``@``, or None.
        unknown_backend: what stood behind ``@`` and is none of ours.
        preset: name of the preset that was used.
        duration: seconds.
    """

    prompt: str
    backend: str | None = None
    unknown_backend: str | None = None
    preset: str | None = None
    duration: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None


def parameter(token: str) -> tuple[str, int | str] | None:
    """Read one token as a parameter: ``6s`` ``6秒``, ``9:16`` ``9：16`` ``横屏``, ``720p``; full-width forms too.

    Returns:
        Field name and value, or None for an ordinary word.
    """
    word = normalize("NFKC", token).lower()
    if seconds := _SECONDS.fullmatch(word):
        return "duration", int(seconds[1])
    if word in ASPECT_RATIOS:
        return "aspect_ratio", word
    if word in words.ASPECT_RATIOS:
        return "aspect_ratio", words.ASPECT_RATIOS[word]
    if word in RESOLUTIONS:
        return "resolution", word
    return None


def parse(text: str, presets: Mapping[str, str], backends: Iterable[str]) -> Typed:
    """Take a command's text apart: ``[@backend] [preset] prompt [parameters]``.

    Parameters are single tokens at the start or the end, in any order, each kind once; whatever stands between
    ordinary words belongs to the prompt. A preset's own prompt comes first: ``preset, more``.
    """
    tokens = text.split()
    found: dict[str, int | str] = {}
    backend: str | None = None

    def take(token: str) -> bool:
        read = parameter(token)
        if read is None or read[0] in found:
            return False
        found[read[0]] = read[1]
        return True

    while tokens:
        if backend is None and tokens[0][0] in "@＠" and len(tokens[0]) > 1:
            backend = normalize("NFKC", tokens.pop(0))[1:].lower()
        elif take(tokens[0]):
            tokens.pop(0)
        else:
            break
    preset = _preset(tokens[0], presets) if tokens else None
    if preset is not None:
        tokens.pop(0)
    while tokens and take(tokens[-1]):
        tokens.pop()
    parts = [presets[preset]] if preset is not None else []
    parts += [" ".join(tokens)] if tokens else []
    known = backend is None or backend in set(backends)
    return Typed(
        ", ".join(parts),
        backend=backend if known else None,
        unknown_backend=None if known else backend,
        preset=preset,
        **found,  # type: ignore[arg-type]
    )


def _preset(token: str, presets: Mapping[str, str]) -> str | None:
    wanted = normalize("NFKC", token).casefold()
    return next((name for name in presets if normalize("NFKC", name).casefold() == wanted), None)
