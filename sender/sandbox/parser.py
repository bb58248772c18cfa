"""HTTP/1.1 requests out of a stream of stamped bytes; pure, knows no socket."""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from sender.sandbox.exchange import Request

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 26 * 1024 * 1024
"""A little over the largest documented body, a trigger of 25 MB (docs/api.md, "Limits")."""
MAX_CHUNK_LINE: Final = 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Refused(Exception):  # noqa: N818 - it is an answer that travels as an exception
    """What came is no request that can be read on; the connection ends with this status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Parser:
    """Takes bytes with the instant of their arrival, gives requests stamped with that of their first byte."""

    __slots__ = ("_buffer", "_chunk", "_chunks", "_dropped", "_fed", "_marks", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._marks: deque[tuple[int, int]] = deque()
        """(how many bytes had come by then, stamp), in order."""
        self._fed = 0
        self._dropped = 0
        self._searched = 0
        self._chunks = bytearray()
        self._chunk = -1
        """Bytes of the current chunk still to come with their CRLF; -1 = its size line is next, -2 = trailers."""

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes, stamp: int) -> None:
        """Append what arrived."""
        self._buffer += data
        self._fed += len(data)
        self._marks.append((self._fed, stamp))

    def head(self) -> Request | None:
        """The next request without its body, None while its head is incomplete; raises Refused."""
        while self._buffer.startswith(b"\r\n"):
            self._drop(2)
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._buffer)
        if (end if end >= 0 else len(self._buffer)) > MAX_HEAD:
            raise Refused(431, "the request's head is over 64 KiB")
        if end < 0:
            return None
        stamp = self._stamp()
        raw = bytes(self._buffer[:end])
        self._drop(end + 4)
        return _parse_head(raw, stamp)

    def body(self, request: Request) -> bool:
        """Fill in the body if all of it has come; raises Refused."""
        if request.length == 0:
            return True
        if request.length < 0:
            return self._chunked(request)
        if len(self._buffer) < request.length:
            return False
        request.body = bytes(self._buffer[: request.length])
        self._drop(request.length)
        return True

    def _stamp(self) -> int:
        return self._marks[0][1]

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._dropped += count
        self._searched = 0
        while self._marks and self._marks[0][0] <= self._dropped:
            self._marks.popleft()

    def _chunked(self, request: Request) -> bool:
        while True:
            if self._chunk > 0:
                if len(self._buffer) < self._chunk:
                    return False
                self._take_chunk()
                continue
            end = self._buffer.find(b"\r\n")
            if max(end, 0 if end >= 0 else len(self._buffer)) > MAX_CHUNK_LINE:
                raise Refused(400, "a chunk's size line is too long")
            if end < 0:
                return False
            line = bytes(self._buffer[:end])
            self._drop(end + 2)
            if self._chunk == -1:
                self._start_chunk(line)
            elif not line:
                request.body = bytes(self._chunks)
                self._chunks.clear()
                self._chunk = -1
                return True

    def _start_chunk(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", digits):
            raise Refused(400, "a chunk's size is not a hexadecimal number")
        size = int(digits, 16)
        if len(self._chunks) + size > MAX_BODY:
            raise Refused(413, "the request's body is over 26 MiB")
        self._chunk = size + 2 if size else -2

    def _take_chunk(self) -> None:
        if self._buffer[self._chunk - 2 : self._chunk] != b"\r\n":
            raise Refused(400, "a chunk is longer than it said")
        self._chunks += self._buffer[: self._chunk - 2]
        self._drop(self._chunk)
        self._chunk = -1


def _parse_head(raw: bytes, stamp: int) -> Request:
    if raw.count(b"\n") != raw.count(b"\r\n") or b"\0" in raw:
        raise Refused(400, "the request's head holds a bare line feed or a NUL")
    first, *lines = raw.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0") or not _TOKEN.match(parts[0]):
        raise Refused(400, "the request line is not METHOD TARGET HTTP/1.1")
    headers = _headers(lines)
    target = parts[1]
    if not target.startswith("/"):  # the absolute form, which proxies use
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("#")[0].partition("?")
    keep_alive = parts[2] == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
    return Request(parts[0], path, query, headers, stamp, keep_alive, _length(headers))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.match(name):
            raise Refused(400, "a header line is not NAME: VALUE")
        name, value = name.lower(), value.strip(" \t")
        if name in headers and name == "content-length" and headers[name] != value:
            raise Refused(400, "two different Content-Lengths")
        if name in headers and name != "content-length":
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _length(headers: dict[str, str]) -> int:
    coding = headers.get("transfer-encoding")
    text = headers.get("content-length")
    if coding is not None:
        if text is not None:
            raise Refused(400, "both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked":
            raise Refused(501, "the only Transfer-Encoding known here is chunked")
        return -1
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise Refused(400, "Content-Length is not a number")
    if len(text) > 12 or int(text) > MAX_BODY:
        raise Refused(413, "the request's body is over 26 MiB")
    return int(text)
