"""The end of a run: what its books say when all is recorded, and what there is to tell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sender.runtime.screen import SCREEN

if TYPE_CHECKING:
    from sender.outcomes.summary import Books
    from sender.session.session import Session

log = structlog.get_logger()


class RunEnd(NamedTuple):
    """What a run has to say at its end."""

    status: int
    """Exit status."""
    summary: str
    reasons: tuple[str, ...]
    """Why it did not come to its end."""

    def tell(self) -> int:
        """Print it, and return the exit status."""
        sys.stdout.write(f"{self.summary}\n")
        sys.stdout.flush()
        for reason in self.reasons:
            SCREEN.write(f"sender: {reason}\n")
        return self.status


def close_books(books: Books, session: Session) -> None:
    """Count what could not be recorded, and what each lane did."""
    recorder = session.recorder
    unclaimed = sum(ended.entry is None for ended in recorder.unrecorded)
    books.not_started += recorder.dropped + unclaimed
    if books.balance > 0:
        log.error("ends could not be recorded: the ledger holds these jobs as handed over, and the next run "
                  "reports them in doubt", jobs=books.balance)
        books.statuses["in_doubt"] += books.balance
    if recorder.unlogged:
        log.warning("the ledger keeps outcome lines that the log did not take; the next run writes them",
                    lines=recorder.unlogged)
    for name in session.workspace.lanes:
        books.lanes[name] = session.workspace.figures(name)
