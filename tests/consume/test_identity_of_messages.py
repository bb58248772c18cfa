"""Jobs without an id of their own: known by their message, whatever way it came, and every duplicate is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.processes import email

if TYPE_CHECKING:
    from tests.support.fleet import Fleet


def nameless(number: int) -> dict[str, Any]:
    return {name: value for name, value in email(number).items() if name != "id"}


def test_another_host_group_and_parameter_are_the_same_queue(fleet: Fleet) -> None:
    """200 jobs were accepted 400 times under another group."""
    fleet.put(*[nameless(number) for number in range(10)])
    first = fleet.start()
    fleet.until_sent(10)
    fleet.until(lambda: fleet.open == 0)
    assert first.end() == 0
    other = fleet.url().replace("127.0.0.1", "localhost").replace("group=senders", "group=others") + "&priority=low"
    second = fleet.start("--log-level", "outcome", urls=[other])
    fleet.until(lambda: b'status="duplicate",workspace="default"} 10.0' in second.get("/metrics")[1])
    assert second.end() == 0
    assert fleet.arrived == 10
    assert {line["status"] for line in second.outcomes} == {"duplicate"}
    assert {line["id"] for line in second.outcomes} == {line["id"] for line in first.outcomes}
    assert sum(line["event"] == "outcome" and line["status"] == "duplicate" for line in second.log) == 10


def test_a_twin_has_its_own_outcome_whatever_became_of_the_first(fleet: Fleet) -> None:
    """It was acknowledged with no line, log or count."""
    fleet.sandbox.post("faults", fault="latency", seconds=0.5, path="/v1/send/email")
    fleet.sandbox.post("faults", fault="status_422", path="/v1/send/sms")
    sms = {"id": "s", "kind": "sms", "payload": {"to": "+15551234567", "transactional_message_id": 4,
                                                 "identifiers": {"id": "42"}}}
    fleet.put(email(1), email(1), email(1), sms, sms)
    consumer = fleet.start(shared=False)
    fleet.until(lambda: fleet.open == 0)
    fleet.put(email(1), sms)
    fleet.until(lambda: fleet.open == 0)
    metrics = consumer.get("/metrics")[1]
    assert consumer.end() == 0
    statuses = sorted((line["id"], line["status"]) for line in consumer.outcomes)
    twins = [("job-1", "duplicate")] * 3 + [("s", "duplicate")] * 2
    assert statuses == sorted([*twins, ("job-1", "sent"), ("s", "rejected")])
    assert len({line["line"] for line in consumer.outcomes}) == 7, "each is told by its own number"
    assert b'sender_outcomes_total{status="duplicate",workspace="default"} 5.0' in metrics
    assert fleet.letters["s"]["reason"] == "rejected"
    with fleet.client as client:
        assert client.xlen("dead") == 3, "each copy of a refused job stays to be looked at"
    assert fleet.arrived == 2
