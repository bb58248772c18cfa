"""Buckets: `s3://`, `gs://`, `az://`, by the object_store library; credentials come from the environment."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.inputs.extras import imported
from sender.inputs.objects.environment import store_options
from sender.inputs.objects.spooled_object import SpooledObject
from sender.inputs.spool import spool

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE: Final = 1 << 20
WILD: Final = frozenset("*?[")
SERVER_CODE: Final = re.compile(r"<Code>(\w{1,80})</Code>")
URL_SECRETS: Final = re.compile(r"(?<=//)[^/\s@]*@|\?\S*")
ABOUT_ENVIRONMENT: Final = re.compile(
    r"status code: 40[13]|token request|must be specified|[Cc]redential|Access Key|pem file|source url|builder error"
)
ENVIRONMENT: Final = "credentials and endpoints come from environment variables: docs/tables.md, Credentials of buckets"


def spool_from_bucket(url: str) -> SpooledObject:
    """Get an object whole; UsageError when it cannot be had."""
    obstore, store, key = _open(url)
    try:
        found = obstore.get(store, key)
        handle = spool(url, (bytes(piece) for piece in found.stream(min_chunk_size=PIECE)))
    except (obstore.exceptions.BaseError, OSError) as error:
        raise UsageError(f"{url} cannot be read: {_reason(error)}") from None
    return SpooledObject(url, handle, found.meta.get("e_tag") or found.meta.get("version"))


def names_in_bucket(pattern: str) -> list[str]:
    """The objects that a pattern with `*`, `?` or `[…]` takes, in the order of their names."""
    obstore, store, key = _open(pattern)
    place = next((place for place, letter in enumerate(key) if letter in WILD), len(key))
    prefix = key[:place].rpartition("/")[0]
    bucket = pattern[: len(pattern) - len(key)]
    try:
        pages: Iterator[list[Any]] = obstore.list(store, prefix or None)
        paths = sorted(entry["path"] for page in pages for entry in page)
    except (obstore.exceptions.BaseError, OSError) as error:
        raise UsageError(f"{pattern} cannot be listed: {_reason(error)}") from None
    depth = key.count("/")
    return [f"{bucket}{path}" for path in paths if fnmatch.fnmatchcase(path, key) and path.count("/") == depth]


def _open(url: str) -> tuple[Any, Any, str]:
    obstore = imported("obstore", "objects", f"{url} is in a bucket")
    stores = imported("obstore.store", "objects", f"{url} is in a bucket")
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or not key:
        raise UsageError(f"{url} names no object; write {scheme}://BUCKET/KEY")
    try:
        return obstore, stores.from_url(f"{scheme}://{bucket}", **store_options(scheme, os.environ)), key
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{url} cannot be opened: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """The first line: of the server's document its code is enough, and what may hold a secret of a URL is left out."""
    text = str(error).strip()
    first = URL_SECRETS.sub("", re.split(r":? *<|\. Url:|\n", text, maxsplit=1)[0])[:300] or type(error).__name__
    code = SERVER_CODE.search(text)
    told = f"{first} ({code[1]})" if code else first
    return f"{told}; {ENVIRONMENT}" if ABOUT_ENVIRONMENT.search(told) else told
