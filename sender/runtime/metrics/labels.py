"""The values that labels may have: small closed sets, whatever an API or a job says. Pure.

No label holds an id, an address, a template or a text of somebody else.
"""

from __future__ import annotations

from typing import Final

from sender.jobs.kinds import KINDS, LANES

HTTP_STATUSES: Final = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504})
FAULTS: Final = frozenset(
    {"connect_failed", "tls_failed", "dns_failed", "pool_timeout", "timeout", "connection_reset", "answer_cut",
     "answer_unreadable", "answer_too_large", "interrupted"}
)
OTHER: Final = "other"
MOST_NAME: Final = 100


def lane_label(lane: str) -> str:
    """The lane itself if it is one."""
    return lane if lane in LANES else OTHER


def kind_label(kind: str) -> str:
    """The kind itself if it is one."""
    return kind if kind in KINDS else OTHER


def status_label(status: int | str) -> str:
    """An HTTP status that is expected by its number, another by its class, a fault by its code."""
    if isinstance(status, str):
        return status if status in FAULTS else OTHER
    if status in HTTP_STATUSES:
        return str(status)
    return f"{status // 100}xx" if 100 <= status < 600 else OTHER


def name_label(name: str) -> str:
    """The name of a queue or workspace; all that may hold a password is left out."""
    return "".join(sign if sign.isprintable() else "?" for sign in name.rpartition("@")[2][:MOST_NAME])
