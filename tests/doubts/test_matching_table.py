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


def doubtful(key: str = "a", content: str = "c", **more: Any) -> DoubtfulJob:
    known = {
        "id": key, "kind": "email", "path": "/v1/send/email", "transactional_message_id": 3, "identifiers": {"id": "7"},
        "to": "ada@example.com", "since": NOW, "until": NOW + 1, "ahead": 0.0,
    }
    return DoubtfulJob.of(Doubt(key, content, "in_doubt", orjson.dumps(known | more), True), CLOCK)


def delivery(name: str = "d", **more: Any) -> ListedDelivery:
    known = {"type": "email", "template": 3, "recipient": "ada@example.com", "subject": "s", "created": NOW}
    return ListedDelivery(name, **(known | more))


def verdict(job: dict[str, Any], shown: dict[str, Any], **numbers: int) -> str:
    """How the only delivery in the list is seen."""
    one = doubtful(**job)
    found = match([(one, [delivery(**shown)])], Attempts([one]), Rules(numbers, LAG))["a"]
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


ADA = (("id", "7"), ("email", "ada@example.com"))


@pytest.mark.parametrize(
    ("other", "people", "rival"),
    [
        ({}, ADA, True),
        ({"identifiers": {"email": "ada@example.com"}}, ADA, True),
        ({"identifiers": {"id": "8"}}, ADA, False),
        ({"identifiers": {"email": "bob@example.com"}}, ADA, False),
        ({"identifiers": {"cio_id": "c"}}, ADA, True),
        ({"identifiers": {}}, ADA, True),
        ({"identifiers": {"id": "8"}}, (), True),
        ({"transactional_message_id": 4}, ADA, False),
        ({"to": "bob@example.com"}, ADA, False),
        ({"since": NOW - 4000, "until": NOW - 3000}, ADA, False),
        ({"since": NOW - 4000, "until": NOW - 3000, "ahead": None}, ADA, True),
        ({"ahead": None, "transactional_message_id": 4}, ADA, False),
    ],
)
def test_another_job_of_the_person_that_may_have_made_it(other: dict[str, Any], people: Any, rival: bool) -> None:
    """A person who is named in another way, or by nobody, may be the same one."""
    one, another = doubtful(), doubtful("b", **other)
    found = match([(one, [delivery(people=people)])], Attempts([one, another]), Rules({}, LAG))["a"]
    assert [job.key for job in found.rivals] == (["b"] if rival else [])
    assert found.adopted == (None if rival else delivery(people=people))
    assert len(found.candidates) == 1


def test_what_the_lists_together_tell_of_a_person() -> None:
    """One list is the person's by id, the other one's entry tells the email too."""
    by_id, by_email = doubtful(), doubtful("b", identifiers={"email": "bob@example.com"}, to=None)
    lists = [(by_id, [delivery(people=ADA[:1])]), (by_email, [delivery(people=ADA[1:])])]
    found = match(lists, Attempts([by_id, by_email]), Rules({}, LAG))
    assert found["a"].adopted == delivery(people=ADA)
    assert found["b"].rivals == (by_id,)


@pytest.mark.parametrize(
    ("earlier", "created", "expected"),
    [
        ({}, NOW - 3500, ADOPTED),
        ({"content": "edited"}, NOW - 3500, MAYBE),
        ({"key": "b"}, NOW - 3500, NOT),
        ({}, NOW, ADOPTED),
        ({}, NOW - 6000, NOT),
    ],
)
def test_an_earlier_attempt_of_the_job_may_have_made_it(earlier: dict[str, Any], created: float, expected: str) -> None:
    """Its recipient and subject are known no more; those of the same content are this job's."""
    one = doubtful()
    before = doubtful(**{"since": NOW - 4000, "until": NOW - 3400} | earlier).anonymous()
    found = match([(one, [delivery(created=created)])], Attempts([one, before]), Rules({}, LAG))["a"]
    assert found == (
        delivery(created=created) if expected == ADOPTED else None,
        () if expected == NOT else (delivery(created=created),),
        (),
    )


def test_an_earlier_attempt_is_for_the_recipient_of_this_one() -> None:
    one = doubtful()
    before = doubtful(since=NOW - 4000, until=NOW - 3400).anonymous()
    other = delivery(created=NOW - 3500, recipient="bob@example.com")
    found = match([(one, [other])], Attempts([one, before]), Rules({}, LAG))["a"]
    assert (found.adopted, found.candidates) == (None, (other,))


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
