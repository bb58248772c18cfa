"""The house as it is meant: who may import whom, how large a file may grow, what names do not appear."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "sender"
FILES = sorted(ROOT.rglob("*.py"))

# Each layer may import those below it; `pure` parts import no edge.
EDGES = (
    "sender.transport.http_transport",
    "sender.ledger.sqlite_ledger",
    "sender.outcomes.outcome_log",
    "sender.inputs",
)
PURE = (
    "validation", "jobs", "transport/verdict.py", "transport/error_body.py", "engine/backoff.py", "engine/breaker.py",
    "engine/admission.py", "engine/pacing/guard.py", "outcomes/summary.py",
    "runtime/histogram.py", "runtime/metrics/labels.py", "runtime/recent_rate.py",
)


def imports(path: Path) -> set[str]:
    """Modules imported when the program runs, not those for types alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file(path: Path) -> None:
    name, used = name_of(path), imports(path)
    if name.startswith(PURE):
        assert not {module for module in used if module.startswith(EDGES)}
        assert not used & {"aiohttp", "asyncio", "anyio", "sqlite3", "structlog"}
    if name.startswith("engine") and name != "engine/workspace.py":
        assert not {module for module in used if module.startswith((*EDGES, "sender.send", "sender.cli"))}
    if name.startswith("sandbox"):
        own = {module for module in used if module.startswith("sender.") and not module.startswith("sender.sandbox")}
        assert own <= {"sender.errors"}, "it shares nothing with what it proves"
    if not name.startswith(("cli", "__main__")):
        assert not {module for module in used if module.startswith("sender.cli")}
    if name.startswith("runtime"):
        own = {module for module in used if module.startswith("sender.")}
        assert all(module.startswith(("sender.runtime", "sender.jobs", "sender.errors")) for module in own)
    for library, where in (
        ("aiohttp", ("transport/http_transport.py", "runtime/bounded_server.py", "runtime/live/live_server.py",
                     "follow/webhooks/listener.py")),
        ("prometheus_client", tuple(f"runtime/metrics/{part}.py" for part in ("events", "gauges", "replica_metrics"))),
        ("opentelemetry", ("runtime/tracing/otel.py",)),
    ):
        assert any(module.startswith(library) for module in used) == (name in where)
    assert len(path.read_text().splitlines()) <= 480
    assert path.stem not in ("utils", "util", "helpers", "misc", "base")


def test_functions_read_as_steps() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno <= 50, f"{name_of(path)}: {node.name}"
