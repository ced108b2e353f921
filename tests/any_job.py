"""Whatever JSON an upstream may answer with, and what must be true of what is made of it."""

from __future__ import annotations

from hypothesis import strategies as st

from core.errors import Failure
from core.models import Pending, VideoResult

V = "https://cdn.example.org/v/1.mp4"
KEYS = (
    *("status", "state", "task_status", "id", "task_id", "data", "error", "message", "code", "type", "progress"),
    *(
        "fail_reason",
        "output",
        "detail",
        "url",
        "video",
        "videos",
        "video_url",
        "metadata",
        "object",
        "usage",
        "request_id",
    ),
    *("respect_moderation", "cost_in_usd_ticks", "name", "done", "response", "file_url", "task_result"),
)
WORDS = (
    *("failed", "completed", "SUCCESS", "queued", "moderation", "task not found", V, "/v1/videos/1/content"),
    "99%",
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*WORDS, "\ud800", 10**30])
    | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=5),
    max_leaves=15,
)
ANY_JOB = st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=6)


def check(seen: VideoResult | Pending | str | Failure) -> None:
    """It can be stored and logged, and holds what its own type says."""
    match seen:
        case Failure():
            said = [seen.why.reason, *seen.why.facts.values()]
        case VideoResult():
            said = [seen.url]
            assert seen.cost is None or seen.cost >= 0
        case Pending():
            said = [seen.word, seen.trouble]
            assert seen.percent is None or 0 <= seen.percent <= 100
        case _:
            said = [seen]
            assert seen
    for text in said:
        text.encode()
