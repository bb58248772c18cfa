"""The sandbox's endpoints: key, limits, faults, then the API itself (API.md sections 3 to 7, 12)."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from sender.sandbox import sends
from sender.sandbox.answers import listed_error, not_a_page, ok, plain_error
from sender.sandbox.broadcasts import trigger_broadcast
from sender.sandbox.faults import Fault, fault_from
from sender.sandbox.http import Request, Response
from sender.sandbox.limits import Arrivals, Mode, make_limit
from sender.sandbox.newsletters import schedule_newsletter, send_newsletter
from sender.sandbox.world import MOST_ID, World

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN_TEMPLATES: Final = range(1, 51)


@dataclass(slots=True)
class Options:
    """How the sandbox behaves."""

    api_key: str = "sandbox-key"
    limit: Mode = "strict"
    rates: dict[str, float] = field(default_factory=lambda: {"send": 100.0, "trigger": 0.1, "app": 10.0})
    retry_after: str = "none"
    """What a 429 on sends and triggers carries: none, seconds or date."""
    queue: int = 5
    queue_full: int = 429
    processing: float = 2.0
    lag: float = 2.0
    latency: tuple[float, float] = (0.0, 0.0)
    """Seconds, from and to."""
    jitter: float = 0.0
    """Seconds that the wire may take each way."""
    faults: list[Fault] = field(default_factory=list)
    read_scope: bool = True
    forbidden: frozenset[str] = frozenset()
    seed: int = 0
    forget: bool = False


class App:
    """Answers requests."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.chance = random.Random(options.seed)
        self.world = World(processing=options.processing, lag=options.lag, seed=options.seed, forget=options.forget)
        self.faults = list(options.faults)
        self.kernel_stamps = False
        self._reset_limits()

    def _reset_limits(self) -> None:
        self.limits = {lane: make_limit(self.options.limit, rate) for lane, rate in self.options.rates.items()}
        self.arrivals = {lane: Arrivals() for lane in self.options.rates}

    def on_head(self, method: str, path: str) -> str:  # noqa: ARG002
        """What happens as soon as a request's head is there."""
        for fault in self.faults:
            if fault.kind == "reset_before" and fault.applies(path, self.chance):
                return "reset"
        return ""

    def handle(self, request: Request, answer: Callable[[Response], None]) -> None:
        """Answer now or later."""
        if request.path.startswith("/_sandbox/"):
            answer(self.admin(request))
            return
        loop = asyncio.get_running_loop()
        inbound = self.chance.uniform(0, self.options.jitter) if self.options.jitter else 0.0
        if inbound:
            request.arrived += inbound
            loop.call_later(max(0.0, request.arrived - time.time()), self._handle_arrived, request, answer)
        else:
            self._handle_arrived(request, answer)

    def _handle_arrived(self, request: Request, answer: Callable[[Response], None]) -> None:
        response = self.respond(request)
        delay = response.delay + self.chance.uniform(*self.options.latency)
        if self.options.jitter:
            delay += self.chance.uniform(0, self.options.jitter)
        late = request.arrived + delay - time.time()
        if late > 0:
            asyncio.get_running_loop().call_later(late, answer, response)
        else:
            answer(response)

    def respond(self, request: Request) -> Response:
        """Count it, then refuse it, spoil it, or answer it."""
        lane = lane_of(request)
        wait = self.limits[lane].take(request.arrived)
        response = self._too_many(lane, wait) if wait is not None else self._within_limit(request)
        self.arrivals[lane].add(request.arrived, response.status if response.wire == "whole" else 0)
        return response

    def _within_limit(self, request: Request) -> Response:
        if request.path != "/v1/info/ip_addresses" and not self._key_is_right(request):
            text = "Unauthorized request"
            return plain_error(401, text) if request.path.startswith("/v1/send/") else listed_error(401, "unauthorized")
        if request.method == "GET" and not self.options.read_scope:
            return listed_error(403, "forbidden")
        fault = next(
            (one for one in self.faults if one.kind != "reset_before" and one.applies(request.path, self.chance)), None
        )
        if fault is None:
            return self.route(request)
        return self._spoil(fault, request)

    def _key_is_right(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.options.api_key}"

    def _spoil(self, fault: Fault, request: Request) -> Response:
        if fault.kind == "status":
            return self._status(fault)
        if fault.kind == "hang_before":
            return Response(wire="hang")
        if fault.kind == "html_404":
            return not_a_page()
        response = self.route(request)
        if fault.kind == "latency":
            response.delay += fault.seconds
        elif response.status < 300:
            self._spoil_accepted(fault, response)
        return response

    def _spoil_accepted(self, fault: Fault, response: Response) -> None:
        match fault.kind:
            case "accept_status":
                response.status, response.body = fault.status, b""
            case "reset_after":
                response.wire = "reset"
            case "cut_body":
                response.wire = "cut"
            case "html":
                response.body, response.content_type = b"<html><body>ok</body></html>", "text/html"
            case "hang" | "garbage":
                response.wire = fault.kind

    def _status(self, fault: Fault) -> Response:
        body = b"" if fault.body is None else fault.body.encode()
        if fault.body is None and fault.status in (400, 403, 413, 422, 429):
            body = orjson.dumps({"meta": {"error": f"injected {fault.status}"}})
        response = Response(fault.status, body)
        header = fault.retry_after_header()
        if header is not None:
            response.headers["Retry-After"] = header
        if 300 <= fault.status < 400:
            response.headers["Location"] = "https://example.com/"
        return response

    def _too_many(self, lane: str, wait: float) -> Response:
        seconds = max(1, -int(-wait // 1))
        if lane == "app":
            response = listed_error(429, f"rate limited to {self.options.rates[lane]:g} requests per 1s")
            response.headers["Retry-After"] = str(seconds)
            return response
        response = plain_error(429, "too many requests")
        if self.options.retry_after == "seconds":
            response.headers["Retry-After"] = str(seconds)
        elif self.options.retry_after == "date":
            response.headers["Retry-After"] = formatdate(time.time() + seconds, usegmt=True)
        return response

    def route(self, request: Request) -> Response:
        """The API proper."""
        for method, pattern, handler in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                response: Response = handler(self, request, *map(unquote, match.groups()))
                return response
        return not_a_page()

    def admin(self, request: Request) -> Response:
        """What tests and people ask of the sandbox itself; needs no key and is not counted."""
        match request.method, request.path:
            case "GET", "/_sandbox/stats":
                return ok(self._stats(arrivals="arrivals" in request.query))
            case "GET", "/_sandbox/messages":
                deliveries = self.world.deliveries.values()
                return ok([{"delivery_id": one.id, "channel": one.channel, "at": one.created, "payload": one.payload}
                           for one in deliveries])  # fmt: skip
            case "GET", "/_sandbox/triggers":
                now = time.time()
                return ok([one.as_dict(now) for all_of in self.world.triggers.values() for one in all_of])
            case "POST", "/_sandbox/faults":
                try:
                    self.faults.append(fault_from(orjson.loads(request.body)))
                except (ValueError, TypeError) as error:
                    return plain_error(400, str(error))
                return ok({"faults": len(self.faults)})
            case "DELETE", "/_sandbox/faults":
                self.faults.clear()
                return ok({"faults": 0})
            case "POST", "/_sandbox/reset":
                self.world.reset()
                self._reset_limits()
                return ok({})
        return not_a_page()

    def _stats(self, *, arrivals: bool) -> dict[str, Any]:
        lanes: dict[str, Any] = {}
        for lane, seen in self.arrivals.items():
            rate = self.options.rates[lane]
            lanes[lane] = seen.figures(1.0 if rate >= 1 else 1 / rate)
            if arrivals:
                lanes[lane]["arrivals"] = list(seen.stamps)
        return {
            "requests": sum(len(seen.stamps) for seen in self.arrivals.values()),
            "messages": self.world.accepted,
            "stamps": "kernel" if self.kernel_stamps else "loop",
            "lanes": lanes,
        }


def lane_of(request: Request) -> str:
    """Which limit a request counts towards."""
    if request.path.startswith("/v1/send/"):
        return "send"
    if request.method == "POST" and request.path.endswith("/triggers"):
        return "trigger"
    return "app"


def _send(app: App, request: Request, channel: str) -> Response:
    if channel not in sends.CHANNELS:
        return not_a_page()
    if channel in app.options.forbidden:
        return plain_error(403, f"{channel} messaging is not enabled for your workspace.")
    payload = _object(request)
    if payload is None:
        return plain_error(400, "bad request")
    refusal = sends.refuse(channel, payload)
    if refusal is not None:
        return refusal
    template = payload.get("transactional_message_id")
    if isinstance(template, int) and not 0 < template < MOST_ID:
        return plain_error(400, "transactional message not found")
    now = time.time()
    delivery = app.world.deliver(channel, payload, now)
    document: dict[str, Any] = {"delivery_id": delivery.id, "queued_at": int(now)}
    if isinstance(payload.get("send_at"), int) and payload["send_at"] > now:
        document["send_at"] = payload["send_at"]
    return ok(document)


def _object(request: Request) -> dict[str, Any] | None:
    try:
        document = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _trigger(app: App, request: Request, number: str) -> Response:
    return trigger_broadcast(app.world, app.options.queue, app.options.queue_full, int(number), request)


def _triggers(app: App, _: Request, number: str) -> Response:
    now = time.time()
    return ok({"triggers": [one.as_dict(now) for one in app.world.triggers.get(int(number), [])]})


def _one_trigger(app: App, _: Request, number: str, trigger: str) -> Response:
    now = time.time()
    for one in app.world.triggers.get(int(number), []):
        if one.id == int(trigger):
            return ok(one.as_dict(now))
    return listed_error(404, "not found")


def _trigger_errors(app: App, request: Request, number: str, trigger: str) -> Response:
    query = parse_qs(request.query)
    start, limit = int(query.get("start", ["0"])[0] or 0), int(query.get("limit", ["50"])[0])
    for one in app.world.triggers.get(int(number), []):
        if one.id == int(trigger):
            errors = one.errors if one.due <= time.time() or one.due == one.created_at else []
            following = start + limit if start + limit < len(errors) else 0
            return ok({"errors": errors[start : start + limit], "next": following})
    return listed_error(404, "not found")


def _broadcasts(_: App, __: Request) -> Response:
    return ok({"broadcasts": [_broadcast(number) for number in range(1, 6)]})


def _one_broadcast(_: App, __: Request, number: str) -> Response:
    return ok({"broadcast": _broadcast(int(number))}) if 0 < int(number) < MOST_ID else listed_error(404, "not found")


def _broadcast(number: int) -> dict[str, Any]:
    return {
        "id": number, "deduplicate_id": f"{number}:1700000000", "name": f"Broadcast {number}",
        "type": "triggered_broadcast", "state": "running", "active": True, "actions": [], "tags": [],
        "first_started": 1700000000, "created": 1700000000, "updated": 1700000000,
    }  # fmt: skip


def _newsletter_send(app: App, request: Request, number: str) -> Response:
    return send_newsletter(app.world, int(number), request.body)


def _newsletter_schedule(app: App, request: Request, number: str) -> Response:
    return schedule_newsletter(app.world, int(number), request.body)


def _newsletters(app: App, _: Request) -> Response:
    return ok({"newsletters": [one.as_dict() for one in app.world.newsletters.values()], "next": ""})


def _one_newsletter(app: App, _: Request, number: str) -> Response:
    found = app.world.newsletter(int(number))
    return ok({"newsletter": found.as_dict()}) if found else listed_error(404, "not found")


def _templates(_: App, __: Request) -> Response:
    return ok({"messages": [_template(number) for number in SHOWN_TEMPLATES]})


def _one_template(_: App, __: Request, number: str) -> Response:
    return ok({"message": _template(int(number))}) if 0 < int(number) < MOST_ID else listed_error(404, "not found")


def _template(number: int) -> dict[str, Any]:
    return {
        "id": number, "name": f"Template {number}", "description": "", "send_to_unsubscribed": True,
        "link_tracking": True, "open_tracking": True, "hide_message_body": False, "queue_drafts": False,
        "created_at": 1700000000, "updated_at": 1700000000,
    }  # fmt: skip


def _put_content(app: App, request: Request, template: str, content: str) -> Response:
    payload = _object(request)
    if not payload:
        return plain_error(400, "bad request")
    if not (0 < int(template) < MOST_ID and int(content) > 0):
        return listed_error(404, "not found")
    stored = app.world.contents.setdefault((int(template), int(content)), {"id": int(content), "type": "email"})
    stored.update(payload)
    return ok({"content": [stored]})


def _get_content(app: App, _: Request, template: str, content: str) -> Response:
    stored = app.world.contents.get((int(template), int(content)))
    return ok({"content": stored}) if stored else listed_error(404, "not found")


def _contents(app: App, _: Request, template: str) -> Response:
    return ok({"contents": [one for (number, _), one in app.world.contents.items() if number == int(template)]})


def _messages(app: App, request: Request) -> Response:
    return _page(app, request, lambda _: True, empty=None)


def _template_messages(app: App, request: Request, number: str) -> Response:
    template = int(number)
    return _page(app, request, lambda message: message["transactional_message_id"] == template, empty=[])


def _customer_messages(app: App, request: Request, customer: str) -> Response:
    kind = parse_qs(request.query).get("id_type", ["id"])[0]
    value = customer.removeprefix("cio_") if kind == "cio_id" else customer
    if "+" in request.path:
        value = value.replace("+", " ")  # an unencoded + is no error, it finds nothing (API.md section 1)
    return _page(app, request, lambda message: str(message["customer_identifiers"].get(kind)) == value, empty=[])


def _one_message(app: App, _: Request, delivery_id: str) -> Response:
    delivery = app.world.deliveries.get(delivery_id)
    if delivery is None or not app.world.visible(delivery):
        return listed_error(404, "not found")
    return ok({"message": delivery.as_message()})


def _page(app: App, request: Request, wanted: Callable[[dict[str, Any]], bool], empty: list[Any] | None) -> Response:
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    start, limit = int(query.get("start") or 0), min(1000, int(query.get("limit", 50)))
    low, high = float(query.get("start_ts", 0)), float(query.get("end_ts", "inf"))
    shown = [
        message
        for delivery in app.world.deliveries.values()
        if app.world.visible(delivery) and wanted(message := delivery.as_message())
        and low <= message["created"] <= high and query.get("type", message["type"]) == message["type"]
    ]  # fmt: skip
    page = shown[start : start + limit]
    return ok({"messages": page or empty, "next": str(start + limit) if start + limit < len(shown) else ""})


def _workspaces(_: App, __: Request) -> Response:
    return ok({"workspaces": [{"id": 1, "name": "Sandbox", "messages_sent": 0, "billable_messages_sent": 0, "people": 1,
                               "objects": 0, "object_types": 0}]})  # fmt: skip


def _addresses(_: App, __: Request) -> Response:
    return ok({"ip_addresses": ["192.0.2.1"]})


def _route(
    method: str, path: str, handler: Callable[..., Response]
) -> tuple[str, re.Pattern[str], Callable[..., Response]]:
    pattern = path.replace("{n}", r"(\d+)").replace("{s}", "([^/]+)")
    return method, re.compile(pattern), handler


ROUTES: Final = (
    _route("POST", "/v1/send/{s}", _send),
    _route("POST", "/v1/campaigns/{n}/triggers", _trigger),
    _route("GET", "/v1/campaigns/{n}/triggers/{n}", _one_trigger),
    _route("GET", "/v1/campaigns/{n}/triggers/{n}/errors", _trigger_errors),
    _route("GET", "/v1/broadcasts", _broadcasts),
    _route("GET", "/v1/broadcasts/{n}", _one_broadcast),
    _route("GET", "/v1/broadcasts/{n}/triggers", _triggers),
    _route("POST", "/v1/newsletters/{n}/send", _newsletter_send),
    _route("POST", "/v1/newsletters/{n}/schedule", _newsletter_schedule),
    _route("GET", "/v1/newsletters", _newsletters),
    _route("GET", "/v1/newsletters/{n}", _one_newsletter),
    _route("GET", "/v1/transactional", _templates),
    _route("GET", "/v1/transactional/{n}", _one_template),
    _route("GET", "/v1/transactional/{n}/messages", _template_messages),
    _route("GET", "/v1/transactional/{n}/contents", _contents),
    _route("PUT", "/v1/transactional/{n}/content/{n}", _put_content),
    _route("GET", "/v1/transactional/{n}/content/{n}", _get_content),
    _route("GET", "/v1/messages", _messages),
    _route("GET", "/v1/messages/{s}", _one_message),
    _route("GET", "/v1/customers/{s}/messages", _customer_messages),
    _route("GET", "/v1/workspaces", _workspaces),
    _route("GET", "/v1/info/ip_addresses", _addresses),
)
