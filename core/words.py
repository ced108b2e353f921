"""The Chinese words that people type and upstreams answer. Sentences that people read are in `texts.py`."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "video": ("视频", "video"),
    "presets": ("视频预设", "视频预设列表"),
    "jobs": ("视频任务",),
    "cancel": ("视频取消",),
    "resend": ("视频重发", "重发视频", "打开视频"),
    "help": ("视频帮助",),
}

ASPECT_RATIOS = {"横屏": "16:9", "竖屏": "9:16", "方形": "1:1"}
SECONDS = "秒"

# Where a link's label says that it leads to the video, and where to something else (upstreams.md §9).
VIDEO_LABELS = ("视频", "下载", "播放", "观看", "成片", "video", "download", "watch", "play")
INPUT_LABELS = ("参考", "输入", "原视频", "素材", "input", "source", "reference")
OTHER_LABELS = ("预览", "原始数据", "封面", "进度", "preview", "raw data", "cover", "thumbnail", "poster")

# How upstreams word a refusal by moderation (upstreams.md §2.3, §3, §4, §6, §7).
REFUSALS = ("审核", "违规", "敏感", "不合规", "违反", "涉嫌", "不当内容")
QUOTA = ("额度", "余额", "欠费", "资源包", "配额不足", "充值")
BUSY = ("饱和", "冷却", "繁忙", "稍后再试", "过于频繁", "请求过多")
BAD_KEY = ("令牌无效", "无效的令牌", "密钥无效", "令牌已过期", "令牌状态不可用")
NOT_OFFERED = ("无可用渠道", "模型不存在")
BLOCKED = ("拦截",)
FAILED = ("处理错误", "生成失败", "请求错误", "请求失败")
