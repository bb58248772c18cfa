"""What the start says to a retry queue, and how jobs that come back from one are read."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from sender.cli.consume import add_arguments, make_plan
from sender.config.settings import DEFAULTS
from sender.consume.message_parser import MessageParser
from sender.consume.outputs import _warn_of_haste
from sender.errors import UsageError
from sender.outcomes.outcome import Outcome
from sender.queues.address import parse
from sender.queues.queue import EXPIRES, REDRIVE, RETRY
from tests.consume.parts import message, parser

if TYPE_CHECKING:
    from sender.consume.consume_plan import ConsumePlan
    from sender.queues import Message

MAIN, AGAIN = "kafka://a,b/jobs?group=g", "kafka://a/again"


def plan(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ConsumePlan:
    monkeypatch.setenv("SENDER_API_KEY", "key")
    parsing = argparse.ArgumentParser()
    add_arguments(parsing)
    return make_plan(parsing.parse_args([*arguments, "--ledger", "ledger"]))


@pytest.mark.parametrize(("arguments", "says"), [
    ((MAIN, "--retry-to", "kafka://a/jobs"), r"read it with \?delay=SECONDS"),
    ((MAIN, "kafka://a:9092/again?group=g", "--retry-to", AGAIN), "tried again at once"),
    ((MAIN, "--retry-to", AGAIN, "--dead-letter", "kafka://b,a/again"), "the same queue"),
    ((MAIN, "--retry-to", "again.jsonl"), "no queue URL"),
    ((MAIN, "--retry-to", "kafka://a/again?group=g"), "no parameter group"),
])
def test_a_retry_queue_that_cannot_be_meant(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        plan(monkeypatch, *arguments)


def test_a_retry_queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert plan(monkeypatch, MAIN).retry_to == ""
    found = plan(monkeypatch, MAIN, "kafka://b,a/again?group=g&delay=5", "--retry-to", AGAIN, "--retries", "7")
    assert (found.retry_to, found.settings.retries) == (AGAIN, 7)
    (tmp_path / "url").write_text(f"{AGAIN}\n")
    assert plan(monkeypatch, MAIN, "--retry-to-file", str(tmp_path / "url")).retry_to == AGAIN


def test_a_broker_that_delays_nothing_is_told_where_it_is_both() -> None:
    target = parse("redis://host/0?stream=again", writes=True)
    with capture_logs() as logs:
        _warn_of_haste(target, ["redis://host/0?stream=jobs&group=g"])
        assert logs == []
        _warn_of_haste(target, ["redis://host:6379/0?stream=again&group=g"])
    assert ["delays nothing" in one["event"] for one in logs] == [True]


def parsed(headers: dict[str, str], expires_at: float | None = None, deliveries: int = 1) -> Any:
    found: Message = message(1)
    found.headers, found.expires_at, found.deliveries = headers, expires_at, deliveries
    return MessageParser(parser(), DEFAULTS).parse(found)


@pytest.mark.parametrize("mark", [RETRY, REDRIVE])
def test_a_copy_of_a_job_that_expired_is_looked_up_before_it_is_refused(mark: str) -> None:
    """It may have been sent in time, and its outcome would say `invalid` of a receipt that was accepted."""
    past = time.time() - 5
    assert isinstance(parsed({}, past), Outcome)
    found = parsed({mark: "1"}, past)
    assert found.expires_at == past, "the lane looks at it once more before it starts"


def test_what_the_first_queue_told_of_the_time_holds_in_the_retry_queue() -> None:
    assert parsed({RETRY: "1", EXPIRES: "4000000000.5"}).expires_at == 4000000000.5
    assert parsed({RETRY: "1", EXPIRES: "4000000000.5"}, 4100000000.0).expires_at == 4100000000.0


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-inf"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert parsed({RETRY: "1", EXPIRES: text}).expires_at is None
