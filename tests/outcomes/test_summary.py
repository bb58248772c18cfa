from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.jobs.problem import Problem
from sender.jobs.status import STATUSES, Status
from sender.outcomes.outcome import Outcome
from sender.outcomes.summary import Books, LaneFigures, exit_status, summary_text

WARNING = Problem("odd_base64", None, "")
KEYS = [
    "read", "sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "skipped", "not_started", "attempts",
    "warnings", "elapsed_s", "lanes", "outcomes", "ledger",
]
statuses = st.sampled_from(STATUSES)


@given(st.lists(statuses), st.integers(0, 9), st.lists(st.tuples(statuses, statuses)), st.booleans())
def test_books_balance(ends: list[Status], not_started: int, moves: list[tuple[Status, Status]], lost: bool) -> None:
    books = Books(read=len(ends) + not_started + lost, not_started=not_started)
    for end in ends:
        books.enter(Outcome("a", "email", end, "f", 1, attempts=2, warnings=(WARNING,)))
    for before, after in moves:
        if books.statuses[before]:
            books.move(before, after)
    assert books.check() is not lost
    assert books.balance == lost
    assert books.attempts == 2 * len(ends)
    summary = books.summary(1.0, outcomes="o", ledger="l")
    assert summary["read"] == sum(summary[name] for name in (*STATUSES, "not_started")) + lost
    assert summary["warnings"] == ({"odd_base64": len(ends)} if ends else {})
    assert list(summary) == KEYS
    fine = sum(books.statuses[status] for status in ("sent", "duplicate", "skipped"))
    unsent = not_started + len(ends) - fine
    assert exit_status(books, halted=False, errors_late=False) == (1 if unsent else 0)
    assert exit_status(books, halted=True, errors_late=False) == exit_status(books, halted=False, errors_late=True) == 3


def test_a_heading_below_zero_is_no_balance() -> None:
    books = Books(read=1)
    books.count("sent")
    books.move("in_doubt", "sent")
    assert books.balance == 0
    assert not books.check()


def summary(**more: Any) -> dict[str, Any]:
    books = Books(lanes={"send": LaneFigures(1234567, 99.9, 100, 3), "app": LaneFigures()})
    return books.summary(12345.6, outcomes="my jobs.outcomes.jsonl", ledger="l") | more


def test_summary_for_people() -> None:
    text = summary_text(summary(read=1234567, in_doubt=1, invalid=20), 1)
    lines = text.splitlines()
    assert "1,234,567" in lines[0]
    assert "sender outcomes 'my jobs.outcomes.jsonl' --status in_doubt" in text
    assert "lane send  1,234,567  requests at 99.9/s, at most 100 in any window, 3 answered 429" in text
    assert "lane app" not in text
    assert "rejected" not in text
    assert "my jobs.outcomes.jsonl" in lines[-3]
    assert lines[-1].split() == ["exit", "1", "finished,", "but", "not", "every", "job", "stands", "as", "sent"]


def test_the_end_adds_up_over_all_runs() -> None:
    """50 jobs were sent before, 3 lines stand twice, and a signal left 24 that nobody came to read."""
    books = Books(read=19_216 + 23, sent_before=50)
    books.statuses.update(sent=19_186, duplicate=53)
    books.count_unread(19_263)
    assert (books.read, books.not_started, books.balance) == (19_263, 24, 0)
    assert books.in_all == (19_236, 19_260)
    text = summary_text(books.summary(1.0, outcomes="o", ledger="l"), 3, books.in_all)
    assert [" ".join(line.split()) for line in text.splitlines()][4] == "in all 19,236 of 19,260 sent"
    assert "in all" not in summary_text(summary(read=7), 0, Books(read=7).in_all)
    books.count_unread(None)
    assert books.not_started == 24


@pytest.mark.parametrize("number", [0, 7, 12_345, 10**12])
def test_numbers_stand_in_one_column(number: int) -> None:
    rows = summary_text(summary(read=number, failed=number or 1)).splitlines()[:3]
    assert len({len(row) - len(row[12:].lstrip(" 0123456789,")) for row in rows if row.strip()[-1].isdigit()}) == 1
