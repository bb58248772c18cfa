"""One line for each outcome, at its own level, with nothing of the payload."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import structlog

from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome
from sender.outcomes.outcome_lines import OutcomeLines
from sender.runtime import logs
from sender.runtime.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOMES = (
    Outcome("receipt-1", "email", "sent", "jobs", 1, attempts=1, result=(("delivery_id", "dg"), ("answer", "ada@x")),
            meta=b'{"note":"ada@x"}', latency_ms=41.2),
    Outcome(None, None, "invalid", "jobs", 2, problems=(Problem("bad_recipient", "to", "no address"),)),
)


@pytest.fixture(autouse=True)
def fresh_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def written(form: str, level: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    stream = io.StringIO()
    monkeypatch.setattr(logs, "SCREEN", Screen(stream))
    monkeypatch.setattr("sender.outcomes.outcome_lines.log", structlog.get_logger())
    logs.set_up(form, level)
    lines = OutcomeLines(level)
    for outcome in OUTCOMES:
        lines.tell(outcome)
    structlog.get_logger().info("other")
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("level", ["outcome", "debug"])
def test_each_outcome_is_one_line_of_json(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written("json", level, monkeypatch)
    first, second, other = map(json.loads, lines)
    assert (first["level"], first["event"], first["status"], first["delivery_id"]) == (
        "outcome", "outcome", "sent", "dg",
    )
    assert second["error"]["code"] == "bad_recipient"
    assert other["level"] == "info"
    assert "ada@x" not in lines[0]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_no_level_above_has_them(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [line for line in written("json", level, monkeypatch) if "outcome" in line]


def test_the_console_knows_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written("console", "outcome", monkeypatch)
    assert len(lines) == 3
    assert "receipt-1" in lines[0]
