"""Contents that make a careless pattern explode: ``KINDS[kind](size)`` is a text of about ``size`` characters."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable

KINDS: dict[str, Callable[[int], str]] = {
    "<video  x n, then src=": lambda n: "<video " * (n // 7) + "src=",
    '<video src=" x n': lambda n: '<video src="' * (n // 12),
    "whole elements x n": lambda n: '<video src="/a.jpg">' * (n // 20),
    "anchors x n": lambda n: '<a href="/x">' * (n // 13),
    "nested [ x n": lambda n: "[" * n,
    "]( x n": lambda n: "](" * (n // 2),
    "](/ x n": lambda n: "](/" * (n // 3),
    "![a]( x n": lambda n: "![a](" * (n // 5),
    "[a](b.mp4 x n, never closed": lambda n: "[a](b.mp4" * (n // 9),
    "https:// x n, no space": lambda n: "https://" * (n // 8),
    "links x n": lambda n: "视频：https://a.example/b " * (n // 24),
    "one URL of n characters": lambda n: "https://cdn.example.org/" + "a" * n,
    "one URL of n parentheses": lambda n: "https://cdn.example.org/" + "(" * n,
    "base64, one line of n": lambda n: base64.b64encode(random.Random(1).randbytes(n * 3 // 4)).decode(),
    "/images/p_ + base64 of n": lambda n: (
        "https://h.example.org/images/p_" + base64.b64encode(b"x" * (n * 3 // 4)).decode()
    ),
    "plain prose of n": lambda n: "the quick brown fox jumps over the lazy dog. " * (n // 45),
    "lines of paths": lambda n: "/a\n" * (n // 3),
    "entities": lambda n: "&amp;" * (n // 5),
    "escapes": lambda n: "\\/" * (n // 2),
    "thoughts that begin": lambda n: "<think>" * (n // 7),
    "thoughts that end": lambda n: "</think>" * (n // 8),
    "fences": lambda n: "```json{" * (n // 8),
    "JSON nested n deep": lambda n: "[" * n,
    'JSON nested n deep in "data"': lambda n: '{"data":' * (n // 8),
    "blanks": lambda n: " " * n,
    "line ends": lambda n: "\n" * n,
}
