"""Whatever stands in the panel becomes settings that can be trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import BadAddress, Settings, VeoSettings, VideoSettings, api_root, load, upstream_roots

UPSTREAMS = ("xai", "veo", "openai", "gemini", "gitee")
ADDRESSES = [
    ("as it should be", "https://gw.example.com", "https://gw.example.com"),
    ("with a slash", "https://gw.example.com/", "https://gw.example.com"),
    ("with /v1", "https://gw.example.com/v1", "https://gw.example.com"),
    ("with /v1/", "https://gw.example.com/v1/", "https://gw.example.com"),
    ("the whole path", "https://gw.example.com/v1/chat/completions", "https://gw.example.com"),
    ("the path without /v1", "https://gw.example.com/chat/completions", "https://gw.example.com"),
    ("another path of the API", "https://gw.example.com/v1/models/", "https://gw.example.com"),
    ("Google's version", "https://gw.example.com/v1beta/", "https://gw.example.com"),
    ("a path of Google's", "https://gw.example.com/v1beta/models/veo:predictLongRunning", "https://gw.example.com"),
    ("capitals", "HTTPS://GW.Example.com/V1", "https://gw.example.com"),
    ("blanks around it", "  https://gw.example.com \n", "https://gw.example.com"),
    ("brackets of an e-mail", "<https://gw.example.com>", "https://gw.example.com"),
    ("quotes of a shell", '"https://gw.example.com"', "https://gw.example.com"),
    ("slashes too many", "https://gw.example.com//v1//chat/completions", "https://gw.example.com"),
    ("a prefix", "https://gw.example.com/grok/v1", "https://gw.example.com/grok"),
    ("a prefix that only looks like the version", "https://gw.example.com/v10", "https://gw.example.com/v10"),
    ("a query is no address", "https://gw.example.com/v1?key=1", "https://gw.example.com"),
    ("a user name is no address", "https://me:pw@gw.example.com/v1", "https://gw.example.com"),
    ("no scheme", "gw.example.com", "https://gw.example.com"),
    ("no scheme, a port and a path", "gw.example.com:8443/v1", "https://gw.example.com:8443"),
    ("next door", "localhost:8000", "http://localhost:8000"),
    ("a number", "192.168.1.5:8000/v1", "http://192.168.1.5:8000"),
    ("IPv6", "http://[::1]:8000/v1", "http://[::1]:8000"),
    ("IPv6 without a scheme", "[fd00::1]:8000", "http://[fd00::1]:8000"),
]


@pytest.mark.parametrize(("typed", "root"), [pytest.param(*case[1:], id=case[0]) for case in ADDRESSES])
def test_an_address_is_completed(typed: str, root: str) -> None:
    assert api_root(typed) == root


@pytest.mark.parametrize(
    "typed",
    [
        *("", "   ", "grok", "not an address", "请填写", "ftp://gw.example.com", "https://", "https:///v1", "sk-abc"),
        *("https://gw example.com", "https://[::1", "https://gw.example.com:port", "https://gw.example.com:99999"),
        *("file:///etc/passwd", "//gw.example.com", "https://\u2100.example"),
    ],
)
def test_what_is_no_address_is_said(typed: str) -> None:
    with pytest.raises(BadAddress):
        api_root(typed)


def video(**panel: Any) -> tuple[VideoSettings, list[str]]:
    settings, odd = load({"video": panel})
    return settings.video, [facts.get("key", key) for key, facts in odd]


KEYS = [
    ("one", "sk-a", ("sk-a",)),
    ("one a line", "sk-a\nsk-b\r\n\nsk-c", ("sk-a", "sk-b", "sk-c")),
    ("commas of both widths", "sk-a, sk-b，sk-c", ("sk-a", "sk-b", "sk-c")),
    ("semicolons of both widths", "sk-a;sk-b；sk-c", ("sk-a", "sk-b", "sk-c")),
    ("the same twice", "sk-a sk-a", ("sk-a",)),
    ("a list", ["sk-a", "sk-b"], ("sk-a", "sk-b")),
    ("nothing but blanks", " \n", ()),
]


# What the panel's other sections have beyond `video`.
MORE: list[tuple[str, str, Any, Any, bool]] = [
    ("another backend", "video.backend", "gitee", "gitee", False),
    ("a backend that we do not have", "video.backend", "sora", "grok", True),
    ("backends in their order", "video.fallback", ["veo", "xai"], ("veo", "xai"), False),
    ("backends as people write them", "video.fallback", [" @Veo ", "GEMINI"], ("veo", "gemini"), False),
    ("backends in one line", "video.fallback", "veo, xai，openai", ("veo", "xai", "openai"), False),
    ("the same backend twice", "video.fallback", ["veo", "veo"], ("veo",), False),
    ("a backend that we do not have among others", "video.fallback", ["sora", "veo"], ("veo",), False),
    ("a number is no backend", "video.fallback", 3, (), True),
    ("headers", "veo.extra_headers", {"X-Group": "vip"}, {"X-Group": "vip"}, False),
    ("headers as lines", "veo.extra_headers", ["X-A: 1", " X-B : a:b "], {"X-A": "1", "X-B": "a:b"}, False),
    ("a line that is no header", "veo.extra_headers", ["X-A", ": 1", "X-B: 2"], {"X-B": "2"}, False),
    ("blanks around a header", "veo.extra_headers", {" X-Group ": " vip "}, {"X-Group": "vip"}, False),
    ("a header's number", "veo.extra_headers", {"X-Level": 3}, {"X-Level": "3"}, False),
    ("a header that smuggles another", "veo.extra_headers", {"X-A": "1\r\nX-B: 2", "X-C": "3"}, {"X-C": "3"}, False),
    ("a header in no header's letters", "veo.extra_headers", {"X-组": "1", "X-B": "会员", "X C": "1"}, {}, False),
    ("what HTTP sets itself", "veo.extra_headers", {"Host": "x", "content-length": "0"}, {}, False),
    ("headers that are none", "veo.extra_headers", "X-Group: vip", {}, True),
    ("several keys", "openai.api_key", "sk-a\nsk-b", ("sk-a", "sk-b"), False),
    ("longer than anybody waits", "gemini.timeout_seconds", 99999, 3600, False),
    ("too many looks", "xai.poll_seconds", 0, 1, False),
    ("too few looks", "gitee.poll_seconds", 9999, 300, False),
    ("a length", "xai.duration", "6", 6, False),
    ("no length", "xai.duration", 0, 0, False),
    ("longer than any model", "xai.duration", 600, 60, False),
    ("a way for pictures", "veo.image_transport", "data", "data", False),
    ("a way that is none", "veo.image_transport", "pigeon", "auto", True),
    ("no model for pictures", "gitee.image_model", "  ", "", False),
]


@pytest.mark.parametrize(("path", "typed", "kept", "is_odd"), [pytest.param(*case[1:], id=case[0]) for case in MORE])
def test_every_section_is_understood(path: str, typed: Any, kept: Any, is_odd: bool) -> None:
    section, key = path.split(".")
    found, odd = load({section: {key: typed}})
    assert getattr(getattr(found, section), key) == kept
    assert odd == ([("odd_setting", {"key": path})] if is_odd else [])


@pytest.mark.parametrize(("typed", "keys"), [pytest.param(*case[1:], id=case[0]) for case in KEYS])
def test_keys_are_told_apart(typed: Any, keys: tuple[str, ...]) -> None:
    assert video(api_key=typed) == (VideoSettings(api_key=keys), [])


NUMBERS: list[tuple[str, str, Any, Any]] = [
    ("a number in quotes", "timeout_seconds", "90", 90),
    ("a fraction where a whole number is meant", "timeout_seconds", 90.6, 91),
    ("zero retries are zero", "max_retries", 0, 0),
    ("zero retries in quotes", "max_retries", "0", 0),
    ("more than allowed", "timeout_seconds", 99999, 3600),
    ("less than allowed", "timeout_seconds", -5, 1),
    ("infinite", "timeout_seconds", float("inf"), 3600),
    ("more digits than a float has", "timeout_seconds", 10**400, 180),
    ("no number", "timeout_seconds", "soon", 180),
    ("not a number", "timeout_seconds", float("nan"), 180),
    ("a list", "timeout_seconds", [90], 180),
    ("nothing", "timeout_seconds", None, 180),
    ("a fraction where it may be", "retry_delay", "0.5", 0.5),
    ("a switch in words", "enabled", "false", False),
    ("a switch that is none", "enabled", "perhaps", True),
    ("an unknown choice", "retry_policy", "sometimes", "safe"),
    ("a choice in capitals", "retry_policy", "ALWAYS", "safe"),
    ("a name with blanks", "model", "  grok-imagine-video ", "grok-imagine-video"),
    ("a proxy without a scheme", "proxy", "127.0.0.1:7890", "http://127.0.0.1:7890"),
    ("a socks proxy", "proxy", " socks5h://127.0.0.1:1080 ", "socks5h://127.0.0.1:1080"),
    ("a proxy that is none", "proxy", "use the VPN", ""),
    ("a proxy of another kind", "proxy", "ftp://127.0.0.1", ""),
]


@pytest.mark.parametrize(("key", "typed", "kept"), [pytest.param(*case[1:], id=case[0]) for case in NUMBERS])
def test_a_value_is_understood_or_its_default_is_used(key: str, typed: Any, kept: Any) -> None:
    found, odd = video(**{key: typed, "max_video_mb": 7})
    assert getattr(found, key) == kept
    assert found.max_video_mb == 7, "one bad value does not spoil the others"
    misread = kept == getattr(VideoSettings(), key) and typed not in (None, kept)
    assert odd == ([f"video.{key}"] if misread else [])


def test_presets_are_read_line_by_line() -> None:
    lines = [
        "慢镜:slow motion",
        "推进： slow zoom: in ",
        " a : b ",
        "no colon",
        ":no name",
        "no prompt:",
        "a b:c",
        "@x:y",
        7,
    ]
    found, odd = load({"video": {"presets": lines}})
    assert found.video.presets == {"慢镜": "slow motion", "推进": "slow zoom: in", "a": "b"}
    assert {key for key, _ in odd} == {"odd_preset"}
    assert [facts["line"] for _, facts in odd] == ["no colon", ":no name", "no prompt:", "a b:c", "@x:y", "7"]


def test_the_last_of_two_presets_of_a_name_counts() -> None:
    assert video(presets=["a:1", "a:2"])[0].presets == {"a": "2"}


def test_an_address_that_is_none_is_kept_and_named() -> None:
    """The command says so when it is used; a panel that is half filled in is no reason not to load."""
    found, odd = video(server_url="my gateway")
    assert found.server_url == "my gateway"
    assert odd == ["video.server_url"]
    assert upstream_roots(Settings(video=found)) == upstream_roots(Settings())[1:]


@pytest.mark.parametrize("name", UPSTREAMS)
def test_an_address_of_any_upstream_that_is_none_is_named(name: str) -> None:
    found, odd = load({name: {"base_url": "my gateway"}})
    assert getattr(found, name).base_url == "my gateway"
    assert odd == [("odd_address", {"key": f"{name}.base_url", "value": "my gateway"})]


def test_the_admins_own_hosts_are_known() -> None:
    numbers = dict.fromkeys(UPSTREAMS, "")
    panel: dict[str, Any] = {"video": {"server_url": "192.168.1.5:8000/v1"}}
    for number, name in enumerate(numbers, 1):
        panel[name] = {"base_url": f"10.0.0.{number}:8000/v1"}
        numbers[name] = f"http://10.0.0.{number}:8000"
    assert upstream_roots(load(panel)[0]) == ["http://192.168.1.5:8000", *numbers.values()]


@pytest.mark.parametrize(
    "panel",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"video": None, "language": None}, id="nulls"),
        pytest.param({"video": {"new_key": 1}, "other": {}}, id="keys of another version"),
    ],
)
def test_what_is_missing_or_unknown_is_not_odd(panel: dict[str, Any]) -> None:
    assert load(panel) == (Settings(), [])


@pytest.mark.parametrize("section", [3, "x", [], [1], True])
def test_a_section_that_is_none_is_odd(section: Any) -> None:
    assert load({"video": section}) == (Settings(), [("odd_setting", {"key": "video"})])


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load({})[0].video.model = "x"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SECTION = st.dictionaries(st.sampled_from(list(VideoSettings.model_fields)), JSON, max_size=6)
VEO = st.dictionaries(st.sampled_from(list(VeoSettings.model_fields)), JSON, max_size=6)
PANEL = st.fixed_dictionaries(
    {}, optional={"language": JSON, "video": SECTION | JSON, "veo": VEO | JSON, "other": JSON}
)


@settings(max_examples=200, deadline=2000)
@given(PANEL)
def test_no_panel_stops_the_plugin_from_loading(panel: dict[str, Any]) -> None:
    found, odd = load(panel)
    assert Settings.model_validate(found.model_dump()) == found
    assert all(isinstance(fact, str) for _, facts in odd for fact in facts.values())
