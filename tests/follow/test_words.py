"""What the vendor's words mean, in whatever order and however often they come."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.follow.books import FateBooks
from sender.follow.delivery import Delivery, read_line
from sender.follow.fate import ARRIVED, FATES, LOST, MARKS, code_of, standing
from sender.follow.news import News, Reason, read_entry, read_event
from sender.follow.until import Until
from sender.follow.windows import GAP, LEAST, MOST, windows
from sender.jobs.kinds import SEND_KINDS
from tests.docs.markdown import DOCS, rows

WORDS = (*LOST, *MARKS, "sent", "delivered", "attempted", "drafted", "something_new")
NEWS = st.builds(
    lambda word, at, reason: News("d", {word: at}, {word: Reason("5.1.1", "gone")} if reason else {}),
    st.sampled_from(WORDS), st.integers(1, 6), st.booleans(),
)


def line_of(delivery: Delivery) -> dict[str, Any]:
    import orjson

    return orjson.loads(delivery.to_line(1.0, "list"))  # type: ignore[no-any-return]


@given(st.sampled_from(SEND_KINDS), st.lists(NEWS, max_size=8), st.randoms())
def test_neither_order_nor_repeats_matter(kind: str, news: list[News], random: Any) -> None:
    def after(told: list[News]) -> Delivery:
        delivery = Delivery("d", "job", kind, 0.0)
        for one in told:
            delivery = delivery.told(one)
        return delivery

    other = [*news, *news]
    random.shuffle(other)
    assert after(news).metrics == after(other).metrics
    assert after(news).standing == after(other).standing


@given(st.sampled_from(SEND_KINDS), st.lists(NEWS, max_size=8))
def test_the_books_always_balance(kind: str, news: list[News]) -> None:
    books, delivery = FateBooks(), Delivery("d", "job", kind, 0.0)
    books.enter(None, delivery)
    for one in news:
        before, delivery = delivery, delivery.told(one)
        books.enter(before, delivery)
        assert books.check()
        assert books.number(delivery.standing.fate) == 1
        assert all(books.marks[mark] == (mark in delivery.metrics) for mark in MARKS)


@given(st.sampled_from(SEND_KINDS), st.lists(NEWS, max_size=8))
def test_a_line_of_the_file_is_as_good_as_the_news(kind: str, news: list[News]) -> None:
    delivery = Delivery("d", "job", kind, 0.0)
    for one in news:
        delivery = delivery.told(one)
    again = read_line(line_of(delivery))
    assert again is not None
    restored = Delivery("d", "job", kind, 0.0).told(again)
    assert line_of(restored) == line_of(delivery)


@pytest.mark.parametrize(("kind", "metrics", "fate"), [
    ("email", {}, "open"),
    ("email", {"sent": 1, "deferred": 2}, "open"),
    ("email", {"sent": 1, "delivered": 2}, "delivered"),
    ("email", {"delivered": 2, "bounced": 9}, "bounced"),
    ("email", {"bounced": 2, "delivered": 9}, "delivered"),
    ("email", {"delivered": 2, "bounced": 2}, "bounced"),
    ("email", {"sent": 1, "opened": 5}, "delivered"),
    ("email", {"dropped": 2, "opened": 5}, "dropped"),
    ("email", {"suppressed": 2}, "dropped"),
    ("email", {"undeliverable": 2}, "dropped"),
    ("sms", {"sent": 1}, "open"),
    ("sms", {"sent": 1, "failed": 3}, "failed"),
    ("push", {"sent": 1}, "delivered"),
    ("push", {"sent": 1, "bounced": 2}, "bounced"),
    ("in_app", {"sent": 1}, "delivered"),
    ("inbox_message", {"attempted": 1}, "open"),
    (None, {"sent": 1}, "open"),
])
def test_where_it_stands(kind: str | None, metrics: dict[str, float], fate: str) -> None:
    assert standing(kind, metrics).fate == fate


def test_the_table_of_the_documentation_is_that_of_the_code() -> None:
    columns = (("email",), ("sms", "whatsapp"), ("push",), ("in_app", "inbox_message"))
    seen = set()
    for words, *cells in rows(DOCS / "following.md", "The vendor's words"):
        for word in words.replace("`", "").split(", "):
            seen.add(word)
            for kinds, cell in zip(columns, cells, strict=False):
                for kind in kinds:
                    fate = LOST.get(word, "delivered" if word in ARRIVED[kind] else "–")
                    assert cell.strip("*") == (fate if word not in MARKS or word in LOST or cell != "✓" else "✓")
    assert {*LOST, "sent", "delivered"} <= seen
    assert seen >= set(MARKS)


@pytest.mark.parametrize(("reason", "code"), [
    ("550 5.1.1 <a@b.c>: no such user", "5.1.1"), ("smtp; 452 4.2.2 full", "4.2.2"), ("550 no such user", "550"),
    ("421-try later", "421"), ("rendered in 550 ms at 10.0.0.1", "550"), ("version 5.1.1.2", None), ("no", None),
])
def test_a_mail_servers_code(reason: str, code: str | None) -> None:
    assert code_of(reason) == code


def entry(**more: Any) -> dict[str, Any]:
    known = {"id": "d1", "type": "email", "recipient": "Ada.Lovelace@Example.com", "subject": "Your receipt",
             "created": 5, "customer_identifiers": {"id": "person-77", "email": None, "cio_id": "c8"},
             "metrics": {"created": 5, "sent": 6, "bounced": 9},
             "failure_message": "550 5.1.1 ada.lovelace of example.com (person-77, +1 555 000 1111): Your receipt"}
    return known | more


def test_nothing_personal_stays_in_a_reason() -> None:
    news = read_entry(entry())
    assert news is not None
    assert news.metrics == {"sent": 6, "bounced": 9}
    assert news.domain == "example.com"
    reason = news.reasons["bounced"]
    assert reason.code == "5.1.1"
    for secret in ("ada", "lovelace", "person-77", "555", "receipt"):
        assert secret not in reason.text.lower()


@pytest.mark.parametrize("odd", [
    None, 7, [], "text", {}, {"id": 7}, {"id": ""}, {"id": "x" * 300}, {"id": "a\nb"}, {"id": "d1", "metrics": [1]},
    {"id": "d1", "campaign_id": 4}, {"id": "d1", "metrics": "delivered"},
])
def test_what_is_no_delivery_of_ours_tells_nothing(odd: object) -> None:
    assert read_entry(odd) is None


def test_odd_words_and_times_are_left_out_and_unknown_words_kept() -> None:
    odd = {"delivered": True, "bounced": -1, "sent": "6", "opened": 1e300, "X" * 50: 4, "DROP": 4, "warmed_up": 7,
           "failed": float("nan"), "clicked": 1 << 70, "converted": 253_402_300_800}
    news = read_entry(entry(metrics=odd, failure_message=None))
    assert news is not None
    assert dict(news.metrics) == {"warmed_up": 7}
    many = read_entry(entry(metrics={f"word_{'a' * n}": 1 for n in range(500)}))
    assert many is not None
    assert len(many.metrics) <= 40


def test_what_was_known_of_a_ledgers_delivery_is_known_after_a_restart() -> None:
    """Its kind and time came from the API alone: without its kind, a push that was `sent` would be open again."""
    before = Delivery("d", None, None, None).told(News("d", {"sent": 7}, {}, None, "push", 5))
    again = read_line(line_of(before))
    assert again is not None
    assert Delivery("d", None, None, None).told(again) == before
    assert before.standing.fate == "delivered"


@pytest.mark.parametrize("odd", [
    {"metrics": {"delivered": "soon", "opened": 3}}, {"metric": ["delivered"], "reason": "x"}, {"kind": 7},
    {"accepted_at": "then"}, {"code": 5, "reason": "x"}, {"domain": 7}, {"delivery_id": 7}, {"metrics": []},
])
def test_an_odd_line_of_the_file_breaks_nothing(odd: dict[str, Any]) -> None:
    line = line_of(Delivery("d", "job", "email", 5.0).told(News("d", {"delivered": 6}, {}, None)))
    news = read_line({**line, **odd})
    told = Delivery("d", "job", "email", 5.0).told(news or News("d", {}, {}))
    assert line_of(told)["delivery_id"] == "d"


@pytest.mark.parametrize("odd", [
    None, [], {}, {"metric": "delivered", "timestamp": 5}, {"metric": "delivered", "timestamp": 5, "data": []},
    {"metric": "delivered", "timestamp": 5, "data": {"delivery_id": "d1", "campaign_id": 3}},
    {"metric": "Delivered!", "timestamp": 5, "data": {"delivery_id": "d1"}},
    {"metric": "delivered", "timestamp": None, "data": {"delivery_id": "d1"}},
    {"metric": "subscribed", "timestamp": 5, "object_type": "customer", "data": {"customer_id": "7"}},
])
def test_what_is_no_event_of_ours_tells_nothing(odd: object) -> None:
    assert read_event(odd) is None


@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=60))
def test_every_delivery_stands_in_one_window(accepted: list[tuple[int, bool]]) -> None:
    accepted.sort()
    found = list(windows((float(at), is_open) for at, is_open in accepted))
    assert sum(window.sent for window in found) == len(accepted)
    assert sum(window.open for window in found) == sum(is_open for _, is_open in accepted)
    for one, other in pairwise(found):
        assert one.last + GAP < other.first
    for at, _ in accepted:
        assert any(window.span[0] <= at <= window.span[1] for window in found)


def test_a_long_run_is_parted_and_a_fast_one_is_not() -> None:
    slow = list(windows((n / 100, True) for n in range(100_000)))
    assert len(slow) == 100_000 // MOST
    assert sum(window.least_pages for window in slow) == 100
    fast = list(windows((n / 10_000, True) for n in range(100_000)))
    assert len(fast) == 1, f"all within {LEAST:g} s: their lists would show the same"


def test_few_open_ones_are_asked_for_one_by_one() -> None:
    (window,) = windows((n / 100, n < 9) for n in range(9_000))
    assert not window.is_listed(9)
    assert window.is_listed(None) is (window.open > 9)
    (window,) = windows((n / 100, n < 10) for n in range(9_000))
    assert window.is_listed(9)
    assert not window.is_listed(40), "others sent much in the same time"


def books(**numbers: int) -> FateBooks:
    made = FateBooks(heard=sum(number for name, number in numbers.items() if name in FATES))
    made.fates.update({name: number for name, number in numbers.items() if name in FATES})
    made.marks.update({name: number for name, number in numbers.items() if name in MARKS})
    return made


@pytest.mark.parametrize(("rule", "numbers", "holds", "may_hold"), [
    ("open<1%", {"open": 1, "delivered": 99}, False, True),
    ("open<1%", {"open": 0, "delivered": 99}, True, True),
    ("open<1%", {}, True, True),
    ("delivered>=95%, bounced<2%", {"delivered": 95, "open": 4, "bounced": 1}, True, True),
    ("delivered>=95%,bounced<2%", {"delivered": 95, "open": 3, "bounced": 2}, False, False),
    ("delivered>=95%", {"delivered": 50, "open": 45, "dropped": 5}, False, True),
    ("delivered>=95%", {"delivered": 50, "open": 44, "dropped": 6}, False, False),
    ("opened>3", {"delivered": 9, "opened": 3}, False, True),
    ("opened>=3", {"delivered": 9, "opened": 3}, True, True),
    ("failed<=0", {"delivered": 9}, True, True),
    ("", {"delivered": 9}, False, True),
])
def test_a_condition(rule: str, numbers: dict[str, int], holds: bool, may_hold: bool) -> None:
    until = Until.parse(rule)
    assert until.holds(books(**numbers)) is holds
    assert until.may_hold(books(**numbers)) is may_hold


@pytest.mark.parametrize("rule", [
    "open", "open<", "sent<5", "open<101%", "open=1", "open<1%,", "open<<1", "open<1%;x>2",
])
def test_what_is_no_condition_is_told(rule: str) -> None:
    with pytest.raises(UsageError, match="--until takes"):
        Until.parse(rule)
