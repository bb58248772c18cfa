"""HTTP/1.1 requests out of a stream of stamped bytes, read by llhttp (httptools); knows no socket.

llhttp finds where requests begin and end and refuses what is malformed. What it has no limit for is bounded here:
the size of a head, of a body, and of the bytes between two chunks.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from sender.sandbox.exchange import Request

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 26 * 1024 * 1024
"""A little over the largest documented body, a trigger of 25 MB (docs/api.md, "Limits")."""


class Refused(Exception):  # noqa: N818 - it is an answer that travels as an exception
    """What came is no request that can be read on; the connection ends with this status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Parser:
    """Takes bytes with the instant of their arrival, gives requests stamped with that of their first byte."""

    def __init__(self) -> None:
        self._http = HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        """Heads that have come and that nobody has taken yet, in order."""
        self._refused: Refused | None = None
        self._now = 0
        self._waiting = 0
        self._unfinished = 0
        """Bytes since the last head, chunk or piece of a body came to its end."""
        self.on_message_begin()

    def __len__(self) -> int:
        """About how many bytes have come of requests that nobody has taken yet."""
        return self._waiting

    def feed(self, data: bytes, stamp: int) -> None:
        """Read what arrived at `stamp` (nanoseconds since the epoch)."""
        if self._refused is not None:
            return
        self._now = stamp
        self._waiting += len(data)
        self._unfinished += len(data)
        try:
            self._read(data)
        except HttpParserError as error:
            self._refused = self._refused or Refused(400, f"this is not HTTP/1.1: {error}")
        if self._unfinished > MAX_HEAD and self._refused is None:
            self._refused = Refused(431, "the request's head, or what stands between its chunks, is over 64 KiB")

    def _read(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self._http.feed_data(rest)
            except HttpParserUpgrade as upgrade:  # an upgrade is declined by going on in HTTP/1.1
                rest = rest[upgrade.args[0] :]
            else:
                return

    def head(self) -> Request | None:
        """The next request, whose body may be still to come; None while its head is; raises Refused."""
        if self._requests:
            return self._requests.popleft()
        if self._refused is not None:
            raise self._refused
        return None

    def body(self, request: Request) -> bool:
        """Whether all of this request's body has come; raises Refused."""
        if request.complete:
            if not self._requests:
                self._waiting = 0
        elif self._refused is not None:
            raise self._refused
        return request.complete

    def _refuse(self, status: int, text: str) -> None:
        self._refused = Refused(status, text)
        raise self._refused

    # What follows is called by llhttp.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._begun = self._now
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._in_head = True

    def on_url(self, piece: bytes) -> None:
        """A piece of the request's target."""
        self._url += piece
        self._count_head(len(piece))

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """One header line; those behind the last chunk mean nothing here."""
        self._count_head(len(raw_name) + len(raw_value) + 4)
        if not self._in_head:
            return
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._refuse(431, "the request's head is over 64 KiB")

    def on_headers_complete(self) -> None:
        """All of the head is there."""
        self._in_head = False
        self._unfinished = 0
        version, headers = self._http.get_http_version(), self._headers
        self._check_head(version, headers)
        path, query = _path_and_query(self._url.decode("latin-1"))
        keep_alive = version == "1.1" and "close" not in headers.get("connection", "").lower()
        method = self._http.get_method().decode("ascii")
        self._coming = Request(method, path, query, headers, self._begun, keep_alive)
        self._requests.append(self._coming)

    def _check_head(self, version: str, headers: dict[str, str]) -> None:
        if version not in ("1.1", "1.0"):
            self._refuse(400, f"this is not HTTP/1.1 but {version}")
        if headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refuse(501, "the only Transfer-Encoding known here is chunked")
        length = int(headers.get("content-length", 0))
        if length > MAX_BODY:
            self._refuse(413, "the request's body is over 26 MiB")
        if (length or "transfer-encoding" in headers) and self._http.should_upgrade():  # llhttp would skip the body
            self._refuse(501, "this server does not upgrade; send HTTP/1.1 without an Upgrade header")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, without the framing of chunks."""
        self._unfinished = 0
        self._body_size += len(piece)
        if self._body_size > MAX_BODY:
            self._refuse(413, "the request's body is over 26 MiB")
        self._body.append(piece)

    def on_chunk_complete(self) -> None:
        """The end of a chunk."""
        self._unfinished = 0

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._unfinished = 0
        self._coming.body = b"".join(self._body)
        self._coming.complete = True
        self._body = []


def _path_and_query(target: str) -> tuple[str, str]:
    if not target.startswith("/"):  # the absolute form, which proxies use
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    return path, query
