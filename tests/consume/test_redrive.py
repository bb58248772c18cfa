"""Redrive: which letters go which way, and what a consumer makes of those that come back."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, get_args

import pytest

from sender.consume.letter_filter import LetterFilter
from sender.consume.redrive import Case, way_of
from sender.ledger import JobRecord
from sender.ledger.ledger import State
from sender.queues.letters import Letter
from tests.support.processes import sender

if TYPE_CHECKING:
    from tests.support.fleet import Consumer, Fleet

SMS = {"to": "+15551234567", "identifiers": {"id": "42"}}
TEMPLATES = {"sms": 4, "whatsapp": 5, "push": 6}
ALL = LetterFilter()


def job(kind: str, name: str, **more: Any) -> dict[str, Any]:
    payload = {**SMS, "transactional_message_id": TEMPLATES[kind], **more, "message_data": {"n": name}}
    return {"id": name, "kind": kind, "payload": payload}


def letter(status: str, **more: Any) -> Letter:
    return Letter(b"{}", {"reason": status, **more} if status else more, 0)


def case(status: str, state: State | None, **more: Any) -> Case:
    record = None if state is None else JobRecord(state, "c", 1)
    return Case(letter(status, **more), "key", record)


@pytest.mark.parametrize("status", ["invalid", "rejected", "failed", "in_doubt", ""])
@pytest.mark.parametrize("state", [None, *get_args(State)])
def test_what_may_have_been_sent_never_goes_back(status: str, state: State | None) -> None:
    expected = {"sent": "settled", "in_doubt": "left", "handed_over": "left"}
    assert way_of(case(status, state), ALL) == expected.get(state or status, "queue")


def test_one_that_was_in_doubt_and_is_absent_has_the_code_of_that() -> None:
    settled = case("in_doubt", "failed", code="unanswered")
    assert settled.code == "absent"
    assert way_of(settled, LetterFilter(codes=frozenset({"absent"}))) == "queue"
    assert way_of(settled, LetterFilter(codes=frozenset({"unanswered"}))) == "left"


def test_what_stands_as_sent_leaves_whatever_was_asked_for() -> None:
    assert way_of(case("in_doubt", "sent"), LetterFilter(codes=frozenset({"absent"}))) == "settled"


def test_a_letter_that_nobody_would_recognise_stays() -> None:
    """A broker's own dead letter, without an id: its job may have been sent under its message's id."""
    assert way_of(Case(letter(""), None), ALL) == "left"
    assert way_of(Case(letter("failed"), None), ALL) == "queue", "surely not accepted"


def test_with_repaired_lines_no_other_letter_goes() -> None:
    assert way_of(case("invalid", None), ALL, {"key"}) == "queue"
    assert way_of(case("invalid", None), ALL, {"other"}) == "left"
    assert way_of(case("in_doubt", None), ALL, {"key"}) == "left", "repairing it does not make it unsent"


def test_the_beginning_of_a_message_that_was_too_large_is_no_job() -> None:
    assert way_of(case("invalid", None, code="line_too_long", unread=30_000_000), ALL) == "left"


def test_an_entry_without_a_job_line_needs_one() -> None:
    assert way_of(case("invalid", None, entry=True), ALL) == "left"
    assert way_of(case("invalid", None, entry=True), ALL, {"key"}) == "queue"


@pytest.mark.parametrize("data", [b"", b"[", b"[1]", b'{"reason": 3, "code": [], "id": {}, "at": "never", "key": 0}'])
def test_a_reason_that_anyone_wrote_is_read(data: bytes) -> None:
    from sender.queues.letters.letter_box import read_reason

    found = Letter(b"", read_reason(data), 0)
    assert (found.status, found.code, found.id, found.key, found.written_at) == ("unknown", "unknown", None, None, None)


def redrive(fleet: Fleet, *arguments: str) -> str:
    done = sender(
        "redrive", f"{fleet.broker.url}?stream=dead", "--to", fleet.url(), "--base-url", fleet.sandbox.url, *arguments,
        cwd=fleet.folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def test_letters_come_to_an_end_once_their_cause_is_gone(fleet: Fleet) -> None:
    """The refused one stayed a dead letter for ever, and the one in doubt lay there after it was settled."""
    fault = fleet.sandbox.post
    fault("faults", fault="status_422", path="/v1/send/sms")
    fault("faults", fault="status_503", body="api", retry_after="none", path="/v1/send/whatsapp")
    fault("faults", fault="accept_500", path="/v1/send/push", count=2)
    fleet.put(job("sms", "refused"), job("whatsapp", "gave-up"), job("push", "doubtful"), b"nonsense")
    arguments = ("--max-attempts", "1", "--reconcile-lag", "3600")
    consumer = fleet.start(*arguments)
    fleet.until(lambda: len(fleet.letters) == 4)
    state = ("--state", fleet.state_url)
    settled = sender(
        "reconcile", *state, "--settle", "sent", "doubtful", "--base-url", fleet.sandbox.url, cwd=fleet.folder
    )
    assert settled.returncode == 0, settled.stderr
    fleet.sandbox.heal()
    told = redrive(fleet, *state, "--code", "api_error,server_error", "--dry-run")
    assert told == "dry run: 1 api_error -> queue, 1 server_error -> queue, 1 settled as sent -> removed, 1 left\n"
    assert len(fleet.letters) == 4
    assert redrive(fleet, *state, "--code", "api_error,server_error") == told.removeprefix("dry run: ")
    fleet.until(lambda: sorted(map(str, fleet.sandbox.numbers())) == ["doubtful", "gave-up", "refused"])
    fleet.until(lambda: fleet.open == 0)
    assert [one["reason"] for one in fleet.letters.values()] == ["invalid"]
    assert consumer.end() == 0


def test_a_repaired_payload_under_the_same_id_passes(fleet: Fleet) -> None:
    fleet.sandbox.post("faults", fault="status_422", path="/v1/send/sms", count=1)
    fleet.put(job("sms", "1"))
    consumer = fleet.start()
    fleet.until(lambda: set(fleet.letters) == {"1"})
    (fleet.folder / "repaired.jsonl").write_text(json.dumps(job("sms", "1", to="+15557654321")) + "\n")
    fleet.put(job("sms", "1", to="+15550000000"))
    fleet.until(lambda: "id_conflict" in {one["code"] for one in fleet.letters.values()})
    assert redrive(fleet, "--repaired", "repaired.jsonl", "--code", "api_error") == "1 api_error -> queue, 1 left\n"
    fleet.until(lambda: [m["payload"]["to"] for m in fleet.sandbox.messages] == ["+15557654321"])
    assert consumer.end() == 0


def test_a_refused_job_is_tried_again_on_the_operator_s_word_alone(fleet: Fleet) -> None:
    fleet.sandbox.post("faults", fault="status_422", path="/v1/send/sms", count=1)
    fleet.put(job("sms", "1"))
    first = fleet.start(shared=False)
    fleet.until(lambda: len(fleet.letters) == 1)
    fleet.put(job("sms", "1"))
    fleet.until(lambda: fleet.open == 0)
    assert first.end() == 0
    assert fleet.sandbox.messages == []
    assert fleet.letters["1"]["code"] == "rejected"
    fleet.put(job("sms", "1"))
    second = fleet.start("--retry", "rejected", shared=False)
    fleet.until(lambda: len(fleet.sandbox.messages) == 1)
    assert second.end() == 0


def test_a_letter_twice_in_the_queue_is_sent_once(fleet: Fleet) -> None:
    """As after a redrive that was killed between its two steps, or one beside another."""
    fleet.sandbox.post("faults", fault="status_422", path="/v1/send/sms", count=1)
    fleet.put(job("sms", "1"))
    consumer = fleet.start()
    fleet.until(lambda: len(fleet.letters) == 1)
    with fleet.client as client:
        entry: Any = client.xrange("dead")[0]
        redrive(fleet)
        client.xadd("dead", entry[1])
    redrive(fleet)
    fleet.until(lambda: fleet.open == 0 and fleet.sandbox.messages)
    assert fleet.sandbox.numbers() == ["1"]
    consumer.signal(signal.SIGTERM)
    assert consumer.wait() == 0


def test_an_entry_without_a_job_field_is_in_its_letter_whole(fleet: Fleet) -> None:
    """The letter was blank."""
    with fleet.client as client:
        client.xadd("jobs", {"payload": '{"to": "a@example.com"}', "blob": b"\xff\x00"})
    consumer: Consumer = fleet.start(shared=False)
    fleet.until(lambda: fleet.letters)
    (found,) = fleet.letters.values()
    assert json.loads(found["job"]) == {"payload": '{"to": "a@example.com"}', "blob": "\\xff\x00"}
    assert found["entry"] is True
    assert redrive(fleet) == "1 left\n"
    assert consumer.end() == 0


def test_consume_does_not_send_again_what_is_in_doubt(fleet: Fleet) -> None:
    done = sender("consume", fleet.url(), "--ledger", "x", "--retry", "in_doubt", cwd=fleet.folder)
    assert done.returncode == 2
    assert b"resend-if-absent" in done.stderr
