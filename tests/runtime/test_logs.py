"""The operator's log: one line each, without secrets, whatever is logged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from sender.runtime.logs import set_up

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_structlog() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def logged(capsys: pytest.CaptureFixture[str], form: str, level: str = "info", **values: Any) -> str:
    set_up(form, level)
    log = structlog.get_logger()
    log.debug("too little")
    log.warning("connected", **values)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_logs_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    text = logged(
        capsys, "json", url="redis://user:secret@host/0", more=["amqp://u:secret@h"], deep={"a": "x://u:secret@h"}
    )
    record = json.loads(text)
    assert (record["event"], record["level"], record["url"]) == ("connected", "warning", "redis://***@host/0")
    assert "secret" not in text
    assert text.count("\n") == 1


def test_logs_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    text = logged(capsys, "console", url="redis://user:secret@host/0")
    assert "connected" in text
    assert "secret" not in text
    assert "\x1b" not in text
    assert logged(capsys, "console", "error") == ""


@pytest.mark.parametrize("value", [2**70, "\udce9", b"\xff", object(), None, float("nan"), {1: 2}, {3}])
@pytest.mark.parametrize("form", ["console", "json"])
def test_anything_can_be_logged(form: str, value: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "connected" in logged(capsys, form, value=value)
