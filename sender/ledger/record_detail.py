"""The detail of a record: JSON with what reconcile looks for while the job is in doubt, and the error of its end.

The error is the first problem of the outcome: `code`, `field`, `message`. Whoever finds the job ended tells it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


def with_error(detail: bytes | None, error: Mapping[str, Any] | None) -> bytes | None:
    """The detail with this error, as an outcome tells it; None when there is neither."""
    if error is None:
        return detail
    members = {} if detail is None else orjson.loads(detail)
    members["error"] = {name: value for name, value in error.items() if name != "problems"}
    return orjson.dumps(members)


def error_of(detail: bytes | None) -> Mapping[str, Any] | None:
    """The error in a detail, where it has one: earlier versions wrote none."""
    found: Mapping[str, Any] | None = orjson.loads(detail).get("error") if detail else None
    return found
