"""What is tried where, in which order, and how large it may be: the table itself."""

from __future__ import annotations

import pytest

from core.delivery_plan import PLATFORMS, Form, limit_of, mapped, planned
from core.transport import MB

S, H = "https://cdn.example.com/v.mp4", "http://cdn.example.com/v.mp4"

PLANS: list[tuple[str, str, dict[str, object], str]] = [
    ("QQ, all there is", "aiocqhttp", {"link": S}, "url file stream base64 attachment link"),
    ("QQ with the file service: base64 would become a link", "aiocqhttp", {"link": S, "public_base": "http://bot"},
     "url file service stream attachment link"),
    ("QQ, links only", "aiocqhttp", {"link": S, "mode": "url"}, "url link"),
    ("QQ, links only, where there is none to show", "aiocqhttp", {"mode": "url"}, "file stream base64 attachment"),
    ("QQ, no video by link", "aiocqhttp", {"link": S, "mode": "file"}, "file stream base64 attachment link"),
    ("what was refused comes last, but before the link", "aiocqhttp", {"link": S, "refused": {"url", "file"}},
     "stream base64 attachment url file link"),
    ("LINE wants https", "line", {"link": H, "public_base": "http://bot"}, "link"),
    ("LINE without the host's own https: its cover picture has no link", "line", {"link": S}, "link"),
    ("LINE without ffmpeg: nobody makes its cover picture", "line",
     {"link": S, "public_base": "https://bot", "ffmpeg": False}, "link"),
    ("DingTalk", "dingtalk", {"link": S}, "file attachment link"),
    ("DingTalk without ffmpeg: it drops a Video without a cover", "dingtalk", {"link": S, "ffmpeg": False},
     "attachment link"),
    ("QQ needs no ffmpeg", "aiocqhttp", {"link": S, "ffmpeg": False}, "url file stream base64 attachment link"),
    ("LINE with all of it", "line", {"link": S, "public_base": "https://bot"}, "url service link"),
    ("no form left", "weixin_official_account", {}, ""),
    ("a stranger", "somebody_s_own", {"link": S}, "attachment link"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "facts", "forms"), [pytest.param(*case[1:], id=case[0]) for case in PLANS])
def test_the_plan(name: str, facts: dict[str, object], forms: str) -> None:
    assert planned(name, **facts) == forms.split()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_plan_ends_with_the_link(name: str) -> None:
    plan = planned(name, link=S, refused=set(Form))
    assert plan[-1] is Form.LINK
    assert len(plan) == len(set(plan))


@pytest.mark.parametrize(
    ("name", "form", "limit"),
    [
        ("aiocqhttp", Form.FILE, 100 * MB),
        ("aiocqhttp", Form.BASE64, 20 * MB),
        ("aiocqhttp", Form.ATTACHMENT, None),
        ("wecom", Form.FILE, 10 * MB),
        ("wecom", Form.ATTACHMENT, 20 * MB),
        ("telegram", Form.FILE, 50 * MB),
        ("discord", Form.ATTACHMENT, 10 * MB),
        ("discord", Form.LINK, None),
        ("somebody_s_own", Form.ATTACHMENT, None),
    ],
)
def test_limits(name: str, form: Form, limit: int | None) -> None:
    assert limit_of(name, form) == limit


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/AstrBot/data/a/1.mp4", "/app/data/a/1.mp4"),
        ("/AstrBot/data", "/app/data"),
        ("/AstrBot/database/1.mp4", "/AstrBot/database/1.mp4"),  # only begins alike
        ("/srv/1.mp4", "/mnt/1.mp4"),
        ("/other/1.mp4", "/other/1.mp4"),
    ],
)
def test_paths_as_the_other_side_has_them(path: str, there: str) -> None:
    assert mapped(path, (("/AstrBot/data", "/app/data"), ("/srv", "/mnt"))) == there
