"""The Chinese words that people type and upstreams answer. Sentences that people read are in `texts.py`."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "video": ("视频", "video"),
    "presets": ("视频预设", "视频预设列表"),
    "jobs": ("视频任务",),
    "cancel": ("视频取消",),
    "resend": ("视频重发", "重发视频", "打开视频"),
    "retry": ("视频重试",),
    "references": ("参考图",),
    "models": ("视频模型",),
    "diagnose": ("视频诊断",),
    "help": ("视频帮助",),
}

ASPECT_RATIOS = {"横屏": "16:9", "竖屏": "9:16", "方形": "1:1"}
SECONDS = "秒"
ROLES = {
    "首帧": "first_frame", "尾帧": "last_frame", "参考": "reference",
    "first": "first_frame", "last": "last_frame", "ref": "reference", "reference": "reference",
}  # fmt: skip
CLEAR, SHOW, DEFAULT = ("清除", "清空", "clear"), ("查看", "show"), ("默认", "default")

# What a link's label says that it leads to (upstreams.md §9): the file, the video, one that was given, something else.
FILE_LABELS = ("下载", "直链", "download")
VIDEO_LABELS = ("视频", "播放", "观看", "成片", "video", "watch", "play")
INPUT_LABELS = (
    "参考视频", "输入视频", "(?<!还)原视频", "原始视频", "上传的视频",
    "input video", "source video", "original video", "reference video", "uploaded video",
)  # fmt: skip
OTHER_LABELS = (
    "预览", "原始数据", "封面", "缩略图", "进度", "任务", "官网", "文档", "教程", "帮助", "控制台", "后台",
    "preview", "raw data", "cover", "thumbnail", "poster", "status", "task", "docs", "help", "console", "dashboard",
)  # fmt: skip

# How upstreams word a refusal by moderation (upstreams.md §2.3, §3, §4, §6, §7); passing it is none.
REFUSALS = (
    "审[核查](?!通过|中)", "违规", "违禁", "敏感", "不合规", "违反", "涉嫌", "不当内容", "不适当", "不适宜", "色情",
    "血腥", "裸露", "内容安全", "安全(?:策略|限制|机制|系统)", "(?:无法|不能).{0,6}[此这该]类",
)  # fmt: skip
QUOTA = ("额度", "余额", "欠费", "资源包", "配额不足", "充值", "积分不足", "点数不足", "次数已用", "套餐已")
# Only words that say that nothing was taken: "busy, try again later" stands under many a crash, too.
BUSY = ("饱和", "冷却", "过于频繁", "太频繁", "请求过多", "频率限制", "限流", "限速", "并发数", "可用账号", "可用帐号")
BAD_KEY = (
    "令牌无效", "无效的?令牌", "密钥无效", "无效的?密钥", "令牌已过期", "令牌状态不可用", "未提供令牌", "鉴权失败",
    "认证失败", "(?:key|token).{0,8}(?:无效|错误|过期)", "无效的? ?api",
)  # fmt: skip
NOT_OFFERED = ("无可用渠道", "无可用通道", "模型不存在", "不支持的模型", "不支持该模型", "无权(?:访问|使用)?.{0,4}模型")
BLOCKED = ("拦截", "白名单", "地区不支持")
INVALID = ("参数错误", "参数无效", "无效的?参数", "必传参数", "缺少.{0,4}参数", "不能为空", "必填")
FAILED = ("处理错误", "生成失败", "请求错误", "请求失败")
# What says that a request had begun, or was paid, before it failed.
TAKEN = ("超时", "中断", "已扣", "扣除", "预扣(?!费?失败)", "退还", "退款")
NO_SUCH_TASK = ("(?:任务|视频|请求).{0,6}(?:不存在|已过期|未找到)", "找不到.{0,6}(?:任务|视频)")
