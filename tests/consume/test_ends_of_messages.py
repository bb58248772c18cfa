"""What becomes of messages: acknowledged, dead letters with their reasons, kept until settled, given back."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING, Any

from tests.support.processes import email, outcomes

if TYPE_CHECKING:
    from tests.support.fleet import Fleet

SMS = {"to": "+15551234567", "transactional_message_id": 4, "identifiers": {"id": "42"}}


def job(kind: str, name: str) -> dict[str, Any]:
    return {"id": name, "kind": kind, "payload": {**SMS, "message_data": {"n": name}}}


def test_every_end_has_its_dead_letter_and_its_reason(fleet: Fleet) -> None:
    fault = fleet.sandbox.post
    fault("faults", fault="status_422", path="/v1/send/sms")
    fault("faults", fault="status_503", body="api", retry_after="none", path="/v1/send/whatsapp")
    fault("faults", fault="accept_500", path="/v1/send/push", count=1)
    fleet.put(email(1), b'{"id": "broken"', {"id": "bad", "kind": "email", "payload": {}}, job("sms", "refused"))
    fleet.put(job("whatsapp", "gave-up"), job("push", "doubtful"), {**email(2), "workspace": "nowhere"})
    consumer = fleet.start("--max-attempts", "1", "--reconcile-lag", "3600", shared=False)
    fleet.until(lambda: len(fleet.letters) == 6)
    fleet.until(lambda: fleet.open == 0)
    reasons = {name: letter["reason"] for name, letter in fleet.letters.items()}
    assert reasons == {
        "None": "invalid", "bad": "invalid", "refused": "rejected", "gave-up": "failed", "doubtful": "in_doubt",
        "job-2": "invalid",
    }
    assert fleet.letters["job-2"]["code"] == "bad_workspace"
    assert fleet.letters["None"]["job"] == b'{"id": "broken"', "the line as it came"
    assert json.loads(fleet.letters["doubtful"]["job"]) == job("push", "doubtful")
    assert consumer.end() == 0
    assert {line["status"] for line in consumer.outcomes} == {"sent", "invalid", "rejected", "failed", "in_doubt"}


def test_a_dead_letter_that_is_away_holds_up_no_other_and_is_written_before_the_ack(fleet: Fleet) -> None:
    fleet.put(b"nonsense", email(1))
    with fleet.client as client:
        client.set("dead", "no stream: every letter is refused")
    consumer = fleet.start(shared=False)
    fleet.until_sent(1)
    fleet.until(lambda: fleet.open == 1, 5)
    fleet.until(lambda: any("dead letter cannot be written" in line["event"] for line in consumer.log))
    with fleet.client as client:
        client.delete("dead")
    fleet.until(lambda: fleet.open == 0)
    assert len(fleet.letters) == 1
    assert consumer.end() == 0


def test_resend_if_absent_keeps_the_message_until_the_job_is_settled(fleet: Fleet) -> None:
    fleet.sandbox.post("faults", fault="status_500", path="/v1/send/email", count=1)
    fleet.put(email(1))
    policy = ("--in-doubt", "resend-if-absent", "--reconcile-lag", "1")
    consumer = fleet.start(*policy, shared=False)
    fleet.until(lambda: any(line["status"] == "in_doubt" for line in outcomes_of(consumer)))
    assert len(fleet.pending()) == 1
    fleet.put(email(2))  # what the API shows of it tells that the first one surely is absent
    fleet.until(lambda: fleet.open == 0)
    assert fleet.sandbox.numbers() == [2, 1]
    assert fleet.letters == {}
    assert consumer.end() == 0
    assert {line["id"]: line["status"] for line in consumer.outcomes} == {"job-1": "sent", "job-2": "sent"}


def outcomes_of(consumer: Any) -> list[dict[str, Any]]:
    path = consumer.folder / f"{consumer.name}.jsonl"
    return outcomes(path) if path.exists() else []


def test_a_poison_message_ends_as_a_dead_letter_and_a_finished_one_is_acknowledged_without_a_send(fleet: Fleet) -> None:
    """As after N readers that crashed on it: the broker's count says so."""
    poison, done, *_ = fleet.put(email(1), email(2), email(3))
    with fleet.client as client:
        client.xgroup_create("jobs", "senders", id="0")
        client.xreadgroup("senders", "crashed", {"jobs": ">"}, count=2)
        for one, times in ((poison, 6), (done, 9)):
            client.xclaim("jobs", "senders", "crashed", 0, [one], idle=10**8, retrycount=times, justid=True)  # type: ignore[arg-type]
        client.xadd("earlier", {"job": json.dumps(email(2))})
    first = fleet.start("--health-port", "0", urls=[fleet.url("earlier")], shared=False)
    fleet.until_sent(1)
    assert first.end() == 0
    second = fleet.start(shared=False)
    fleet.until(lambda: fleet.open == 0)
    assert sorted(fleet.sandbox.numbers()) == [2, 3]
    assert {name: letter["code"] for name, letter in fleet.letters.items()} == {"job-1": "too_many_deliveries"}
    assert second.end() == 0


def test_an_expired_job_that_was_sent_in_time_stays_sent_when_its_message_comes_again(fleet: Fleet) -> None:
    """Its outcome line would be `invalid` otherwise, and its line a dead letter, though it was accepted."""
    line = email(1, expires_at=int(time.time()) + 12)
    (message,) = fleet.put(line)
    consumer = fleet.start(shared=False)
    fleet.until_sent(1)
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0
    time.sleep(max(0.0, line["expires_at"] + 0.1 - time.time()))
    again, late = fleet.put(line, email(2, expires_at=int(time.time()) - 5))
    with fleet.client as client:
        client.xreadgroup("senders", "crashed", {"jobs": ">"}, count=2)
        client.xclaim("jobs", "senders", "crashed", 0, [again, late], idle=10**8, retrycount=1, justid=True)  # type: ignore[list-item]
    consumer = fleet.start(shared=False)
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0
    assert message != again
    assert {name: letter["code"] for name, letter in fleet.letters.items()} == {"job-2": "expired"}


def test_a_drain_gives_back_what_it_did_not_start_and_no_give_back_counts_as_a_delivery(fleet: Fleet) -> None:
    fleet.put(*[email(n) for n in range(40)])
    fleet.sandbox.post("faults", fault="latency", seconds=0.4)
    for sent in (3, 6, 9):
        consumer = fleet.start("--rate", "20", "--max-deliveries", "1", shared=False)
        fleet.until_sent(sent)
        start = time.monotonic()
        assert consumer.end() == 0
        assert time.monotonic() - start < 5, "well inside the grace of 25 s"
        assert all(line["http_status"] == 200 for line in consumer.outcomes), "what was in hand came to its end"
        assert {one["times_delivered"] for one in fleet.pending()} == {0}
    last = fleet.start("--rate", "1000", "--max-deliveries", "1", shared=False)
    fleet.until(lambda: fleet.open == 0)
    assert last.end() == 0
    assert sorted(fleet.sandbox.numbers()) == list(range(40))
    assert fleet.letters == {}


def test_the_second_signal_lets_go_at_once_and_what_was_unanswered_is_in_doubt(fleet: Fleet) -> None:
    fleet.sandbox.post("faults", fault="hang", seconds=30)
    fleet.put(email(1))
    consumer = fleet.start(shared=False)
    fleet.until_sent(1)
    consumer.signal(signal.SIGTERM)
    fleet.until(lambda: consumer.get("/readyz")[0] == 503)
    assert consumer.process.poll() is None, "it waits for the answer"
    start = time.monotonic()
    assert consumer.end() == 3
    assert time.monotonic() - start < 8
    assert [line["status"] for line in consumer.outcomes] == ["in_doubt"]
    assert fleet.letters["job-1"]["reason"] == "in_doubt"


def test_a_full_lane_leaves_the_places_in_hand_to_the_others(fleet: Fleet) -> None:
    """Broadcasts, one in 100 s, would fill all the places in hand for half an hour."""
    broadcast = {"kind": "broadcast", "broadcast_id": 1, "payload": {}}
    fleet.put(*[{**broadcast, "id": f"b-{n}"} for n in range(30)], email(1), email(2))
    consumer = fleet.start("--prefetch", "16", "--max-deliveries", "1", "--rate", "trigger=0.01", shared=False)
    fleet.until_sent(2, 20)
    assert consumer.end() == 0
    assert fleet.letters == {}
    assert {one["times_delivered"] for one in fleet.pending()} == {0}


def test_a_hundred_letters_that_are_refused_hold_up_no_other_message_and_are_told(fleet: Fleet) -> None:
    """They took every place in hand: nothing else was read, and the replica was ready all the same."""
    fleet.put(*[b"nonsense"] * 100, *[email(n) for n in range(30)])
    with fleet.client as client:
        client.set("dead", "no stream: every letter is refused")
    consumer = fleet.start("--prefetch", "20", shared=False)
    fleet.until_sent(30)
    fleet.until(lambda: consumer.get("/readyz")[0] == 503)
    assert b"the dead letter refuses" in consumer.get("/readyz")[1]
    metrics = consumer.get("/metrics")[1].decode().splitlines()
    (in_hand,) = [line for line in metrics if line.startswith("sender_messages_in_hand ")]
    assert float(in_hand.split()[-1]) >= 100
    (parked,) = [line for line in metrics if line.startswith("sender_messages_parked ")]
    assert float(parked.split()[-1]) >= 20
    with fleet.client as client:
        client.delete("dead")
    fleet.until(lambda: fleet.open == 0 and consumer.ready)
    assert len(fleet.letters) == 1, "all of no id"
    assert consumer.end() == 0


def test_memory_and_not_a_number_bounds_what_is_in_hand(fleet: Fleet) -> None:
    """120 emails with attachments of 1.9 MB took 587 MB."""
    large = [email(n) for n in range(30)]
    for one in large:
        one["payload"]["attachments"] = {"bill.pdf": "QUFB" * 75_000}
    fleet.put(*large)
    consumer = fleet.start("--memory", "4MiB", "--rate", "0.01", "--prefetch", "100", shared=False)
    fleet.until(lambda: any("memory is full" in line["event"] for line in consumer.log))
    most = 4 * 2**20 // (2 * 300_000) + 1
    for _ in range(20):
        assert len(fleet.pending()) <= most
        time.sleep(0.1)
    assert consumer.end() == 0
    again = fleet.start(shared=False)
    fleet.until(lambda: fleet.open == 0)
    assert again.end() == 0
    assert sorted(fleet.sandbox.numbers()) == list(range(30))


def test_a_message_larger_than_any_job_is_buried_unread(fleet: Fleet) -> None:
    """A few of 30 MB ended the process, came again, and ended the next one."""
    with fleet.client as client:
        for _ in range(3):
            client.xadd("jobs", {"job": b'{"id": "huge", "x": "' + b"x" * (27 * 2**20) + b'"}'})
    fleet.put(email(1))
    consumer = fleet.start(shared=False)
    fleet.until_sent(1)
    fleet.until(lambda: fleet.open == 0)
    assert consumer.end() == 0
    assert {letter["code"] for letter in fleet.letters.values()} == {"line_too_long"}
    assert {len(letter["job"]) for letter in fleet.letters.values()} == {1024}


def test_a_slow_kind_before_fast_ones_is_told(fleet: Fleet) -> None:
    broadcast = {"kind": "broadcast", "broadcast_id": 1, "payload": {}}
    fleet.put({**broadcast, "id": "b-1"}, {**broadcast, "id": "b-2"}, email(1), email(2))
    consumer = fleet.start(shared=False)
    fleet.until(lambda: sum("share a queue" in line["event"] for line in consumer.log) == 1)
    fleet.until_sent(2)
    assert consumer.end() == 0
    assert sum("share a queue" in line["event"] for line in consumer.log) == 1


def test_what_is_parked_behind_an_open_breaker_stays_in_hand(fleet: Fleet) -> None:
    """154 of 400 receipts were given back five times in an outage of 30 s."""
    fleet.put(*[email(n) for n in range(300)])
    fleet.sandbox.post("faults", fault="status_503", body="api", retry_after="none")
    consumer = fleet.start("--prefetch", "50", "--max-deliveries", "1", shared=False)
    fleet.until(lambda: consumer.ready)
    fleet.until(lambda: len(fleet.pending()) > 60)
    idle = [one["time_since_delivered"] for one in fleet.pending()]
    assert max(idle) < 10**6, "none was given back: that would make it idle for ever"
    fleet.sandbox.heal()
    fleet.until(lambda: fleet.open == 0, 90)
    assert consumer.end() == 0
    assert sorted(set(fleet.sandbox.numbers())) == list(range(300))
