"""The URL of an object tells how it is got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.errors import UsageError

if TYPE_CHECKING:
    from sender.inputs.objects.spooled_object import SpooledObject


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
