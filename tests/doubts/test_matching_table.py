"""What speaks for a delivery and what against it, one fact at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.listed_delivery import ListedDelivery, people_of, read_listing
from sender.doubts.matching import SKEW, WIDE_SKEW, Attempts, Rules, match
from sender.ledger.ledger import Doubt

LAG = 60.0
NOW = 1_800_000_000.0
UNTIL = NOW + 40
LIKELY = NOW + 20
CLOCK: Any = SimpleNamespace(wall=lambda: NOW + 500, ahead_then=lambda marks: marks.get("ahead"))
"""At the API and here it is the same time."""
ADOPTED, MAYBE, NOT = "adopted", "maybe", "not"


def verdict(job: dict[str, Any], shown: dict[str, Any], **numbers: int) -> str:
    """How the only delivery in the list is seen."""
    known = {
        "id": "a", "kind": "email", "path": "/v1/send/email", "transactional_message_id": 3, "identifiers": {"id": "7"},
        "to": "ada@example.com", "since": NOW, "until": NOW + 1, "ahead": 0.0,
    }
    one = DoubtfulJob.of(Doubt("a", "c", "in_doubt", orjson.dumps(known | job), True), CLOCK)
    seen = {"type": "email", "template": 3, "recipient": "ada@example.com", "subject": "s", "created": NOW} | shown
    found = match([(one, [ListedDelivery("d", **seen)])], Attempts([one]), Rules(numbers, LAG))["a"]
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
READ = ListedDelivery("d", "email", 3, "r", "s", 5.0)


@pytest.mark.parametrize(
    ("more", "read"),
    [
        ({}, {}),
        ({"created": 5.5}, {"created": 5.5}),
        ({"type": None}, {"type": None}),
        ({"type": 7}, {"type": None}),
        ({"recipient": 7, "subject": None}, {"recipient": "7", "subject": None}),
        ({"recipient": None, "subject": 7}, {"recipient": "", "subject": None}),
        ({"transactional_message_id": "12"}, {"template": 12}),
        ({"transactional_message_id": "receipt"}, {"template": None}),
        ({"transactional_message_id": None}, {"template": None}),
        ({"transactional_message_id": True}, {"template": None}),
        ({"campaign_id": None, "newsletter_id": 0, "broadcast_id": None}, {}),
        ({"customer_identifiers": {"id": 7, "email": "", "cio_id": None}}, {"people": (("id", "7"),)}),
    ],
)
def test_what_a_list_shows(more: dict[str, Any], read: dict[str, Any]) -> None:
    found = read_listing([WHOLE | more, WHOLE | {"id": "last"}])
    assert found == ((READ._replace(**read), READ._replace(id="last")), 0)
    assert type(found.deliveries[0].created) is float


@pytest.mark.parametrize("more", [{"campaign_id": 1}, {"newsletter_id": 1}, {"broadcast_id": 1, "id": None}])
def test_what_is_of_no_transactional_send_is_left_out(more: dict[str, Any]) -> None:
    assert read_listing([WHOLE | more, WHOLE]) == ((READ,), 0)


@pytest.mark.parametrize(
    "entry",
    [WHOLE | {"id": None}, WHOLE | {"id": 5}, WHOLE | {"created": "5"}, WHOLE | {"created": None},
     WHOLE | {"created": True}, "d", None],
)
def test_what_cannot_be_read_may_be_anything(entry: Any) -> None:
    assert read_listing([entry, WHOLE, entry]) == ((READ,), 2)


def test_whose_list_it_is_is_known_of_each_delivery_in_it() -> None:
    shown = WHOLE | {"customer_identifiers": {"id": "7", "email": "ada@example.com"}}
    (found,) = read_listing([shown], ("id", "8")).deliveries
    assert found.people == (("id", "8"), ("email", "ada@example.com"))
    assert people_of({"identifiers": {"cio_id": "c"}}) == {"cio_id": "c"}
    assert people_of({"customer_identifiers": [], "identifiers": "c"}) == {}
