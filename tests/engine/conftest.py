from __future__ import annotations

import pytest


@pytest.fixture
def no_detail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bodies of `World` are bare strings that name their job; there is nothing in them to keep."""
    monkeypatch.setattr("sender.engine.job_execution.JobExecution._detail", lambda self, **_: b"{}")
