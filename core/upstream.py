"""One upstream's address, key and manners, as the panel sets them up: what every backend by ticket shares."""

from typing import ClassVar

from .body import Body
from .config import BadAddress, UpstreamSettings, api_root
from .envelope import refuse_all_but_api
from .errors import Misconfigured
from .transport import Answer, Transport

CREATE_SECONDS = 300.0  # a create answers at once, or when the video is there; longer, a proxy has cut it anyway
LOOK_SECONDS = 60.0


class Upstream:
    """The HTTP side of a backend.

    Args:
        key_header: where the key goes; ``Authorization`` takes it as a bearer.
        headers: sent with every request, unless the panel's ``extra_headers`` say otherwise.
    """

    check_path: ClassVar[str] = "/v1/models"

    def __init__(
        self,
        settings: UpstreamSettings,
        transport: Transport,
        *,
        key_header: str = "Authorization",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._settings, self._transport = settings, transport
        self._key_header, self._headers = key_header, headers or {}

    @property
    def root(self) -> str:
        """See `Backend.root`."""
        try:
            return api_root(self._settings.base_url)
        except BadAddress:
            raise Misconfigured("bad_address", address=self._settings.base_url) from None

    def key_headers(self, key: str) -> dict[str, str]:
        """See `Backend.key_headers`. What the gateway wants besides goes wherever the key goes."""
        return self._settings.extra_headers | {
            self._key_header: f"Bearer {key}" if self._key_header == "Authorization" else key
        }

    async def create(self, path: str, body: Body, *, key: str) -> Answer:
        """Send the paid request, once.

        Args:
            path: behind the root, as ``/v1/videos``.

        Raises:
            Failure: no answer came; see `Transport.exchange`.
        """
        return await self._transport.exchange(
            "POST",
            self.root + path,
            headers=self._all(key),
            body=body,
            billable=True,
            timeout=min(self._settings.timeout_seconds, CREATE_SECONDS),
        )

    async def look(self, path: str, *, key: str) -> Answer:
        """Ask after something, which costs nothing.

        Raises:
            Failure: no answer came; it says nothing about what was asked after.
        """
        return await self._transport.exchange(
            "GET", self.root + path, headers=self._all(key), billable=False, timeout=LOOK_SECONDS
        )

    async def check(self, *, key: str) -> str:
        """See `Backend.check`."""
        answer = await self.look(self.check_path, key=key)
        refuse_all_but_api(answer)
        return self.root + self.check_path

    def _all(self, key: str) -> dict[str, str]:
        """Ours, the panel's above them, the key above all; names are compared as HTTP does, without case."""
        layers = ({"Accept": "application/json"}, self._headers, self.key_headers(key))
        named = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
        return dict(named.values())
