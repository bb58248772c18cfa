"""The AnswerReader reads the answers of one connection, however the bytes are cut. It touches no socket and no clock.

httptools (Node's llhttp) parses, strictly; what stands here is what is kept of an answer, and how large one may be.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from sender.transport import Reply
from sender.transport.wire.content_encoding import BadEncodingError, TooLongError, decoded

MOST_HEAD: Final = 1 << 16
"""Bytes before an answer's body, interim answers included, and of what stands between the pieces of one in chunks."""
MOST_OVERHEAD: Final = 8
"""Bytes on the wire for each byte of a body: a body in chunks of one byte takes six."""
CODES: Final = ("connection_reset", "answer_cut", "answer_unreadable", "answer_too_large")
UPGRADE: Final = 101
_KEPT: Final = frozenset(
    (b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"retry-after", b"date")
)


class AnswerFault(Exception):  # noqa: N818 - a value for whoever waits for the answer
    """No readable answer came after the request was written."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """One of `CODES`."""
        self.message = message


class AnswerReader:
    """Fed with bytes until `feed` says that an answer is complete; `expect` begins the next one."""

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect(0)

    def expect(self, most: int) -> None:
        """An answer is due, whose body has at most so many bytes, packed or not."""
        self._most = most
        self._fed = self._head_size = self._size = self._status = 0
        self._in_body = self._interim = False
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.complete = False
        self.reusable = False
        """Whether another request may follow on the connection; known once the answer is complete."""

    def feed(self, data: bytes) -> bool:
        """Whether the answer is complete now; AnswerFault for what is none, or too large."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._status, self.complete, self.reusable = UPGRADE, True, False
        except HttpParserError as error:
            self.reusable = False
            if not self.complete:  # else the answer is whole, and what follows it was not asked for
                raise _cause(error) from None
        if not self.complete and self._fed > MOST_HEAD:
            self._check_size()
        return self.complete

    def end(self, *, clean: bool) -> None:
        """The connection is at its end, `clean` or broken; AnswerFault unless that completes the answer."""
        if not self._in_body:
            said = "the connection broke after the request was written, before an answer"
            raise AnswerFault("connection_reset", said)
        if not clean or b"content-length" in self._headers or b"transfer-encoding" in self._headers:
            raise AnswerFault("answer_cut", "the answer broke off")
        self.complete = True

    def reply(self, written_at: float, answered_at: float) -> Reply:
        """The complete answer; AnswerFault if its encoding is broken, or it is too large without it."""
        found = self._headers
        body, self._body = b"".join(self._body), []  # a connection that idles holds no answer
        encoding = found.get(b"content-encoding")
        if encoding is not None:
            body = self._decoded(body, encoding)
        wait, date = found.get(b"retry-after"), found.get(b"date")
        return Reply(
            self._status, media_type(found.get(b"content-type", b"")), body,
            None if wait is None else wait.decode("latin-1"), written_at, answered_at,
            None if date is None else date.decode("latin-1"),
        )

    def _decoded(self, body: bytes, encoding: bytes) -> bytes:
        try:
            return decoded(body, encoding.strip().lower(), self._most)
        except TooLongError:
            raise _too_large(self._most) from None
        except BadEncodingError:
            raise AnswerFault("answer_unreadable", "the answer's content encoding is broken") from None

    def _check_size(self) -> None:
        if not self._in_body:
            raise _head_too_large()
        if self._fed > MOST_HEAD + MOST_OVERHEAD * self._most:
            raise _too_large(self._most)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Another answer begins: an unasked one makes the connection useless."""
        if self.complete:
            raise AnswerFault("answer_unreadable", "something follows the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind the body, which is passed over."""
        self._head_size += len(name) + len(value)
        if self._head_size > MOST_HEAD:
            raise _head_too_large()
        if not self._in_body and (name := name.lower()) in _KEPT:
            self._headers.setdefault(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole; 100 Continue and the like are no answers yet."""
        self._status = self._parser.get_status_code()
        self._interim = self._status < 200 and self._status != UPGRADE
        if self._interim:
            self._headers.clear()
            return
        self._in_body = True
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._most:
            raise _too_large(self._most)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._size += len(data)
        if self._size > self._most:
            raise _too_large(self._most)
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one."""
        if not self._interim:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()


@lru_cache(maxsize=64)
def media_type(value: bytes) -> str:
    """A Content-Type in lower case, without its parameters."""
    return value.decode("latin-1").partition(";")[0].strip().lower()


def _cause(error: HttpParserError) -> AnswerFault:
    """What our own callback said, or the parser."""
    if isinstance(error.__context__, AnswerFault):
        return error.__context__
    return AnswerFault("answer_unreadable", "the answer is not HTTP")


def _head_too_large() -> AnswerFault:
    return AnswerFault("answer_unreadable", f"the answer's head is larger than {MOST_HEAD:,} bytes")


def _too_large(most: int) -> AnswerFault:
    return AnswerFault("answer_too_large", f"the answer is larger than {most:,} bytes")
