"""``python -m devtools.standin``: the stand-in by itself, for any AstrBot."""

from __future__ import annotations

import argparse
import asyncio
import sys

from . import KEY, Gemini, Gitee, GrokChat, OpenAi, StandIn, VectorEngine, Wire, Xai

PORT = 8765
SECTIONS: dict[str, type[Wire]] = {
    "video": GrokChat,
    "veo": VectorEngine,
    "xai": Xai,
    "openai": OpenAi,
    "gemini": Gemini,
    "gitee": Gitee,
}


async def serve(port: int, key: str, render_seconds: float) -> None:
    async with StandIn(key, render_seconds, port) as up:
        print("替身上游已启动 · stand-in upstream is up (Ctrl-C 结束 / to stop)")
        print(f"  地址 address  {up.url}")
        print(f"  Key           {up.key}")
        for section, wire in SECTIONS.items():
            print(f"  {section + '.model':<13} {'  '.join(wire.MODELS)}")
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m devtools.standin", description="替身上游 · a stand-in upstream")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--seconds", type=float, default=4.0, help="生成耗时（秒） · how long a video takes to make")
    chosen = parser.parse_args()
    try:
        asyncio.run(serve(chosen.port, chosen.key, chosen.seconds))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"端口 {chosen.port} 用不了 · port {chosen.port} cannot be used: {error}")


if __name__ == "__main__":
    main()
