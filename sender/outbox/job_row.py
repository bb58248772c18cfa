"""A JobRow is a job line as it goes into an outbox: JSON where it is JSON, else its bytes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

PRIORITIES: Final = ("high", "normal", "low")


class JobRow(NamedTuple):
    """One of `job` and `raw` is None."""

    job: str | None
    raw: bytes | None
    priority: str
    """As the job names it."""
    is_object: bool
    """Whether it may be a job: anything else is only kept, as a dead letter is."""

    @classmethod
    def of(cls, line: bytes) -> JobRow:
        """The text stays as it is: nothing is read and written anew."""
        try:
            members: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            return cls(None, line, "normal", is_object=False)
        found = members.get("priority") if isinstance(members, dict) and "payload" in members else None
        priority = found if found in PRIORITIES else "normal"
        return cls(line.decode(), None, priority, isinstance(members, dict))
