"""GET /v1/esp/suppression/{type}: addresses to which nothing is sent (docs/api.md, "Reading the API")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.sandbox.exchange import Answer, Request, ok, shape_c
from sender.sandbox.world import path_id

if TYPE_CHECKING:
    from sender.sandbox.world import World

TYPES: Final = ("bounces", "blocks", "spam_reports", "invalid_emails")
MOST: Final = 1000


def suppressions(world: World, request: Request, kind: str) -> Answer:
    """A page of one list, by `limit` and `offset`."""
    params = request.params()
    limit, offset = path_id(params.get("limit") or "100"), path_id(params.get("offset") or "0")
    if kind not in TYPES or limit is None or offset is None or not 1 <= limit <= MOST:
        return shape_c(400, world.with_reference("no such list, or no such page of it"))
    entries = [
        {"email": address, "created": world.started_at, "reason": "550 5.1.1", "status": "5.1.1"}
        for address in world.suppressed.get(kind, [])[offset : offset + limit]
    ]
    return ok({"category": kind, "suppressions": entries})


def lists_of(given: Any) -> dict[str, list[str]] | None:
    """The lists that somebody gives the sandbox, None where these are none."""
    if not isinstance(given, dict) or not set(given) <= set(TYPES):
        return None
    fine = all(isinstance(one, list) and all(isinstance(address, str) for address in one) for one in given.values())
    return given if fine else None
