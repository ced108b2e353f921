"""A SOCKS5 server (RFC 1928) that connects everything to one loopback port and remembers what it was asked for."""

from __future__ import annotations

import asyncio
from typing import Self


class TinySocks:
    """``trouble`` is what goes wrong: see the tests."""

    def __init__(self, target: int, login: tuple[str, str] | None = None, trouble: str = "") -> None:
        self._target, self._login, self._trouble = target, login, trouble
        self.asked: list[str] = []
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(client)
        client.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, count = await reader.readexactly(2)
            await reader.readexactly(count)
            if self._trouble == "hangs up":
                return
            if self._trouble == "no socks":
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            if self._login or self._trouble == "wrong password":
                writer.write(b"\x05\x02")
                name = await reader.readexactly((await reader.readexactly(2))[1])
                word = await reader.readexactly((await reader.readexactly(1))[0])
                right = (name.decode(), word.decode()) == self._login
                writer.write(b"\x01\x00" if right else b"\x01\x01")
                if not right:
                    return
            else:
                writer.write(b"\x05\x00")
            *_, kind = await reader.readexactly(4)
            size = (await reader.readexactly(1))[0] if kind == 3 else {1: 4, 4: 16}[kind]
            host = await reader.readexactly(size)
            port = int.from_bytes(await reader.readexactly(2))
            self.asked.append(f"{host.decode() if kind == 3 else host.hex()}:{port}")
            if self._trouble:
                writer.write(b"\x05\x04\x00\x01" + bytes(6))
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
