"""The rules of the house: reading order, borders, manners. A rule that is not here is a wish."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.source import CORE, HOME, MAIN, docstrings, tree, where

# A file imports only from files above it. Services stand side by side: they do not import each other.
ORDER = [
    "errors",
    "models",
    "capabilities",
    "words",
    "config",
    "prompt",
    "media_url",
    "texts",
    "body",
    "transport",
    "references",
    "kept_references",
    "envelope",
    "tickets",
    "upstream",
    "keys",
    "grok_video_service",
    "xai_video_service",
    "veo_video_service",
    "openai_video_service",
    "gemini_video_service",
    "gitee_video_service",
    "backends",
    "mp4",
    "video_manager",
    "shrink",
    "fair_queue",
    "look_times",
    "ticket_watch",
    "job_ledger",
    "outbox",
    "delivery_plan",
    "send_outcome",
    "job_runner",
    "utils",
    "emoji_feedback",
    "qq",
    "delivery",
    "diagnosis",
    "orders",
    "commands",
]
HOST_SIDE = {
    "utils",
    "emoji_feedback",
    "delivery",
    "diagnosis",
    "qq",
    "orders",
    "commands",
    "main",
}  # may import what the host brings
HOST = {"astrbot", "telegram", "aiocqhttp"}  # the last two: of the host's adapters, loaded only where those run
ALL = [*CORE, MAIN]

every_file = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in ALL])
every_core_file = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in CORE])


def imports(path: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    """Each import with the full name of its module; ours begin with a dot."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level and not node.module:
            yield from ((node, f".{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node, "." * node.level + (node.module or "")


# ---- order and borders ----


def test_every_file_has_a_place() -> None:
    assert sorted(ORDER) == sorted(path.stem for path in CORE)


@every_core_file
def test_imports_only_look_up(path: Path) -> None:
    above = ORDER[: ORDER.index(path.stem)]
    for node, name in imports(path):
        if name.startswith("."):
            assert name[1:] in above, f"{where(path, node)} imports {name[1:]}"
            assert not (path.stem.endswith("_service") and name.endswith("_service")), where(path, node)


@every_file
def test_our_own_files_are_imported_relatively(path: Path) -> None:
    """The host loads us as data.plugins.<folder>.main: there is no package called core."""
    own = {"core", "data", "main", *ORDER} - sys.stdlib_module_names
    for node, name in imports(path):
        assert name.split(".")[0] not in own, where(path, node)


@every_file
def test_only_the_hosts_side_knows_the_host(path: Path) -> None:
    if path.stem not in HOST_SIDE:
        for node, name in imports(path):
            assert name.split(".")[0] not in HOST, where(path, node)


def test_the_door_has_real_annotations() -> None:
    """With annotations as strings, older hosts cut a prompt to its first word without a word."""
    assert "__future__" not in [name for _, name in imports(MAIN)]


def test_the_reading_order_is_told() -> None:
    told = (HOME / "CONTRIBUTING.md").read_text("utf-8")
    assert [path.name for path in CORE if f"`core/{path.name}`" not in told] == []


# ---- state ----

MUTATORS = {
    *("append", "add", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault"),
    *("sort", "update", "appendleft", "popleft"),
}


def module_names(path: Path) -> set[str]:
    """What a module binds at its top by assignment, or imports from another of ours."""
    found = set()
    for node in tree(path).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        if isinstance(node, ast.ImportFrom) and node.level:
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def root(node: ast.AST) -> str:
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


@every_file
def test_nothing_changes_what_a_module_holds(path: Path) -> None:
    """Saving the panel loads the modules anew while tasks of the old ones go on: what changes belongs to an object."""
    shared = module_names(path)
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Global), where(path, node)
        written: list[ast.AST] = []
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            written = [node]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            written = [node.func]
        for target in written:
            assert root(target) not in shared, where(path, node)


@every_file
def test_no_function_remembers(path: Path) -> None:
    for node in ast.walk(tree(path)):
        for decorator in getattr(node, "decorator_list", ()):
            assert "cache" not in ast.unparse(decorator), where(path, node)


@every_file
def test_no_class_shares_a_container_among_its_objects(path: Path) -> None:
    for owner in ast.walk(tree(path)):
        for node in owner.body if isinstance(owner, ast.ClassDef) else ():
            value = getattr(node, "value", None)
            shared = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
            assert not isinstance(value, shared), where(path, node)


# ---- manners ----


@every_file
def test_chinese_stands_in_texts_and_words(path: Path) -> None:
    """And in docstrings of the door, which the host shows as the commands' help."""
    spoken = docstrings(path)
    if path.stem not in ("texts", "words"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
                assert not re.search(r"[\u3400-\u9fff\uf900-\ufaff]", node.value), where(path, node)


def test_broad_excepts_are_three_and_say_why() -> None:
    found = []
    for path in ALL:
        lines = path.read_text("utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "Exception"
                if re.search(r"\b(Base)?Exception\b", caught):
                    found.append(where(path, node))
                    assert re.search(r"# noqa: BLE001 \(.{20,}\)", lines[node.lineno - 1]), where(path, node)
    assert len(found) <= 3, found


@every_file
def test_every_public_thing_says_why_it_exists(path: Path) -> None:
    def undocumented(body: list[ast.stmt], above: str = "") -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
                "_"
            ):
                name = f"{above}{node.name}"
                if not ast.get_docstring(node):
                    yield name
                if isinstance(node, ast.ClassDef):
                    yield from undocumented(node.body, f"{name}.")

    assert ast.get_docstring(tree(path))
    assert list(undocumented(tree(path).body)) == []


@every_file
def test_nothing_is_left_lying_about(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", text) == []
    assert re.findall(r"""["'](?:/(?:home|root|work|tmp|Users|mnt)/|[A-Z]:\\)""", text) == []
    assert [
        where(path, node) for node in ast.walk(tree(path)) if isinstance(node, ast.Name) and node.id == "print"
    ] == []


@every_file
def test_an_exception_to_a_rule_says_why(path: Path) -> None:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT and re.search(r"noqa|fmt: off", token.string):
                assert re.search(r"noqa: [A-Z]+\d+ \(.{10,}\)", token.string), f"{path.name}:{token.start[0]}"


# ---- what is needed ----

PACKAGES = {"PIL": "pillow"}  # where the import has another name than the package


def needed() -> dict[str, Requirement]:
    lines = (HOME / "requirements.txt").read_text("utf-8").splitlines()
    return {one.name: one for one in map(Requirement, filter(None, lines))}


def test_the_requirements_are_what_is_imported() -> None:
    names = {name.split(".")[0] for path in ALL for _, name in imports(path) if not name.startswith(".")}
    outside = names - sys.stdlib_module_names - HOST
    assert sorted(needed()) == sorted(PACKAGES.get(name, name.replace("_", "-")) for name in outside)


@pytest.mark.parametrize("name", sorted(needed()))
def test_a_requirement_asks_no_more_than_the_host(name: str) -> None:
    """A plugin that needs a newer package than AstrBot would change the host under other plugins' feet."""
    floors = [spec for spec in needed()[name].specifier if spec.operator == ">="]
    assert len(floors) == len(needed()[name].specifier) == 1, "a floor and nothing else"
    for line in requires("astrbot") or []:
        host = Requirement(line)
        if host.name.lower() == name:
            assert host.specifier.contains(floors[0].version), f"the host asks for {host}"
