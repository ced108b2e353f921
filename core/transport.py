"""The only HTTP: one exchange with an upstream, one streamed download.

Two promises live here. An ending whose meaning is not sure is named by one flag, `billable`: the request may have
been taken, so it is `UnknownCharge`, never something that is repeated. And an address that came out of an *answer*
is fetched only where it is public: private addresses are refused when the name is resolved, on every redirect, so that
neither a redirect nor a name that changes its address between check and connection gets through.
"""

import asyncio
import codecs
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
import aiohttp_socks
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from .body import Body
from .errors import Failure, Misconfigured, Retryable, UnknownCharge, UpstreamFailed
from .media_url import needs_key, origin, same_origin

MB: Final = 1 << 20
ANSWER_LIMIT: Final = 64 * MB
REDIRECTS: Final = 5
UPLOADS: Final = 4
UPLOAD_PATIENCE: Final = 10.0  # seconds
FETCH_SECONDS: Final = 1800.0  # for a whole download: one that drips for ever would occupy its person's place for ever
_BLOCK: Final = 1 << 20

# TUN proxies (Clash, sing-box) answer every name from this benchmarking range and map it back to the real host.
_FAKE_IP = IPv4Network("198.18.0.0/15")
_NAT64 = IPv6Network("64:ff9b::/96")
# All of them come while it connects; they are neither aiohttp's nor the system's.
_SOCKS_TROUBLE: Final = (
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
    asyncio.IncompleteReadError,
)
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that is routed; outside it stand old spellings of private addresses


@dataclass(frozen=True)
class Answer:
    """An answer as it came in.

    Attributes:
        ending: ``whole`` as HTTP says it should be, ``cut`` by the line, or by the ``timeout``.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    ending: Literal["whole", "cut", "timeout"] = "whole"


@dataclass(frozen=True)
class Trust:
    """What an admin's own settings allow beyond the public internet.

    Attributes:
        hosts: (host, port) of the configured upstreams and the proxy; they may be private.
    """

    hosts: frozenset[tuple[str, int]] = field(default_factory=frozenset)

    @classmethod
    def of(cls, addresses: Iterable[str]) -> "Trust":
        """Trust the hosts of these addresses."""
        named = (origin(address) for address in addresses)
        return cls(frozenset((host, port) for _, host, port in named if host and port))


class PrivateAddress(OSError):
    """An answer named an address inside somebody's network."""


def _is_public(address: str, *, resolved: bool) -> bool:
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0].rstrip("."))
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner), resolved=resolved)
        if ip not in _GLOBAL_UNICAST:
            return False
    if resolved and ip in _FAKE_IP:
        return True
    return ip.is_global and not ip.is_multicast


def _address(link: str) -> URL:
    """The address as it stands: a signature does not survive it when its escapes are decoded, as yarl does by itself.

    Raises:
        ValueError: it is none.
    """
    read, parts = URL(link), urlsplit(link)
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    return URL(f"{read.scheme}://{read.raw_authority}{quote(rest, safe=_ASCII)}", encoded=True)


class _Guard(AbstractResolver):
    """Resolves names; those that answers name must be public."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        # The thread resolver asks the system, which knows the hosts file and the fake-ip names that c-ares does not.
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        trusted = (host.lower(), port) in self._trust.hosts
        if not trusted and not all(_is_public(address["host"], resolved=True) for address in found):
            raise PrivateAddress(host)
        return found

    async def close(self) -> None:
        await self._resolver.close()


class Transport:
    """One HTTP session for all upstreams and downloads.

    Args:
        trust: which hosts may be private.
        proxy: ``http://…`` or ``socks5://…`` for every request; empty for none.
    """

    def __init__(self, trust: Trust, proxy: str = "") -> None:
        self._trust = trust
        scheme, separator, rest = proxy.partition("://")
        self._proxy = scheme.lower() + separator + rest
        self._guard = _Guard(trust)
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, opened at the first use: not every start makes a video."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a few bytes of gzip can hold gigabytes: `_plain` unpacks within bounds
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=20),
                read_bufsize=_BLOCK // 4,
                headers={"Accept-Encoding": "identity", "User-Agent": "astrbot_plugin_gitee"},
            )
        return self._session

    def _connector(self) -> aiohttp.BaseConnector:
        # force_close: a kept connection may be closed by the other side just as a paid request leaves on it, and
        # then nobody knows whether it was taken.
        if self._proxy.startswith("socks"):
            scheme, _, rest = self._proxy.partition("://")
            known = f"{'socks4' if scheme.startswith('socks4') else 'socks5'}://{rest}"
            return aiohttp_socks.ProxyConnector.from_url(known, rdns=True, limit=0, force_close=True)
        return aiohttp.TCPConnector(limit=0, force_close=True, resolver=self._guard)

    @property
    def _http_proxy(self) -> str | None:
        return self._proxy if self._proxy.startswith("http") else None

    async def close(self) -> None:
        """Close the session; safe to call twice."""
        if self._session is not None:
            await self._session.close()
        await self._guard.close()

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        billable: bool,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        on_text: Callable[[str], bool] | None = None,
    ) -> Answer:
        """Send one request to an upstream and read its answer, once.

        Args:
            billable: the request makes the upstream work for money: an unclear ending is `UnknownCharge`.
            timeout: seconds for the whole exchange.
            on_text: gets the answer's text as it comes; True means that all is said.

        Raises:
            Retryable: it certainly did not arrive, or (not billable) its fate does not matter.
            UnknownCharge: it left, billable, and no answer came.
            Misconfigured: the address is none.
        """
        try:
            address = _address(url)
        except ValueError:
            raise Misconfigured("bad_address") from None
        sent = dict(headers or {})
        if body:
            sent |= {"Content-Type": body.content_type, "Content-Length": str(body.length())}
        slot = await self._upload_slot() if body else False
        left = body is None
        end = asyncio.get_running_loop().time() + timeout

        async def pieces(body: Body) -> AsyncIterator[bytes]:
            nonlocal slot, left
            left = True  # nobody asks for the body before there is a connection
            async for piece in body.stream():
                yield piece
            if slot:
                slot = False
                self._uploads.release()

        try:
            async with (
                _named(UnknownCharge if billable else Retryable, Misconfigured("bad_address")),
                asyncio.timeout_at(end) as until_answered,
                self.session.request(
                    method,
                    address,
                    headers=sent,
                    data=pieces(body) if body else None,
                    allow_redirects=False,
                    proxy=self._http_proxy,
                ) as response,
            ):
                until_answered.reschedule(None)
                text, ending = await _read(response, end, on_text)
                return Answer(response.status, response.headers, text, ending)
        except UpstreamFailed as private:  # the panel's own address, or a former one: nothing is said about a job
            raise Retryable("unreachable", private.why.cause) from None
        except UnknownCharge as unclear:
            if left:
                raise
            raise Retryable("unreachable", unclear.why.reason) from None
        finally:
            if slot:
                self._uploads.release()

    async def _upload_slot(self) -> bool:
        """Few bodies at once keep memory flat; but a gateway that stops reading must not hold up the others."""
        try:
            async with asyncio.timeout(UPLOAD_PATIENCE):
                await self._uploads.acquire()
        except TimeoutError:
            return False
        return True

    @asynccontextmanager
    async def fetch(
        self, url: str, *, limit: int, key_headers: Mapping[str, str] | None = None, key_root: str = ""
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a download, following redirects by hand so that every step is checked.

        Args:
            limit: bytes; a larger Content-Length is refused before anything is read.
            key_headers: sent to the origin of `key_root` and nowhere else: at once where the link needs it
                (`media_url.needs_key`), else after a 401 or 403.

        Raises:
            UpstreamFailed: nothing is there, it is too big, or the address is private.
            Retryable: the line, or a 408, 429 or 5xx.
        """
        address = await self._checked(url)
        with_key = needs_key(str(address), key_root)
        for _ in range(REDIRECTS + 2):
            at_home = bool(key_headers) and same_origin(str(address), key_root)
            async with (
                _named(Retryable, UpstreamFailed("not_http")),
                self.session.get(
                    address,
                    headers=key_headers if with_key and at_home else None,
                    allow_redirects=False,
                    proxy=self._http_proxy,
                    timeout=aiohttp.ClientTimeout(total=FETCH_SECONDS, sock_connect=20, sock_read=60),
                ) as response,
            ):
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    address = await self._checked(urljoin(str(address), response.headers["Location"]))
                    continue
                if response.status in (401, 403) and at_home and not with_key:
                    with_key = True
                    continue
                _refuse_status(response)
                if (response.content_length or 0) > limit:
                    raise UpstreamFailed("too_big", limit=limit // MB)
                yield response
                return
        raise UpstreamFailed("redirects")

    async def _checked(self, link: str) -> URL:
        """The address that will be asked, if it may be: what is checked here is what is connected to.

        The resolver sees to names; this is for what it does not get to see: other schemes, address literals (yarl reads
        them as the connector will, in full-width digits too), names behind a proxy.
        """
        try:
            address = _address(link)
            host, port = address.raw_host, address.port
        except ValueError:
            host = port = None
        if not host or address.scheme not in ("http", "https"):
            raise UpstreamFailed("not_http")
        if (host, port) in self._trust.hosts:
            return address
        try:
            public = _is_public(host, resolved=False)
        except ValueError:
            public = not self._proxy or await self._is_public_name(host)
        if not public:
            raise UpstreamFailed("private_address", host=host)
        return address

    async def is_public(self, link: str) -> bool:
        """Whether others can fetch this link, as far as can be told from here."""
        try:
            address = _address(link)
            host = address.raw_host or ""
        except ValueError:
            return False
        if address.scheme not in ("http", "https"):
            return False
        try:
            return _is_public(host, resolved=False)
        except ValueError:
            return "." in host and await self._is_public_name(host)

    async def _is_public_name(self, host: str) -> bool:
        try:
            await self._guard.resolve(host, family=socket.AF_UNSPEC)
        except PrivateAddress:
            return False
        except OSError:
            pass  # a name that only the proxy knows
        return True


@asynccontextmanager
async def _named(lost: type[Retryable] | type[UnknownCharge], invalid: Failure) -> AsyncIterator[None]:
    """Name whatever goes wrong on the line by what it means for money.

    Args:
        lost: what it is when nobody knows how far the request came.
        invalid: what it is when the address is none.
    """
    try:
        yield
    except aiohttp.InvalidURL:
        raise invalid from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(getattr(error, "os_error", None), PrivateAddress):
            raise UpstreamFailed("private_address", host=error.host) from None
        raise Retryable("unreachable", _words(error)) from None
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
        raise Retryable("unreachable", _words(error)) from None
    except _SOCKS_TROUBLE as error:
        raise Retryable("proxy", _words(error)) from None
    except TimeoutError:
        raise lost("timeout") from None
    except (aiohttp.ClientError, OSError) as error:
        raise lost("cut", _words(error)) from None


def _words(error: Exception) -> str:
    """What went wrong, without the addresses that aiohttp names: a proxy's holds its password."""
    status = getattr(error, "status", None)
    reason = getattr(error, "strerror", None) or (f"HTTP {status}" if status else "")
    return f"{type(error).__name__} {reason}".strip()


async def _read(
    response: aiohttp.ClientResponse, end: float, on_text: Callable[[str], bool] | None
) -> tuple[str, Literal["whole", "cut", "timeout"]]:
    """Read an answer's text until it ends, is cut, or `on_text` has enough."""
    decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
    texts: list[str] = []
    size = 0
    try:
        async with asyncio.timeout_at(end):
            async for piece in _plain(response):
                text = decode(piece)
                texts.append(text)
                size += len(text)
                if on_text and on_text(text):
                    break
                if size > ANSWER_LIMIT:
                    return "".join(texts), "cut"
    except TimeoutError:
        return "".join(texts), "timeout"
    except (aiohttp.ClientError, OSError, zlib.error):
        return "".join(texts), "cut"
    return "".join(texts), "whole"


async def _plain(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Unpack gzip and deflate a bounded piece at a time: we ask for neither, some gateways send it all the same."""
    if response.headers.get("Content-Encoding", "").lower() not in ("gzip", "deflate"):
        async for piece in response.content.iter_any():
            yield piece
        return
    unpack = zlib.decompressobj(wbits=47)
    async for piece in response.content.iter_any():
        while piece:
            yield unpack.decompress(piece, _BLOCK)
            piece = unpack.unconsumed_tail


def _refuse_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == 200:
        return
    if status in (408, 425, 429) or status >= 500:
        raise Retryable("http_status", retry_after=retry_after(response.headers), status=status)
    raise UpstreamFailed("gone" if status in (404, 410) else "http_status", status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a ``Retry-After`` header asks for: a number or an HTTP date (RFC 9110 §10.2.3)."""
    value = headers.get("Retry-After", headers.get("retry-after", "")).strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
