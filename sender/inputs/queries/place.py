"""A database as people may be told of it: without credentials and options."""

from __future__ import annotations

from urllib.parse import urlsplit


def place_of(url: str) -> str:
    """Scheme, host and database."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
