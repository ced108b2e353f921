"""Loopback plumbing: ports, servers, and invented public hosts that are really served here."""

from __future__ import annotations

import random
import socket
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port for a program that cannot bind port 0 for us.

    Chosen at random below the range that systems hand out by themselves, so that neither an outgoing connection nor
    another rig beside this one takes it before the program does.
    """
    for port in random.SystemRandom().sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 32000")


class HostMap:
    """Invented public host names whose traffic is served on loopback.

    AstrBot's process learns them through ``guard/sitecustomize.py``: there a name resolves to a *public* address, so
    that a plugin's guard against private addresses lets it pass, and connecting to that address lands on loopback.
    The fakes themselves resolve them with :meth:`session`.
    """

    def __init__(self) -> None:
        self.hosts = {"cdn.rig.test": "93.184.216.34", "api.rig.test": "93.184.216.35"}

    def session(self, **options: Any) -> aiohttp.ClientSession:
        """An HTTP session that knows these hosts and no others."""
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=_Resolver(self.hosts)), **options)


class _Resolver(AbstractResolver):
    def __init__(self, hosts: dict[str, str]) -> None:
        self.hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host not in self.hosts and host != "localhost":
            raise OSError(f"rig: {host} is not a rig host")
        return [
            ResolveResult(hostname=host, host=LOOPBACK, port=port, family=socket.AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        """Nothing to let go of."""


class LoopbackServer:
    """An aiohttp application on 127.0.0.1; whoever inherits adds ``routes``."""

    port: int = 0
    _runner: web.AppRunner | None = None

    def routes(self, app: web.Application) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=2**31)
        self.routes(app)
        # handler_cancellation: a client that hangs up cancels the handler, so that this can be recorded
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.5, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None


def drop_connection(request: web.Request) -> web.Response:
    """Reset the TCP connection under the client's feet."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # never reaches the client
