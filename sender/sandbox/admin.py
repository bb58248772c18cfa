"""The sandbox's own calls under /_sandbox/: they need no key and are counted nowhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from sender.sandbox.exchange import Answer, Request, not_found_page, ok
from sender.sandbox.faults import FaultError, make_fault
from sender.sandbox.limit import SECOND
from sender.sandbox.suppressions import TYPES, lists_of
from sender.sandbox.world import path_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.sandbox.app import App, DownMode

PREFIX: Final = "/_sandbox/"
_LINES: Final = "application/x-ndjson"


class Network(Protocol):
    """The sandbox's side of the network."""

    def open_connections(self) -> int:
        """How many clients are connected."""

    def stamped_by(self) -> str:
        """Who stamps arrivals: `kernel`, or `loop` where the kernel did not."""

    def go_down(self, mode: DownMode, seconds: float) -> None:
        """Be unreachable for so many seconds."""

    def up(self) -> None:
        """Be reachable again."""

    def webhooks(self) -> dict[str, int]:
        """How many webhooks were posted, acknowledged, refused, and wait."""


class Accepted(Protocol):
    """A request that took effect."""

    def record(self) -> dict[str, Any]:
        """What became of it, with its body as `payload` (decoded) and `raw` (its text as it came)."""


class Admin:
    """Shows what arrived and what was accepted, and makes things go wrong."""

    def __init__(self, app: App, network: Network) -> None:
        self._app = app
        self._network = network

    def handle(self, request: Request) -> Answer:
        """Answer one of the sandbox's own calls."""
        method = "GET" if request.method == "HEAD" else request.method
        match method, request.path[len(PREFIX) :]:
            case "GET", "stats":
                return ok(self.stats(arrivals=bool(request.params().get("arrivals"))))
            case "GET", "fates":
                return self._fates(request.params())
            case "GET", "webhooks":
                return ok(self._network.webhooks())
            case "GET", ("messages" | "triggers" | "newsletters" | "contents") as what:
                return self._list(what, request.params())
            case _, "faults":
                return self._faults(method, request.body)
            case "POST", "key":
                return self._rotate(request.body)
            case "POST", "suppressions":
                return self._suppress(request.body)
            case "POST", "reset":
                self._network.up()
                self._app.reset()
                return ok({})
            case _:
                return not_found_page()

    def stats(self, *, arrivals: bool = False) -> dict[str, Any]:
        """What arrived and what became of it, lane by lane; with `arrivals` every stamp too."""
        logs = self._app.arrivals
        result: dict[str, Any] = {
            "requests": sum(log.count for log in logs.values()),
            "stamps": self._network.stamped_by(),
            "lanes": {lane: log.figures() for lane, log in logs.items()},
            "connections": self._network.open_connections(),
        }
        if arrivals:
            rows = sorted(row for lane, log in logs.items() for row in log.rows(lane))
            result["arrivals"] = [
                {"at": stamp / SECOND, "at_ns": stamp, "lane": lane, "status": status} for stamp, lane, status in rows
            ]
        return result

    def accepted(self, what: str) -> Sequence[Accepted]:
        """The `messages`, `triggers`, `newsletters` or `contents` that were accepted, in that order."""
        world = self._app.world
        match what:
            case "messages":
                return world.deliveries.all
            case "triggers":
                return world.triggers.all()
            case _:
                return world.writes[what]

    def _list(self, what: str, params: dict[str, str]) -> Answer:
        """All of one sort, or a page of it by `start` and `limit`; `format=jsonl` gives lines."""
        items = self.accepted(what)
        start, limit = path_id(params.get("start") or "0"), path_id(params.get("limit") or str(len(items)))
        if start is None or limit is None:
            return _bad("start and limit are whole numbers")
        page = [item.record() for item in items[start : start + limit]]
        if params.get("format") == "jsonl":
            return Answer(200, b"".join(orjson.dumps(item) + b"\n" for item in page), _LINES)
        return ok(page)

    def _fates(self, params: dict[str, str]) -> Answer:
        """How many deliveries stand where; `format=jsonl` gives a line for each."""
        world = self._app.world
        now = world.now()
        fates = [(one.id, one.fate(now)) for one in world.deliveries.all]
        if params.get("format") == "jsonl":
            lines = (orjson.dumps({"delivery_id": name, "fate": fate}) for name, fate in fates)
            return Answer(200, b"".join(line + b"\n" for line in lines), _LINES)
        return ok({"sent": len(fates), **Counter(fate for _, fate in fates)})

    def _rotate(self, body: bytes) -> Answer:
        """Take another key from now on, and no other."""
        try:
            key = orjson.loads(body)["key"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            key = None
        if not isinstance(key, str) or not key.isascii() or not key.isprintable() or not key:
            return _bad('the key is a text of ASCII: {"key": "…"}')
        self._app.api_key = key
        return ok({})

    def _faults(self, method: str, body: bytes) -> Answer:
        match method:
            case "GET":
                return ok(self._faults_in_force())
            case "POST":
                try:
                    return ok(self.add_fault(_fault_values(body)))
                except FaultError as problem:
                    return _bad(str(problem))
            case "DELETE":
                self._app.faults.clear()
                self._network.up()
                return ok(self._faults_in_force())
            case _:
                return not_found_page()

    def add_fault(self, given: dict[str, Any]) -> dict[str, Any]:
        """Make something go wrong, and tell what is in force; raises FaultError for what is no fault."""
        if given.get("fault") == "down":
            mode, seconds = _down(given)
            self._network.go_down(mode, seconds)
            return {"down": mode, "seconds": seconds}
        self._app.faults.add(make_fault(given))
        return self._faults_in_force()

    def _suppress(self, body: bytes) -> Answer:
        try:
            lists = lists_of(orjson.loads(body))
        except orjson.JSONDecodeError:
            lists = None
        if lists is None:
            return _bad(f"suppressions are lists of addresses: {', '.join(TYPES)}")
        self._app.world.suppress(lists)
        return ok({})

    def _faults_in_force(self) -> dict[str, Any]:
        return {"faults": self._app.faults.shown()}


def _fault_values(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise FaultError("the body is not JSON") from None
    if not isinstance(given, dict):
        raise FaultError("the body is not a JSON object")
    return given


def _down(given: dict[str, Any]) -> tuple[DownMode, float]:
    mode, seconds = given.get("mode", "refuse"), given.get("seconds", 1)
    if mode not in ("refuse", "502", "hang") or isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise FaultError("down takes a mode (refuse, 502 or hang) and seconds")
    if not 0 < seconds <= 86400 or set(given) - {"fault", "mode", "seconds"}:
        raise FaultError("down takes a mode and seconds above 0, up to a day")
    return mode, float(seconds)


def _bad(text: str) -> Answer:
    return Answer(400, orjson.dumps({"error": text}))
