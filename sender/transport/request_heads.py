"""The heads of requests in bytes, made once for each method and path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sender.runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.transport import Request

MOST_KEPT: Final = 1000
ACCEPTED: Final = "gzip, deflate"
_TARGET: Final = re.compile(r"(http://[!-~]+)?/[!-~]*")
_VALUE: Final = re.compile(r"[!-~]*")


class RequestHeads:
    """Writes the head of each request to one API; the key is asked for at each, so it can be rotated."""

    def __init__(self, host: str, prefix: str, api_key: Callable[[], str], more: str = "") -> None:
        """`prefix` stands before every path, `more` are further header lines."""
        self._host = host
        self._prefix = prefix
        self._api_key = api_key
        self._more = more
        self._key = ""
        self._made: dict[tuple[str, str], bytes] = {}

    def of(self, request: Request) -> bytes:
        """The head with its empty line; ValueError for what would break out of it."""
        key = self._api_key()
        if key != self._key:
            self._made.clear()
            self._key = key
        made = self._made.get((request.method, request.path))
        if made is None:
            made = self._make(request)
        if request.body is None:
            return made + b"\r\n"
        return b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (made, len(request.body))

    def _make(self, request: Request) -> bytes:
        target = self._prefix + request.path
        if not _TARGET.fullmatch(target) or not _VALUE.fullmatch(self._key):
            raise ValueError("a path or key that cannot stand in a request")
        made = (
            f"{request.method} {target} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._key}\r\n"
            f"User-Agent: sender/{__version__}\r\nAccept: application/json\r\nAccept-Encoding: {ACCEPTED}\r\n"
            f"{self._more}"
        ).encode()
        if len(self._made) < MOST_KEPT:
            self._made[request.method, request.path] = made
        return made
