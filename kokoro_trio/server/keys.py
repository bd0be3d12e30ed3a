"""API keys: checks the key of a request, and limits the requests that each key has at a time."""

import hmac
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from attrs import define, field, frozen


@frozen
class ApiKeys:
    """The valid keys. If there are none, every request passes."""

    _keys: tuple[str, ...] = field(repr=False)

    def accept(self, query: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        return self.key_for(query, headers) is not None

    def key_for(self, query: str, headers: Iterable[tuple[bytes, bytes]]) -> int | None:
        """The index of the matching key (0 if no key is required); None if no key matches.

        Every pair is compared, each in constant time, so that the time reveals nothing about the keys.
        """
        if not self._keys:
            return 0
        given = _keys_given(query, headers)
        matches = [
            number
            for key in given
            for number, known in enumerate(self._keys)
            if hmac.compare_digest(key, known.encode())
        ]
        return matches[0] if matches else None


@define
class Seats:
    """Limits the WebSockets and HTTP speech requests served at a time, in total and for each key."""

    _max: int
    _max_per_key: int
    _n_taken: Counter[int] = field(factory=Counter)

    def is_free_for(self, key: int) -> bool:
        return self._n_taken.total() < self._max and self._n_taken[key] < self._max_per_key

    @contextmanager
    def taken_by(self, key: int) -> Iterator[None]:
        self._n_taken[key] += 1
        try:
            yield
        finally:
            self._n_taken[key] -= 1


def _keys_given(query: str, headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    keys = [key.encode() for key in parse_qs(query).get("api_key", [])]
    for name, value in headers:
        if name.lower() == b"x-api-key":
            keys.append(value)
        elif name.lower() == b"authorization" and value[:7].lower() == b"bearer ":
            keys.append(value[7:].strip())
    return keys
