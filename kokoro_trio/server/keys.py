"""Who may come in: the keys that a request shows, and whether one of them opens the door."""

import hmac
from collections.abc import Iterable
from urllib.parse import parse_qs

from attrs import field, frozen


@frozen
class Door:
    """Opens for any of these keys; where there are none, for everybody."""

    _keys: tuple[str, ...] = field(repr=False)

    def opens_for(self, query: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Every pair is compared, each in constant time: how long it takes tells nothing of the keys."""
        if not self._keys:
            return True
        given = _keys_given(query, headers)
        matches = [hmac.compare_digest(key, known.encode()) for key in given for known in self._keys]
        return any(matches)


def _keys_given(query: str, headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    keys = [key.encode() for key in parse_qs(query).get("api_key", [])]
    for name, value in headers:
        if name.lower() == b"x-api-key":
            keys.append(value)
        elif name.lower() == b"authorization" and value[:7].lower() == b"bearer ":
            keys.append(value[7:].strip())
    return keys
