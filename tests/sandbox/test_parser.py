from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.sandbox.parser import MAX_BODY, MAX_HEAD, Parser, Refused

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
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, 400),
    ],
)
def test_what_is_no_request_is_refused(raw: bytes, status: int) -> None:
    parser = Parser()
    parser.feed(raw, 0)
    with pytest.raises(Refused) as refused:
        take(parser)
    assert refused.value.status == status


@given(st.binary(max_size=300))
def test_noise_never_breaks_it(noise: bytes) -> None:
    parser = Parser()
    parser.feed(noise + b"\r\n\r\n", 0)
    with contextlib.suppress(Refused):
        take(parser)


def test_the_absolute_form_keep_alive_and_equal_lengths() -> None:
    parser = Parser()
    parser.feed(b"GET http://h:1/a/b?q=1+2&e= HTTP/1.0\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 0)
    request = parser.head()
    assert request is not None
    assert (request.path, request.params(), request.keep_alive) == ("/a/b", {"q": "1 2", "e": ""}, False)
