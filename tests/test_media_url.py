"""The link is found in every form, never a wrong one, in bounded time."""

from __future__ import annotations

import base64
import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import media_url
from core.media_url import VIDEO_TYPES
from tests.hostile import KINDS
from tests.recorded import Recorded, those

ROOT = "https://gw.example.com"
V = "https://cdn.example.org/v/9f8e7d.mp4"
THUMB = "https://cdn.example.org/v/9f8e7d_thumb.jpg"
BARE = "https://store.example.org/bucket/video/0a1b2c?Expires=1770971838&Signature=a%2Bb%2Fc%3D"
SERVED = f"{ROOT}/v1/files/video?id=0123456789abcdef0123456789abcdef"


def p_link(path: str) -> str:
    return f"{ROOT}/images/p_{base64.urlsafe_b64encode(path.encode()).decode().rstrip('=')}"


# ---- recorded answers ----

# A redirect is followed by the transport, which is where its test is.
POLLS = [one for one in those("poll", "content", kinds=("video",)) if one.values[0].status == 200]


@pytest.mark.parametrize("one", POLLS)
def test_recorded_job_has_its_video(one: Recorded) -> None:
    link = media_url.from_json(one.value, one.root) or media_url.content_link(one.value, one.root)
    assert link in one.links
    assert media_url.needs_key(link, one.root) == one.needs_key


@pytest.mark.parametrize("one", those("poll", "create", "content", kinds=("pending", "error", "refused", "no_video")))
def test_recorded_job_without_video_has_none(one: Recorded) -> None:
    assert media_url.from_json(one.value, one.root) is None
    assert media_url.content_link(one.value, one.root) is None


# ---- texts ----

FOUND = [
    # elements
    ("an element in capitals", f"<VIDEO CONTROLS SRC='{V}'></VIDEO>", V),
    ("an attribute without quotes, on its own line", f"<video\n  controls\n  src={V}\n></video>", V),
    ("blanks around the equals sign", f'<video src = "{V}" ></video>', V),
    ("of two the first counts", f'<video src="{V}" src="{V}?2"></video>', V),
    ("data-src is another attribute", f'<video data-src="https://cdn.example.org/lazy.mp4" src="{V}"></video>', V),
    ("no quotes, and the slash of the element's end", f"<video src={V}/>", V),
    ("a source for the picture comes first", f'<video><source src="{THUMB}"><source src="{V}"></video>', V),
    ("a source that says it is sound", f'<source type="audio/mpeg" src="{BARE}&a"><video src="{BARE}"></video>', BARE),
    ("a source that says it is a picture", f'<source type="image/webp" src="{BARE}&a"><video src="{BARE}">', BARE),
    ("an empty src, the link behind it", f'<video src=""></video> {V}', V),
    ("a blob only the browser knows", f'<video src="blob:https://x.example/1"></video> {V}', V),
    ("a link without a scheme", '<video src="//cdn.example.org/v/1.mp4">', "https://cdn.example.org/v/1.mp4"),
    ("a path without a slash in front", '<video src="images/1.mp4">', f"{ROOT}/images/1.mp4"),
    ("a path with dots in front", '<video src="../v1/files/1.mp4">', f"{ROOT}/v1/files/1.mp4"),
    ("quotes hold Chinese file names", '<video src="https://cdn.example.org/视频/1.mp4">', "https://cdn.example.org/视频/1.mp4"),
    ("quotes hold blanks", '<video src="https://cdn.example.org/my video.mp4">', "https://cdn.example.org/my%20video.mp4"),
    ("a literal \\n inside the quotes", f'<video src="{V}\\n"></video>', V),
    ("an element needs no extension", f"<video src='{BARE}' controls style='max-width:100%'></video>", BARE),
    ("the element stands in a page", f"<!DOCTYPE html><html><body><img src='{THUMB}'><video src='{BARE}'>", BARE),
    ("the first of two elements", f'<video src="{V}"></video><video src="{V}?second"></video>', V),
    ("an element that is introduced as the input", f'参考视频：<video src="{V}?in"></video> 结果：<video src={V}>', V),
    ("an anchor whose words are nested", f'<a href="{BARE}" download><b>下载</b><i>视频</i></a>', BARE),
    ("an anchor with a relative path", '<a href="/media/1.webm">open</a>', f"{ROOT}/media/1.webm"),
    # escaping
    ("entities in decimal and hex", f"&#60;video src=&#x22;{V}?a=1&#38;b=2&#34;&#62;", f"{V}?a=1&b=2"),
    ("entities by name, in capitals too", f"&LT;video src=&QUOT;{V}?a=1&AMP;b=2&QUOT;&GT;", f"{V}?a=1&b=2"),
    ("a non-breaking blank behind the link", f"{V}&nbsp;下载", V),
    ("an escaped line end behind the link", f"{V}&#10;next", V),
    ("no entity: it has no semicolon", f"{V}?a=1&copy=2&lt=3", f"{V}?a=1&copy=2&lt=3"),
    ("slashes escaped as PHP does", V.replace("/", "\\/"), V),
    ("& escaped as Go does", f'"url": "{V}?a=1\\u0026b=2"', f"{V}?a=1&b=2"),
    ("an element escaped as Go does", f"\\u003cvideo id=\\u0022x\\u0022 src=\\\"{BARE}\\\"\\u003e", BARE),
    ("quotes escaped in an element", f'<video src=\\"{BARE}\\" controls></video>', BARE),
    ("underscores escaped as in Markdown", "https://cdn.example.org/a\\_b\\_c.mp4", "https://cdn.example.org/a_b_c.mp4"),
    ("percent escapes stay", "https://cdn.example.org/a%2Fb%20c.mp4?s=%2B", "https://cdn.example.org/a%2Fb%20c.mp4?s=%2B"),
    # thoughts
    ("a draft in a thought", f"<think>{V}?draft</think>{V}", V),
    ("two thoughts", f"<think>{V}?1</think>x<think>{V}?2</think>{V}", V),
    ("a thought with another tag name and attributes", f'<thinking time="3">{V}?draft</thinking> {V}', V),
    ("a thought in capitals", f"<THINK>{V}?draft</THINK>{V}", V),
    ("a thought that began before the text", f"draft {V}?draft\n</think>\n{V}", V),
    ("a thought that never ends is a marker", f"<think>100% {V}", V),
    ("an escaped thought", f"&lt;think&gt;{V}?draft&lt;/think&gt;{V}", V),
    # Markdown
    ("a title behind the target", f'[video]({BARE} "My video")', BARE),
    ("a target in angle brackets", f"[video](<{BARE}>)", BARE),
    ("blanks around the target", f"[视频]( {BARE} )", BARE),
    ("parentheses in the target", "[video](https://cdn.example.org/v_(1).mp4)", "https://cdn.example.org/v_(1).mp4"),
    ("square brackets in the target", "[video](https://cdn.example.org/v[1].mp4)", "https://cdn.example.org/v[1].mp4"),
    ("a linked picture", f"[![播放]({THUMB})]({BARE})", BARE),
    ("a relative target", "[video](/v1/files/video?id=ab12)", f"{ROOT}/v1/files/video?id=ab12"),
    ("a relative target with a dot", "[video](./out/1.mp4)", f"{ROOT}/out/1.mp4"),
    ("the download is surer than the page to watch it", f"[在线播放](https://x.example/p/1) [下载]({BARE})", BARE),
    ("a file is surer than a page with a promising label", f"[观看视频](https://x.example/watch/1) 或 {V}", V),
    ("the result is surer than the preview", f"[预览]({V}?low) [成片]({V}?high)", f"{V}?high"),
    ("a preview is better than nothing", f"[预览]({V}?low)", f"{V}?low"),
    ("what it was given comes with a label", f"[参考视频]({V}?in) [成片]({V})", V),
    ("a reference-style link", f"[video][1]\n\n[1]: {V}", V),
    ("a table cell", f"| 链接 |{V}|完成|", V),
    ("a picture that was given is another thing", f"根据您上传的参考图生成：{V}", V),
    ("the same in English", f"Video generated from your input image: {V}", V),
    ("the sentence before spoke of the input", f"Your source video was read. Result: {V}", V),
    ("your video is the result", f"Your video is ready: {V}", V),
    ("bold around the link", f"**{V}**", V),
    ("underscores around the link", f"__{V}__", V),
    ("struck out", f"~~{V}~~", V),
    ("a link as Slack writes it", f"<{V}|点击下载>", V),
    ("a BBCode tag around the link", f"[video]{V}[/video]", V),
    ("a BBCode link", f"[url={V}]下载[/url]", V),
    # bare links
    ("capitals", "HTTPS://CDN.EXAMPLE.ORG/V/1.MP4", "HTTPS://CDN.EXAMPLE.ORG/V/1.MP4"),
    ("a port", "http://10.0.0.5:8000/images/1.mp4", "http://10.0.0.5:8000/images/1.mp4"),
    ("IPv6", "见 http://[2001:db8::1]:8080/v/1.mp4。", "http://[2001:db8::1]:8080/v/1.mp4"),
    ("Chinese on both sides", f"视频在{V}请查收", V),
    ("quotation marks of three kinds", f"“{V}”", V),
    ("corner brackets", f"「{V}」", V),
    ("a slash too many", f"{V}/", V),
    ("parameters of the path", f"{V};jsessionid=1 ok", f"{V};jsessionid=1"),
    ("a query that begins with &", f"{V}&download=1", f"{V}&download=1"),
    ("a redirector", f"见 https://j.example/r?target={V} 。", f"https://j.example/r?target={V}"),
    ("a redirector, escaped", "https://j.example/r?u=https%3A%2F%2Fa.x%2F1.mp4", "https://j.example/r?u=https%3A%2F%2Fa.x%2F1.mp4"),
    ("a fragment stays", f"{V}#t=0.1", f"{V}#t=0.1"),
    ("a picture first, nothing between", f"{THUMB}{V}", V),
    ("a picture first, a comma between", f"{THUMB},{V}", V),
    ("the same answer twice without a gap", f"{SERVED}{SERVED}", SERVED),
    ("a link in another's query is part of it", f"{V}?from=https://x.example/a", f"{V}?from=https://x.example/a"),
    *((f"a .{kind}", f"x https://a.example/1.{kind}", f"https://a.example/1.{kind}") for kind in sorted(VIDEO_TYPES)),
    ("a path that ends in two extensions", "https://cdn.example.org/a.jpg.mp4", "https://cdn.example.org/a.jpg.mp4"),
    ("the sentence ends in three dots", f"{V}...", V),
    ("an exclamation mark of each width", f"Done: {V}! 完成：{V}！", V),
    ("the input is named, then the result", f"原视频：{V}?in\n成片：{V}", V),
    ("a cover of the same kind", f"封面：{V}?x-oss-process=video/snapshot,t_0 {V}", V),
    ("a host that cannot be read", f"https://[bad/v/1.mp4 {V}", V),
    ("a port that cannot be", f"https://cdn.example.org:99999/1.mp4 {V}", V),
    ("no host at all", f"https:///1.mp4 {V}", V),
    # links without an extension need a witness
    ("what stands before names it", f"视频下载地址：{BARE}", BARE),
    ("what stands before names it in English", f"Done.\nVideo URL: {BARE}\nEnjoy", BARE),
    ("it is all there is", BARE, BARE),
    ("it is all there is, and short", "https://a.example/video/0a1b", "https://a.example/video/0a1b"),
    ("it is all there is, in back-ticks and with a literal \\n", f"`{BARE}`\\n", BARE),
    ("a known route", f"完成 {ROOT}/v1/media/videos/asset_1 请查收", f"{ROOT}/v1/media/videos/asset_1"),
    ("a known route with the id in the path", f"完成 {ROOT}/v1/files/video/0a1b2c", f"{ROOT}/v1/files/video/0a1b2c"),
    ("a coded path of a video", p_link("/users/1/generated_video.mp4"), p_link("/users/1/generated_video.mp4")),
    ("a coded path with its padding escaped", f"![]({ROOT}/images/p_L2EubXA0%3D)", f"{ROOT}/images/p_L2EubXA0%3D"),
    # relative paths
    ("the path stands on its own line", "进度100%\n/v1/files/video/1.mp4\n", f"{ROOT}/v1/files/video/1.mp4"),
    ("the path stands before a literal \\n", "/images/1.mp4\\n", f"{ROOT}/images/1.mp4"),
    ("the path follows a literal \\n", "完成\\n/images/1.mp4", f"{ROOT}/images/1.mp4"),
    ("the path has a query", "/v1/files/video?id=ab12", f"{ROOT}/v1/files/video?id=ab12"),
    # JSON in the text
    ("JSON needs no extension", json.dumps({"video_url": BARE, "thumbnail_url": THUMB}), BARE),
    ("JSON between words", f'生成完成 {{"video_url": "{BARE}"}} 请查收', BARE),
    ("JSON whose quotes are escaped", f'{{\\"video_url\\": \\"{BARE}\\"}}', BARE),
    ("a fence with another name", f'结果\n```JSON\n{{"result": {{"url": "{V}"}}}}\n```', V),
    ("the request in the first fence, the result in the second",
     f'```json\n{{"prompt": "x"}}\n```\n```json\n{{"videoUrl": "{BARE}"}}\n```', BARE),
    ("a list of links", json.dumps([THUMB, V]), V),
    # data URLs
    ("a video as a data URL", 'x <video src="data:video/mp4;base64,AAAA="> y', "data:video/mp4;base64,AAAA="),
    ("a data URL with parameters", "data:video/mp4;codecs=avc1;base64,AAAA", "data:video/mp4;codecs=avc1;base64,AAAA"),
    ("a picture as a data URL comes first", f'<img src="data:image/png;base64,iVBO"> {V}', V),
]  # fmt: skip


@pytest.mark.parametrize(("text", "link"), [pytest.param(*case[1:], id=case[0]) for case in FOUND])
def test_text_with_a_video(text: str, link: str) -> None:
    assert media_url.from_text(text, ROOT) == link


NOT_FOUND = [
    ("nothing", ""),
    ("words", "视频生成中，请稍候"),
    ("a file name", "文件名 output.mp4 已生成"),
    ("a home page alone", "https://www.example.com/"),
    ("a console alone", "https://www.example.com/console"),
    ("a page on the way", "任务已提交，请到 https://www.example.com/console/tasks/1 查看。"),
    ("a page that is introduced as the task", "视频任务：https://www.example.com/console/tasks/1"),
    ("a page after a sentence about the video", "视频已生成，官网：https://www.example.com/a/b"),
    ("a status page and raw data", "[数据预览](https://data.example.org/web/1) | [原始数据](https://data.example.org/source/1)"),
    ("an anchor to a console", '<a href="https://www.example.com/console/1">查看视频任务</a>'),
    ("documentation with a promising label", "[视频教程](https://docs.example.com/guide/video)"),
    ("a page with a promising label", "[观看视频](https://www.example.com/watch.html)"),
    ("a picture", f"![video]({THUMB})"),
    ("a picture in a size", "https://cdn.example.org/v.jpg@100w_100h"),
    ("a picture in a style", "下载：https://cdn.example.org/a/v.jpg!small"),
    ("a picture made from a video elsewhere", f"https://img.example.org/thumb/x?src={V}"),
    ("a file's name in a query", "https://www.example.com/preview?file=v.mp4"),
    ("a picture named after a video", "https://cdn.example.org/v.mp4.jpg"),
    ("a picture of a video", f"封面 {V}?x-oss-process=video/snapshot,t_1000,f_jpg"),
    ("a picture made from a video", "https://img.example.org/thumb.jpg?src=v.mp4"),
    ("an animation", "[video](https://cdn.example.org/v.gif)"),
    ("a play list", "https://cdn.example.org/v.m3u8"),
    ("sound", '<video src="https://cdn.example.org/v.mp3"></video>'),
    ("a coded path of a picture", f"![preview]({p_link('/users/1/preview_image.jpg')})"),
    ("a coded path of a picture, alone", p_link("/users/1/preview_image.jpg")),
    ("a coded path of anything", f"{ROOT}/images/p_%%%"),
    ("the route of pictures, alone", f"{ROOT}/v1/files/image?id=0a1b2c"),
    ("the route of pictures, labelled", f"[下载]({ROOT}/v1/files/image?id=0a1b2c)"),
    ("only what it was given", f"无法处理您上传的视频：{V}"),
    ("only what it was given, labelled", f"[参考视频]({V}) 处理失败"),
    ("only what it was given, in English", f"Could not open the source video {V}"),
    ("only a draft", f"<think>{V}</think>抱歉"),
    ("a poster", f'<video poster="{V}"></video>'.replace(V, THUMB)),
    ("an element behind other schemes", '<video src="javascript:/a.mp4"></video>'),
    ("a file of the gateway's machine", "saved to file:///app/out/v.mp4"),
    ("a path in a sentence", "保存到 /app/out/v.mp4 失败"),
    ("a path to a picture", "/images/1.jpg"),
    ("a known route without its id", f"{ROOT}/v1/files/video"),
    ("another host's user name", "https://@/v/1.mp4"),
    ("a link longer than any server takes", "https://cdn.example.org/" + "a" * 9000 + ".mp4"),
    ("a label far from its colon", "视频 https://www.example.com/a/b"),
    ("JSON that echoes the request", json.dumps({"input": {"video_url": BARE}, "images": [{"url": BARE}]})),
]  # fmt: skip


@pytest.mark.parametrize("text", [pytest.param(case[1], id=case[0]) for case in NOT_FOUND])
def test_text_without_a_video(text: str) -> None:
    assert media_url.from_text(text, ROOT) is None


# ---- typed fields ----

LINKS = ("video_url", "video_uri", "video_link", "result_url", "file_url", "output_url", "download_url", "play_url")
CONTAINERS = (
    *("data", "output", "outputs", "result", "results", "task_result", "metadata", "response", "content", "detail"),
    *("files", "media", "items", "urls"),
)

JSON_FOUND: list[tuple[str, Any, str]] = [
    *((f"the field {key}", {key: BARE}, BARE) for key in (*LINKS, "media_url", "output_video", "videos", "video_urls")),
    *((f"inside {key}", {key: {"video_url": BARE}}, BARE) for key in CONTAINERS),
    ("camel case", {"videoUrl": BARE}, BARE),
    ("dashes", {"video-url": BARE}, BARE),
    ("another word for the same", {"data": {"download_url": BARE}}, BARE),
    ("the better of two", {"video_url": f"{V}?low", "upsample_video_url": V}, V),
    ("an empty field, then the other", {"video_url": "", "result_url": V}, V),
    ("a field that is a picture, then the other", {"video_url": THUMB, "output_url": V}, V),
    ("an object instead of a string", {"video_url": {"url": BARE}}, BARE),
    ("a list of strings", {"videos": [BARE]}, BARE),
    ("a list of objects", {"videos": [{"cover": THUMB}, {"video_url": BARE}]}, BARE),
    ("a list of outputs", {"status": "succeeded", "output": [THUMB, V]}, V),
    ("an output that is the link", {"status": "succeeded", "output": V}, V),
    ("what a part says it is", {"type": "video", "url": BARE}, BARE),
    ("what a part's media type says", {"file": {"mime_type": "video/mp4", "uri": BARE}}, BARE),
    ("a job's own url", {"id": "1", "status": "completed", "url": BARE}, BARE),
    ("a job's url, further in", {"status": "completed", "metadata": {"url": BARE}}, BARE),
    ("a task's url, further in", {"state": "success", "creations": [{"cover_url": THUMB, "url": BARE}]}, BARE),
    ("an object that is no chat", {"object": "video.generation", "data": [{"url": BARE}]}, BARE),
    ("a relative link", {"video": {"url": "/v1/media/videos/1"}}, f"{ROOT}/v1/media/videos/1"),
    ("a link without a scheme", {"video": {"url": "//cdn.example.org/a"}}, "https://cdn.example.org/a"),
    ("blanks around it", {"video_url": f" {V}\n"}, V),
    ("a host that cannot be read, then a good one", {"video_url": "https://[bad/1.mp4", "url": V}, V),
    ("bytes", {"videos": [{"bytesBase64Encoded": "AAAA", "mimeType": "video/webm"}]}, "data:video/webm;base64,AAAA"),
    ("results of a list", [{"thumbnail": THUMB}, {"result": {"media": [{"url": V}]}}], V),
    ("a field that speaks of failure and is none", {"status": "SUCCESS", "fail_reason": V}, V),
]


@pytest.mark.parametrize(("value", "link"), [pytest.param(*case[1:], id=case[0]) for case in JSON_FOUND])
def test_json_with_a_video(value: Any, link: str) -> None:
    assert media_url.from_json(value, ROOT) == link


JSON_NOT_FOUND: list[tuple[str, Any]] = [
    ("nothing", None),
    ("a string", V),
    ("pictures that were given", {"images": [{"url": V}], "image_url": V, "req": {"video_url": V}}),
    ("a cover", {"cover": V, "thumbnail_url": V, "poster": V}),
    ("a picture in the video's field", {"video_url": THUMB, "video": {"url": THUMB}}),
    ("a page of a job that says nothing else", {"url": "https://www.example.com/a/b"}),
    ("a reason in words", {"status": "FAILURE", "fail_reason": "see https://docs.example.com/errors"}),
    ("numbers where links should be", {"video_url": 1, "video": 2, "videos": [3, None, True], "url": {"url": {}}}),
    ("a page beside a chat", {"object": "chat.completion", "metadata": {"url": "https://www.example.com/a/b"}}),
    ("what a part says that it is not", {"status": "done", "output": [{"type": "image", "url": BARE}]}),
    ("what moderation keeps back", {"status": "done", "video": {"url": V, "respect_moderation": False}}),
    ("another scheme", {"video_url": "ftp://cdn.example.org/1.mp4"}),
]


@pytest.mark.parametrize("value", [pytest.param(case[1], id=case[0]) for case in JSON_NOT_FOUND])
def test_json_without_a_video(value: Any) -> None:
    assert media_url.from_json(value, ROOT) is None


def test_json_nested_deeper_than_python_goes() -> None:
    for key in ("data", "video", "url"):
        value: Any = V
        for _ in range(900):
            value = {key: value}
        assert media_url.from_json(value, ROOT) is None


# ---- addresses ----

RESOLVED = [
    ("absolute stays", "https://a.example/b", "https://gw.example.com", "https://a.example/b"),
    ("root with a port", "/a.mp4", "http://10.0.0.2:8000", "http://10.0.0.2:8000/a.mp4"),
    ("root with a prefix", "/v1/files/a.mp4", "https://gw.example.com/grok", "https://gw.example.com/grok/v1/files/a.mp4"),
    ("the path has the prefix already", "/grok/files/a.mp4", "https://gw.example.com/grok", "https://gw.example.com/grok/files/a.mp4"),
    ("a prefix is a whole part", "/grokking/a.mp4", "https://gw.example.com/grok", "https://gw.example.com/grok/grokking/a.mp4"),
    ("no scheme takes the root's", "//cdn.example.org/a", "http://gw.example.com", "http://cdn.example.org/a"),
    ("dots lead nowhere", "../../a.mp4", "https://gw.example.com", "https://gw.example.com/a.mp4"),
    ("a hidden name is no dots", "/.out/a.mp4", "https://gw.example.com", "https://gw.example.com/.out/a.mp4"),
]  # fmt: skip


@pytest.mark.parametrize(("url", "root", "whole"), [pytest.param(*case[1:], id=case[0]) for case in RESOLVED])
def test_relative_links_hang_on_the_root(url: str, root: str, whole: str) -> None:
    assert media_url.resolve(url, root) == whole


KEYED = [
    ("the gateway's content route", f"{ROOT}/v1/videos/1/content", True),
    ("with a query", f"{ROOT}/v1/videos/1/content?variant=video", True),
    ("the default port is the same place", "https://gw.example.com:443/v1/videos/1/content", True),
    ("Gemini's file", f"{ROOT}/v1beta/files/1:download?alt=media", True),
    ("an open route", f"{ROOT}/v1/media/videos/1", False),
    ("another host", "https://cdn.example.org/v1/videos/1/content", False),
    ("another port", "https://gw.example.com:8443/v1/videos/1/content", False),
    ("another scheme", "http://gw.example.com/v1/videos/1/content", False),
    ("a host that only begins alike", "https://gw.example.com.evil.example/v1/videos/1/content", False),
    ("our host as a user name", "https://gw.example.com@evil.example/v1/videos/1/content", False),
    ("content in the query only", f"{ROOT}/a.mp4?x=/content", False),
    ("an unreadable link", "https://[bad/content", False),
]


@pytest.mark.parametrize(("url", "keyed"), [pytest.param(*case[1:], id=case[0]) for case in KEYED])
def test_which_links_need_the_key(url: str, keyed: bool) -> None:
    assert media_url.needs_key(url, ROOT) is keyed


@pytest.mark.parametrize(
    "job",
    [
        pytest.param({"object": "video", "status": "in_progress", "id": "1"}, id="still going"),
        pytest.param({"object": "video", "status": "completed"}, id="no id"),
        pytest.param({"object": "chat.completion", "status": "completed", "id": "1"}, id="no video"),
        pytest.param(["completed"], id="no job"),
    ],
)
def test_only_a_finished_job_has_a_content_link(job: Any) -> None:
    assert media_url.content_link(job, ROOT) is None


# ---- bounds ----

TEN_MB, QUARTER = 10_000_000, 2_500_000


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_take_bounded_and_linear_time(kind: str) -> None:
    def seconds(size: int) -> float:
        text, best = KINDS[kind](size), 9.0
        for _ in range(3):
            began = perf_counter()
            media_url.from_text(text, ROOT)
            best = min(best, perf_counter() - began)
            if best < 0.2:
                break
        return best

    whole = seconds(TEN_MB)
    assert whole < 0.5
    assert whole < 0.2 or whole < 10 * seconds(QUARTER)


PIECES = st.sampled_from(
    [V, BARE, THUMB, ROOT, "https://", "http://[", "//", "/v1/files/video?id=", "<video src=", "<a href=", '"', "'",
     ">", "</think>", "<think>", "](", "[", ")", "](<", "```json", "{", "}", '{"video_url":', "&amp;", "&#x",
     "&#55555;", "\\", "\\n", "\\u0026", "视频：", "参考视频", "data:video/mp4;base64,", "AAAA", ".mp4", ":99999",
     "@", "|", "\n", " ", "\x00", "\ud800", "，"]
)  # fmt: skip


@settings(max_examples=250, deadline=2000)
@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=30).map("".join))
def test_any_text_has_a_fetchable_link_or_none(text: str) -> None:
    link = media_url.from_text(text, ROOT)
    assert link is None or link.startswith("data:video/") or media_url.origin(link)[0] in ("http", "https")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | PIECES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["url", "video", "videos", "video_url", "data", "output", "type", "status", "detail"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=2000)
@given(JSON)
def test_any_json_has_a_fetchable_link_or_none(value: Any) -> None:
    link = media_url.from_json(value, ROOT)
    assert link is None or link.startswith(("data:video/", "gs://")) or media_url.origin(link)[0] in ("http", "https")
