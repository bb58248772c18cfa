"""Newsletters: draft, scheduled, sent (docs/api.md, "Newsletters")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

UNSENDABLE: Final = {
    997: "newsletter has no usable channel",
    998: "newsletter has no recipients",
    999: "newsletter segments are still being computed",
}
"""Newsletters that cannot be sent, so that a client can meet these refusals."""


@dataclass(slots=True)
class Newsletter:
    """One newsletter; it is in draft while both instants are None."""

    id: int
    created: int
    updated: int
    sent_at: float | None = None
    scheduled_at: int | None = None

    def settle(self, now: float) -> None:
        """A schedule that has come is a send."""
        if self.sent_at is None and self.scheduled_at is not None and self.scheduled_at <= now:
            self.sent_at, self.scheduled_at = float(self.scheduled_at), None

    def shown(self, sent_at: float | None) -> dict[str, Any]:
        """The newsletter as an answer shows it."""
        return {
            "id": self.id,
            "deduplicate_id": f"{self.id}:{self.updated}",
            "type": "email",
            "content_ids": [self.id],
            "name": f"Newsletter {self.id}",
            "sent_at": None if sent_at is None else int(sent_at),
            "created": self.created,
            "updated": self.updated,
            "recipient_segment_ids": [42],
            "tags": [],
            "subscription_topic_id": None,
        }
