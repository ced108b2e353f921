"""Stands in for a paid upstream: speaks its protocol, and answers with a real video of the picture it was sent.

``python -m devtools.standin [--port N]``, or in a test ``async with StandIn() as up``, with ``up.url`` and ``up.key``.

A protocol is one small class: it reads an order, lets the studio shoot it, and answers in its own words. The studio
knows no protocol. To add one, write the class and list it in ``server.PROTOCOLS``.
"""

from .gemini import Gemini
from .gitee import Gitee
from .grok import GrokChat
from .openai import OpenAi
from .server import KEY, PROTOCOLS, StandIn
from .vector_engine import VectorEngine
from .wire import Wire
from .xai import Xai

__all__ = ["KEY", "PROTOCOLS", "Gemini", "Gitee", "GrokChat", "OpenAi", "StandIn", "VectorEngine", "Wire", "Xai"]
