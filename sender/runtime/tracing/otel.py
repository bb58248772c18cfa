"""Spans by OpenTelemetry (extra `tracing`), exported as OTLP over HTTP by a thread of its own; nothing is global."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from sender.errors import UsageError
from sender.jobs.codes import PROBLEMS
from sender.runtime.version import __version__

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise UsageError("OTEL_… asks for traces, which need OpenTelemetry: pip install 'sender[tracing]'") from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

MOST_HEADER: Final = {"traceparent": 64, "tracestate": 512}
"""Longest values that are looked at, in characters (W3C Trace Context)."""
MOST_HEADERS: Final = 200
CLOSE_WITHIN: Final = 3.0
"""Seconds that the end of a run waits for the last spans: a collector that is away must not hold a drain."""
GOOD: Final = ("sent", "duplicate", "skipped", "not_started")

log = structlog.get_logger()


class OtelTracer:
    """A `Tracer` with a provider of its own."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sender", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._complaints = _Complaints()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Endpoint, headers, sampler and the rest are read by OpenTelemetry itself from `OTEL_…`."""
        attributes = {"service.version": __version__}
        named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        if not named:
            attributes["service.name"] = "sender"
        provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self = cls(provider)
        logging.getLogger("opentelemetry").addHandler(self._complaints)
        return self

    def begin(self, kind: str, lane: str, headers: Mapping[str, str | bytes] | None = None) -> OtelSpan:
        """See `Tracer`; headers that are no trace context begin a trace of their own."""
        context = self._propagator.extract(trace_headers(headers or {}), context=Context())
        attributes = {"sender.kind": kind, "sender.lane": lane}
        return OtelSpan(
            self._tracer.start_span(f"send {kind}", context=context, kind=SpanKind.CONSUMER, attributes=attributes)
        )

    async def aclose(self) -> None:
        """See `Tracer`."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=shut_down, name="tracing: shut down", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await done.wait()
        except TimeoutError:
            log.warning("the last traces could not be sent in time")
        finally:
            logging.getLogger("opentelemetry").removeHandler(self._complaints)


class OtelSpan:
    """A `JobSpan`."""

    __slots__ = ("_attempts", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._attempts = 0

    def attempt(self, status: int | str, seconds: float | None = None) -> None:
        """See `JobSpan`."""
        self._attempts += 1
        facts: dict[str, str | int | float] = {"sender.attempt": self._attempts}
        if isinstance(status, int):
            facts["http.response.status_code"] = status
        else:
            facts["error.type"] = _code(status)
        if seconds is not None:
            facts["sender.duration_seconds"] = seconds
        self._span.add_event("attempt", facts)

    def end(self, status: str, code: str | None = None) -> None:
        """See `JobSpan`."""
        self._span.set_attribute("sender.status", status)
        self._span.set_attribute("sender.attempts", self._attempts)
        if code is not None:
            self._span.set_attribute("error.type", _code(code))
        if status not in GOOD:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def trace_headers(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """The trace context of a message, whatever the case of its names; what is too long or no text is left out."""
    found: dict[str, str] = {}
    for name, value in list(headers.items())[:MOST_HEADERS]:
        plain = name.lower() if isinstance(name, str) else ""
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
        if plain in MOST_HEADER and isinstance(text, str) and len(text) <= MOST_HEADER[plain]:
            found[plain] = text
    return found


def _code(code: str) -> str:
    return code if code in PROBLEMS else "other"


class _Complaints(logging.Handler):
    """Brings what the exporter complains of into our log, so that stderr stays one kind of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            log.warning("traces are not sent as they should be", problem=record.getMessage()[:500])
