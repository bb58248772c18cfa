"""A database as people may be told of it: without credentials and options."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("postgres", "postgresql", "mysql", "sqlite")


def is_database(name: str) -> bool:
    """Whether an input's name is the URL of a database."""
    return name.partition("://")[0] in SCHEMES and "://" in name


def place_of(url: str) -> str:
    """Scheme, host and database."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
