"""Key, limit, fault, effect: the way of a request through the stand-in, free of sockets."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from sender.sandbox.arrivals import Arrivals
from sender.sandbox.exchange import Answer, Request, not_found_page, proxy_page, shape_a, shape_c
from sender.sandbox.faults import Fault, Faults
from sender.sandbox.limit import SECOND, Limit, Unlimited, count_and_window, make_limit
from sender.sandbox.routes import LANES, Route, find
from sender.sandbox.spoil import api_error, replaced, retry_after_value
from sender.sandbox.webhooks import Webhooks
from sender.sandbox.world import World

if TYPE_CHECKING:
    from sender.sandbox.sandbox_options import Options

DownMode = Literal["refuse", "502", "hang"]

_NOT_ENABLED: Final = {
    "sms": "SMS messaging is not enabled for your workspace.",
    "whatsapp": "WhatsApp messaging is not enabled for your workspace.",
    "push": "Push messaging is not enabled for your workspace.",
}
_NOT_AUTHORIZED: Final = "Account is not authorized for transactional messaging. Contact win@customer.io for support."


@dataclass(frozen=True, slots=True)
class Reaction:
    """What the connection has to do: write the answer, spoilt by the fault if there is one."""

    answer: Answer
    fault: Fault | None = None
    date: str = ""
    """The API's own time, as the header has it."""


class App:
    """One workspace with its limits, faults and arrival log."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.random = Random(options.seed)
        self.webhooks: Webhooks | None = None
        if options.webhook:
            self.webhooks = Webhooks(options, self.random, lambda: self.world.now())
        self.api_key = options.api_key
        """The only key that is taken, from now on."""
        self.reset()

    def reset(self) -> None:
        """As at the start: no data, full limits, the faults of the options."""
        options = self.options
        self.world = World(options, self.random)
        if self.webhooks is not None:
            self.webhooks.forget()
            self.world.on_accepted = self.webhooks.accepted
        self.faults = Faults(options.faults, self.random)
        self.down: DownMode | None = None
        self.loop_stamps = 0
        """Arrivals that the kernel gave no stamp for."""
        rates = {"send": options.rate_send, "trigger": options.rate_trigger, "app": options.rate_app}
        self.limits: dict[str, Limit] = {lane: make_limit(options.limit, rate) for lane, rate in rates.items()}
        self.limits["other"] = Unlimited()
        self.arrivals = {lane: Arrivals(_window(rates.get(lane, 0)), forget=options.forget) for lane in LANES}

    def fault_at_head(self, request: Request) -> Fault | None:
        """A fault that strikes before the request is read, noted as an arrival."""
        route = find(request.method, request.path)
        lane = _lane(route)
        fault = self.faults.draw("head", lane, request.path, job=_is_job(route))
        if fault is not None:
            self.arrivals[lane].record(request.stamp, fault.fault, accepted=False)
        return fault

    def broken_off(self, request: Request) -> None:
        """A request whose body never came to its end is an arrival too."""
        self.arrivals[_lane(find(request.method, request.path))].record(request.stamp, "broken_off", accepted=False)

    def handle(self, request: Request) -> Reaction:
        """Answer a whole request, and note its arrival."""
        answer, fault = self._answer(request)
        return Reaction(answer, fault, _http_date(int(self.world.now())))

    def _answer(self, request: Request) -> tuple[Answer, Fault | None]:
        route = find(request.method, request.path)
        lane = _lane(route)
        if self.down is not None:
            fault = Fault("hang") if self.down == "hang" else None
            self.arrivals[lane].record(request.stamp, "hang" if fault else "502", accepted=False)
            return proxy_page(502), fault
        refusal = self._refusal(route, request)
        if refusal is not None:
            self.arrivals[lane].record(request.stamp, str(refusal.status), accepted=False)
            return refusal, None
        fault = self.faults.draw("answer", lane, request.path, job=_is_job(route))
        return self._carry_out(route, lane, request, fault)

    def _carry_out(
        self, route: Route | None, lane: str, request: Request, fault: Fault | None
    ) -> tuple[Answer, Fault | None]:
        if fault is not None and not fault.takes_effect:
            answer = proxy_page(502)
        else:
            answer = route.answer(self.world, request) if route else not_found_page()
        accepted = answer.ok
        if fault is not None:
            answer = replaced(answer, fault, lane, self._retry_after(lane))
        silent = fault is not None and fault.fault in ("reset_after", "close_after", "hang", "garbage")
        result = fault.fault if fault is not None and silent else str(answer.status)
        self.arrivals[lane].record(request.stamp, result, accepted=accepted)
        return answer, fault

    def _refusal(self, route: Route | None, request: Request) -> Answer | None:
        if route is None:
            return None
        if route.needs_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _unauthorized(route.lane)
        wait = self.limits[route.lane].admit(request.stamp)
        if wait:
            return self._too_many(route.lane, wait)
        if route.kind in self.options.forbid:
            return _forbidden(route)
        if self.options.no_read_scope and not route.kind and route.needs_key:
            return shape_c(403, self.world.with_reference("forbidden"))
        return None

    def _retry_after(self, lane: str) -> str:
        return self.options.retry_after if lane in ("send", "trigger") else "seconds"

    def _too_many(self, lane: str, wait: int) -> Answer:
        rate = {"send": self.options.rate_send, "trigger": self.options.rate_trigger, "app": self.options.rate_app}[
            lane
        ]
        count, window = count_and_window(rate)
        text = f"rate limited to {count} requests per {window / SECOND:g}s"
        answer = api_error(lane, 429, self.world.with_reference(text))
        value = retry_after_value(self._retry_after(lane), -(-wait // SECOND))
        if value is not None:
            answer.headers = (("Retry-After", value),)
        return answer


@lru_cache(maxsize=1)
def _http_date(seconds: int) -> str:
    """A time, in seconds since the epoch, as HTTP writes it."""
    return formatdate(seconds, usegmt=True)


def _window(rate: float) -> int:
    """Over which span arrivals are counted: a second, or what a slower rate asks for."""
    return count_and_window(rate)[1] if 0 < rate < 1 else SECOND


def _lane(route: Route | None) -> str:
    return route.lane if route else "other"


def _is_job(route: Route | None) -> bool:
    return route is not None and bool(route.kind)


def _unauthorized(lane: str) -> Answer:
    if lane == "send":
        return shape_a(401, "Unauthorized request")
    return shape_c(401, "unauthorized" if lane == "trigger" else "Unauthorized request")


def _forbidden(route: Route) -> Answer:
    if route.lane == "send":
        return shape_a(403, _NOT_ENABLED.get(route.kind, _NOT_AUTHORIZED))
    return shape_c(403, "forbidden")
