"""The names of inputs: patterns stand for what they match, and the log of a run lies beside its input."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.inputs.queries.place import is_database

if TYPE_CHECKING:
    from collections.abc import Iterable

BUCKETS: Final = ("s3", "gs", "az")
WEB: Final = "https"
_WILD: Final = frozenset("*?[")


def scheme_of(name: str) -> str:
    """`s3`, `https` and so on; empty for a file."""
    scheme, found, _ = name.partition("://")
    return scheme.lower() if found and scheme.isalnum() else ""


def expanded(names: Iterable[str]) -> tuple[str, ...]:
    """The inputs with each pattern replaced by what it matches, in the order of names; UsageError for nothing."""
    found: list[str] = []
    for name in names:
        found += _matches(name) if _is_pattern(name) else [name]
    return tuple(found)


def beside(name: str) -> str | None:
    """Where a run's outcomes go by default, without their ending: an object's own name; None for a database."""
    if is_database(name):
        return None
    return name if not scheme_of(name) else Path(name.partition("?")[0]).name


def _is_pattern(name: str) -> bool:
    scheme = scheme_of(name)
    return bool(_WILD & set(name)) and (scheme in BUCKETS or (not scheme and not os.path.lexists(name)))


def _matches(pattern: str) -> list[str]:
    if scheme_of(pattern):
        from sender.inputs.objects.bucket import names_in_bucket

        matches = names_in_bucket(pattern)
    else:
        matches = sorted(name for name in glob.glob(pattern, recursive=True) if not Path(name).is_dir())  # noqa: PTH207 - also absolute ones
    if not matches:
        raise UsageError(f"{pattern} matches nothing")
    return matches
