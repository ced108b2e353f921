"""Which API key is tried next. A refused one rests; a ticket stays with the key that made it."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence

REST_SECONDS = 600.0


def mark_of(key: str) -> str:
    """A fingerprint that tells keys apart in the ledger without being one."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


class KeyRing:
    """The keys of one backend, in turn.

    Args:
        keys: as the panel lists them.
        clock: seconds; only differences matter.
    """

    def __init__(self, keys: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = list(keys)
        self._order = {key: place for place, key in enumerate(keys)}
        self._clock = clock
        self._rested: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._keys, key=self._order.__getitem__))

    def next(self, tried: Sequence[str] = ()) -> str | None:
        """The next key that is not in ``tried``: a rested one first, else the one that rests longest already.

        Returns:
            A key, which goes to the back of the ring; None when all were tried.
        """
        left = [key for key in self._keys if key not in tried]
        if not left:
            return None
        now = self._clock()
        awake = (key for key in left if self._rested.get(key, 0) <= now)
        key = next(awake, None) or min(left, key=self._rested.__getitem__)
        self._keys.remove(key)
        self._keys.append(key)
        return key

    def rest(self, key: str) -> None:
        """Leave a refused key alone for a while."""
        self._rested[key] = self._clock() + REST_SECONDS

    def find(self, mark: str) -> str | None:
        """The key with this fingerprint, if the panel still has it."""
        return next((key for key in self._keys if mark_of(key) == mark), None)
