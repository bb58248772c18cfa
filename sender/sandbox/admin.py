"""The stand-in's own calls under /_sandbox/: they need no key and are counted nowhere."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.sandbox.exchange import Answer, Request, not_found_page, ok
from sender.sandbox.faults import FaultError, make_fault
from sender.sandbox.limit import SECOND
from sender.sandbox.world import path_id

if TYPE_CHECKING:
    from sender.sandbox.deliveries import Delivery
    from sender.sandbox.server import Server

PREFIX: Final = "/_sandbox/"
_LINES: Final = "application/x-ndjson"


def handle(server: Server, request: Request) -> Answer:
    """Answer one call of the stand-in's own."""
    match request.method, request.path[len(PREFIX) :]:
        case "GET" | "HEAD", "stats":
            return ok(stats(server, arrivals=bool(request.params().get("arrivals"))))
        case "GET" | "HEAD", "messages":
            return _messages(server, request)
        case "GET" | "HEAD", "triggers":
            return ok(triggers(server))
        case "GET", "faults":
            return ok({"faults": server.app.faults.shown()})
        case "POST", "faults":
            return _add_fault(server, request)
        case "DELETE", "faults":
            server.app.faults.clear()
            server.up()
            return ok({"faults": []})
        case "POST", "reset":
            server.up()
            server.app.reset()
            return ok({})
        case _:
            return not_found_page()


def stats(server: Server, *, arrivals: bool = False) -> dict[str, Any]:
    """What arrived and what became of it, lane by lane; with `arrivals` every stamp too."""
    app = server.app
    lanes = {lane: log.figures() for lane, log in app.arrivals.items()}
    result: dict[str, Any] = {
        "requests": sum(log.count for log in app.arrivals.values()),
        "stamps": "kernel" if server.kernel_stamps and not app.loop_stamps else "loop",
        "lanes": lanes,
        "connections": len(server.connections),
    }
    if arrivals:
        rows = sorted(row for lane, log in app.arrivals.items() for row in log.rows(lane))
        result["arrivals"] = [
            {"at": stamp / SECOND, "at_ns": stamp, "lane": lane, "status": status} for stamp, lane, status in rows
        ]
    return result


def _payload(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return base64.b64encode(body).decode()


def shown(delivery: Delivery) -> dict[str, Any]:
    """An accepted send with its payload, as the client sent it."""
    return {
        "delivery_id": delivery.id,
        "kind": delivery.kind,
        "accepted_at": delivery.accepted_at,
        "template": delivery.template,
        "payload": _payload(delivery.body),
    }


def _messages(server: Server, request: Request) -> Answer:
    """All of them in order of acceptance, or a page by `start` and `limit`; `format=jsonl` gives lines."""
    params = request.params()
    everything = server.app.world.deliveries.all
    start, limit = path_id(params.get("start") or "0"), path_id(params.get("limit") or str(len(everything)))
    if start is None or limit is None:
        return _bad("start and limit are numbers")
    page = everything[start : start + limit]
    if params.get("format") == "jsonl":
        return Answer(200, b"".join(orjson.dumps(shown(item)) + b"\n" for item in page), _LINES)
    return ok([shown(item) for item in page])


def triggers(server: Server) -> list[dict[str, Any]]:
    """All triggers with their payload, in order of creation."""
    groups = server.app.world.triggers.by_broadcast.values()
    found = sorted((item for group in groups for item in group), key=lambda item: item.created_at)
    return [{key: value for key, value in asdict(item).items() if key != "body"} | {"payload": _payload(item.body)}
            for item in found]  # fmt: skip


def _add_fault(server: Server, request: Request) -> Answer:
    try:
        given = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return _bad("the body is not JSON")
    if not isinstance(given, dict):
        return _bad("the body is not a JSON object")
    if given.get("fault") == "down":
        return _down(server, given)
    try:
        server.app.faults.add(make_fault(given))
    except FaultError as problem:
        return _bad(str(problem))
    return ok({"faults": server.app.faults.shown()})


def _down(server: Server, given: dict[str, Any]) -> Answer:
    mode, seconds = given.get("mode", "refuse"), given.get("seconds", 1)
    if mode not in ("refuse", "502", "hang") or isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return _bad("down takes a mode (refuse, 502 or hang) and seconds")
    if not 0 < seconds <= 86400 or set(given) - {"fault", "mode", "seconds"}:
        return _bad("down takes a mode and seconds above 0, up to a day")
    server.go_down(mode, float(seconds))
    return ok({"down": mode, "seconds": seconds})


def _bad(text: str) -> Answer:
    return Answer(400, orjson.dumps({"error": text}))
