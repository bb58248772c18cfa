"""A result of `sender bench`, as it is saved."""

from __future__ import annotations

from typing import Any

from sender.bench.bench_result import SCHEMA

LATENCY = {"p50": 10.0, "p90": 20.0, "p99": 40.0, "p99.9": 80.0, "max": 100.0, "mean": 12.0}


def result(**more: Any) -> dict[str, Any]:
    row = {"at_s": 0, "measured": True, "planned": 100, "answered": 100, "ok": 99, "http_429": 1,
           "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
    reached = {"seconds": 10, "rate": 99.0, "share": 0.99, "rate_reached": True, "planned": 1000, "started": 990,
               "not_started": 10, "answered": 990, "ok": 980, "errors": 10, "error_share": 0.0101, "http_429": 1,
               "held_up": 0, "most_in_flight": 3, "stopped": False, "halted": None}
    return {
        "schema": SCHEMA, "sender": "1", "started_at": "2026-11-20T12:00:00Z",
        "asked": {"target": "http://127.0.0.1:1", "rate": 100.0, "duration_s": 10, "warm_up_s": 0, "ramp_s": 0,
                  "kinds": {"email": 1}, "processes": 1, "concurrency": 256, "timeout_s": 20},
        "reached": reached, "latency_ms": LATENCY, "service_ms": LATENCY, "start_lag_ms": LATENCY,
        "statuses": {"200": 980, "429": 1}, "error_codes": {"rate_limited": 1}, "curve": [[50, 10.0], [99, 40.0]],
        "histograms": {}, "series": {"width_s": 1, "rows": [row]}, "machine": {"cores": 2}, **more,
    }
