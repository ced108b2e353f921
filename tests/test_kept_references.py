"""/参考图: a person's pictures wait ten minutes for their prompt, in their order, whatever else happens."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadInput, Misconfigured
from core.kept_references import LIFE, MOST, KeptReferences
from core.models import Reference, Role
from core.references import ReferenceStore
from core.transport import MB, Transport, Trust
from devtools.rig.media import make_png

F, L, R = Role.FIRST_FRAME, Role.LAST_FRAME, Role.REFERENCE
ME, THEM = "napcat:GroupMessage:1001\x0042", "napcat:GroupMessage:1001\x007"


class Shelf:
    """Where pictures are kept, with a clock that can be moved on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.later = folder, 0.0
        self.transport = Transport(Trust())
        self.store = ReferenceStore(folder / "kept", self.transport, max_side=64, max_bytes=MB)
        self.jobs = ReferenceStore(folder / "references", self.transport, max_side=64, max_bytes=MB)
        self.kept = KeptReferences(folder / "lists", self.store, lambda: time.time() + self.later)

    async def contents(self, owner: str = ME) -> list[bytes]:
        references, _ = await self.kept.of(owner)
        return [Path(one.path).read_bytes() for one in references]

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    one = Shelf(tmp_path)
    yield one
    await one.transport.close()


async def test_pictures_stay_in_their_order(shelf: Shelf, tmp_path: Path) -> None:
    """Whatever they came as; the host deletes its own files."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a file")
    linked = tmp_path / "b.jpg"
    linked.write_bytes(b"a file with a link")
    await shelf.kept.add(ME, [b"content", path])
    now = await shelf.kept.add(ME, [Reference(path=str(linked), url="https://img.example.com/b.jpg")])
    path.unlink()
    linked.unlink()
    assert await shelf.contents() == [b"content", b"a file", b"a file with a link"]
    assert (await shelf.kept.of(ME))[0] == now
    assert [one.url for one in now] == ["", "", "https://img.example.com/b.jpg"]


async def test_a_link_is_kept_as_a_link(shelf: Shelf) -> None:
    avatar = Reference(url="https://q4.qlogo.cn/headimg_dl?dst_uin=7&spec=640", avatar=True)
    assert await shelf.kept.add(ME, [avatar, b"content"]) == (await shelf.kept.of(ME))[0]
    [first, second], _ = await shelf.kept.of(ME)
    assert first == avatar
    assert Path(second.path).read_bytes() == b"content"


# Roles that are named, for how many pictures → what each is for.
ROLES: dict[str, tuple[tuple[Role, ...], int, list[Role | None]]] = {
    "none": ((), 2, [None, None]),
    "one each": ((F, L), 2, [F, L]),
    "the only one counts for all": ((R,), 3, [R, R, R]),
    "the last one counts for the rest": ((F, L), 3, [F, L, L]),
    "more than there are pictures": ((F, L), 1, [F]),
}


@pytest.mark.parametrize("name", ROLES)
async def test_what_they_are_for(name: str, shelf: Shelf) -> None:
    roles, pictures, kept = ROLES[name]
    await shelf.kept.add(ME, [b"x"] * pictures, roles)
    await shelf.kept.add(ME, [b"y"])
    assert [one.role for one in (await shelf.kept.of(ME))[0]] == [*kept, None]


async def test_each_person_has_their_own(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"mine"])
    await shelf.kept.add(THEM, [b"theirs", b"theirs too"])
    await shelf.kept.clear(THEM)
    assert (await shelf.contents(), await shelf.contents(THEM)) == ([b"mine"], [])


async def test_ten_minutes(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"a"])
    shelf.later = LIFE - 5
    references, left = await shelf.kept.of(ME)
    assert (len(references), 0 < left <= 5) == (1, True)
    await shelf.kept.add(ME, [b"b"])
    shelf.later = LIFE + 1
    assert await shelf.kept.of(ME) == ((), 0.0)


async def test_another_picture_does_not_find_those_of_long_ago(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"old", b"old too"])
    shelf.later = LIFE + 1
    for path in (shelf.folder / "lists").iterdir():
        os.utime(path, (0, 0))
    shelf.later = 0
    assert len(await shelf.kept.add(ME, [b"new"])) == 1
    assert await shelf.contents() == [b"new"]
    assert "2.raw" not in shelf.files()


async def test_forgetting_on_request(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"a"])
    await shelf.kept.clear(ME)
    await shelf.kept.clear(ME)
    assert await shelf.kept.of(ME) == ((), 0.0)
    assert shelf.files() == []


async def test_sweeping(shelf: Shelf) -> None:
    """At every start: who never came back leaves nothing."""
    await shelf.kept.sweep()
    await shelf.kept.add(ME, [b"old"])
    for path in (shelf.folder / "lists").iterdir():
        os.utime(path, (0, 0))
    await shelf.kept.add(THEM, [b"new"])
    await shelf.kept.sweep()
    assert await shelf.contents(THEM) == [b"new"]
    assert len(shelf.files()) == 2, "one list, one picture"


async def test_two_messages_at_once_forget_nothing(shelf: Shelf) -> None:
    """Back to back, as phones send several pictures."""
    await asyncio.gather(*(shelf.kept.add(ME, [bytes([at])]) for at in range(MOST)))
    assert sorted(await shelf.contents()) == [bytes([at]) for at in range(MOST)]
    assert len({one.path for one in (await shelf.kept.of(ME))[0]}) == MOST


@pytest.mark.parametrize("before", [0, 1, MOST])
async def test_too_many_are_refused_and_change_nothing(before: int, shelf: Shelf) -> None:
    if before:
        await shelf.kept.add(ME, [b"x"] * before)
    with pytest.raises(BadInput) as refusal:
        await shelf.kept.add(ME, [b"y"] * (MOST + 1 - before))
    assert (refusal.value.why.cause, refusal.value.why.facts) == ("kept_too_many", {"most": str(MOST)})
    assert await shelf.contents() == [b"x"] * before


async def test_a_job_s_pictures_do_not_change_when_the_list_starts_anew(shelf: Shelf) -> None:
    """They share their bytes on disk; a copy would take time that a handler does not have."""
    for size in (40, 50):
        await shelf.kept.clear(ME)
        await shelf.kept.add(ME, [make_png(size, 10)])
        kept, _ = await shelf.kept.of(ME)
        await shelf.jobs.keep(f"job{size}", kept)
    await shelf.kept.clear(ME)
    await shelf.kept.add(ME, [make_png(60, 10)])
    for size in (40, 50):
        assert (shelf.folder / "references" / f"job{size}" / "1.raw").read_bytes() == make_png(size, 10)
    assert await shelf.contents() == [make_png(60, 10)]


async def test_a_job_leaves_the_kept_pictures_as_they_are(shelf: Shelf) -> None:
    """Two videos can be made of them."""
    await shelf.kept.add(ME, [make_png(200, 100)])
    for job in ("one", "two"):
        references = await shelf.jobs.keep(job, (await shelf.kept.of(ME))[0])
        [ready] = await shelf.jobs.prepare(job, references, 1)
        assert ready.mime
        await shelf.jobs.drop(job)
    assert await shelf.contents() == [make_png(200, 100)]


async def test_the_panel_may_be_saved_in_between(shelf: Shelf, tmp_path: Path) -> None:
    await shelf.kept.add(ME, [b"a"], (F,))
    other = Shelf(tmp_path)
    await other.kept.sweep()
    assert [one.role for one in await other.kept.add(ME, [b"b"], (L,))] == [F, L]
    assert await other.contents() == [b"a", b"b"]
    await other.transport.close()


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b'[{"role": "dream"}]', b"\xff"])
async def test_a_list_that_cannot_be_read_is_none(content: bytes, shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"a"])
    [path] = (shelf.folder / "lists").iterdir()
    path.write_bytes(content)
    assert await shelf.kept.of(ME) == ((), 0.0)
    assert len(await shelf.kept.add(ME, [b"b"])) == 1
    assert await shelf.contents() == [b"b"]


async def test_a_full_disk_keeps_what_was_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.kept.add(ME, [b"a", b"b"])
    write = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        if data == b"c":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Misconfigured) as trouble:
        await shelf.kept.add(ME, [b"c"])
    assert trouble.value.why.cause == "disk"
    assert await shelf.contents() == [b"a", b"b"]


async def test_a_list_that_cannot_be_written(shelf: Shelf) -> None:
    (shelf.folder / "lists").write_bytes(b"")
    with pytest.raises(Misconfigured):
        await shelf.kept.add(ME, [b"a"])


async def test_names_of_people_do_not_lead_anywhere(shelf: Shelf) -> None:
    for owner in ("../../etc\0x", "a/b\0c", "x" * 5000 + "\0y"):
        await shelf.kept.add(owner, [b"a"])
        assert await shelf.contents(owner) == [b"a"]
    assert {path.parent.parent for path in shelf.folder.rglob("*.raw")} == {shelf.folder / "kept"}


async def test_what_was_used_serves_again_but_an_addition_begins_anew(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"a", b"b"])
    await shelf.kept.use(ME)
    assert await shelf.contents() == [b"a", b"b"]
    await shelf.kept.add(ME, [b"c"])
    assert await shelf.contents() == [b"c"]
    await shelf.kept.add(ME, [b"d"])
    assert await shelf.contents() == [b"c", b"d"]


async def test_a_message_delivered_twice_is_kept_once(shelf: Shelf) -> None:
    for message in ("m1", "m1", "m2"):
        await shelf.kept.add(ME, [message.encode()], message=message)
    assert await shelf.contents() == [b"m1", b"m2"]


async def test_what_led_to_nothing_is_taken_back(shelf: Shelf) -> None:
    await shelf.kept.add(ME, [b"a"])
    before = await shelf.kept.open_list(ME)
    await shelf.kept.add(ME, [b"b"])
    await shelf.kept.put_back(ME, before)
    assert await shelf.contents() == [b"a"]


async def test_a_used_list_that_was_begun_anew_in_vain_is_empty(shelf: Shelf) -> None:
    """Its files made room for the new ones: the old names would show the wrong pictures."""
    await shelf.kept.add(ME, [b"a"])
    await shelf.kept.use(ME)
    before = await shelf.kept.open_list(ME)
    await shelf.kept.add(ME, [b"b"])
    await shelf.kept.put_back(ME, before)
    assert await shelf.contents() == []
