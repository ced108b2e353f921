"""Everything around one AstrBot, started and stopped together."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from .astrbot_proc import REPOSITORY, AstrBot, deep_merge
from .files import FileServer
from .llm import LLM
from .net import HostMap
from .onebot import OneBot
from .telegram import Telegram
from .timeline import Timeline
from .upstreams import Upstreams
from .webchat import Dashboard


class Rig:
    """``async with Rig(plugin_config=lambda rig: {"video": {"server_url": rig.up.grok.base}}) as rig: …``

    Args:
        plugin: the folder to install; this repository by default, None for a bare AstrBot.
        plugin_config: what the plugin's panel holds; a function of the rig where it has to name the fakes' addresses.
        config: laid over AstrBot's own configuration.
        telegram: also start the fake Telegram's adapter.
        python: an interpreter that has AstrBot and the plugin's requirements; by default RIG_PYTHON, or this one.
        keep: keep the root when done, with astrbot.log, timeline.txt, egress.jsonl and data/; by default if RIG_KEEP.

    Throw-away roots are made in RIG_ROOT where that is set, else where temporary files go.
    """

    def __init__(
        self,
        plugin: Path | None = REPOSITORY,
        *,
        plugin_config: dict[str, Any] | Callable[[Rig], dict[str, Any]] | None = None,
        config: dict[str, Any] | None = None,
        telegram: bool = True,
        python: str | None = None,
        keep: bool | None = None,
    ) -> None:
        home = os.environ.get("RIG_ROOT") or None
        if home:
            Path(home).mkdir(parents=True, exist_ok=True)
        self.root = Path(tempfile.mkdtemp(prefix="rig-", dir=home)).resolve()
        self.timeline, self.hosts = Timeline(), HostMap()
        self.files = FileServer(self.timeline)
        self.up = Upstreams(self.timeline)
        self.llm = LLM(self.timeline)
        self.tg = Telegram(self.timeline, self.hosts)
        self.qq = OneBot(self.timeline, self.hosts)
        self.bot = AstrBot(
            self.root / "astrbot",
            plugin,
            timeline=self.timeline,
            hosts=self.hosts,
            python=python or os.environ.get("RIG_PYTHON") or sys.executable,
        )
        self.web = Dashboard(self.timeline, self.bot.url)
        self.boot_seconds = 0.0
        self._plugin_config, self._config, self._telegram = plugin_config, config or {}, telegram
        self._keep = bool(os.environ.get("RIG_KEEP")) if keep is None else keep

    async def __aenter__(self) -> Self:
        try:
            for part in (self.files, self.up, self.llm, self.tg, self.web):
                await part.start()
            platforms = [self.bot.qq_platform(), *([self.tg.platform_config()] if self._telegram else [])]
            config = deep_merge({"platform": platforms, **self.llm.provider_config()}, self._config)
            made = self._plugin_config(self) if callable(self._plugin_config) else self._plugin_config
            self.bot.prepare(config, made)
            await self.qq.start(self.bot.qq_port, self.bot.qq_token)
            await self.boot()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def boot(self) -> None:
        """Start AstrBot (again) and wait until every channel is live."""
        since = self.timeline.mark()
        self.boot_seconds = await self.bot.start()
        await self.qq.ready()
        if self._telegram:
            await self.timeline.wait("tg", "getUpdates", since=since, timeout=20)
        await self.web.login()

    async def __aexit__(self, *failure: object) -> None:
        try:
            await self.bot.kill()
        finally:
            for part in (self.qq, self.web, self.tg, self.llm, self.up, self.files):
                await part.stop()
            (self.root / "timeline.txt").write_text(self.timeline.text(), encoding="utf-8")
            if self._keep:
                print(f"\nrig: kept {self.root}")
            else:
                shutil.rmtree(self.root, ignore_errors=True)
