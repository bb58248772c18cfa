"""Traces: a job is one span under its sender's own, with its attempts, and with nothing of its content."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from sender.errors import UsageError
from sender.runtime.tracing import NullTracer, open_tracer, wanted
from sender.runtime.tracing.otel import OtelTracer, trace_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Traced:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = OtelTracer(provider)

    def spans(self) -> list[Any]:
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_a_job_is_one_span_with_its_attempts(traced: Traced) -> None:
    span = traced.tracer.begin("email", "send", {"traceparent": PARENT, "tracestate": "rojo=1"})
    span.attempt("connect_failed")
    span.attempt(429, 0.1)
    span.attempt(200, 0.05)
    span.end("sent")
    (seen,) = traced.spans()
    assert (seen.name, seen.kind) == ("send email", SpanKind.CONSUMER)
    assert f"{seen.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{seen.parent.span_id:016x}" == PARENT.split("-")[2]
    assert seen.context.trace_state.get("rojo") == "1"
    assert seen.attributes == {
        "sender.kind": "email", "sender.lane": "send", "sender.status": "sent", "sender.attempts": 3,
    }
    assert [dict(event.attributes) for event in seen.events] == [
        {"sender.attempt": 1, "error.type": "connect_failed"},
        {"sender.attempt": 2, "http.response.status_code": 429, "sender.duration_seconds": 0.1},
        {"sender.attempt": 3, "http.response.status_code": 200, "sender.duration_seconds": 0.05},
    ]
    assert seen.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("status", "code", "failed"),
    [
        ("rejected", "api_error", True),
        ("in_doubt", "timeout", True),
        ("invalid", "bad_recipient", True),
        ("duplicate", None, False),
        ("not_started", None, False),
    ],
)
def test_how_it_ended(traced: Traced, status: str, code: str | None, *, failed: bool) -> None:
    span = traced.tracer.begin("sms", "send")
    span.end(status, code)
    (seen,) = traced.spans()
    assert seen.attributes.get("error.type") == code
    assert (seen.status.status_code is StatusCode.ERROR) == failed
    assert seen.status.description is None


def test_no_text_of_others_becomes_an_attribute(traced: Traced) -> None:
    span = traced.tracer.begin("email", "send", {"x-recipient": "ada@example.com"})
    span.attempt("ada@example.com refused")
    span.end("rejected", "ada@example.com refused")
    (seen,) = traced.spans()
    assert "ada@example.com" not in seen.to_json()
    assert seen.attributes["error.type"] == "other"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "garbage"},
        {"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"},
        {"traceparent": "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"traceparent": PARENT + "x" * 100_000},
        {"traceparent": 7},
        {7: PARENT},
    ],
)
def test_what_is_no_trace_context_begins_a_trace_of_its_own(traced: Traced, headers: Any) -> None:
    traced.tracer.begin("email", "send", headers).end("sent")
    (seen,) = traced.spans()
    assert seen.parent is None


def test_header_names_have_no_case_and_values_may_be_bytes(traced: Traced) -> None:
    traced.tracer.begin("email", "send", {"TraceParent": PARENT.encode()}).end("sent")
    (seen,) = traced.spans()
    assert f"{seen.parent.span_id:016x}" == PARENT.split("-")[2]


@given(st.dictionaries(st.sampled_from(["traceparent", "tracestate", "Tracestate", "x"]), st.text() | st.binary()))
def test_no_header_breaks_it(headers: dict[str, str | bytes]) -> None:
    traced = Traced()
    traced.tracer.begin("email", "send", headers | {"traceparent": headers.get("traceparent", PARENT)}).end("sent")
    assert len(traced.spans()) == 1
    assert trace_headers(headers).keys() <= {"traceparent", "tracestate"}


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
    ],
)
def test_the_standard_environment_turns_it_on(environment: dict[str, str], *, on: bool) -> None:
    assert wanted(environment) == on


async def test_nobody_traces() -> None:
    tracer = open_tracer({})
    assert isinstance(tracer, NullTracer)
    span = tracer.begin("email", "send", {"traceparent": PARENT})
    span.attempt(200, 0.1)
    span.end("sent")
    await tracer.aclose()


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_what_is_not_spoken_is_said(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="OTEL_"):
        open_tracer(environment)


class Collector:
    def __init__(self, status: int) -> None:
        self.paths: list[str] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.paths.append(self.path)
                collector.bodies.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def collectors() -> Iterator[Any]:
    made: list[Collector] = []

    def make(status: int) -> Collector:
        made.append(Collector(status))
        return made[-1]

    yield make
    for collector in made:
        collector.close()


async def test_spans_reach_the_collector_before_the_end(collectors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = collectors(200)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    tracer = open_tracer()
    tracer.begin("email", "send").end("sent")
    await tracer.aclose()
    assert collector.paths == ["/v1/traces"]
    assert b"send email" in collector.bodies[0]
    assert b"service.name" in collector.bodies[0]


async def test_a_collector_that_refuses_is_one_line_in_our_log(
    collectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = collectors(400)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    tracer = open_tracer()
    tracer.begin("email", "send").end("sent")
    with capture_logs() as logs:
        await tracer.aclose()
    assert [line["event"] for line in logs] == ["traces are not sent as they should be"]
    assert not logging.getLogger("opentelemetry").handlers


async def test_a_collector_that_is_away_holds_the_end_only_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.runtime.tracing.otel.CLOSE_WITHIN", 0.05)
    release = threading.Event()

    class Stuck(TracerProvider):
        def shutdown(self) -> None:
            release.wait(30)

    tracer = OtelTracer(Stuck(shutdown_on_exit=False))
    with capture_logs() as logs:
        await tracer.aclose()
    release.set()
    assert "in time" in logs[0]["event"]


def test_opentelemetry_is_imported_only_when_used_and_named_when_missing() -> None:
    code = (
        "import sys; from sender.errors import UsageError; from sender.runtime.tracing import open_tracer\n"
        "open_tracer({})\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
        "sys.modules['opentelemetry'] = None\n"
        "try:\n    open_tracer({'OTEL_TRACES_EXPORTER': 'otlp'})\n"
        "except UsageError as error:\n    assert 'sender[tracing]' in str(error)\n"
        "else:\n    raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
