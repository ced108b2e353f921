"""The door: commands, the LLM tool, start and stop. What they do is in core/."""

import logging
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from astrbot.api import AstrBotConfig
from astrbot.api.event import AstrMessageEvent, MessageChain, filter
from astrbot.api.message_components import Plain
from astrbot.api.star import Context, Star, StarTools
from astrbot.core import file_token_service
from astrbot.core.star.filter.command import GreedyStr

from .core.backends import configured
from .core.commands import Commands
from .core.config import load, upstream_roots
from .core.delivery import Delivery
from .core.emoji_feedback import EmojiFeedback
from .core.errors import Misconfigured
from .core.job_ledger import JobLedger, LedgerFailed
from .core.job_runner import JobRunner
from .core.kept_references import KeptReferences
from .core.orders import Orders
from .core.references import ReferenceStore
from .core.texts import Texts
from .core.transport import MB, Transport, Trust
from .core.video_manager import VideoManager
from .core.words import COMMANDS

logger = logging.getLogger("astrbot")


def _command(key: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a handler under all names of a command."""
    name, *aliases = COMMANDS[key]
    register: Callable[[Callable[..., Any]], Callable[..., Any]] = filter.command(name, alias=set(aliases))
    return register


class GiteePlugin(Star):
    """Registered by the host. Every handler is one line, because the host binds handlers to this module only."""

    def __init__(self, context: Context, config: AstrBotConfig) -> None:
        super().__init__(context)
        self._settings, self._oddities = load(config)
        self._texts = Texts(self._settings.language)
        self._commands: Commands | None = None
        self._runner: JobRunner | None = None

    async def initialize(self) -> None:
        """Build everything from the panel, and take up what the last run left."""
        for key, facts in self._oddities:
            logger.warning("[astrbot_plugin_gitee] %s", self._texts.say(key, **facts))
        video = self._settings.video
        folder = Path(StarTools.get_data_dir("astrbot_plugin_gitee"))
        ledger = JobLedger(folder / "jobs.db")
        try:
            await ledger.open()
        except LedgerFailed as error:
            logger.error("[astrbot_plugin_gitee] %s: %s", self._texts.explain(Misconfigured("ledger").why), error)
            return
        former = [job.root for job in await ledger.unfinished()]  # where tickets are still asked for
        transport = Transport(Trust.of((*upstream_roots(self._settings), video.proxy, *former)), video.proxy)
        max_bytes = video.max_video_mb * MB
        videos = VideoManager(folder / "videos", transport, max_cached=video.max_cached_videos, max_bytes=max_bytes)
        picture_bytes = round(video.image_max_mb * MB)
        references = ReferenceStore(
            folder / "references", transport, max_side=video.image_max_side, max_bytes=picture_bytes
        )
        kept_store = ReferenceStore(folder / "kept", transport, max_side=video.image_max_side, max_bytes=picture_bytes)
        kept = KeptReferences(folder / "kept_lists", kept_store)
        await kept.sweep()
        backends = configured(self._settings, transport, self._publish)
        emoji = EmojiFeedback(self.context)
        delivery = Delivery(self.context, self._settings, self._texts, emoji, videos, ledger, self._callback_base)
        self._runner = JobRunner(video, backends, ledger, references, videos, delivery)
        orders = Orders(self._settings, self._texts, backends, ledger, references, kept, self._runner, delivery)
        commands = Commands(self._settings, self._texts, backends, ledger, kept, self._runner, delivery, orders)
        self._resources = (delivery, ledger, transport)
        await self._runner.start()
        self._describe_tool(orders.tool_offers())
        self._commands = commands  # not before: a job that begins while the old ones are taken up would be one of them

    def _describe_tool(self, offers: dict[str, str]) -> None:
        """Let the chat's LLM know what the model in use can do: what it asks for in vain costs the person a turn."""
        tool = self.context.get_llm_tool_manager().get_func("gitee_generate_video")
        properties = tool.parameters.get("properties", {}) if tool and tool.parameters else {}
        for name, offer in offers.items():
            if name in properties:
                plain = (
                    str(properties[name].get("description", "")).partition(" Offered: ")[0].partition(" Cannot be ")[0]
                )
                properties[name]["description"] = f"{plain} {offer}"

    async def terminate(self) -> None:
        """Stop. A paid request or a send that is under way goes on, and the next instance finds it."""
        self._commands = None
        if self._runner is not None:
            await self._runner.close(self._close)

    async def _close(self) -> None:
        for resource in self._resources:
            await resource.close()

    def _callback_base(self) -> str:
        return str(self.context.get_config().get("callback_api_base") or "")

    async def _publish(self, path: Path) -> str | None:
        """A link under which an upstream can fetch a file once, where the host has a public address."""
        base = self._callback_base().rstrip("/")
        if not base:
            return None
        # Gateways fetch it when their turn comes, some twice; older hosts give it away once.
        often = {"single_use": False} if "single_use" in signature(file_token_service.register_file).parameters else {}
        return f"{base}/api/file/{await file_token_service.register_file(str(path), 3600, **often)}"

    async def _run(self, command: str, event: AstrMessageEvent, text: str = "") -> None:
        if self._commands is None:
            event.should_call_llm(True)
            event.stop_event()
            await event.send(MessageChain([Plain(self._texts.say("starting"))]))
        else:
            await self._commands.run(command, event, text)

    @_command("video")
    async def video(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """图生视频：/视频 [@后端] [预设名] 提示词 [6s] [9:16] [720p]，附上或引用一张图片"""
        await self._run("video", event, text)

    @_command("presets")
    async def presets(self, event: AstrMessageEvent) -> None:
        """查看视频预设"""
        await self._run("presets", event)

    @_command("jobs")
    async def jobs(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """查看视频任务：/视频任务 [编号]"""
        await self._run("jobs", event, text)

    @_command("cancel")
    async def cancel(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """取消视频任务：/视频取消 [编号]"""
        await self._run("cancel", event, text)

    @_command("resend")
    async def resend(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """重发做好的视频：/视频重发 [编号]"""
        await self._run("resend", event, text)

    @_command("retry")
    async def retry(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """同样的请求再做一次：/视频重试 [编号]"""
        await self._run("retry", event, text)

    @_command("references")
    async def references(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """先记下图片：/参考图 [首帧|尾帧|参考|清除|查看]，/参考图 [参数] -- 提示词"""
        await self._run("references", event, text)

    @_command("models")
    async def models(self, event: AstrMessageEvent, text: GreedyStr) -> None:
        """查看和选用视频后端：/视频模型 [后端[/模型]|默认]"""
        await self._run("models", event, text)

    @_command("diagnose")
    async def diagnose(self, event: AstrMessageEvent) -> None:
        """检查后端和发送方式（管理员）"""
        await self._run("diagnose", event)

    @_command("help")
    async def help(self, event: AstrMessageEvent) -> None:
        """视频功能的简短说明"""
        await self._run("help", event)

    @filter.llm_tool(name="gitee_generate_video")  # type: ignore[untyped-decorator]
    async def generate_video(
        self,
        event: AstrMessageEvent,
        prompt: str,
        mode: str = "auto",
        duration: float = 0,
        aspect_ratio: str = "",
        resolution: str = "",
    ) -> str:
        """Make a short video from a description and, if there is one, from the picture in the user's message or the
        quoted message. Takes minutes in the background; the video is sent to the chat by itself. Call it at most once
        for one wish, and only when the user wants a video.

        Args:
            prompt(string): What the video shows and how it moves, in English, one or two sentences.
            mode(string): "auto" uses the message's pictures if there are any; "text" ignores them; "image" begins
                with one; "frames" goes from the first to the second; "references" shows what is in them.
            duration(number): Length in seconds; 0 for the model's default.
            aspect_ratio(string): Such as 16:9, 9:16 or 1:1; empty for the default.
            resolution(string): 480p, 720p or 1080p; empty for the default.
        """
        if self._commands is None:
            return self._texts.say("starting")
        return await self._commands.tool(event, prompt, mode, duration, aspect_ratio, resolution)

    @filter.llm_tool(name="gitee_video_status")  # type: ignore[untyped-decorator]
    async def video_status(self, event: AstrMessageEvent, number: float = 0) -> str:
        """Look up what became of a video that was asked for: its state, percentage and expected time. The video itself
        is sent to the chat by the plugin.

        Args:
            number(number): The job's number; 0 for the user's newest.
        """
        if self._commands is None:
            return self._texts.say("starting")
        return await self._commands.status(event, number)
