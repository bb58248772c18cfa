"""Outcome logs whose figures are known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

START = 1_795_218_981.0
EVIL = '</script><script>alert(1)</script><img src="http://evil.example/x" onerror=alert(1)>\x1b[31m\u202e&amp;'


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line(
    number: int, status: str = "sent", *, at: float = 0.0, latency: float | None = 40.0, **more: Any
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": f"job-{number}", "kind": "email", "status": status, "http_status": 200, "attempts": 1, "error": None,
        "warnings": [], "source": "jobs.jsonl", "line": number, "started_at": stamp(at),
    }
    if latency is not None:
        found |= {"latency_ms": latency, "finished_at": stamp(at + latency / 1000)}
    return found | more


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def write(path: Path, lines: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def a_run(path: Path) -> Path:
    """990 sent at 100/s with 1.0 to 99.0 ms, 6 refused, 2 in doubt of which one was sent after all, 1 invalid."""
    lines = [line(n, at=n / 100, latency=1.0 + n % 99) for n in range(990)]
    lines += [line(2000 + n, "rejected", at=5, http_status=400, **error("api_error", "no address: ada@example.com"))
              for n in range(6)]
    lines += [line(3000 + n, "in_doubt", at=6, latency=None, http_status=None, **error("timeout", "no answer"))
              for n in range(2)]
    lines += [line(3001, "sent", at=6, latency=None)]
    lines += [
        line(4000, "failed", at=7, attempts=5, latency=2500.0, http_status=429, **error("rate_limited", "slower"))
    ]
    lines += [line(5000, "invalid", attempts=0, latency=None, started_at=None, **error("bad_recipient", "to is wrong"))]
    lines += [line(1, "duplicate", attempts=0, latency=None, started_at=None)]
    return write(path, lines)
