"""What speaks for a delivery and what against it, one fact at a time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.matching import SKEW, WIDE_SKEW, ListedDelivery, listed_deliveries, match
from sender.ledger import Doubt

LAG = 60.0
NOW = 1_800_000_000.0
UNTIL = NOW + 40
LIKELY = NOW + 20
ADOPTED, MAYBE, NOT = "adopted", "maybe", "not"


def verdict(job: dict[str, Any], shown: dict[str, Any], **numbers: int) -> str:
    """How the only delivery in the list is seen."""
    known = {
        "id": "a", "kind": "email", "path": "/v1/send/email", "transactional_message_id": 3, "identifiers": {"id": "7"},
        "to": "ada@example.com", "since": NOW, "until": NOW + 1,
    }
    one = DoubtfulJob.of(Doubt("a", "c", "in_doubt", orjson.dumps(known | job), True), NOW + 500)
    seen = {"type": "email", "template": 3, "recipient": "ada@example.com", "subject": "s", "created": NOW} | shown
    found = match([(one, [ListedDelivery("d", **seen)])], numbers, LAG)["a"]
    if found.adopted:
        return ADOPTED
    return MAYBE if found.candidates else NOT


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (NOW - WIDE_SKEW - 0.5, NOT), (NOW - WIDE_SKEW, MAYBE), (NOW - SKEW - 0.5, MAYBE), (NOW - SKEW, ADOPTED),
        (LIKELY + LAG, ADOPTED), (LIKELY + LAG + 0.5, MAYBE), (UNTIL + LAG + WIDE_SKEW, MAYBE),
        (UNTIL + LAG + WIDE_SKEW + 0.5, NOT),
    ],
)
def test_time(created: float, expected: str) -> None:
    assert verdict({"since": NOW, "until": UNTIL, "likely_until": LIKELY}, {"created": created}) == expected


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        ("email", "email", ADOPTED), ("email", "sms", NOT), ("email", None, ADOPTED),
        ("sms", "twilio", ADOPTED), ("sms", "sms", ADOPTED), ("sms", "whatsapp", ADOPTED), ("sms", "email", NOT),
        ("whatsapp", "whatsapp", ADOPTED), ("whatsapp", "twilio", ADOPTED), ("whatsapp", "sms", NOT),
        ("push", "push", ADOPTED), ("push", "in_app", NOT), ("in_app", "in_app", ADOPTED), ("in_app", "inbox", NOT),
        ("inbox_message", "inbox", ADOPTED), ("inbox_message", "inbox_message", ADOPTED),
        ("inbox_message", "in_app", ADOPTED), ("inbox_message", "push", NOT), ("later_kind", "anything", ADOPTED),
    ],
)
def test_types(kind: str, shown: str | None, expected: str) -> None:
    assert verdict({"kind": kind, "to": None}, {"type": shown}) == expected


@pytest.mark.parametrize(
    ("template", "shown", "expected"),
    [(3, 3, ADOPTED), (3, 4, NOT), (3, None, MAYBE), ("known", 3, ADOPTED), ("known", 4, NOT), ("known", None, MAYBE),
     ("unknown", 3, MAYBE), ("unknown", None, MAYBE)],
)
def test_templates(template: int | str, shown: int | None, expected: str) -> None:
    assert verdict({"transactional_message_id": template}, {"template": shown}, known=3) == expected


@pytest.mark.parametrize(
    ("kind", "wanted", "shown", "same"),
    [
        ("email", "ada@example.com", "ada@example.com", True),
        ("email", "ada@example.com", "bob@example.com", False),
        ("email", "Ada@Example.com ", "ADA@example.COM", True),
        ("email", "bob@example.com, ada@example.com", "ada@example.com", True),
        ("email", "ada@example.com", "", True),
        ("email", None, "bob@example.com", True),
        ("email", 7, "bob@example.com", True),
        ("email", "{{customer.email}}", "bob@example.com", True),
        ("email", "{% if a %}", "bob@example.com", True),
        ("email", "{ada@example.com", "bob@example.com", False),
        ("sms", "+15550001", " +15550001 ", True),
        ("sms", " +15550001", "+15550001", True),
        ("sms", "+15550001", "+15550002", False),
        ("whatsapp", "+15550001", "+15550002", False),
        ("push", "all", "device", True),
    ],
)
def test_recipients(kind: str, wanted: Any, shown: str, same: bool) -> None:
    seen = {"recipient": shown, "type": None}
    assert verdict({"kind": kind, "to": wanted}, seen) == (ADOPTED if same else MAYBE)


@pytest.mark.parametrize(
    ("wanted", "shown", "same"),
    [
        ("Your receipt", "Your receipt", True), ("Your receipt", "your receipt", False),
        (" Your\n receipt", "Your  receipt", True), ("Your receipt", "", True), ("Your receipt", None, True),
        (None, "Welcome", True), (7, "Welcome", True), ("Hi {{name}}", "Hi Ada", True), ("Hi {% x %}", "Hi Ada", True),
        ("Hi {name}", "Hi Ada", False),
    ],
)
def test_subjects(wanted: Any, shown: str | None, same: bool) -> None:
    assert verdict({"subject": wanted}, {"subject": shown}) == (ADOPTED if same else MAYBE)


WHOLE = {"id": "d", "created": 5, "type": "email", "transactional_message_id": 3, "recipient": "r", "subject": "s"}


@pytest.mark.parametrize(
    ("more", "read"),
    [
        ({}, {}),
        ({"created": 5.5}, {"created": 5.5}),
        ({"type": None}, {"type": None}),
        ({"recipient": 7, "subject": None}, {"recipient": "7", "subject": None}),
        ({"recipient": None}, {"recipient": ""}),
        ({"transactional_message_id": "12"}, {"template": 12}),
        ({"transactional_message_id": "receipt"}, {"template": None}),
        ({"transactional_message_id": None}, {"template": None}),
        ({"transactional_message_id": True}, {"template": None}),
        ({"campaign_id": None, "newsletter_id": 0, "broadcast_id": None}, {}),
        ({"campaign_id": 1}, None),
        ({"newsletter_id": 1}, None),
        ({"broadcast_id": 1}, None),
        ({"id": None}, None),
        ({"id": 5}, None),
        ({"created": "5"}, None),
        ({"created": None}, None),
    ],
)
def test_what_a_list_shows(more: dict[str, Any], read: dict[str, Any] | None) -> None:
    expected = [] if read is None else [
        {"id": "d", "type": "email", "template": 3, "recipient": "r", "subject": "s", "created": 5.0} | read
    ]
    last = WHOLE | {"id": "last"}
    found = [one._asdict() for one in listed_deliveries([WHOLE | more, last])]
    assert found[:-1] == expected
    assert found[-1]["id"] == "last", "one that is left out ends nothing"
    assert all(type(one["created"]) is float for one in found)
