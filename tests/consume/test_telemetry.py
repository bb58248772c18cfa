"""What a consumer at work tells at a scrape."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.processes import email

if TYPE_CHECKING:
    from tests.support.fleet import Consumer, Fleet


def figure(consumer: Consumer, name: str, **labels: str) -> float | None:
    """The sum of a metric's samples that have these labels; None where there is none."""
    text = consumer.get("/metrics")[1].decode()
    found = [
        sample.value for family in parse(text) for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found) if found else None


def test_letters_that_wait_and_that_are_written(fleet: Fleet) -> None:
    with fleet.client as client:
        client.set("dead", "no stream: every letter is refused")
    fleet.put(b"nonsense", email(1))
    consumer = fleet.start()
    fleet.until(lambda: figure(consumer, "sender_dead_letters_waiting") == 1)
    fleet.until(lambda: (figure(consumer, "sender_dead_letters_refused_total") or 0) > 0)
    assert figure(consumer, "sender_dead_letters_written_total", reason="invalid") == 0
    assert (figure(consumer, "sender_oldest_message_age_seconds") or 0) > 0
    with fleet.client as client:
        client.delete("dead")
    fleet.until(lambda: figure(consumer, "sender_dead_letters_written_total", reason="invalid") == 1)
    fleet.until(lambda: figure(consumer, "sender_dead_letters_waiting") == 0)
    fleet.until(lambda: figure(consumer, "sender_oldest_message_age_seconds") is None)
    assert consumer.end() == 0


def test_messages_that_come_again_and_a_pause(fleet: Fleet) -> None:
    with fleet.client as client:
        client.xgroup_create("jobs", "senders", id="0", mkstream=True)
        left = fleet.put(email(1), email(2))
        client.xreadgroup("senders", "crashed", {"jobs": ">"}, count=2)
        client.xclaim("jobs", "senders", "crashed", 0, left, idle=10**8, justid=True)  # type: ignore[arg-type]
    consumer = fleet.start(shared=False)
    fleet.until(lambda: figure(consumer, "sender_redeliveries_total") == 2)
    fleet.put(email(3))
    fleet.until_sent(1)
    fleet.until(lambda: (figure(consumer, "sender_achieved_rate", lane="send") or 0) > 0)
    assert [figure(consumer, f"sender_{flag}") for flag in ("paused", "halted", "state_away")] == [0, 0, None]
    consumer.signal(signal.SIGUSR1)
    fleet.until(lambda: figure(consumer, "sender_paused") == 1)
    consumer.signal(signal.SIGUSR2)
    fleet.until(lambda: figure(consumer, "sender_paused") == 0)
    assert consumer.end() == 0
