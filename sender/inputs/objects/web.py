"""Objects on the web: `https://`, also by a signed URL, whose signature nobody is told."""

from __future__ import annotations

import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from sender.errors import UsageError
from sender.inputs.objects.spooled_object import SpooledObject
from sender.inputs.spool import PIECE, spool

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT: Final = 60.0
"""Seconds in which something has to come."""


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow, but never to where anybody could read or change it on the way."""
        if urlsplit(newurl).scheme != "https":
            raise UsageError(f"{place_of(req.full_url)} leads to a place without TLS; it was not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def place_of(url: str) -> str:
    """The URL without credentials, signature and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def spool_from_web(url: str) -> SpooledObject:
    """Get it whole; UsageError when it cannot be had, or breaks off."""
    name = place_of(url)
    opener = urllib.request.build_opener(_OnlyHttps)
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length")
            return SpooledObject(name, spool(name, _pieces(answer, name, expected)), answer.headers.get("ETag"))
    except HTTPError as error:
        raise UsageError(f"{name} cannot be read: the server answers {error.code}") from None
    except (URLError, OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise UsageError(f"{name} cannot be read: {reason}") from None


def _pieces(answer: Any, name: str, expected: str | None) -> Iterator[bytes]:
    size = 0
    while piece := answer.read(PIECE):
        size += len(piece)
        yield piece
    if expected is not None and expected.isdecimal() and size != int(expected):
        raise UsageError(f"{name} broke off after {size:,} of {int(expected):,} bytes; run again")
