"""What people type, in every width and order, and what only looks like a parameter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.prompt import Typed, parameter, parse

PRESETS = {"慢镜": "slow motion", "Zoom": "slow zoom in", "６s": "six", "动 起来": "never: a name is one word"}
BACKENDS = ("grok", "veo")

PARAMETERS: list[tuple[str, str, Any]] = [
    ("seconds", "6s", ("duration", 6)),
    ("capital", "10S", ("duration", 10)),
    ("Chinese", "6秒", ("duration", 6)),
    ("full-width digits", "６秒", ("duration", 6)),
    ("full-width letters", "６ｓ", ("duration", 6)),
    ("zero is a number; whether it is offered is asked later", "0s", ("duration", 0)),
    ("four digits are no length", "1920s", None),
    ("a number alone", "6", None),
    ("a fraction", "6.5s", None),
    ("minutes", "6m", None),
    ("a sign", "-6s", None),
    ("a ratio", "9:16", ("aspect_ratio", "9:16")),
    ("a full-width colon", "9：16", ("aspect_ratio", "9:16")),
    ("all full-width", "１６：９", ("aspect_ratio", "16:9")),
    ("a word for it", "横屏", ("aspect_ratio", "16:9")),
    ("another word for it", "竖屏", ("aspect_ratio", "9:16")),
    ("a square", "方形", ("aspect_ratio", "1:1")),
    ("a time of day", "12:30", None),
    ("a ratio with words", "9:16竖屏", None),
    ("a size", "720p", ("resolution", "720p")),
    ("a size in capitals", "1080P", ("resolution", "1080p")),
    ("a size that nobody offers", "144p", None),
    ("the size that is no number of lines", "4k", ("resolution", "4k")),
    ("that size in capitals and full width", "４Ｋ", ("resolution", "4k")),
    ("a size that is none", "2k", None),
    ("nothing", "", None),
    ("a word", "猫", None),
    ("digits of another script", "٦s", ("duration", 6)),
    ("a superscript", "²s", ("duration", 2)),
]


@pytest.mark.parametrize(("token", "read"), [pytest.param(*case[1:], id=case[0]) for case in PARAMETERS])
def test_a_token_is_a_parameter_or_a_word(token: str, read: Any) -> None:
    assert parameter(token) == read


TEXTS: list[tuple[str, str, Typed]] = [
    ("words", "让它动起来", Typed("让它动起来")),
    ("nothing", "  ", Typed("")),
    ("blanks of all kinds", " 让它\u3000 动\n起来 ", Typed("让它 动 起来")),
    ("parameters behind", "a cat 6s 9:16 720p", Typed("a cat", duration=6, aspect_ratio="9:16", resolution="720p")),
    ("parameters in front", "720p 竖屏 6秒 a cat", Typed("a cat", duration=6, aspect_ratio="9:16", resolution="720p")),
    ("on both sides", "6s a cat 横屏", Typed("a cat", duration=6, aspect_ratio="16:9")),
    ("only parameters", "6s 9:16", Typed("", duration=6, aspect_ratio="9:16")),
    ("in the middle it is prose", "wait 6s then jump", Typed("wait 6s then jump")),
    ("behind a word of the prompt it is prose", "跑 6s 跳 9:16", Typed("跑 6s 跳", aspect_ratio="9:16")),
    ("each kind once, the last two", "cat 6s 10s", Typed("cat 6s", duration=10)),
    ("each kind once, the first two", "6s 10s cat", Typed("10s cat", duration=6)),
    ("each kind once, one on each side", "6s cat 10s", Typed("cat 10s", duration=6)),
    ("punctuation makes it prose", "cat, 6s.", Typed("cat, 6s.")),
    ("a backend", "@veo a cat", Typed("a cat", backend="veo")),
    ("a backend in capitals and full width", "＠ＧＲＯＫ a cat", Typed("a cat", backend="grok")),
    ("a backend between parameters", "6s @veo 720p cat", Typed("cat", backend="veo", duration=6, resolution="720p")),
    ("a backend that is none", "@sora a cat", Typed("a cat", unknown_backend="sora")),
    ("a backend behind is prose", "a cat @veo", Typed("a cat @veo")),
    ("two backends: the second is prose", "@veo @grok cat", Typed("@grok cat", backend="veo")),
    ("a sign alone", "@ cat", Typed("@ cat")),
    ("only a backend", "@veo", Typed("", backend="veo")),
    ("a preset alone", "慢镜", Typed("slow motion", preset="慢镜")),
    ("a preset and more", "慢镜 下雨 6s", Typed("slow motion, 下雨", preset="慢镜", duration=6)),
    ("a preset in another case", "zOOM", Typed("slow zoom in", preset="Zoom")),
    ("a preset in full width", "ＺＯＯＭ", Typed("slow zoom in", preset="Zoom")),
    ("a preset behind a backend and a parameter", "@veo 6s 慢镜", Typed("slow motion", "veo", None, "慢镜", 6)),
    ("a preset in the middle is prose", "a zoom", Typed("a zoom")),
    ("a preset glued to a word is prose", "zooming", Typed("zooming")),
    ("a parameter wins over a preset of that name", "6s", Typed("", duration=6)),
    ("a preset whose name has a blank is never met", "动 起来", Typed("动 起来")),
    ("a quoted parameter is prose", '"6s" cat', Typed('"6s" cat')),
    ("an option is prose", "--ar 9:16", Typed("--ar", aspect_ratio="9:16")),
    ("prose may be in full width", "ＡＢＣ！", Typed("ＡＢＣ！")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "typed"), [pytest.param(*case[1:], id=case[0]) for case in TEXTS])
def test_a_text_is_taken_apart(text: str, typed: Typed) -> None:
    assert parse(text, PRESETS, BACKENDS) == typed


TOKENS = st.sampled_from(["6s", "10秒", "9：16", "横屏", "720p", "@veo", "@", "@@x", "慢镜", "zoom", "cat", "²s"])


@given(st.lists(st.one_of(TOKENS, st.text(max_size=6)), max_size=12).map(" ".join))
def test_no_word_is_lost_or_invented(text: str) -> None:
    typed = parse(text, PRESETS, BACKENDS)
    prompt = typed.prompt.removeprefix(PRESETS[typed.preset]).removeprefix(", ") if typed.preset else typed.prompt
    assert prompt in " ".join(text.split())
    named = (typed.backend, typed.unknown_backend, typed.preset, typed.duration, typed.aspect_ratio, typed.resolution)
    assert len(text.split()) == len(prompt.split()) + sum(one is not None for one in named)
