"""Undoes the content encodings that our requests accept, up to a bound. Pure."""

from __future__ import annotations

import zlib
from typing import Final

GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8


class BadEncodingError(Exception):
    """The bytes are not in the encoding that was named."""


class TooLongError(Exception):
    """Decoded they are more than may be."""


def decoded(body: bytes, encoding: bytes, most: int) -> bytes:
    """The body as it was before; one in another encoding than gzip or deflate is left as it is."""
    if encoding in (b"gzip", b"x-gzip"):
        return _inflated(body, GZIP, most)
    if encoding == b"deflate":  # RFC 9110 8.4.1.2 means zlib's form; some servers leave its two bytes out
        return _inflated(body, zlib.MAX_WBITS if _is_zlib(body) else -zlib.MAX_WBITS, most)
    return body


def _is_zlib(body: bytes) -> bool:
    return len(body) > 1 and body[0] & 15 == _ZLIB_METHOD and int.from_bytes(body[:2], "big") % 31 == 0


def _inflated(body: bytes, form: int, most: int) -> bytes:
    """All members of it one after another, as gzip allows; an empty body is empty in any encoding."""
    whole = b""
    while body:
        member = zlib.decompressobj(form)
        try:
            whole += member.decompress(body, most - len(whole) + 1)
        except zlib.error:
            raise BadEncodingError from None
        if len(whole) > most:
            raise TooLongError
        if not member.eof:
            raise BadEncodingError
        body = member.unused_data
    return whole
