"""The rig's own proof needs the fakes alone, or one AstrBot with a small sample plugin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devtools.rig import Rig

PROBE = Path(__file__).parent / "samples" / "astrbot_plugin_rigprobe"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: starts a real AstrBot")


@pytest.fixture(scope="module")
async def probe() -> AsyncIterator[Rig]:
    """AstrBot with the sample plugin; tool calls time out after 3 s instead of 120."""
    config = {"agent_runner": {"config": {"misc": {"tool_call_timeout": 3}}}}
    async with Rig(PROBE, config=config) as rig:
        yield rig
