"""``/参考图``: the pictures somebody showed before saying what to make of them.

On disk, because the panel may be saved in between; for ten minutes, because nobody remembers them longer.
"""

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from .errors import BadInput, Misconfigured
from .models import Reference, Role
from .references import ReferenceStore

LIFE = 600.0  # seconds
MOST = 9
_references = TypeAdapter(tuple[Reference, ...])


class KeptReferences:
    """The kept pictures of everybody, each person's own in each conversation.

    Args:
        folder: holds one list a person; the pictures are in `store`.
        clock: seconds since the epoch.
    """

    def __init__(self, folder: Path, store: ReferenceStore, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._adding = asyncio.Lock()  # messages that come back to back must not forget each other's pictures
        self._messages: deque[str] = deque(maxlen=200)

    async def add(
        self, owner: str, sources: Sequence[Path | bytes | Reference], roles: Sequence[Role] = (), *, message: str = ""
    ) -> tuple[Reference, ...]:
        """Keep more pictures, behind those that are there; a list that was used for a video begins anew.

        Args:
            owner: names the person and the conversation.
            message: names the message; what a platform delivers twice is kept once.
            roles: what the pictures are for, in their order; the last one counts for the rest, too.

        Raises:
            BadInput: they are too many.
            Misconfigured: the disk does not take them.
        """
        async with self._adding:
            if message and message in self._messages:
                return (await self.of(owner))[0]
            self._messages.append(message)
            return await self._add(owner, sources, roles)

    async def _add(
        self, owner: str, sources: Sequence[Path | bytes | Reference], roles: Sequence[Role]
    ) -> tuple[Reference, ...]:
        before = await self.open_list(owner)
        if len(before) + len(sources) > MOST:
            raise BadInput("kept_too_many", most=MOST)
        if not before:
            await self._store.drop(_name(owner))  # jobs share its files: they are replaced, never written over
        kept = await self._store.keep(_name(owner), sources, first=len(before) + 1)
        wanted = [roles[min(place, len(roles) - 1)] if roles else None for place in range(len(kept))]
        now = (*before, *(replace(one, role=role) for one, role in zip(kept, wanted, strict=True)))
        try:
            await asyncio.to_thread(self._write, owner, now)
            self._used(owner).unlink(missing_ok=True)
        except OSError as error:
            raise Misconfigured("disk", f"{type(error).__name__}: {error.strerror}") from error
        return now

    async def of(self, owner: str) -> tuple[tuple[Reference, ...], float]:
        """What a person keeps, and for how many more seconds."""
        return await asyncio.to_thread(self._read, owner)

    async def open_list(self, owner: str) -> tuple[Reference, ...]:
        """What an addition goes behind: nothing, where a video was made of the list."""
        return () if self._used(owner).exists() else (await self.of(owner))[0]

    async def use(self, owner: str) -> None:
        """Note that a video was made of them: they still serve another, but what is added begins a new list."""
        async with self._adding:
            with suppress(OSError):
                self._used(owner).touch()

    async def put_back(self, owner: str, before: tuple[Reference, ...]) -> None:
        """Keep what was kept before: the addition led to nothing, and the person will send it again.

        Args:
            before: `open_list`, as it was. Of a list that was used nothing is left: its files made room.
        """
        if not before:
            await self.clear(owner)
            return
        async with self._adding:
            with suppress(OSError):
                await asyncio.to_thread(self._write, owner, before)

    async def clear(self, owner: str) -> None:
        """Forget a person's pictures."""
        for path in (self._list(owner), self._used(owner)):
            path.unlink(missing_ok=True)
        await self._store.drop(_name(owner))

    async def sweep(self) -> None:
        """Forget what nobody asked for in time."""

        def alive() -> set[str]:
            lists = self._folder.glob("*.json") if self._folder.exists() else ()
            fresh = {path.stem for path in lists if self._left(path) > 0}
            for path in self._folder.glob("*.*"):
                if path.stem not in fresh:
                    path.unlink(missing_ok=True)
            return fresh

        await self._store.sweep(await asyncio.to_thread(alive))

    def _list(self, owner: str) -> Path:
        return self._folder / f"{_name(owner)}.json"

    def _used(self, owner: str) -> Path:
        return self._list(owner).with_suffix(".used")

    def _left(self, path: Path) -> float:
        try:
            return path.stat().st_mtime + LIFE - self._clock()
        except OSError:
            return 0.0

    def _read(self, owner: str) -> tuple[tuple[Reference, ...], float]:
        path = self._list(owner)
        left = self._left(path)
        if left <= 0:
            return (), 0.0
        try:
            return _references.validate_json(path.read_bytes()), left
        except (OSError, ValidationError):
            return (), 0.0

    def _write(self, owner: str, references: tuple[Reference, ...]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._list(owner).write_bytes(_references.dump_json(references))


def _name(owner: str) -> str:
    return hashlib.sha256(owner.encode()).hexdigest()[:32]
