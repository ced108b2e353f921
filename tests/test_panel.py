"""The panel is written by hand and says what the settings do: the two are held together here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from core.config import BackendName, Settings, UpstreamSettings, load

HOME = Path(__file__).parent.parent
SCHEMA = json.loads((HOME / "_conf_schema.json").read_text("utf-8"))
ENGLISH = json.loads((HOME / ".astrbot-plugin" / "i18n" / "en-US.json").read_text("utf-8"))


def items(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every item of the panel with its dotted path, sections before what is in them."""
    for key, item in schema.items():
        yield above + key, item
        yield from items(item.get("items", {}), f"{above}{key}.")


def fields(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting with its dotted path and type, likewise."""
    for key, field in model.model_fields.items():
        yield above + key, field.annotation
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, f"{above}{key}.")


ITEMS, FIELDS = dict(items(SCHEMA)), dict(fields(Settings))
VALUES = {path: item for path, item in ITEMS.items() if item["type"] != "object"}
HEADERS = {path for path in FIELDS if path.endswith(".extra_headers")}
LINES = {
    "video.presets",
    "video.fallback",
    "delivery.path_mapping",
    *HEADERS,
}  # whatever they become, they are typed as a list
BACKENDS = list(get_args(BackendName))


def panel(path: str, value: Any) -> dict[str, Any]:
    """A panel in which only one value is set."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def setting(settings: Settings, path: str) -> Any:
    found: Any = settings
    for key in path.split("."):
        found = getattr(found, key)
    return found


def test_the_panel_has_every_setting_in_the_same_order() -> None:
    assert list(ITEMS) == list(FIELDS)


def test_the_rarest_setting_of_an_upstream_comes_last() -> None:
    """And what makes videos of a picture stands below what makes them of a text."""
    for name in BACKENDS[1:]:
        assert list(SCHEMA[name]["items"])[-1] == "extra_headers"
    assert list(SCHEMA["gitee"]["items"])[2:4] == ["model", "image_model"]


def test_the_panels_defaults_are_the_defaults() -> None:
    def defaults(schema: dict[str, Any]) -> dict[str, Any]:
        return {key: defaults(item["items"]) if "items" in item else item["default"] for key, item in schema.items()}

    assert load(defaults(SCHEMA)) == (Settings(), [])


@pytest.mark.parametrize("path", [path for path, item in VALUES.items() if item["type"] not in ("text", "list")])
def test_a_default_is_written_as_it_is(path: str) -> None:
    assert VALUES[path]["default"] == setting(Settings(), path)


@pytest.mark.parametrize("path", ITEMS)
def test_an_item_has_the_type_of_its_setting(path: str) -> None:
    annotation = FIELDS[path]
    if get_origin(annotation) is Literal:
        expected = "string"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        expected = "object"
    else:
        written = {bool: "bool", int: "int", float: "float", str: "string", tuple: "text"}
        expected = "list" if path in LINES else written[get_origin(annotation) or annotation]
    assert ITEMS[path]["type"] == expected


def test_every_type_is_known_to_the_oldest_host() -> None:
    """AstrBot 4.24.4 does not load a plugin whose panel has a ``dict``; later ones emptied it at every start."""
    assert {item["type"] for item in ITEMS.values()} <= {"string", "text", "int", "float", "bool", "list", "object"}


@pytest.mark.parametrize("path", [path for path in VALUES if path != "video.fallback"])
def test_the_options_are_those_the_setting_takes(path: str) -> None:
    item, annotation = VALUES[path], FIELDS[path]
    taken = list(get_args(annotation)) if get_origin(annotation) is Literal else []
    assert item.get("options", []) == taken
    assert len(item.get("labels", [])) == len(taken)
    for option in taken:
        assert setting(load(panel(path, option))[0], path) == option


def test_the_fallback_offers_every_backend() -> None:
    """Named as the default backend is: the host's list shows labels and saves plain names; older hosts show these."""
    for own, default in (
        (ITEMS["video.fallback"], ITEMS["video.backend"]),
        (english("video.fallback"), english("video.backend")),
    ):
        assert own["labels"] == default["labels"]
    assert ITEMS["video.fallback"]["options"] == BACKENDS
    assert load(panel("video.fallback", BACKENDS[::-1]))[0].video.fallback == tuple(BACKENDS[::-1])


@pytest.mark.parametrize("path", [path for path, kind in FIELDS.items() if kind in (int, float)])
def test_a_slider_ends_where_the_setting_is_clamped(path: str) -> None:
    slider = ITEMS[path]["slider"]
    assert slider["min"] <= ITEMS[path]["default"] <= slider["max"]
    assert slider["step"] > 0
    for typed, kept in (
        (slider["min"], slider["min"]),
        (slider["min"] - 1, slider["min"]),
        (slider["max"], slider["max"]),
        (slider["max"] + 1, slider["max"]),
    ):
        settings, odd = load(panel(path, typed))
        assert setting(settings, path) == kept, typed
        assert odd == []


@pytest.mark.parametrize("path", ITEMS)
def test_an_item_is_explained(path: str) -> None:
    assert ITEMS[path]["description"]
    assert ITEMS[path]["hint"].endswith("。")


def english(path: str) -> dict[str, Any]:
    found: Any = ENGLISH["config"]
    for key in path.split("."):
        found = found[key]
    assert isinstance(found, dict)
    return found


def test_the_english_panel_has_the_same_items() -> None:
    """A section's items stand beside its own words, as the host's panel looks them up (plugin i18n guide)."""

    def paths(texts: dict[str, Any], above: str = "") -> Iterator[str]:
        for key, text in texts.items():
            if isinstance(text, dict):
                yield above + key
                yield from paths(text, f"{above}{key}.")

    assert list(paths(ENGLISH["config"])) == list(ITEMS)


@pytest.mark.parametrize("path", ITEMS)
def test_an_item_is_explained_in_english(path: str) -> None:
    texts = {key: text for key, text in english(path).items() if not isinstance(text, dict)}
    wanted = {"description", "hint"} | ({"labels"} if "labels" in ITEMS[path] else set())
    assert texts.keys() == wanted
    assert len(texts.get("labels", [])) == len(ITEMS[path].get("labels", []))
    assert texts["hint"].endswith(".")
    for text in (texts["description"], texts["hint"]):
        assert not re.search(r"[\u4e00-\u9fff]", re.sub(r"/视频\w*", "", text)), "commands alone stay Chinese"


def test_the_english_plugin_is_described() -> None:
    metadata = re.findall(r"^(\w+):", (HOME / "metadata.yaml").read_text("utf-8"), re.MULTILINE)
    assert ENGLISH.keys() == {"metadata", "config"}
    assert ENGLISH["metadata"].keys() == {"display_name", "short_desc", "desc"} & set(metadata)
    assert all(ENGLISH["metadata"].values())


def test_every_upstream_by_ticket_has_its_section() -> None:
    """And every section of that kind is a backend that can be chosen."""
    models = {name: kind for name, kind in FIELDS.items() if isinstance(kind, type)}
    sections = {name for name, kind in models.items() if issubclass(kind, UpstreamSettings)}
    assert sections == set(BACKENDS) - {"grok"}
    for name in sections:
        assert f"@{name}" in ITEMS[name]["hint"]
        assert f"@{name}" in english(name)["hint"]


DEFAULTS_ONLY = [path for path in FIELDS if path.endswith((".aspect_ratio", ".resolution", ".duration"))]


@pytest.mark.parametrize("path", DEFAULTS_ONLY)
def test_what_the_person_may_choose_is_only_a_default_here(path: str) -> None:
    assert "只是默认值" in ITEMS[path]["hint"]
    assert "Only a default" in english(path)["hint"]


NUMBERS = [
    ("a rest of keys", "video.api_key", "10", "core.keys", "REST_SECONDS", 60),
    ("the longest pause", "video.retry_delay", "5", "core.job_runner", "LONGEST_PAUSE", 60),
    *(
        (f"how long {name} is asked", f"{name}.timeout_seconds", "24", "core.job_runner", "PATIENCE", 3600)
        for name in BACKENDS[1:]
    ),
]


@pytest.mark.parametrize(
    ("path", "said", "module", "name", "unit"), [pytest.param(*case[1:], id=case[0]) for case in NUMBERS]
)
def test_numbers_in_hints_are_those_of_the_code(path: str, said: str, module: str, name: str, unit: int) -> None:
    value = getattr(__import__(module, fromlist=[name]), name)
    assert value == int(said) * unit
    assert re.search(rf"\b{said} (?:分钟|小时)", ITEMS[path]["hint"])
    assert re.search(rf"\b{said} (?:minutes|hours)", english(path)["hint"])
