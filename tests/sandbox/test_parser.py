from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.sandbox.request_parser import MAX_BODY, MAX_HEAD, Parser, Refused

HEAD = b"POST /v1/send/email?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nTrailer: t\r\n\r\n"


def take(parser: Parser) -> list[tuple[str, bytes, int]]:
    found = []
    while (request := parser.head()) is not None and parser.body(request):
        found.append((request.path, request.body, request.stamp))
    return found


def test_a_request_is_stamped_by_its_first_byte() -> None:
    parser = Parser()
    parser.feed(HEAD[:1], 7)
    parser.feed(HEAD[1:] + b"hello" + HEAD[:3], 8)
    parser.feed(HEAD[3:] + b"world", 9)
    assert take(parser) == [("/v1/send/email", b"hello", 7), ("/v1/send/email", b"world", 8)]


@given(st.data())
def test_any_cutting_gives_the_same_requests(data: st.DataObject) -> None:
    stream = HEAD + b"hello" + CHUNKED + b"\r\n" + b"GET / HTTP/1.1\r\n\r\n" + HEAD + b"world"
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream))))})
    parser, request, found = Parser(), None, []
    for start, end in itertools.pairwise(cuts):
        parser.feed(stream[start:end], start)
        while True:
            request = request or parser.head()
            if request is None or not parser.body(request):
                break
            found.append((request.path, request.body))
            request = None
    assert found == [("/v1/send/email", b"hello"), ("/p", b"abcde"), ("/", b""), ("/v1/send/email", b"world")]
    assert len(parser) == 0


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"FOO / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nA: b\n\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
        (b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", 501),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * (MAX_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, 400),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes, status: int) -> None:
    parser = Parser()
    parser.feed(raw, 0)
    with pytest.raises(Refused) as refused:
        take(parser)
    assert refused.value.status == status


HEADER = b"A: b\r\n"
ENDLESS = {
    "target": (b"GET /", b"a"),
    "header": (b"GET / HTTP/1.1\r\nA: ", b"a"),
    "headers": (b"GET / HTTP/1.1\r\n", HEADER),
    "chunk extension": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a"),
    "trailer": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a"),
    "trailers": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", HEADER),
}


@pytest.mark.parametrize("where", ENDLESS)
def test_what_has_no_end_is_refused_after_64_kib(where: str) -> None:
    start, more = ENDLESS[where]
    parser, fed = Parser(), 0
    parser.feed(start, 0)
    with pytest.raises(Refused) as refused:
        while True:
            request = parser.head()
            assert request is None or not parser.body(request)
            while request is not None and not parser.body(request):
                parser.feed(more * 100, 0)
                fed += 100 * len(more)
                assert fed < 2 * MAX_HEAD
            parser.feed(more * 100, 0)
            fed += 100 * len(more)
            assert fed < 2 * MAX_HEAD
    assert refused.value.status == 431


def test_a_whole_head_over_64_kib_is_refused_though_it_came_at_once() -> None:
    parser = Parser()
    parser.feed(b"GET / HTTP/1.1\r\n" + HEADER * (MAX_HEAD // len(HEADER) + 1) + b"\r\n", 0)
    with pytest.raises(Refused) as refused:
        parser.head()
    assert refused.value.status == 431


def test_tiny_chunks_are_no_endless_head() -> None:
    parser = Parser()
    parser.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 0)
    for _ in range(MAX_HEAD):
        parser.feed(b"1\r\na\r\n", 0)
    parser.feed(b"0\r\n\r\n", 0)
    assert take(parser) == [("/", b"a" * MAX_HEAD, 0)]


def test_what_came_before_the_noise_is_answered_first() -> None:
    parser = Parser()
    parser.feed(HEAD + b"hello" + b"noise\r\n\r\n", 1)
    request = parser.head()
    assert request is not None
    assert parser.body(request)
    with pytest.raises(Refused):
        parser.head()


@pytest.mark.parametrize("method", [b"GET /a", b"POST /a", b"CONNECT h:443"])
def test_an_upgrade_is_declined_and_the_next_request_is_read(method: bytes) -> None:
    upgrade = b" HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
    parser = Parser()
    parser.feed((method + upgrade) * 1100 + HEAD + b"hello", 5)
    found = take(parser)
    assert len(found) == 1101
    assert found[-1] == ("/v1/send/email", b"hello", 5)


@given(st.binary(max_size=300))
def test_noise_never_breaks_it(noise: bytes) -> None:
    parser = Parser()
    parser.feed(noise + b"\r\n\r\n", 0)
    with contextlib.suppress(Refused):
        take(parser)


def test_the_absolute_form_and_keep_alive() -> None:
    parser = Parser()
    parser.feed(b"GET http://h:1/a/b?q=1+2&e= HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0)
    request = parser.head()
    assert request is not None
    assert (request.path, request.params(), request.keep_alive) == ("/a/b", {"q": "1 2", "e": ""}, False)
