"""Jobs in doubt, of an email to one person."""

from __future__ import annotations

from typing import Any

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.ledger import Doubt

NOW = 1_800_000_000.0


class Clock:
    """At the API and here it is the same time."""

    def wall(self) -> float:
        return NOW + 500

    def ahead_then(self, marks: dict[str, Any]) -> Any:
        return marks.get("ahead")


CLOCK: Any = Clock()


def doubtful(key: str = "k", *, kind: str = "email", resendable: bool = True, **detail: Any) -> DoubtfulJob:
    known = {"id": key, "kind": kind, "path": f"/v1/send/{kind}", "source": "f", "line": 1, "attempts": 1,
             "transactional_message_id": 3, "identifiers": {"id": "7"}, "to": "ada@example.com",
             "since": NOW, "until": NOW + 1, "started_at": NOW, "ahead": 0.0}
    return DoubtfulJob.of(Doubt(key, "c", "in_doubt", orjson.dumps(known | detail), resendable), CLOCK)
