"""Traces: one span for each job with its attempts as events, as the child of whoever queued it (W3C trace context).

Off unless the standard `OTEL_…` environment asks for it; then the extra `tracing` is needed. What is told of a job is
its kind, its lane, statuses and codes: no id, address or text of it, and no header is added to its request.
"""

from sender.runtime.tracing.open_tracer import open_tracer, wanted
from sender.runtime.tracing.tracer import NOBODY, JobSpan, NullTracer, Tracer

__all__ = ["NOBODY", "JobSpan", "NullTracer", "Tracer", "open_tracer", "wanted"]
