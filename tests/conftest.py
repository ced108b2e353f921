"""What every unit test stands on: a home for the host that is thrown away, and an internet made of loopback."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from tests.internet import Internet

# AstrBot makes its data folder where it stands, the moment it is imported, and reports home unless told not to.
_HOME = tempfile.mkdtemp(prefix="gitee-unit-")
os.environ |= {"ASTRBOT_ROOT": _HOME, "ASTRBOT_DISABLE_METRICS": "1"}


def pytest_configure(config: pytest.Config) -> None:
    for of_the_host in ("'audioop' is deprecated", "Deprecated since version v22.2"):
        config.addinivalue_line("filterwarnings", f"ignore:{of_the_host}")


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Internet]:
    """Names that resolve to whatever a test wants; public addresses that are served on loopback."""
    with Internet(monkeypatch) as net:
        yield net
