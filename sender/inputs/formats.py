"""What an input holds, by its name: the format of its rows, and how it is compressed."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlsplit

FORMATS: Final = ("lines", "csv", "tsv", "json", "ndjson", "parquet", "xlsx")
"""`lines` are jobs, one JSON object each; `ndjson` are rows, one JSON object each."""
_BY_SUFFIX: Final = {
    "csv": "csv", "tsv": "tsv", "tab": "tsv", "json": "json", "jsonl": "ndjson", "ndjson": "ndjson",
    "parquet": "parquet", "pq": "parquet", "xlsx": "xlsx",
}
COMPRESSIONS: Final = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}


class Form(NamedTuple):
    """What an input holds."""

    format: str
    compression: str | None


def form_of(name: str, named: str = "", *, mapped: bool = False) -> Form:
    """The form of an input of this name or URL; `named` is a format that the user tells.

    Objects line by line are jobs, unless a mapping makes jobs of them.
    """
    path = urlsplit(name).path if "://" in name else name
    stem, _, suffix = path.lower().rpartition(".")
    compression = COMPRESSIONS.get(suffix) if stem else None
    if compression is not None:
        suffix = stem.rpartition(".")[2] if "." in stem else ""
    found = named or _BY_SUFFIX.get(suffix, "lines")
    if found in ("ndjson", "lines") and not named:
        found = "ndjson" if mapped else "lines"
    return Form(found, compression)
