"""Answers cut at every byte, in chunks, behind interim ones, with garbage behind them, huge, of a wrong length, broken
off: each is one answer, one fault, or not complete yet, however its bytes come."""

from __future__ import annotations

import gzip
import itertools
import zlib
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.transport.wire import answer_reader
from sender.transport.wire.answer_reader import MOST_HEAD, AnswerFault, AnswerReader

if TYPE_CHECKING:
    from sender.transport import Reply

MOST: Final = 100_000
ID: Final = b'{"delivery_id":"d","queued_at":1}'
Read = tuple[int, str, bytes, str | None, str | None, bool] | str
"""Status, type, body, Retry-After, Date and whether the connection may be used again; or a fault's code."""


def read(pieces: list[bytes], *, closed: str | None = None, most: int = MOST) -> Read:
    """What an answer in these pieces is, on a connection that stays open or is `closed` clean or broken after it."""
    reader = AnswerReader()
    reader.expect(most)
    try:
        complete = any(reader.feed(piece) for piece in pieces)
        if not complete and closed is None:
            return "incomplete"
        if not complete:
            reader.end(clean=closed == "clean")
        reply = reader.reply(1.0, 2.0)
    except AnswerFault as fault:
        return fault.code
    assert (reply.written_at, reply.answered_at) == (1.0, 2.0)
    return told(reply, reusable=reader.reusable)


def told(reply: Reply, *, reusable: bool) -> Read:
    return reply.status, reply.content_type, reply.body, reply.retry_after, reply.date, reusable


def answer(body: bytes = ID, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = (b"HTTP/1.1 " + status, b"Content-Type: Application/JSON; charset=utf-8", b"Content-Length: %d" % len(body))
    return b"\r\n".join((*head, *lines, b"", body))


def chunked(body: bytes, size: int = 7, *, extra: bytes = b"", trailers: bytes = b"") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % extra
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n%b\r\n" % trailers


GOOD: Final = {
    "plain": (answer(), (200, "application/json", ID, None, None, True)),
    "empty": (answer(b""), (200, "application/json", b"", None, None, True)),
    "told to wait": (
        answer(b"{}", b"Retry-After: 7", b"Date: Sat, 21 Nov 2026 20:00:00 GMT", status=b"429 Slow Down"),
        (429, "application/json", b"{}", "7", "Sat, 21 Nov 2026 20:00:00 GMT", True),
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, "", b"", None, None, True)),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, "", b"", None, None, True)),
    "redirect": (answer(b"", b"Location: /x", status=b"302 Found"), (302, "application/json", b"", None, None, True)),
    "closes": (answer(ID, b"Connection: close"), (200, "application/json", ID, None, None, False)),
    "HTTP/1.0": (answer().replace(b"/1.1", b"/1.0"), (200, "application/json", ID, None, None, False)),
    "chunked": (chunked(ID), (200, "", ID, None, None, True)),
    "chunks of one byte": (chunked(ID, 1), (200, "", ID, None, None, True)),
    "trailers": (chunked(ID, trailers=b"Retry-After: 9\r\nX: y\r\n"), (200, "", ID, None, None, True)),
    "gzip": (answer(gzip.compress(ID), b"Content-Encoding: GZIP"), (200, "application/json", ID, None, None, True)),
    "gzip in two members": (
        answer(gzip.compress(ID[:9]) + gzip.compress(ID[9:]), b"Content-Encoding: gzip"),
        (200, "application/json", ID, None, None, True),
    ),
    "deflate": (
        answer(zlib.compress(ID), b"Content-Encoding: deflate"), (200, "application/json", ID, None, None, True)
    ),
    "raw deflate": (
        answer(zlib.compress(ID)[2:-4], b"Content-Encoding: deflate"), (200, "application/json", ID, None, None, True)
    ),
    "gzip in chunks": (
        chunked(gzip.compress(ID), extra=b"Content-Encoding: gzip\r\n"), (200, "", ID, None, None, True)
    ),
    "unknown encoding": (answer(ID, b"Content-Encoding: zz"), (200, "application/json", ID, None, None, True)),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nRetry-After: 9\r\nLink: a\r\n\r\n" + answer(),
        (200, "application/json", ID, None, None, True),
    ),
    "the first of two": (
        answer(b"{}", b"Retry-After: 1", b"Retry-After: 2"), (200, "application/json", b"{}", "1", None, True)
    ),
}
WRONG: Final = {
    "not HTTP": b"\x00\xff not http at all\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x16",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a length below 0": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a wrong chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}}0\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "a control character": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_the_same_cut_at_any_byte(name: str) -> None:
    data, expected = GOOD[name]
    assert read([data]) == expected
    assert read([data[at : at + 1] for at in range(len(data))]) == expected
    for at in range(1, len(data)):
        assert read([data[:at], data[at:]]) == expected


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("closed", ["clean", "broken"])
def test_an_answer_that_breaks_off_is_none(name: str, closed: str) -> None:
    """Whatever is missing: nothing of a cut answer is taken for a whole one."""
    data, expected = GOOD[name]
    for at in range(len(data)):
        found = read([data[:at]], closed=closed)
        assert found in ("connection_reset", "answer_cut"), data[:at]
    assert read([data], closed=closed) == expected


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_answer_is_unreadable_cut_at_any_byte(name: str) -> None:
    data = WRONG[name]
    assert read([data]) == "answer_unreadable"
    assert read([data[at : at + 1] for at in range(len(data))]) == "answer_unreadable"


@pytest.mark.parametrize("name", [name for name, (_, found) in GOOD.items() if found[-1]])
@pytest.mark.parametrize("behind", [b"garbage", b"\r\n\r\nx", answer(status=b"500 Not Asked"), b"HTTP/1.1 100 C\r\n"])
def test_what_follows_an_answer_ends_the_connection_and_not_the_answer(name: str, behind: bytes) -> None:
    data, expected = GOOD[name]
    assert read([data + behind]) == (*expected[:-1], False)
    for at in range(len(data) - 5, len(data)):
        assert read([data[:at], data[at:] + behind]) == (*expected[:-1], False)


def test_an_answer_of_untold_length_ends_with_its_connection() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + ID
    assert read([data]) == "incomplete"
    assert read([data], closed="clean") == (200, "application/json", ID, None, None, False)
    assert read([data], closed="broken") == "answer_cut"


def test_an_upgrade_is_an_answer_and_the_end_of_http() -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n\x00\x00\x12\x04"
    assert read([data]) == (101, "", b"", None, None, False)


@pytest.mark.parametrize("body", [b"x" * (MOST + 1), b"x" * 3_000_000])
def test_a_body_that_is_too_large_in_any_dress(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert read([head]) == "answer_too_large", "its length is enough"
    assert read([chunked(body, 4096)]) == "answer_too_large"
    assert read([b"HTTP/1.1 200 OK\r\n\r\n", body]) == "answer_too_large"
    for packed, name in ((gzip.compress(body), b"gzip"), (zlib.compress(body), b"deflate")):
        assert read([answer(packed, b"Content-Encoding: " + name)]) == "answer_too_large"
    members = gzip.compress(b"x" * 1000) * (len(body) // 1000 + 1)
    assert read([answer(members, b"Content-Encoding: gzip")], most=MOST) == "answer_too_large"


def test_a_body_of_just_the_size() -> None:
    body = b"x" * MOST
    for data in (answer(body), chunked(body, 1), answer(gzip.compress(body), b"Content-Encoding: gzip")):
        found = read([data])
        assert isinstance(found, tuple)
        assert found[2] == body


@pytest.mark.parametrize("step", [1 << 10, 1 << 14, 1 << 20])
def test_heads_that_never_end(step: int) -> None:
    """Each is given up after 64 KiB or the piece that passes them, so memory stays bounded."""
    endless = (
        itertools.repeat(b"X: " + b"a" * 50 + b"\r\n"),
        itertools.chain([b"X: "], itertools.repeat(b"a" * 50)),
        itertools.chain([b"a" * 50], itertools.repeat(b"a" * 50)),
        itertools.chain([b"\r\n"], itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
    )
    for first, lines in zip((b"200 OK", b"200 OK", b"200 OK", b"100 Continue"), endless, strict=True):
        reader, fed, rest = AnswerReader(), 0, b"HTTP/1.1 %b\r\n" % first
        reader.expect(MOST)
        with pytest.raises(AnswerFault, match="head is larger") as caught:
            while True:
                while len(rest) < step:
                    rest += next(lines)
                fed += step
                reader.feed(rest[:step])
                rest = rest[step:]
        assert caught.value.code == "answer_unreadable"
        assert fed <= MOST_HEAD + 2 * step


def test_trailers_and_chunk_extensions_that_never_end() -> None:
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for first, again in ((b"0\r\n", b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), (b"1;", b"a=b;" * 20)):
        reader = AnswerReader()
        reader.expect(1000)
        reader.feed(body + first)
        with pytest.raises(AnswerFault):
            for _ in range(MOST_HEAD):
                reader.feed(again)


def test_faults_hold_nothing_of_the_answer() -> None:
    for data in WRONG.values():
        reader = AnswerReader()
        reader.expect(MOST)
        with pytest.raises(AnswerFault) as caught:
            reader.feed(data)
        assert caught.value.message == "the answer is not HTTP"


def test_one_reader_reads_answer_after_answer() -> None:
    reader = AnswerReader()
    for data, expected in [found for found in GOOD.values() if found[1][-1]] * 2:
        reader.expect(MOST)
        assert reader.feed(data)
        assert told(reader.reply(0, 0), reusable=reader.reusable) == expected


@given(
    data=st.binary(max_size=300), cut=st.integers(0, 300), at=st.integers(0, 200),
    closed=st.sampled_from(["clean", "broken"]), name=st.sampled_from(sorted(GOOD)),
)
def test_no_bytes_are_more_than_an_answer_or_a_fault(data: bytes, cut: int, at: int, closed: str, name: str) -> None:
    """Garbage, alone and in the middle of an answer; cut anywhere it means the same."""
    good, _ = GOOD[name]
    for spoiled in (data, good[:at] + data + good[at:], good[:at] + data):
        whole, in_two = read([spoiled], closed=closed), read([spoiled[:cut], spoiled[cut:]], closed=closed)
        assert isinstance(whole, tuple) or whole in answer_reader.CODES
        assert meaning(in_two) == meaning(whole)


def meaning(found: Read) -> Read | tuple[object, ...]:
    """Whether the connection may be used again is left out: what comes later tells."""
    return found if isinstance(found, str) else found[:-1]


def test_a_reader_that_waits_holds_no_answer() -> None:
    """A thousand idle connections would keep as many answers of a megabyte."""
    reader = AnswerReader()
    reader.expect(MOST)
    reader.feed(answer(b"x" * MOST))
    assert len(reader.reply(0, 0).body) == MOST
    assert not reader._body
