"""Opens the tracer that the standard `OTEL_…` environment asks for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from sender.errors import UsageError
from sender.runtime.tracing.tracer import NullTracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.runtime.tracing.tracer import Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN: Final = "http/protobuf"


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
