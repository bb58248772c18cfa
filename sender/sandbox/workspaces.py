"""GET /v1/workspaces and /v1/info/ip_addresses (docs/api.md, "Reading the API")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.sandbox.exchange import Answer, Request, ok

if TYPE_CHECKING:
    from sender.sandbox.world import World


def workspaces(world: World, _request: Request) -> Answer:
    """The one workspace of the stand-in: a good check of a key."""
    workspace = {
        "id": 1,
        "name": "Sandbox",
        "messages_sent": len(world.deliveries.all),
        "billable_messages_sent": 0,
        "people": 0,
        "objects": 0,
        "object_types": 0,
    }
    return ok({"workspaces": [workspace]})


def ip_addresses(_world: World, _request: Request) -> Answer:
    """Needs no key, so it is no check of one; the addresses are those reserved for documentation."""
    return ok({"ip_addresses": ["192.0.2.10", "198.51.100.20", "203.0.113.30"]})
