"""What a message holds: pictures in their order, people, text without their names."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiocqhttp.exceptions as onebot
import pytest
import telegram.error
from astrbot.api.message_components import At, AtAll, File, Forward, Image, Node, Nodes, Plain, Reply

from core import utils as module
from core.models import Reference
from core.utils import find_images, get_images_from_event, sources_of, text_without_mentions
from tests.host import Chat

AVATAR = "https://q4.qlogo.cn/headimg_dl?dst_uin={}&spec=640"


def image(name: str) -> Image:
    return Image.fromURL(f"https://img.example.com/{name}.jpg")


def names(images: list[Image]) -> list[str]:
    """The test's own names of these pictures; an avatar by its person."""
    refs = [one.url or one.file or "" for one in images]
    return [
        ref.split("dst_uin=")[1].split("&")[0] if "dst_uin" in ref else Path(ref.split("?")[0]).stem for ref in refs
    ]


def segment(name: str) -> dict[str, Any]:
    return {"type": "image", "data": {"file": f"{name}.jpg", "url": f"https://img.example.com/{name}.jpg"}}


BOT, EVERYBODY = At(qq="10000", name="bot"), AtAll()

# The chain of a message → its pictures, in order.
ORDER: dict[str, tuple[list[Any], list[str]]] = {
    "nothing: the sender's avatar": ([Plain("x")], ["42"]),
    "its own": ([Plain("x"), image("a"), image("b")], ["a", "b"]),
    "a quoted one": ([Reply(id=1, chain=[image("q")]), Plain("x")], ["q"]),
    "quoted ones before its own, wherever they stand": (
        [image("a"), Reply(id=1, chain=[image("q"), Plain("y"), image("r")])], ["q", "r", "a"],
    ),
    "avatars of those it names, in addition": ([At(qq="7", name="n"), image("a"), At(qq=8, name="m")], ["a", "7", "8"]),
    "avatars alone": ([At(qq="7", name="n")], ["7"]),
    "each person once": ([At(qq="7", name="n"), At(qq="7", name="n"), At(qq=7, name="n")], ["7"]),
    "not the bot and not everybody": ([BOT, EVERYBODY, Plain("x")], ["42"]),
    "oneself, named": ([At(qq="42", name="me")], ["42"]),
    "everything": (
        [BOT, Reply(id=1, chain=[image("q")]), At(qq="7", name="n"), image("a")], ["q", "a", "7"],
    ),
    "a quote without pictures": ([Reply(id=1, chain=[Plain("y")]), image("a")], ["a"]),
    "two quotes": ([Reply(id=1, chain=[image("q")]), Reply(id=2, chain=[image("r")])], ["q", "r"]),
    "a picture sent as a file": (
        [File(name="photo.JPEG", url="https://x/f.jpeg"), File(name="a.pdf", url="https://x/a.pdf")], ["f"],
    ),
    "a quoted file that is a picture": ([Reply(id=1, chain=[File(name="p.heic", url="https://x/p.heic")])], ["p"]),
    "a merged forward, as the host unpacks it": (
        [Nodes([Node([image("a"), Plain("x")]), Node([Nodes([Node([image("b")])])])])], ["a", "b"],
    ),
    "one message of a forward": ([Node([image("a")])], ["a"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
async def test_pictures_of_a_message(name: str) -> None:
    chain, expected = ORDER[name]
    event = Chat().event(*chain)
    assert names(await get_images_from_event(event)) == expected
    without = [one for one in expected if not one.isdigit()]
    assert names(await get_images_from_event(event, include_avatar=False)) == without


async def test_avatars_are_told_from_pictures() -> None:
    event = Chat().event(image("a"), At(qq="7", name="n"))
    assert [(one.avatar, one.sender) for one in await find_images(event, mentioned=True, sender=True)] == [
        (False, False),
        (True, False),
    ]
    assert [(one.avatar, one.sender) for one in await find_images(Chat().event(), mentioned=True, sender=True)] == [
        (True, True)
    ]
    assert await find_images(Chat().event(), mentioned=True, sender=False) == []


# ---- what has to be asked for ----

ASKED: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "a quote the host could not read": (
        [Reply(id="55", chain=[])], {"get_msg": {"message": [{"type": "text", "data": {}}, segment("q")]}}, ["q"],
    ),
    "a quote that was never read": ([Reply(id=-55, chain=None)], {"get_msg": {"message": [segment("q")]}}, ["q"]),
    "a quoted forward": (
        [Reply(id="55", chain=[])],
        {
            "get_msg": {"message": [{"type": "forward", "data": {"id": "f1"}}]},
            "get_forward_msg": {"messages": [{"message": [segment("a")]}, {"content": [segment("b")]}]},
        },
        ["a", "b"],
    ),
    "a forward": (
        [Forward(id="f1")],
        {"get_forward_msg": {"messages": [{"content": [{"type": "node", "data": {"content": [segment("n")]}}]}]}},
        ["n"],
    ),
    "a forward inside a forward": (
        [Forward(id="f1")],
        {
            "get_forward_msg": [
                {"messages": [{"message": [segment("a"), {"type": "forward", "data": {"id": "f2"}}]}]},
                {"messages": [{"message": [segment("b")]}]},
            ]
        },
        ["a", "b"],
    ),
    "the bridge does not know": ([Reply(id="55", chain=[])], {"get_msg": onebot.ActionFailed({"retcode": 1})}, []),
    "the bridge is gone": ([Reply(id="55", chain=[])], {"get_msg": onebot.ApiNotAvailable()}, []),
    "the bridge answers nothing": ([Reply(id="55", chain=[])], {"get_msg": None}, []),
    "the bridge answers nonsense": ([Reply(id="55", chain=[])], {"get_msg": {"message": "[CQ:image,file=x]"}}, []),
    "segments without data": ([Reply(id="55", chain=[])], {"get_msg": {"message": [{"type": "image"}, {}]}}, []),
    "an answer that is no object": ([Forward(id="f1")], {"get_forward_msg": ["x"]}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
async def test_what_the_bridge_is_asked_for(name: str) -> None:
    chain, answers, expected = ASKED[name]
    chat = Chat()
    chat.client.answers = answers
    assert names(await get_images_from_event(chat.event(*chain), include_avatar=False)) == expected
    first = chat.client.calls[0]
    assert first[1].get("message_id", first[1].get("id")) in (55, -55, "f1")
    assert first[1]["self_id"] == 10000, "an adapter with several accounts refuses a call that names none"


LOCAL = Image(file="/tmp/host/copy.jpg", path="/tmp/host/copy.jpg", url="/tmp/host/copy.jpg")
A, B, Q = (f"https://img.example.com/{name}.jpg" for name in "abq")

# Chain, the message as it came, what a quote's message is → the links of its pictures.
LINKS: dict[str, tuple[list[Any], list[dict[str, Any]], list[dict[str, Any]], list[str]]] = {
    "its own": ([LOCAL, Plain("x"), LOCAL], [segment("a"), {"type": "text"}, segment("b")], [], [A, B]),
    "a quoted one before its own": ([Reply(id="55", chain=[LOCAL]), LOCAL], [segment("a")], [segment("q")], [Q, A]),
    "fewer than there are: whose is it?": ([LOCAL, LOCAL], [segment("a")], [], ["", ""]),
    "none is named": ([LOCAL], [{"type": "image", "data": {"file": "x"}}], [], [""]),
    "a quote that is gone": ([Reply(id="55", chain=[LOCAL])], [], [], [""]),
}


@pytest.mark.parametrize("name", LINKS)
async def test_where_pictures_stand_in_the_net(name: str) -> None:
    chain, raw, quoted, expected = LINKS[name]
    chat = Chat()
    chat.client.answers = {"get_msg": {"message": quoted}}
    event = chat.event(*chain)
    event.message_obj.raw_message = {"message": raw}
    found = await find_images(event, mentioned=False, sender=False, links=True)
    assert [one.link for one in found] == expected
    asked = len(chat.client.calls)
    unasked = await find_images(event, mentioned=False, sender=False)
    assert [one.link for one in unasked] == [""] * len(expected)
    assert len(chat.client.calls) == asked, "nobody is asked for links that nobody wants"


async def test_discord_keeps_its_links() -> None:
    event = Chat("discord").event(LOCAL)
    files = [SimpleNamespace(url=A, content_type="image/png"), SimpleNamespace(url=B, content_type="text/plain")]
    event.message_obj.raw_message = SimpleNamespace(attachments=files)
    [found] = await find_images(event, mentioned=False, sender=False, links=True)
    assert found.link == A
    [source] = await sources_of([found])
    assert source == Reference(url=A)


async def test_forwards_without_end_are_followed_for_a_while() -> None:
    chat = Chat()

    async def again(**_: Any) -> dict[str, Any]:
        return {"messages": [{"message": [segment("a"), {"type": "forward", "data": {"id": "x"}}]}]}

    chat.client.answers["get_forward_msg"] = again
    assert len(await get_images_from_event(chat.event(Forward(id="f")), include_avatar=False)) <= 5


async def test_a_bridge_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    chat = Chat()

    async def never(**_: Any) -> None:
        await asyncio.Event().wait()

    chat.client.answers["get_msg"] = never
    event = chat.event(Reply(id="55", chain=[]), image("a"))
    assert names(await asyncio.wait_for(get_images_from_event(event), 1)) == ["a"]


async def test_other_platforms_are_not_asked() -> None:
    chat = Chat("telegram")
    assert await get_images_from_event(chat.event(Reply(id="55", chain=[])), include_avatar=False) == []
    assert chat.client.calls == []


# ---- avatars elsewhere ----


async def test_telegram_gives_the_picture_not_its_link() -> None:
    """The link would hold the bot's token."""
    chat = Chat("telegram")

    async def download() -> bytearray:
        return bytearray(b"portrait")

    async def get_file() -> Any:
        return SimpleNamespace(download_as_bytearray=download)

    sizes = [SimpleNamespace(), SimpleNamespace(get_file=get_file)]  # the last one is the largest
    chat.client.answers["get_user_profile_photos"] = [SimpleNamespace(photos=[sizes])]
    [found] = await find_images(chat.event(), mentioned=True, sender=True)
    assert (found.avatar, found.sender) == (True, True)
    assert await sources_of([found]) == [b"portrait"]
    assert chat.client.calls == [("get_user_profile_photos", {"args": (42,), "limit": 1})]


NO_PORTRAIT = {
    "there is none": [SimpleNamespace(photos=[])],
    "it is hidden": telegram.error.BadRequest("User not found"),
    "the line": telegram.error.TimedOut(),
}


@pytest.mark.parametrize("name", NO_PORTRAIT)
async def test_telegram_without_a_portrait(name: str) -> None:
    chat = Chat("telegram")
    chat.client.answers["get_user_profile_photos"] = NO_PORTRAIT[name]
    assert await get_images_from_event(chat.event()) == []


async def test_a_telegram_name_is_no_number_to_ask_for() -> None:
    chat = Chat("telegram")
    assert await get_images_from_event(chat.event(At(qq="alice", name="alice"), image("a"))) != []
    assert chat.client.calls == []


async def test_discord() -> None:
    chat = Chat("discord")
    event = chat.event(At(qq="7", name="n"))

    def person(number: int) -> Any:
        return SimpleNamespace(
            id=number, display_avatar=SimpleNamespace(url=f"https://cdn.discordapp.com/{number}.png")
        )

    event.message_obj.raw_message = SimpleNamespace(author=person(42), mentions=[person(7)])
    assert names(await get_images_from_event(event)) == ["7"]
    event.message_obj.message = []
    assert names(await get_images_from_event(event)) == ["42"]
    event.message_obj.raw_message = None
    assert await get_images_from_event(event) == []


@pytest.mark.parametrize("platform", ["webchat", "slack", "lark", "qq_official"])
async def test_where_there_are_no_avatars(platform: str) -> None:
    assert await get_images_from_event(Chat(platform, user="42").event()) == []


async def test_qq_of_no_number() -> None:
    assert await get_images_from_event(Chat(user="somebody").event()) == []


# ---- text ----

# What stands behind the command, who is named → what is left.
MENTIONS: dict[str, tuple[str, list[Any], str]] = {
    "nobody": ("a cat @veo 6s", [], "a cat @veo 6s"),
    "qq": ("跳舞 @小明(7) 6s", [At(qq="7", name="小明")], "跳舞 6s"),
    "qq, at the start": ("@小明(7) 跳舞", [At(qq=7, name="小明")], "跳舞"),
    "qq, without a space": ("@小明(7)跳舞", [At(qq=7, name="小明")], "跳舞"),
    "qq, a name of several words": (
        "x @Big  Bob [1](7) y".replace("  ", " "),
        [At(qq="7", name="Big  Bob [1]")],
        "x y",
    ),
    "qq, brackets and stars": ("@a(b)*?(7) x", [At(qq="7", name="a(b)*?")], "x"),
    "qq, an empty name": ("@(7) x", [At(qq="7", name="")], "x"),
    "qq, two people": ("@a(1) @b(2) x", [At(qq="1", name="a"), At(qq="2", name="b")], "x"),
    "qq, one name the beginning of another": ("@a(1) @ab(2) x", [At(qq="1", name="a"), At(qq="2", name="ab")], "x"),
    "qq, twice": ("@a(1) x @a(1)", [At(qq="1", name="a")], "x"),
    "telegram": ("跳舞 @alice 6s", [At(qq="alice", name="alice")], "跳舞 6s"),
    "telegram, followed by words at once": ("@alice跳舞，6s", [At(qq="alice", name="alice")], "跳舞，6s"),
    "telegram, a longer name is another": ("@alice @alice_b x", [At(qq="alice", name="alice")], "@alice_b x"),
    "a number": ("@12345 x", [At(qq="12345", name=None)], "x"),
    "a number, and one that begins so": ("@123 @1234 x", [At(qq="123", name=None)], "@1234 x"),
    "the name alone": ("@小明 跳舞", [At(qq="7", name="小明")], "跳舞"),
    "the name alone, a longer one is another": ("@小明明 跳舞", [At(qq="7", name="小明")], "@小明明 跳舞"),
    "a backend that is called like somebody": ("@grok x", [At(qq="7", name="other")], "@grok x"),
    "the name alone, with brackets": ("@a(b)*? x", [At(qq="7", name="a(b)*?")], "x"),
    "white space": ("  a \n b\t c ", [], "a b c"),
    "half an emoji": ("a \ud83d b", [], "a ? b"),
}


@pytest.mark.parametrize("name", MENTIONS)
def test_names_are_taken_out(name: str) -> None:
    text, people, left = MENTIONS[name]
    assert text_without_mentions(Chat().event(*people), text) == left


# ---- where the pictures are ----


async def sources(*images: Image) -> list[Any]:
    return await sources_of([module.Found(one) for one in images])


async def test_local_files_by_whatever_name(tmp_path: Path) -> None:
    path = tmp_path / "a b%20c 你好.jpg"
    path.write_bytes(b"x")
    elsewhere = "https://img.example.com/expired.jpg"
    found = await sources(
        Image.fromFileSystem(str(path)),
        Image(file=str(path)),
        Image(file=path.as_uri()),
        Image(file="", url=path.as_uri()),
        Image(file="", path=str(path)),
        Image(file="0d2bb146.image", url=str(path)),
        Image(file="0d2bb146.image", url=elsewhere, path=str(path)),
    )
    assert found == [path] * 6 + [Reference(path=str(path), url=elsewhere)]


BOT_LINK = "https://api.telegram.org/file/bot123456:AAE-secret/photos/file_1.jpg"


async def test_a_link_that_holds_the_bot_s_key_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that fetches pictures by their links would read it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    assert await sources(Image(file=BOT_LINK, path=str(path))) == [path]

    async def unreachable(self: Image) -> str:
        raise OSError("no route")

    monkeypatch.setattr(Image, "convert_to_file_path", unreachable)
    for kept in await sources(Image.fromURL(BOT_LINK), Image(file=BOT_LINK)):
        assert isinstance(kept, Path), "a file that is not there: whoever reads it says so"


async def test_links() -> None:
    link = "https://multimedia.nt.qq.com.cn/download?fileid=x&rkey=%2F"
    assert (
        await sources(Image.fromURL(link), Image(file="0d2b.jpg", url=link), Image(file="HTTP", url=link))
        == [Reference(url=link)] * 3
    )
    [avatar] = await sources_of([module.Found(Image.fromURL(link), avatar=True)])
    assert avatar == Reference(url=link, avatar=True)


async def test_contents() -> None:
    coded = base64.b64encode(b"picture").decode()
    assert (
        await sources(
            Image.fromBase64(coded), Image.fromBytes(b"picture"), Image(file=f"data:image/png;base64,{coded}")
        )
        == [b"picture"] * 3
    )
    assert await sources(Image.fromBase64("A")) == [b""], "broken: whoever decodes it says so"


async def test_what_is_gone_stays_named(tmp_path: Path) -> None:
    """It must not vanish: without its picture the request would go out, and be paid."""
    gone = tmp_path / "gone.jpg"
    assert await sources(Image.fromFileSystem(str(gone)), Image(file=str(gone))) == [gone, gone]
    [odd] = await sources(Image(file="x" * 5000))
    assert odd.name
    assert len(await sources(Image(file="a\0b"))) == 1
    assert await sources(Image(file="")) == []
