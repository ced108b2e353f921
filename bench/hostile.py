"""Answers that a broken or hostile upstream may send: what makes a careless pattern explode."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable

_IMAGE = "https://h.example.org/images/p_"
CONTENTS: dict[str, Callable[[int], str]] = {
    "<video  again and again, then src=": lambda n: "<video " * (n // 7) + "src=",
    '<video src=" again and again': lambda n: '<video src="' * (n // 12),
    "nested [": lambda n: "[" * n,
    "![a]( again and again": lambda n: "![a](" * (n // 5),
    "[a](b.mp4 again and again, never closed": lambda n: "[a](b.mp4" * (n // 9),
    "https:// again and again, no space": lambda n: "https://" * (n // 8),
    "one endless URL": lambda n: "https://cdn.example.org/" + "a" * n,
    "base64 in one line": lambda n: base64.b64encode(os.urandom(n * 3 // 4)).decode(),
    "/images/p_ with endless base64": lambda n: _IMAGE + base64.b64encode(b"x" * (n * 3 // 4)).decode(),
    "plain prose": lambda n: "the quick brown fox jumps over the lazy dog. " * (n // 45),
}
NESTED = "JSON nested to the end"
KINDS = (*CONTENTS, NESTED)


def make(kind: str, size: int) -> str:
    """A chat answer of about ``size`` characters."""
    if kind == NESTED:
        return "[" * size
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": CONTENTS[kind](size)}}]})
