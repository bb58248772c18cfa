"""Traces: one span for each job with its attempts as events, as the child of whoever queued it (W3C trace context).

Off unless the standard `OTEL_…` environment asks for it; then the extra `tracing` is needed. What is told of a job is
its kind, its lane, statuses and codes: no id, address or text of it, and no header is added to its request.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from sender.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN: Final = "http/protobuf"


class JobSpan(Protocol):
    """One job, from its taking up to its end."""

    def attempt(self, status: int | str, seconds: float | None = None) -> None:
        """A request ended with this HTTP status, or with the code of its fault."""

    def end(self, status: str, code: str | None = None) -> None:
        """The job ended so (`not_started`: it was given back), with the code of its first problem."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, kind: str, lane: str, headers: Mapping[str, str | bytes] | None = None) -> JobSpan:
        """A job is taken up; `headers` are those of its message."""

    async def aclose(self) -> None:
        """Send what is left, but wait for it only a little."""


class NullSpan:
    """Nobody traces."""

    def attempt(self, status: int | str, seconds: float | None = None) -> None:
        """See `JobSpan`."""

    def end(self, status: str, code: str | None = None) -> None:
        """See `JobSpan`."""


NOBODY: Final = NullSpan()


class NullTracer:
    """Nobody traces."""

    def begin(self, kind: str, lane: str, headers: Mapping[str, str | bytes] | None = None) -> JobSpan:  # noqa: ARG002
        """See `Tracer`."""
        return NOBODY

    async def aclose(self) -> None:
        """See `Tracer`."""


def open_tracer(environment: Mapping[str, str] | None = None) -> Tracer:
    """The tracer that `OTEL_…` asks for, or one that does nothing; UsageError when what is asked for is not there."""
    environment = os.environ if environment is None else environment
    if not wanted(environment):
        return NullTracer()
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), SPOKEN)
    if protocol != SPOKEN:
        raise UsageError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; sender sends traces as {SPOKEN} only")
    from sender.runtime.tracing.otel import OtelTracer

    return OtelTracer.from_environment(environment)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether traces are to be sent: an endpoint or `OTEL_TRACES_EXPORTER=otlp` is given and nothing says no."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter and exporter != "otlp":
        if exporter != "none":
            raise UsageError(f"OTEL_TRACES_EXPORTER is {exporter}; sender knows otlp and none")
        return False
    return exporter == "otlp" or any(environment.get(name) for name in ENDPOINTS)
