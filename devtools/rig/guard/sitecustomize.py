"""Keeps AstrBot off the internet and tied to the rig; its interpreter loads this by itself from PYTHONPATH.

* With RIG_EGRESS_LOG set, connecting to anything but loopback is refused with ECONNREFUSED and noted in that file,
  and every name but those of RIG_HOSTS fails to resolve, at once.
* A name in RIG_HOSTS (JSON: name -> public address) resolves to that address, and connecting to the address lands on
  loopback, so that code which refuses private addresses can be tried against loopback servers.
* When the rig is gone, however it went, the other end of the pipe RIG_LIFELINE closes and the process ends.
* With RIG_QQ_PATIENCE set, an answer of QQ is waited for so many seconds instead of three minutes.
* The garbage collector rests until the first socket listens, which makes a start a quarter shorter.
"""

import contextlib
import errno
import gc
import json
import os
import socket
import threading
import time
from typing import Any

_log = os.environ.get("RIG_EGRESS_LOG")
_hosts: dict[str, str] = json.loads(os.environ.get("RIG_HOSTS", "{}"))
_public = set(_hosts.values())
_real_getaddrinfo = socket.getaddrinfo
_real_connect = socket.socket.connect
_real_connect_ex = socket.socket.connect_ex
_real_listen = socket.socket.listen


def _note(kind: str, host: str, port: Any) -> None:
    assert _log
    with open(_log, "a", encoding="utf-8") as file:
        file.write(json.dumps({"t": time.time(), "kind": kind, "host": host, "port": port}) + "\n")


def _is_local(host: str) -> bool:
    return host in ("", "localhost", "0.0.0.0", "::1", "::") or host.startswith("127.")


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


def _getaddrinfo(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name in _hosts:
        return _real_getaddrinfo(_hosts[name], port, *args, **options)
    if name is None or _is_local(name) or _is_address(name) or name == socket.gethostname():
        return _real_getaddrinfo(host, port, *args, **options)
    _note("resolve", name, port)
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known (rig guard)")


def _aim(sock: socket.socket, address: Any) -> Any:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
        return address
    host, port = str(address[0]), address[1]
    if host in _public:
        return ("127.0.0.1", port)
    if sock.type & socket.SOCK_STREAM and not _is_local(host):
        _note("connect", host, port)
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"rig guard refused {host}:{port}")
    return address


def _connect(sock: socket.socket, address: Any) -> None:
    _real_connect(sock, _aim(sock, address))


def _connect_ex(sock: socket.socket, address: Any) -> int:
    try:
        return _real_connect_ex(sock, _aim(sock, address))
    except ConnectionRefusedError:
        return errno.ECONNREFUSED


def _listen(sock: socket.socket, *args: Any) -> None:
    if not gc.isenabled():
        gc.freeze()  # with the next line: what stands by now is old, not new, so none of it is walked through at once
        gc.unfreeze()
        gc.enable()
    _real_listen(sock, *args)


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)


if _log:
    socket.getaddrinfo = _getaddrinfo
    socket.socket.connect = _connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = _connect_ex  # type: ignore[method-assign, assignment]
if _patience := os.environ.get("RIG_QQ_PATIENCE"):
    import aiocqhttp  # type: ignore[import-untyped]

    _real_init, _seconds = aiocqhttp.CQHttp.__init__, float(_patience)

    def _init(self: Any, *args: Any, **options: Any) -> None:
        _real_init(self, *args, **options | {"api_timeout_sec": _seconds})

    aiocqhttp.CQHttp.__init__ = _init
if _lifeline := os.environ.pop("RIG_LIFELINE", ""):  # taken away: in a child of AstrBot that number is another file
    threading.Thread(target=_end_with, args=(int(_lifeline),), daemon=True).start()
    gc.disable()
    socket.socket.listen = _listen  # type: ignore[method-assign, assignment]
