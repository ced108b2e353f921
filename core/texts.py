"""Every sentence people read, in Chinese and English, side by side.

A failure's sentence is looked up as ``kind.cause``, then as ``kind``; it says what happened and what to do next.
"""

from typing import Literal

from .errors import Why

Language = Literal["zh", "en"]

_SENTENCES: dict[str, tuple[str, str]] = {
    # ---- a job on its way ----
    "accepted": ("🎬 收到，任务 #{number} 开始生成。", "🎬 Got it: job #{number} is starting."),
    "queued": (
        "🎬 收到，任务 #{number} 排队中，第 {position} 位。",
        "🎬 Got it: job #{number} is queued at place {position}.",
    ),
    "note_avatar": ("没有图片，用了你的头像作参考图。", "There was no picture, so your avatar is the reference."),
    "note_webchat": ("完成后刷新本页就能看到视频。", "Reload this page when it is done to see the video."),
    "note_dropped": (
        "这个模型不能选{names}，按它的默认值生成。",
        "This model offers no choice of {names}; its default is used.",
    ),
    "note_sibling": (
        "当前模型做不了这种用法，改用 {model}。",
        "The model in use does not do this; {model} takes over.",
    ),
    "note_first": ("只用了第一张图片。", "Only the first picture is used."),
    "note_kept": ("用了你记下的 {count} 张参考图。", "Your {count} kept picture(s) are used."),
    "duration": ("时长", "duration"),
    "aspect_ratio": ("画面比例", "aspect ratio"),
    "resolution": ("分辨率", "resolution"),
    "link": (
        "🎬 #{number} 视频已生成，但这里发不出视频文件，请打开链接观看：\n{url}",
        "🎬 #{number} The video is ready, but it cannot be sent here as a file. Open the link:\n{url}",
    ),
    "link_large": (
        "🎬 #{number} 视频已生成，但有 {size} MB，超过这里能发的大小，请打开链接观看：\n{url}",
        "🎬 #{number} The video is ready, but its {size} MB are more than can be sent here. Open the link:\n{url}",
    ),
    "caption": ("🎬 #{number} · {model} · {seconds} 秒{cost}", "🎬 #{number} · {model} · {seconds} s{cost}"),
    "link_unreachable": (
        "🎬 #{number} 视频已生成，但从这里下载失败（网络不通或中断），请打开链接观看：\n{url}",
        "🎬 #{number} The video is ready, but it could not be downloaded from here. Open the link:\n{url}",
    ),
    "file_name": ("视频_{number}", "video_{number}"),
    "failed": ("❌ #{number} {sentence}", "❌ #{number} {sentence}"),
    "open": ("⚠️ #{number} {sentence}", "⚠️ #{number} {sentence}"),
    "waiting": ("⏳ #{number} {sentence}", "⏳ #{number} {sentence}"),
    "said": ("（上游原话：{reason}）", " (Upstream: {reason})"),
    "see_link": ("视频链接：{url}", "Link: {url}"),
    # ---- refusals before anything is sent ----
    "bad_input.disabled": (
        "视频功能已关闭。管理员可在插件设置 video.enabled 打开。",
        "Videos are switched off. An admin can switch them on in the plugin's setting video.enabled.",
    ),
    "starting": (
        "插件还没准备好，请稍后再试；若一直如此，请管理员看日志。",
        "The plugin is not ready yet. Try again in a moment; if it stays so, an admin should look at the log.",
    ),
    "too_many": (
        "你已有任务 #{number} 在进行中（上限 {limit} 个）。等它完成，或发送 /视频取消 {number}。",
        "You already have job #{number} running (limit {limit}). Wait for it, or send /视频取消 {number}.",
    ),
    "too_many_elsewhere": (
        "你在别的会话里已有任务在进行中（上限 {limit} 个），等它完成再来。",
        "You already have a job running in another chat (limit {limit}). Wait for it.",
    ),
    "bad_input.usage": (
        "用法：/视频 [@后端] [预设名] 提示词 [6s] [9:16] [720p]，并附上或引用一张图片。\n例：/视频 让它动起来\n/视频帮助 查看更多。",
        "Usage: /视频 [@backend] [preset] prompt [6s] [9:16] [720p], with a picture attached or quoted.\n"
        "Example: /视频 make it move\nMore: /视频帮助",
    ),
    # ---- the other commands ----
    "kept": (
        "🖼 已记下 {count} 张参考图{role}，10 分钟内有效。接着发 /视频 提示词，或 /参考图 清除。",
        "🖼 {count} picture(s) kept for 10 minutes{role}. Go on with /视频 prompt, or /参考图 清除.",
    ),
    "kept_as": ("（这张是{role}）", " (this one: {role})"),
    "kept_none": (
        "你在这里没有参考图。发送或引用图片并写 /参考图；一次写完：/参考图 [参数] -- 提示词",
        "You have no kept pictures here. Send or quote one with /参考图; all at once: /参考图 [options] -- prompt",
    ),
    "kept_now": (
        "你的参考图（{count} 张，还有 {minutes} 分钟）：",
        "Your kept pictures ({count}, {minutes} min left):",
    ),
    "kept_line": ("{place}. {role}", "{place}. {role}"),
    "kept_cleared": ("参考图已清除。", "The kept pictures are gone."),
    "role_first_frame": ("首帧", "first frame"),
    "role_last_frame": ("尾帧", "last frame"),
    "role_reference": ("参考", "reference"),
    "role_open": ("未指定（两张作首尾帧，更多作参考图）", "not set (two: first and last frame; more: references)"),
    "bad_input.kept_usage": (
        "用法：/参考图（附上或引用图片，可写 首帧、尾帧、参考）；/参考图 查看；/参考图 清除；/参考图 [参数] -- 提示词",
        "Usage: /参考图 with a picture (and 首帧 first, 尾帧 last or 参考 reference); /参考图 查看 shows; /参考图 清除 clears; "
        "/参考图 [options] -- prompt",
    ),
    "bad_input.kept_too_many": ("最多记 {most} 张参考图。", "At most {most} pictures are kept."),
    "models": (
        "视频后端（✓ 为当前）：\n{lines}\n选用：/视频模型 后端[/模型]；恢复默认：/视频模型 默认",
        "Video backends (✓ = in use here):\n{lines}\nChoose: /视频模型 backend[/model]; back: /视频模型 默认",
    ),
    "model_line": ("{mark} {backend}（{model}）：{abilities}", "{mark} {backend} ({model}): {abilities}"),
    "model_chosen": ("本会话改用 {backend}（{model}）。", "This chat now uses {backend} ({model})."),
    "model_default": (
        "本会话已恢复默认：{backend}（{model}）。",
        "This chat is back to the default: {backend} ({model}).",
    ),
    "presets": ("视频预设（/视频 预设名 [补充]）：\n{lines}", "Video presets (/视频 name [more]):\n{lines}"),
    "preset_line": ("· {name}：{prompt}", "· {name}: {prompt}"),
    "no_presets": (
        "还没有预设。管理员可在插件设置 video.presets 里按“预设名:英文提示词”添加。",
        "There are no presets yet. An admin can add “name:prompt” lines in the plugin's setting video.presets.",
    ),
    "jobs": ("视频任务：\n{lines}", "Video jobs:\n{lines}"),
    "no_jobs": ("这里还没有你的视频任务。", "You have no video jobs here yet."),
    "job_line": ("#{number} {state}{details} 「{prompt}」", "#{number} {state}{details} “{prompt}”"),
    "bad_input.no_such_job": ("这里没有编号为 #{number} 的任务。", "There is no job #{number} here."),
    "bad_input.bad_number": (
        "编号应是数字，例如：{command} 3",
        "The number should be a number, for example: {command} 3",
    ),
    "elapsed": ("已 {seconds} 秒", "{seconds} s so far"),
    "left": ("预计还需约 {seconds} 秒", "about {seconds} s left"),
    "position": ("第 {position} 位", "place {position}"),
    "state_accepted": ("排队中", "queued"),
    "state_submitting": ("生成中", "rendering"),
    "state_running": ("生成中", "rendering"),
    "state_ready": ("准备发送", "ready to send"),
    "state_delivering": ("发送中", "being sent"),
    "state_delivered": ("已完成", "done"),
    "state_failed": ("失败", "failed"),
    "state_cancelled": ("已取消", "cancelled"),
    "state_unknown": ("结果不明", "outcome unknown"),
    "not_yours": (
        "任务 #{number} 不是你的，只有本人或管理员能操作。",
        "Job #{number} is not yours; only its owner or an admin may.",
    ),
    "nothing_to_cancel": ("没有可以取消的任务。", "There is nothing to cancel."),
    "cancelled.free": (
        "🛑 #{number} 已取消，还没有提交给上游，不会扣费。",
        "🛑 #{number} cancelled; nothing had been submitted, nothing is charged.",
    ),
    "cancelled.billed_perhaps": (
        "🛑 #{number} 已取消。请求已经提交给上游，上游可能仍会扣费。",
        "🛑 #{number} cancelled. The request had already left, so the upstream may charge for it all the same.",
    ),
    "too_late": (
        "#{number} 现在是“{state}”，已不能取消。",
        "#{number} is “{state}” now; it can no longer be cancelled.",
    ),
    "nothing_to_resend": ("没有可以重发的视频。", "There is no video to send again."),
    "no_video_in": ("任务 #{number} 没有视频：{state}。", "Job #{number} has no video: {state}."),
    "nothing_to_retry": ("没有可以重试的任务。", "There is nothing to try again."),
    "retry_running": ("#{number} 还在进行中。", "#{number} is still under way."),
    "retry_confirm": (
        "#{number} 可能已经扣过费，再做一次会再付一次。确定的话，{seconds} 秒内再发一遍 /视频重试 {number}。",
        "#{number} may have been charged; once more is paid once more. If you want that, send /视频重试 {number} again "
        "within {seconds} s.",
    ),
    "resending": ("🎬 正在重发 #{number} …", "🎬 Sending #{number} again …"),
    "being_sent": ("#{number} 正在发送中，请稍候。", "#{number} is being sent right now."),
    "help": (
        "🎬 视频\n"
        "/视频 提示词 [+ 图片：附上、引用，或 @某人 用其头像]\n"
        "　可选参数，放在最前或最后：6s　9:16 横屏 竖屏 方形　720p\n"
        "　@后端：{backends}；默认 {backend}（{model}）\n"
        "　{abilities}\n"
        "/视频 预设名 [补充]　/视频预设　查看预设（{presets} 个）\n"
        "/参考图　先记下图片（手机 QQ、首帧尾帧、多图）；/参考图 -- 提示词　直接生成\n"
        "/视频模型　查看和选用后端\n"
        "/视频任务 [编号]　/视频取消 [编号]　/视频重发 [编号]　/视频重试 [编号]\n"
        "每人同时 {per_user} 个任务，共 {running} 个同时生成。",
        "🎬 Videos\n"
        "/视频 prompt [+ a picture: attached, quoted, or @somebody for their avatar]\n"
        "  Options, first or last: 6s · 9:16 横屏 竖屏 方形 · 720p\n"
        "  @backend: {backends}; default {backend} ({model})\n"
        "  {abilities}\n"
        "/视频 preset [more] · /视频预设 lists the presets ({presets})\n"
        "/参考图 keeps pictures first (mobile QQ, first and last frame, several); /参考图 -- prompt\n"
        "/视频模型 lists and chooses backends\n"
        "/视频任务 [number] · /视频取消 [number] · /视频重发 [number] · /视频重试 [number]\n"
        "{per_user} job(s) per person at a time, {running} rendering at once.",
    ),
    "able_text": ("文字", "text"),
    "able_image": ("图片", "picture"),
    "able_frames": ("首帧+尾帧", "first + last frame"),
    "able_references": ("参考图（最多 {most} 张）", "references (up to {most})"),
    "able_from": ("可用{modes}生成", "makes videos from {modes}"),
    "able_fixed": ("时长、比例、分辨率固定", "duration, ratio and resolution are fixed"),
    "able_choice": ("{name}：{offered}", "{name}: {offered}"),
    "in_seconds": ("{offered} 秒", "{offered} s"),
    "joint": ("；", "; "),
    "comma": ("、", ", "),
    # ---- /视频诊断 ----
    "diagnosing": (
        "🔧 正在检查，会在这里发几段两秒的测试视频。",
        "🔧 Checking; a few test clips of two seconds will come.",
    ),
    "bad_input.admins_only": ("这个指令只有管理员能用。", "Only admins may use this command."),
    "diagnosis": ("🔧 视频诊断\n{lines}", "🔧 Diagnosis\n{lines}"),
    "diagnosis_backend": ("【{backend}】\n{verdicts}", "[{backend}]\n{verdicts}"),
    "diagnosis_unset": ("【{backend}】没有填 Key", "[{backend}] no key"),
    "diagnosis_key": ("　Key {place}：{verdict}", "  key {place}: {verdict}"),
    "diagnosis_good": ("✓ 有效（{url}）", "✓ accepted ({url})"),
    "diagnosis_bad": ("✗ {why}", "✗ {why}"),
    "diagnosis_forms": (
        "【发送】以平台的回答为准，已记住：✓ 收下　✗ 拒绝　? 没有确认",
        "[Delivery] as the platform says, remembered: ✓ taken, ✗ refused, ? not confirmed",
    ),
    "diagnosis_no_forms": ("【发送】这个平台只能发链接", "[Delivery] this platform takes links only"),
    "diagnosis_form": ("　{mark} {form}", "  {mark} {form}"),
    "form_url": ("视频（链接）", "video by link"),
    "form_file": ("视频（本地文件）", "video by local path"),
    "form_service": ("视频（AstrBot 文件服务）", "video by AstrBot's file service"),
    "form_stream": ("视频（分片交给协议端）", "video handed over in pieces"),
    "form_base64": ("视频（base64）", "video as base64"),
    "form_attachment": ("文件", "file"),
    "form_link": ("文字链接", "link as text"),
    # ---- the LLM tool ----
    "tool_accepted": (
        "已接受，任务编号 #{number}。视频要几分钟，完成后会自动发到本会话。请直接告诉用户在等，不要再次调用本工具。",
        "Accepted as job #{number}. It takes minutes; the video will arrive in this chat by itself. Tell the user to wait "
        "and do not call this tool again.",
    ),
    "tool_duplicate": (
        "这条消息的请求已经是任务 #{number}，不要再次调用本工具。",
        "This message's request is already job #{number}; do not call this tool again.",
    ),
    "tool_outcome": ("[视频任务 #{number}：{state}]", "[video job #{number}: {state}]"),
    "tool_request": ("[请求生成视频 #{number}]", "[asked for video #{number}]"),
    # ---- why there is no video ----
    "bad_input": ("这个请求做不了，请修改后再试。", "This request cannot be made; change it and try again."),
    "bad_input.unknown_backend": (
        "没有叫“{name}”的后端。可用：{offered}",
        "There is no backend “{name}”. Available: {offered}",
    ),
    "bad_input.unknown_choice": (
        "没有叫“{name}”的后端。写法：/视频模型 后端，或 /视频模型 后端/模型。可用：{offered}",
        "There is no backend “{name}”. Write /视频模型 backend, or /视频模型 backend/model. Available: {offered}",
    ),
    "bad_input.needs_picture": (
        "这个模型需要一张图片：请把图片和指令一起发，或引用一张图片再发 /视频 提示词。",
        "This model needs a picture: send one together with the command, or quote one with /视频 prompt.",
    ),
    "bad_input.picture_unreadable": (
        "图片读不了（第 {which} 张）：格式不支持或文件损坏，请换一张。",
        "The picture cannot be read ({which}): its format is not supported or the file is broken. Try another.",
    ),
    "bad_input.picture_too_big": ("图片太大，请换一张小一些的。", "The picture is too large; try a smaller one."),
    "bad_input.avatar_unavailable": (
        "没有图片，也取不到头像：请把图片和指令一起发。",
        "There is no picture and the avatar cannot be fetched: send a picture with the command.",
    ),
    "bad_input.duration_not_offered": (
        "这个模型做不了 {wanted} 秒，可选：{offered} 秒。",
        "This model does not do {wanted} s; it offers {offered} s.",
    ),
    "bad_input.aspect_ratio_not_offered": (
        "这个模型做不了 {wanted}，可选比例：{offered}。",
        "This model does not do {wanted}; it offers {offered}.",
    ),
    "bad_input.resolution_not_offered": (
        "这个模型做不了 {wanted}，可选：{offered}。",
        "This model does not do {wanted}; it offers {offered}.",
    ),
    "bad_input.pictures_not_offered": (
        "这个模型不能用 {given} 张图片做视频，可以用 {offered} 张。没有提交，没有扣费。",
        "This model makes no video of {given} pictures; it takes {offered}. Nothing was submitted or charged.",
    ),
    "bad_input.last_frame_not_offered": (
        "这个模型不支持尾帧，可以用 {offered} 张图片。",
        "This model takes no last frame; it takes {offered} pictures.",
    ),
    "bad_input.first_frame_not_offered": (
        "这个模型不支持首帧，图片只能作参考图（{offered} 张）。",
        "This model takes no first frame; pictures are only references ({offered}).",
    ),
    "bad_input.roles_do_not_fit": (
        "图片的用法凑不成一段视频：可以是一张首帧，或首帧加尾帧，或几张参考图。发送 /参考图 清除 重新开始。",
        "These pictures do not make one video: it takes a first frame, a first and a last frame, or references. "
        "Start again with /参考图 清除.",
    ),
    "bad_input.rejected": (
        "上游不接受这个请求，请修改后再试。",
        "The upstream does not accept this request; change it and try again.",
    ),
    "misconfigured": (
        "设置有误，请管理员检查插件设置。",
        "Something is set up wrongly; an admin should check the plugin's settings.",
    ),
    "misconfigured.bad_address": (
        "服务器地址不是网址，请管理员检查插件设置 {server}。",
        "The server address is no URL; an admin should check the plugin's setting {server}.",
    ),
    "misconfigured.web_page": (
        "服务器地址给出的是网页而不是接口，请管理员检查 {server}。",
        "The server address answers with a web page, not an API; an admin should check {server}.",
    ),
    "misconfigured.blocked": (
        "上游拦截了这台机器的访问，请管理员检查网络或代理设置 video.proxy。",
        "The upstream blocks this machine; an admin should check the network or the setting video.proxy.",
    ),
    "misconfigured.model": (
        "这个服务器没有这个模型，请管理员检查 {model}（或换用别的接口）。",
        "This server does not offer the model; an admin should check {model} (or use another backend).",
    ),
    "misconfigured.redirect": (
        "服务器地址已转到 {to}，请管理员把它填进 {server}。",
        "The server address redirects to {to}; an admin should put that into {server}.",
    ),
    "misconfigured.not_found": (
        "服务器上没有这个接口，请管理员检查 {server} 和 {model}。",
        "The server has no such API; an admin should check {server} and {model}.",
    ),
    "misconfigured.disk": (
        "视频写不进磁盘（空间不足或没有权限），请管理员检查。",
        "The video cannot be written to disk (no space or no permission); an admin should check.",
    ),
    "misconfigured.ledger": (
        "任务记不进数据库（空间不足或没有权限），所以没有开始，也没有扣费。请管理员检查。",
        "The job cannot be saved (no space or no permission), so it was not started and nothing is charged. "
        "An admin should check.",
    ),
    "misconfigured.no_backend": ("后端“{name}”已不在设置里。", "The backend “{name}” is no longer set up."),
    "misconfigured.internal": (
        "插件内部出错，任务停止了，没有扣费。请管理员看日志。",
        "The plugin failed and the job stopped; nothing is charged. An admin should look at the log.",
    ),
    "misconfigured.picture_needs_link": (
        "这个上游只收图片网址，而这张图没有公开网址。请管理员在 AstrBot 设置 callback_api_base，"
        "或把 veo.image_transport 改为 auto 或 data。",
        "This upstream takes pictures only as links, and this one has none. An admin should set AstrBot's "
        "callback_api_base, or change veo.image_transport to auto or data.",
    ),
    "auth_failed": (
        "上游不认 API Key（已试过所有 Key），请管理员检查 {key}。",
        "The upstream does not accept the API key (all were tried); an admin should check {key}.",
    ),
    "auth_failed.no_key": (
        "还没有填 API Key，请管理员在插件设置 {key} 填写。",
        "There is no API key yet; an admin should enter one in the plugin's setting {key}.",
    ),
    "out_of_quota": (
        "上游账号额度或余额不足（已试过所有 Key），请管理员充值或换 Key。",
        "The upstream account has no quota or balance left (all keys were tried); an admin should top it up.",
    ),
    "retryable": (
        "上游现在不接活，没有扣费，请稍后再试。",
        "The upstream takes no work right now; nothing is charged. Try again later.",
    ),
    "retryable.unreachable": (
        "连不上上游服务器，没有扣费。请稍后再试；若一直如此，请管理员检查 {server} 和 video.proxy。",
        "The upstream cannot be reached; nothing is charged. Try again later; if it stays so, an admin should check "
        "{server} and video.proxy.",
    ),
    "retryable.proxy": (
        "代理连不上，没有扣费。请管理员检查 video.proxy。",
        "The proxy does not work; nothing is charged. An admin should check video.proxy.",
    ),
    "retryable.busy": (
        "上游正忙或限流，没有扣费，请稍后再试。",
        "The upstream is busy or rate limiting; nothing is charged. Try again later.",
    ),
    "retryable.interrupted": (
        "机器人在收图时重启了，什么都没有提交，没有扣费。请重新发送。",
        "The bot restarted while it took your picture; nothing was submitted or charged. Please send it again.",
    ),
    "refused": (
        "上游的内容审核没有通过，请换一个说法或换一张图（部分上游对此也扣费）。",
        "The upstream's moderation refused it; use other words or another picture (some upstreams charge for this too).",
    ),
    "refused.after_work": (
        "上游的内容审核没有通过（生成之后），请换一个说法或换一张图。部分上游对此也扣费。",
        "The upstream's moderation refused the finished video; use other words or another picture. "
        "Some upstreams charge for this too.",
    ),
    "refused.billed": (
        "上游的内容审核没有通过（生成之后），上游已为此扣费 {cost}。请换一个说法或换一张图。",
        "The upstream's moderation refused the finished video and charged {cost} for it. Use other words or another "
        "picture.",
    ),
    "overdue": (
        "生成比 {timeout} 设定的时间更久。上游还在生成，完成后仍会自动发来（最多等 24 小时），你可以先做别的视频。",
        "It takes longer than {timeout} allows. The upstream still renders; the video will be sent by itself when it is "
        "done (within 24 hours), and you may start another one.",
    ),
    "unknown_charge": (
        "请求已提交，但没有得到结果，可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "The request left but brought no result. It may have been charged, so it was not repeated. Send it again if you "
        "want to.",
    ),
    "unknown_charge.timeout": (
        "等了 {timeout} 设定的时间仍没有结果，可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "No result came within {timeout}. It may have been charged, so it was not repeated. Send it again if "
        "you want to.",
    ),
    "unknown_charge.cut": (
        "生成途中与上游的连接断了，可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "The line to the upstream broke while it rendered. It may have been charged, so it was not repeated. Send it "
        "again if you want to.",
    ),
    "unknown_charge.crashed": (
        "机器人在等待上游时重启了，这个任务可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "The bot restarted while it waited for the upstream. The job may have been charged, so it was not repeated. "
        "Send it again if you want to.",
    ),
    "unknown_charge.repeated": (
        "试过不止一次，都没有得到视频；其中可能有已经扣费的（video.retry_policy 为 always）。",
        "It was tried more than once without a video; some of the tries may have been charged (video.retry_policy is "
        "always).",
    ),
    "unknown_charge.gave_up": (
        "等了 24 小时上游仍没有做完，不再等了，可能已经扣费。上游任务号：{ticket}",
        "The upstream did not finish within 24 hours, so we stopped waiting. It may have been charged. Its job: {ticket}",
    ),
    "unknown_charge.no_ticket": (
        "上游收下了请求却没有给任务号，可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "The upstream took the request without naming a job. It may have been charged, so it was not repeated. Send it "
        "again if you want to.",
    ),
    "unknown_charge.http_status": (
        "上游出错（HTTP {status}），可能已经扣费，所以没有自动重试。需要的话请重新发送。",
        "The upstream failed (HTTP {status}). It may have been charged, so it was not repeated. Send it again if you "
        "want to.",
    ),
    "upstream_failed": (
        "上游没有做出视频，通常已经扣费。",
        "The upstream made no video; it is usually charged all the same.",
    ),
    "upstream_failed.dead": (
        "上游没有做成这个视频。有的上游会退款，有的照样扣费。",
        "The upstream failed to make this video. Some refund it, some charge it all the same.",
    ),
    "upstream_failed.no_link": (
        "上游说做好了，却没有给出视频，通常已经扣费。",
        "The upstream says that it is done and shows no video; it is usually charged all the same.",
    ),
    "upstream_failed.ticket_gone": (
        "上游已经没有这个任务了（过期，或 Key、地址换过），没有重新提交。需要的话请重新发送。",
        "The upstream does not know this job any more (expired, or the key or address was changed). It was not submitted "
        "again; send it again if you want to.",
    ),
    "upstream_failed.picture": (
        "上游给出的是图片而不是视频。这个模型需要参考图，请附上图片再试。",
        "The upstream made a picture, not a video. This model needs a reference picture; attach one and try again.",
    ),
    "upstream_failed.not_a_video": (
        "下载到的不是视频（{what}），没有保存。",
        "What was downloaded is no video ({what}); it was not kept.",
    ),
    "upstream_failed.truncated": (
        "下载到的视频不完整，没有保存。",
        "The downloaded video is incomplete; it was not kept.",
    ),
    "upstream_failed.too_big": (
        "视频超过 {limit} MB 的上限（video.max_video_mb），没有下载。",
        "The video is over the limit of {limit} MB (video.max_video_mb), so it was not downloaded.",
    ),
    "upstream_failed.pruned": (
        "视频文件已被清理，它没有链接，不能再发了（video.max_cached_videos 决定保留几个）。",
        "The file was tidied up and it has no link, so it cannot be sent again (video.max_cached_videos says how many "
        "are kept).",
    ),
    "upstream_failed.gone": ("视频链接已经失效。", "The link to the video has expired."),
    "upstream_failed.http_status": (
        "视频下载不了（HTTP {status}）。",
        "The video cannot be downloaded (HTTP {status}).",
    ),
    "upstream_failed.download": (
        "视频下载失败，网络不通或太慢。",
        "The video could not be downloaded: the network fails or is too slow.",
    ),
    "upstream_failed.private_address": (
        "视频链接指向内网地址（{host}），为安全起见没有下载。若这是你自己的网关，请管理员把网关自己的对外地址设成和 {server} 一样。",
        "The link leads to a private address ({host}); for safety it was not fetched. If that is your own gateway, an "
        "admin should set the gateway's own public address to the one in {server}.",
    ),
    "upstream_failed.not_http": ("视频链接不是可下载的网址。", "The link to the video is none that can be downloaded."),
    "upstream_failed.redirects": ("视频链接一直在跳转。", "The link to the video redirects without end."),
    "undelivered": (
        "视频已生成，但这个聊天平台没有接受。稍后可用 /视频重发 再试。",
        "The video is ready, but this chat platform did not take it. Try /视频重发 later.",
    ),
    "undelivered.private": (
        "视频已生成，但这里发不出视频文件，它的链接又需要密钥，不能公开。文件在服务器上：{file}",
        "The video is ready, but it cannot be sent here as a file, and its link needs the key. On the server it is {file}",
    ),
    "undelivered.too_large": (
        "视频已生成，但有 {size} MB，超过这里能发的大小，它的链接又不能公开。文件在服务器上：{file}",
        "The video is ready, but its {size} MB are more than can be sent here, and its link cannot be shown. On the "
        "server it is {file}",
    ),
    "unknown_delivery": (
        "视频已发出，但没有得到确认，可能已经送达。没看到的话，发送 /视频重发 {number}。",
        "The video was sent without confirmation and may have arrived. If you do not see it, send /视频重发 {number}.",
    ),
    "unknown_delivery.crashed": (
        "机器人在发送视频时重启了，视频可能已经送达。没看到的话，发送 /视频重发 {number}。",
        "The bot restarted while it sent the video, which may have arrived. If you do not see it, send /视频重发 {number}.",
    ),
    # ---- the log ----
    "odd_setting": (
        "设置 {key} 的值无法理解，用默认值",
        "the value of setting {key} makes no sense, its default is used",
    ),
    "odd_preset": ("预设应为“名称:提示词”，已跳过：{line}", "a preset should be “name:prompt”, skipped: {line}"),
    "odd_proxy": (
        "设置 {key} 不是代理地址（应为 http://… 或 socks5://…），没有使用：{value}",
        "setting {key} is no proxy (http://… or socks5://…), it is not used: {value}",
    ),
    "odd_address": ("设置 {key} 不是网址：{value}", "setting {key} is no URL: {value}"),
}


def settings_of(backend: str) -> dict[str, str]:
    """What this backend's settings are called in the panel."""
    section, server = ("video", "server_url") if backend == "grok" else (backend, "base_url")
    names = {"server": server, "key": "api_key", "model": "model", "timeout": "timeout_seconds"}
    return {fact: f"{section}.{name}" for fact, name in names.items()}


class Texts:
    """The sentences in one language.

    Args:
        language: ``zh`` or ``en``.
    """

    def __init__(self, language: Language) -> None:
        self._column = 0 if language == "zh" else 1

    def say(self, key: str, /, **facts: object) -> str:
        """One sentence, filled in."""
        return _SENTENCES[key][self._column].format(**facts)

    @staticmethod
    def cost(amount: float, currency: str) -> str:
        """What something took, as the upstream says."""
        return f"{amount:.4g} {currency}".strip()

    def join(self, *sentences: str) -> str:
        """Sentences one after the other; Chinese ones have their space in the full stop."""
        return ("", " ")[self._column].join(sentences)

    def explain(self, why: Why, /, *, backend: str = "grok", **facts: object) -> str:
        """Why there is no video: the sentence of the cause, and the upstream's own words where there are any.

        Args:
            backend: whose settings an admin should look at.
        """
        key = f"{why.kind}.{why.cause}"
        facts = {**settings_of(why.facts.get("backend", backend)), **why.facts, **facts}
        sentence = self.say(key if key in _SENTENCES else why.kind, **facts)
        return sentence + (self.say("said", reason=why.reason) if why.reason else "")

    def failed(self, number: int, why: Why, link: str | None, backend: str = "grok") -> str:
        """The whole message about a job that brought no video; the link, where it may be shown."""
        kind = {"unknown_charge": "open", "unknown_delivery": "open", "overdue": "waiting"}.get(why.kind, "failed")
        message = self.say(kind, number=number, sentence=self.explain(why, backend=backend, number=number))
        return f"{message}\n{self.say('see_link', url=link)}" if link else message


KEYS = frozenset(_SENTENCES)
