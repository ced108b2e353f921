"""One AstrBot per module, with this plugin pointed at the rig's upstreams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devtools.rig import Rig, ok
from tests.e2e.world import ADMIN, forget, link, panel, started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(scope="module")
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """An AstrBot for the whole module; a module may set PANEL for other settings, `sections` for more of them, and
    QQ_PATIENCE for the seconds in which QQ must answer."""
    video, more = getattr(request.module, "PANEL", {}), getattr(request.module, "sections", lambda rig: {})
    rig = Rig(
        plugin_config=lambda rig: panel(rig, max_jobs_per_user=5, **video) | more(rig),
        config={"admins_id": [str(ADMIN)]},
    )
    rig.bot.qq_patience = getattr(request.module, "QQ_PATIENCE", 0.0)
    async with rig:
        yield await started(rig)
        assert rig.bot.egress() == [], "something left this machine"
        bad = [trace for trace in rig.bot.tracebacks() if "astrbot_plugin_gitee" in trace]
        assert not bad, bad[0]
        assert "sk-rig" not in rig.bot.log().replace("sk-rig-llm", ""), "a key is in the log"


@pytest.fixture
async def rig(shared: Rig) -> Rig:
    """The module's AstrBot with all faults cleared."""
    shared.qq.faults.clear()
    shared.tg.faults.clear()
    shared.qq.shares_filesystem = True
    forget(shared)
    for up in (shared.up.grok, shared.up.xai, shared.up.ve):
        up.plan()
        up.keys = None
        up.default = ok(link(shared), delay=0.3)
    return shared
