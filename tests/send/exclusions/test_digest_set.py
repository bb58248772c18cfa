"""Ten million people in little memory, and nobody among them who was not put in."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from sender.send.exclusions.digest_set import DigestSet

few = st.binary(min_size=32, max_size=32).map(lambda data: b"\0" + data[1:2].replace(data[1:2], b"\1") + data[2:])


@given(st.lists(few), st.lists(few))
def test_it_holds_what_was_put_in_and_nothing_else(inside: list[bytes], others: list[bytes]) -> None:
    found = DigestSet()
    for digest in inside:
        found.add(digest)
    assert all(digest in found for digest in inside)
    known = {digest[:7] for digest in inside}
    assert len(found) == len(inside)
    assert [digest in found for digest in others] == [digest[:7] in known for digest in others]


def test_an_entry_is_not_found_across_two_others() -> None:
    found = DigestSet()
    found.add(b"\0\0" + b"abcde" + bytes(25))
    found.add(b"\0\0" + b"fghij" + bytes(25))
    assert b"\0\0" + b"defgh" + bytes(25) not in found
    found.add(b"\0\0" + b"defgh" + bytes(25))
    assert b"\0\0" + b"defgh" + bytes(25) in found
    assert len(found) == 3


def test_a_hundred_thousand_digests() -> None:
    found = DigestSet()
    for number in range(100_000):
        found.add(sha256(b"%d" % number).digest())
    assert len(found) == 100_000
    assert all(sha256(b"%d" % number).digest() in found for number in range(0, 100_000, 997))
    assert not any(sha256(b"x%d" % number).digest() in found for number in range(10_000))
