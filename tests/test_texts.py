"""Every sentence is there in both languages, is used, and can be filled in."""

from __future__ import annotations

import ast
import re
from string import Formatter
from typing import NamedTuple

import pytest

from core import errors, texts, words
from core.capabilities import Mode
from core.delivery_plan import Form
from core.errors import Failure, Why
from core.models import Role, State
from core.texts import KEYS, Language, Texts
from tests.source import CORE, MAIN, calls, docstrings, literals, tree, where

EMOJI = r"[\u2600-\u27bf\U0001f300-\U0001faff]"
COMMANDS = sorted((name for names in words.COMMANDS.values() for name in names), key=len, reverse=True)
TYPED = "|".join((*(f"/{name}" for name in COMMANDS), *words.ROLES, *words.CLEAR, *words.SHOW, *words.DEFAULT,
                  *words.ASPECT_RATIOS))  # fmt: skip
LANGUAGES: tuple[Language, ...] = ("zh", "en")
FAILURES = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Failure)}

# Causes that need no sentence of their own, because the general one of their kind says it all.
GENERAL = {
    "retryable.http_status": "of a download, which ends as upstream_failed.download",
    "retryable.timeout": "of a download, likewise",
    "retryable.cut": "of a download, likewise",
    "unknown_charge.started": "it began, then an error came, whose words are told",
    "unknown_charge.error_answer": "an error whose words are told",
    "unknown_charge.no_link": "an answer whose words are told",
    "unknown_charge.empty": "an answer without words",
    "unknown_charge.internal": "a bug, whose name is told",
    "unknown_delivery.internal": "a bug, whose name is told",
    "undelivered.internal": "a bug, whose name is told",
    "undelivered.absent": "a chat that did not come back for a day",
    "bad_input.withdrawn": "told at once by the command that withdraws the job",
}
# What the transport calls `lost`, whichever of the two an unclear ending is.
UNCLEAR: tuple[type[Failure], ...] = (errors.Retryable, errors.UnknownCharge)
# Where the cause is not written at the place: what it can be.
COMPUTED = {
    ("capabilities.py", "f'{name}_not_offered'"):
        ["duration_not_offered", "aspect_ratio_not_offered", "resolution_not_offered"],
    ("orders.py", "failure.why.cause"): ["bad_address"],
    ("delivery.py", "cause"): ["too_large", "private"],
    ("tickets.py", "'no_ticket' if answer.ending == 'whole' else answer.ending"):
        ["cut", "timeout", "no_ticket"],
    ("references.py", "cause"): ["avatar_unavailable", "picture_unreadable"],
}  # fmt: skip
# Raised for another failure's reason only, so its facts come from there.
PARTIAL = {("references.py", "bad_input.picture_unreadable")}


class Raised(NamedTuple):
    """One place where a failure is made."""

    place: str
    file: str
    kind: str
    cause: str
    facts: frozenset[str]

    @property
    def key(self) -> str:
        return f"{self.kind}.{self.cause}" if self.cause else self.kind


def raised() -> list[Raised]:
    found, computed = [], set()
    for path in (*CORE, MAIN):
        for call in calls(path):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            kinds = [FAILURES[name]] if name in FAILURES else UNCLEAR if name == "lost" else ()
            if not kinds:
                continue
            causes = literals(call.args[0]) if call.args else [""]
            if causes is None:
                source = (path.name, ast.unparse(call.args[0]))
                computed.add(source)
                causes = COMPUTED.get(source)
                assert causes, f"{where(path, call)}: say in COMPUTED what {source[1]} can be"
            facts = frozenset(keyword.arg for keyword in call.keywords if keyword.arg and keyword.arg != "retry_after")
            found += [
                Raised(where(path, call), path.name, kind.kind, cause, facts) for kind in kinds for cause in causes
            ]
    assert computed == set(COMPUTED), "COMPUTED has entries that are gone"
    return found


RAISED = raised()


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def sentence(key: str, language: Language) -> str:
    return texts._SENTENCES[key][LANGUAGES.index(language)]


@pytest.mark.parametrize("key", sorted(KEYS))
def test_both_languages_say_the_same(key: str) -> None:
    chinese, english = (sentence(key, language) for language in LANGUAGES)
    assert chinese.strip()
    assert english.strip()
    assert placeholders(chinese) == placeholders(english)
    assert not re.search(r"[\u4e00-\u9fff]", re.sub(TYPED, "", english)), "only what is typed is Chinese"
    assert re.findall(EMOJI, chinese) == re.findall(EMOJI, english)


def test_there_are_causes() -> None:
    """The search for them finds what it should: a few that are known to be there."""
    assert {"bad_input.usage", "retryable.unreachable", "unknown_charge.cut", "refused"} <= {one.key for one in RAISED}
    assert len(RAISED) > 50


@pytest.mark.parametrize("one", RAISED, ids=lambda one: f"{one.key} in {one.place}")
def test_every_failure_has_its_sentence(one: Raised) -> None:
    assert one.kind in KEYS, "each kind has a general sentence"
    assert one.key in KEYS or one.key in GENERAL
    if (one.file, one.key) in PARTIAL:
        return
    why = Why(one.kind, one.cause, "a reason", dict.fromkeys(one.facts, "fact"))
    for language in LANGUAGES:
        # `failed` adds the job's number; a failure before there is a job is explained without one.
        told = Texts(language).explain(why, **({} if one.file in ("commands.py", "orders.py") else {"number": 3}))
        assert "a reason" in told
        assert "{" not in told


def test_general_causes_are_still_raised() -> None:
    assert GENERAL.keys() <= {one.key for one in RAISED}
    assert not GENERAL.keys() & KEYS


def test_every_sentence_is_used() -> None:
    keys = {one.key for one in RAISED} | {one.kind for one in RAISED} | {f"state_{state}" for state in State}
    keys |= {f"cancelled.{cause}" for cause in ("free", "billed_perhaps")}
    keys |= {f"role_{role}" for role in (*Role, "open")} | {f"able_{mode}" for mode in Mode}
    keys |= {f"form_{form}" for form in Form}
    for path in (*CORE, MAIN):
        silent = docstrings(path)
        if path.name == "texts.py":
            table = next(node for node in tree(path).body if isinstance(node, ast.AnnAssign))
            silent |= {id(node) for node in ast.walk(table)}
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                keys.add(node.value)
    assert KEYS - keys == set()


SAID = [
    (path, call, key)
    for path in (*CORE, MAIN)
    for call in calls(path)
    if isinstance(call.func, ast.Attribute) and call.func.attr == "say" and len(call.args) == 1
    for key in literals(call.args[0]) or []
]


@pytest.mark.parametrize(
    ("key", "given", "spread"),
    [
        pytest.param(
            key,
            {keyword.arg for keyword in call.keywords},
            any(keyword.arg is None for keyword in call.keywords),
            id=f"{key} in {where(path, call)}",
        )
        for path, call, key in SAID
    ],
)
def test_what_is_said_is_filled_in(key: str, given: set[str], spread: bool) -> None:
    assert key in KEYS
    assert spread or placeholders(sentence(key, "zh")) <= given


def test_a_failure_without_its_own_sentence_gets_the_general_one() -> None:
    why = Why("refused", "no_such_cause", "words")
    assert Texts("en").explain(why) == f"{sentence('refused', 'en')} (Upstream: words)"
    assert Texts("zh").explain(why) == f"{sentence('refused', 'zh')}（上游原话：words）"


def test_a_failed_job_is_told_with_its_number_and_its_link() -> None:
    told = Texts("en").failed(7, Why("upstream_failed", "gone"), "https://cdn.example.org/1.mp4")
    assert told.splitlines() == ["❌ #7 The link to the video has expired.", "Link: https://cdn.example.org/1.mp4"]
    assert Texts("zh").failed(7, Why("refused"), None).startswith("❌ #7 ")


@pytest.mark.parametrize("kind", ["unknown_charge", "unknown_delivery"])
def test_what_is_open_is_not_told_as_failed(kind: str) -> None:
    assert Texts("zh").failed(7, Why(kind), None).startswith("⚠️ #7 ")


def test_braces_in_an_upstreams_words_are_words() -> None:
    assert "{x}" in Texts("zh").failed(1, Why("refused", "", "bad {x}"), None)
