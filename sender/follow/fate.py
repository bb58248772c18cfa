"""What the vendor's words say of a delivery, for each kind. Pure.

The table is the one of docs/following.md, "The vendor's words".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Fate = Literal["delivered", "bounced", "dropped", "failed", "open"]

FATES: Final[tuple[Fate, ...]] = ("delivered", "bounced", "dropped", "failed", "open")
"""The headings of the books; each delivery stands under exactly one."""
MARKS: Final = ("deferred", "opened", "clicked", "converted", "unsubscribed", "spammed", "undeliverable")
"""What is counted beside the headings."""
ARRIVED: Final = {
    "email": ("delivered",),
    "sms": ("delivered",),
    "whatsapp": ("delivered",),
    "push": ("sent", "delivered"),
    "in_app": ("sent", "delivered"),
    "inbox_message": ("sent", "delivered"),
}
"""The words by which a kind is delivered."""
LOST: Final[dict[str, Fate]] = {
    "bounced": "bounced", "dropped": "dropped", "suppressed": "dropped", "undeliverable": "dropped", "failed": "failed",
}
"""The words by which any kind is not."""
PROOF: Final = ("opened", "clicked", "converted", "unsubscribed", "spammed")
"""Who does this has got the message, whatever else was told."""
_ENHANCED: Final = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY: Final = re.compile(r"(?<![\d.])([45]\d\d)(?=[ -])")


class Standing(NamedTuple):
    """Where a delivery stands."""

    fate: Fate
    metric: str | None = None
    """The vendor's word that says so; None while it is open."""
    at: float | None = None
    """Unix seconds."""


def standing(kind: str | None, metrics: Mapping[str, float]) -> Standing:
    """The last of what ends a delivery, whatever order it came in; of two at the same time the worse."""
    arrived = ARRIVED.get(kind or "email", ARRIVED["email"])
    ends = [(at, metric in LOST, metric) for metric, at in metrics.items() if metric in arrived or metric in LOST]
    if ends:
        at, _, metric = max(ends)
        return Standing(LOST.get(metric, "delivered"), metric, at)
    proofs = [(metrics[metric], metric) for metric in PROOF if metric in metrics]
    if proofs:
        at, metric = min(proofs)
        return Standing("delivered", metric, at)
    return Standing("open")


def code_of(reason: str) -> str | None:
    """The mail server's status in a reason: `5.1.1` (RFC 3463), or a reply like `550` (RFC 5321)."""
    found = _ENHANCED.search(reason) or _REPLY.search(reason)
    return None if found is None else found[1]


def bounce_of(fate: Fate, code: str | None) -> Literal["hard", "soft"] | None:
    """What kind of bounce it is, as far as its code tells."""
    if fate != "bounced" or code is None:
        return None
    return "hard" if code.startswith("5") else "soft" if code.startswith("4") else None
