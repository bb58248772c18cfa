"""Which API is spoken to: the regions' hosts, or a base URL that is safe to send a key to."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from sender.errors import UsageError
from sender.transport.proxy import is_loopback

REGIONS: Final = {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"}


def check_base_url(url: str, *, allow_http: bool = False) -> str:
    """The base URL without a trailing slash; UsageError when a key must not be sent there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text would repeat what stands there, and that may be a secret
        raise UsageError("--base-url is not a URL: it must look like https://host[:port]") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("--base-url must look like https://host[:port]")
    if parts.username is not None or parts.password is not None:
        raise UsageError("--base-url must not hold a user or password; the key comes from SENDER_API_KEY")
    if parts.query or parts.fragment:
        raise UsageError("--base-url must not hold a query or fragment")
    if port == 0:
        raise UsageError("--base-url names port 0, which nothing listens on")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise UsageError("--base-url is plain http to another machine: use https, or add --allow-http")
    return url.rstrip("/")
