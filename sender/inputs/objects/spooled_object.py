"""An object from elsewhere, in a private file."""

from __future__ import annotations

from typing import NamedTuple

from sender.errors import UsageError


class SpooledObject(NamedTuple):
    """What there is of it here."""

    name: str
    """Its URL as outcomes tell it: without credentials and signatures."""
    handle: int
    version: str | None
    """Its ETag, where it has one: another one later is another content."""


def spooled_object(url: str) -> SpooledObject:
    """Get the object of a URL whole; UsageError when it cannot be had."""
    scheme = url.partition("://")[0].lower()
    if scheme in ("s3", "gs", "az"):
        from sender.inputs.objects.bucket import spool_from_bucket

        return spool_from_bucket(url)
    if scheme == "https":
        from sender.inputs.objects.web import spool_from_web

        return spool_from_web(url)
    raise UsageError(f"{scheme}:// is no place that inputs come from; those are s3, gs, az, https, and databases")
