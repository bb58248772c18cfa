"""GET of messages, per workspace, person and template (docs/api.md, "Reading the API")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from sender.sandbox.deliveries import TYPES, Deliveries, Delivery
from sender.sandbox.exchange import Answer, Request, ok, shape_c
from sender.sandbox.world import World, path_id

if TYPE_CHECKING:
    from collections.abc import Callable

_MONTH = 31 * 86400
_STATES = ("failed", "sent", "drafted", "attempted")
_METRICS = frozenset(
    {
        *("created", "attempted", "sent", "delivered", "opened", "clicked", "converted", "bounced", "spammed"),
        *("unsubscribed", "dropped", "deferred", "failed", "undeliverable", "drafted"),
    }
)
_TYPES = frozenset((*TYPES.values(), "webhook", "slack", "live_notification"))
_OTHERS = ("campaign_id", "newsletter_id", "action_id")
"""Filters that no transactional delivery passes."""


class _QueryError(Exception):
    """A parameter that the API refuses."""


def messages(world: World, request: Request) -> Answer:
    """GET /v1/messages: drafts only with `drafts=true`, an empty list is `null`."""

    def wanted_by(params: dict[str, str]) -> Callable[[Delivery], bool]:
        drafts = params.get("drafts") == "true"
        return lambda delivery: delivery.draft == drafts

    return _page(world, request, Deliveries.everything, 6 * _MONTH, wanted_by, empty=None)


def template_messages(world: World, request: Request, template: str) -> Answer:
    """GET /v1/transactional/{id}/messages: the numeric id only."""
    number = path_id(template)
    if number is None or not world.has_template(number):
        return shape_c(404, world.with_reference("not found"))
    return _page(world, request, lambda deliveries: deliveries.of_template(number), 12 * _MONTH)


def customer_messages(world: World, request: Request, customer: str) -> Answer:
    """GET /v1/customers/{id}/messages; a `+` or `@` that is not percent-encoded finds nobody.

    See docs/api.md, "Hosts and keys".
    """
    id_type = request.params().get("id_type", "id")
    if id_type not in ("id", "email", "cio_id", "phone"):
        return shape_c(400, world.with_reference("id_type must be id, email, cio_id or phone"))
    value = "" if "+" in customer or "@" in customer else unquote(customer)
    if id_type == "cio_id":
        value = value[4:] if value.startswith("cio_") else ""
    return _page(world, request, lambda deliveries: deliveries.of_person(id_type, value), 12 * _MONTH)


def message(world: World, _request: Request, delivery_id: str) -> Answer:
    """GET /v1/messages/{delivery_id}: 404 until it is visible."""
    now = world.now()
    found = world.deliveries.get(unquote(delivery_id), now)
    if found is None:
        return shape_c(404, world.with_reference("not found"))
    return ok({"message": found.shown(now, hide_template=world.options.hide_template_id)})


def _page(
    world: World,
    request: Request,
    places: Callable[[Deliveries], range | list[int]],
    longest: int,
    also: Callable[[dict[str, str]], Callable[[Delivery], bool]] | None = None,
    empty: list[object] | None = [],  # noqa: B006 - never changed
) -> Answer:
    params, now = request.params(), world.now()
    try:
        limit = _number(params, "limit", 50, 1, 1000)
        before = _number(params, "start", -1, 0, 1 << 60) if params.get("start") else None
        wanted = _filter(params, longest, now)
    except _QueryError as problem:
        return shape_c(400, world.with_reference(str(problem)))
    extra = also(params) if also else None

    def passes(delivery: Delivery) -> bool:
        return wanted(delivery) and (extra is None or extra(delivery))

    found, cursor = world.deliveries.page(places(world.deliveries), passes, now, limit, before)
    shown = [delivery.shown(now, hide_template=world.options.hide_template_id) for delivery in found]
    return ok({"messages": shown or empty, "next": cursor})


def _filter(params: dict[str, str], longest: int, now: float) -> Callable[[Delivery], bool]:
    kind, metric, state = params.get("type"), params.get("metric"), params.get("state")
    if kind and kind not in _TYPES:
        raise _QueryError("type is not one of the known message types")
    if (metric and metric not in _METRICS) or (state and state not in _STATES):
        raise _QueryError("metric or state is not known")
    end = _number(params, "end_ts", int(now) + 1, 0, 1 << 40)
    start = _number(params, "start_ts", end - longest, 0, 1 << 40)
    if end - start > longest:
        raise _QueryError("start_ts and end_ts are too far apart")
    names = [name for name in (metric, state) if name]
    nothing = any(params.get(name) for name in _OTHERS)

    def wanted(delivery: Delivery) -> bool:
        if nothing or not start <= int(delivery.accepted_at) <= end:
            return False
        if kind and TYPES[delivery.kind] != kind:
            return False
        return not names or all(name in delivery.metrics(now) for name in names)

    return wanted


def _number(params: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = params.get(name)
    if not text:
        return default
    number = path_id(text)
    if number is None or not least <= number <= most:
        raise _QueryError(f"{name} must be a number from {least} to {most}")
    return number
