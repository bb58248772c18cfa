"""Which delivery is whose: an adoption is never wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.doubts.delivery_lists import person_path
from sender.doubts.known_deliveries import KnownDeliveries
from sender.doubts.listed_delivery import ListedDelivery, read_listing
from sender.doubts.matching import Attempts, Match, Rules, match
from tests.support.doubtful_jobs import NOW, doubtful

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.doubtful_job import DoubtfulJob

LAG = 60.0


def listed(name: str = "d", **more: Any) -> ListedDelivery:
    known = {"type": "email", "template": 3, "recipient": "ada@example.com", "subject": "s", "created": NOW}
    return ListedDelivery(name, **(known | more))


def matches(
    *seen: tuple[DoubtfulJob, Sequence[ListedDelivery]], earlier: Sequence[DoubtfulJob] = (), **numbers: int
) -> dict[str, Match]:
    attempts = Attempts([*(one for one, _ in seen), *(one.anonymous() for one in earlier)])
    return match(seen, attempts, Rules(numbers, LAG))


class Finding(NamedTuple):
    adopted: ListedDelivery | None
    candidates: int


def finding(one: DoubtfulJob, *seen: ListedDelivery, earlier: Sequence[DoubtfulJob] = (), **numbers: int) -> Finding:
    found = matches((one, seen), earlier=earlier, **numbers)[one.key]
    return Finding(found.adopted, len(found.candidates))


def test_the_one_candidate_is_adopted() -> None:
    assert finding(doubtful(), listed()).adopted == listed()


@pytest.mark.parametrize(
    "other",
    [
        {"type": "push"},
        {"template": 4},
        {"created": NOW - 200},
        {"created": NOW + 300},
    ],
)
def test_what_is_surely_another_counts_for_nothing(other: dict[str, Any]) -> None:
    assert finding(doubtful(), listed(**other)) == (None, 0)
    assert finding(doubtful(), listed(**other), listed("mine")).adopted == listed("mine")


@pytest.mark.parametrize(
    "other", [{"recipient": "bob@example.com"}, {"template": None}, {"created": NOW - 60}, {"created": NOW + 100}]
)
def test_what_may_be_it_is_neither_adopted_nor_called_absent(other: dict[str, Any]) -> None:
    assert finding(doubtful(), listed(**other)) == (None, 1)


def test_another_subject_is_not_adopted() -> None:
    assert finding(doubtful(subject="Your receipt"), listed(subject="Welcome")) == (None, 1)
    assert finding(doubtful(subject="Your  receipt"), listed(subject="Your receipt")).adopted
    assert finding(doubtful(subject="Hello {{customer.name}}"), listed(subject="Hello Ada")).adopted


def test_recipients_are_compared_as_addresses() -> None:
    one = doubtful(to='"Lovelace, Ada" <ADA@example.com>, bob@example.com')
    assert finding(one, listed()).adopted
    assert finding(doubtful(to="{{customer.email}}"), listed(recipient="x@y.z")).adopted


def test_a_trigger_name_needs_its_number() -> None:
    one = doubtful(transactional_message_id="Receipt")
    assert finding(one, listed()) == (None, 1)
    assert finding(one, listed(), receipt=3).adopted
    assert finding(one, listed(), receipt=4) == (None, 0)
    assert doubtful(transactional_message_id="3").template == 3


def test_two_claimants_of_one_delivery_get_nothing() -> None:
    """Also when each was found in another list: one person may be named by id and by email."""
    one, other = doubtful("a"), doubtful("b", identifiers={"email": "ada@example.com"})
    found = matches((one, [listed()]), (other, [listed()]))
    for key, rival in (("a", "b"), ("b", "a")):
        assert found[key].adopted is None
        assert len(found[key].candidates) == 1
        assert [job.key for job in found[key].rivals] == [rival]


def test_two_candidates_are_one_too_many() -> None:
    assert finding(doubtful(), listed("a"), listed("b")) == (None, 2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([3, 4]),
            st.sampled_from(["ada@example.com", "bob@example.com"]),
            st.integers(0, 90),  # began so much later
            st.floats(0, 25),  # took so long
            st.booleans(),  # accepted
            st.floats(0, 1),  # accepted at that part of its time
        ),
        max_size=6,
    )
)
def test_no_adoption_is_wrong(jobs: list[tuple[int, str, int, float, bool, float]]) -> None:
    """All jobs of one person are in doubt; the API shows exactly those that it accepted."""
    doubtful_jobs, seen, owner = [], [], {}
    for number, (template, to, begin, took, accepted, part) in enumerate(jobs):
        since = NOW + begin
        doubtful_jobs.append(
            doubtful(str(number), transactional_message_id=template, to=to, since=since, until=since + took)
        )
        if accepted:
            created = float(int(since + took * part))
            seen.append(listed(f"d{number}", template=template, recipient=to, created=created))
            owner[f"d{number}"] = str(number)
    found = matches(*((one, seen) for one in doubtful_jobs))
    for key, one in found.items():
        assert one.adopted is None or owner[one.adopted.id] == key
        if f"d{key}" in owner:
            assert one.candidates, "an accepted job never looks absent"


def test_lists_are_read_with_care() -> None:
    items = [
        {"id": "ok", "created": 5, "type": "email", "recipient": None, "transactional_message_id": "3"},
        {"id": "campaign", "created": 5, "campaign_id": 9},
        {"id": 5, "created": 5},
        {"id": "no time"},
        {"id": "a text", "created": "2026-11-20T12:00:00Z"},
        "not even an object",
    ]
    assert read_listing(items) == ((ListedDelivery("ok", "email", 3, "", None, 5.0),), 4)
    ada = {"id": "d", "created": 5, "customer_identifiers": {"id": None, "email": "a@b.c", "cio_id": "c8"}}
    (shown,), _ = read_listing([ada], ("id", "7"))
    assert dict(shown.people) == {"id": "7", "email": "a@b.c", "cio_id": "c8"}


def test_path_values_are_encoded() -> None:
    assert person_path("email", "a+b@c.d") == "/v1/customers/a%2Bb%40c.d/messages"
    assert person_path("cio_id", "a1") == "/v1/customers/cio_a1/messages"
    assert person_path("id", "../x") == "/v1/customers/..%2Fx/messages"


def test_known_deliveries_are_the_first_after_the_last_doubt_and_the_newest() -> None:
    known = KnownDeliveries()
    for at in (1, 2):
        known.sent("email", 3, f"d{at}", at)
    known.doubted(2.5)
    for at in (3, 4, 5):
        known.sent("email", 3, f"d{at}", at)
    kept = KnownDeliveries(known.save())
    assert [one.delivery_id for one in kept.after("email", 3, 2.5)] == ["d3", "d5"]
    assert [one.delivery_id for one in kept.after("email", 3, 3)] == ["d5"]
    assert kept.after("email", 3, 5) == kept.after("email", 4, 0) == []


def test_known_deliveries_are_bounded() -> None:
    known = KnownDeliveries()
    for template in range(1000):
        known.sent("email", template, "d", template)
    assert len(known.save()) < 20_000
    assert known.after("email", 999, 0)
