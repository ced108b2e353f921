"""Faults by the hundred: whatever the chats do, no video comes twice, and no job ends in silence.

``DELIVERY_SEED`` plays another run; a test that is run for every change plays the same one each time.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from devtools.rig import Rig, ok, onebot
from tests.e2e.world import PICTURE, link, picture

QQ_PATIENCE = 3.0
PANEL = {"max_running_jobs": 60, "acknowledge": "emoji"}
QQ, TELEGRAM = 200, 100
LONGEST = 60.0  # seconds for all of it
FIRST = 500_000  # chats are numbered from here

# What happens to one job's sends, one after the other, and how often that is drawn. "1200", "400" and "429" refuse,
# "slow" takes a while, "lost" arrives and is not answered, "hang" does not even arrive, "disconnect" breaks the line.
Fate = tuple[str, ...]
ON_QQ: dict[Fate, int] = {
    (): 30, ("1200",): 15, ("1200", "1200"): 8, ("1200",) * 4: 5, ("1200",) * 5: 6, ("slow",): 10, ("lost",): 10,
    ("hang",): 4, ("1200", "lost"): 5, ("1200", "hang"): 2, ("disconnect",): 2, ("1200", "disconnect"): 1,
}  # fmt: skip
ON_TELEGRAM: dict[Fate, int] = {
    (): 40, ("400",): 10, ("400", "400"): 10, ("429",): 15, ("429", "429"): 5, ("lost",): 8, ("429", "lost"): 4,
    ("disconnect",): 6, ("slow",): 10,
}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """Somebody who asks for one video, in a chat of their own where its sends have this fate."""

    chat: int
    fate: Fate
    on_qq: bool

    async def ask(self, rig: Rig) -> None:
        if not self.on_qq:
            await rig.tg.message("/视频 很多", photo=PICTURE, user=self.chat, chat=self.chat)
            return
        while True:
            await rig.qq.ready()
            try:
                await rig.qq.group("/视频 很多", onebot.image(picture(rig)), user=self.chat, group=self.chat)
            except (AssertionError, ConnectionError, RuntimeError):  # the line is down just now
                await asyncio.sleep(0.05)
            else:
                return

    def plan(self, rig: Rig) -> None:
        for fate in self.fate:
            times, seconds = (1, 1.0) if fate == "slow" else (1, 0.0)
            if self.on_qq:
                kind: Any = {"1200": "error", "slow": "delay"}.get(fate, fate)
                rig.qq.fail("send_group_msg", kind, seconds=seconds, times=times, when=self._is_media)
                continue
            kind = {"400": "error", "429": "error", "slow": "delay"}.get(fate, fate)
            said = {"code": 429, "description": "Too Many Requests", "retry_after": 1} if fate == "429" else {}
            second = fate == "400" and self.fate[0] == "400" and len(self.fate) == 2
            for method in ("sendVideo", "sendDocument") if second else ("sendVideo",):
                rig.tg.fail(method, kind, seconds=seconds, times=times, when=self._is_here, **said)

    def _is_media(self, call: dict[str, Any]) -> bool:
        return call["group_id"] == self.chat and call["message"][0]["type"] in ("video", "file")

    def _is_here(self, call: dict[str, Any]) -> bool:
        return str(call.get("chat_id")) == str(self.chat)


@dataclass
class Seen:
    """What stands in the chats in the end: how many videos, and which words."""

    videos: Counter[int]
    words: dict[int, list[str]]

    @classmethod
    def of(cls, rig: Rig, sent: int, said: int) -> Seen:
        videos: Counter[int] = Counter()
        words: dict[int, list[str]] = {}
        for one in rig.qq.sent[sent:]:
            videos[one.target[1]] += len(one.media)
            if one.text:
                words.setdefault(one.target[1], []).append(one.text)
        for call in rig.tg.sent[said:]:
            chat = int(call.data["chat_id"])
            if "media" in call.data:
                videos[chat] += 1
            else:
                words.setdefault(chat, []).append(str(call.data.get("text")))
        return cls(videos, words)

    def silent(self, wishes: list[Wish]) -> list[Wish]:
        return [wish for wish in wishes if not self.videos[wish.chat] and not self.words.get(wish.chat)]


async def test_three_hundred_deliveries(rig: Rig) -> None:
    seed = int(os.environ.get("DELIVERY_SEED") or 1)
    print(f"DELIVERY_SEED={seed}")  # noqa: T201 (to play it again)
    dice, begun = random.Random(seed), time.monotonic()
    fates = [(ON_QQ, True)] * QQ + [(ON_TELEGRAM, False)] * TELEGRAM
    wishes = [
        Wish(FIRST + number, dice.choices(list(table), list(table.values()))[0], on_qq)
        for number, (table, on_qq) in enumerate(fates)
    ]
    dice.shuffle(wishes)
    rig.up.grok.default = ok(link(rig), delay=0.05)
    sent, said, mark = len(rig.qq.sent), len(rig.tg.sent), rig.timeline.mark()
    for wish in wishes:
        wish.plan(rig)
        await wish.ask(rig)
    while silent := Seen.of(rig, sent, said).silent(wishes):
        names = Counter((wish.on_qq, wish.fate) for wish in silent)
        assert time.monotonic() - begun < LONGEST, f"seed {seed}: {len(silent)} heard nothing: {names}"
        await asyncio.sleep(0.2)
    await asyncio.sleep(QQ_PATIENCE + 4)  # what comes twice comes late
    seen = Seen.of(rig, sent, said)
    twice = [wish for wish in wishes if seen.videos[wish.chat] > 1]
    assert not twice, f"seed {seed}: {twice}"
    assert len(rig.up.grok.creates(mark)) == len(wishes), f"seed {seed}: each is paid once"
    assert sum(seen.videos.values()) > len(wishes) * 0.7, f"seed {seed}: most of them arrive"
    unlucky = ("lost", "disconnect", "400")
    fair = [wish for wish in wishes if not wish.on_qq and wish.fate[-1:] not in {(one,) for one in unlucky}]
    without = [wish for wish in fair if not seen.videos[wish.chat]]
    assert not without, f"seed {seed}: on Telegram nobody else's broken line takes a video along: {without}"
    for chat, words in seen.words.items():
        assert any("cdn.rig.test" in text.replace("\\", "") for text in words), f"seed {seed}: {chat}: {words}"
