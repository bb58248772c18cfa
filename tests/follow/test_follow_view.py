"""What a live view shows of a run that is followed are the books of follow."""

from __future__ import annotations

import asyncio

from sender.follow.books import FateBooks
from sender.follow.delivery import Delivery
from sender.follow.follow_view import FollowView
from sender.follow.news import News


async def test_the_books_are_shown_as_they_fill() -> None:
    books = FateBooks(unnamed=2)
    sent = [Delivery(f"d-{n}", None, "email", 1e9) for n in range(4)]
    for one in sent:
        books.enter(None, one)
    stopping = False
    view = FollowView(lambda: books, lambda: stopping)
    first = view.look()
    assert (first.state, first.total, first.done, first.left) == ("running", 4, 0, None)
    books.enter(sent[0], sent[0].told(News("d-0", {"delivered": 1, "opened": 2}, {}, None)))
    books.enter(sent[1], sent[1].told(News("d-1", {"bounced": 1}, {}, None)))
    stopping = True
    await asyncio.sleep(0)
    now = view.look()
    assert (now.state, now.total, now.done) == ("stopping", 4, 2)
    assert now.counts == {
        "delivered": 1, "bounced": 1, "dropped": 0, "failed": 0, "open": 2, "opened": 1, "not_followed": 2,
    }
    await view.refresh()


async def test_what_a_state_counts_and_nobody_told_of_is_open() -> None:
    books = FateBooks(made=10)
    one = Delivery("d", None, "email", 1e9)
    books.enter(None, one)
    books.enter(one, one.told(News("d", {"delivered": 1}, {}, None)))
    figures = FollowView(lambda: books, lambda: False).look()
    assert (figures.total, figures.done) == (10, 1)
    assert (figures.counts["delivered"], figures.counts["open"]) == (1, 9)
