"""Accepted calls that change something and make no delivery: newsletters and contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sender.sandbox.exchange import both_forms


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted call."""

    kind: str
    """`newsletter_send`, `newsletter_schedule` or `content`."""
    target: dict[str, int | str]
    """What it changed: the ids of its path, by name."""
    accepted_at: float
    """Seconds since the epoch."""
    body: bytes
    """The request's body as it came."""

    def record(self) -> dict[str, Any]:
        """The call as the sandbox's own list shows it."""
        return {"kind": self.kind, **self.target, "accepted_at": self.accepted_at, **both_forms(self.body)}
