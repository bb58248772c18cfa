"""The ledger is the run's memory: what is known of each job before its request leaves and after its end.

    (unknown) --hand_over--> handed_over --finish--> sent | rejected | failed | in_doubt
                                  |  ^
                          release |  | hand_over
                                  v  |
                               (unknown)      in_doubt --finish--> sent | failed (reconcile)

`hand_over` is durable before the first byte of the request leaves, `finish` before the outcome is reported, counted
or acknowledged. The ledger is also the outbox of the outcome log: `finish` keeps the line until `logged` says that
the log has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

LOST_NOTE: Final = "lost"
"""Name of the note that tells at which unix time a memory was seen to have lost something."""

State = Literal["handed_over", "sent", "rejected", "failed", "in_doubt"]


class JobRecord(NamedTuple):
    """What the ledger knows of one identity."""

    state: State
    content: str
    run: int
    """The run that wrote this state; compare with `Ledger.run`."""
    resendable: bool = True
    """False for a job whose acceptance is known though its id is not: no policy ever sends it again."""
    owned_elsewhere: bool = False
    """True while another replica that lives has it handed over: it is not to be judged, only to be asked again."""
    result: str | None = None
    """See `FinalRecord.result`."""
    error: Mapping[str, Any] | None = None
    """The first problem of an end, see `sender.ledger.record_detail`."""


class HandOverRecord(NamedTuple):
    """A job about to be handed over, with what must be known of it if no answer ever comes."""

    key: str
    content: str
    detail: bytes
    """JSON: id, kind, source, line, attempts, started_at, and what reconcile looks for. Dropped with the doubt."""


class FinalRecord(NamedTuple):
    """The end of a job, or a change of its fate."""

    key: str
    content: str
    state: State
    line: bytes
    """The line of the outcome log."""
    result: str | None = None
    """The delivery's (or trigger's) id, so that reconcile never adopts it for another job."""
    detail: bytes | None = None
    """JSON: of a job in doubt what reconcile looks for, of every end but `sent` its error."""
    resendable: bool = True


class Doubt(NamedTuple):
    """A job in doubt, or left handed over by a run that died."""

    key: str
    content: str
    state: State
    detail: bytes
    resendable: bool


class Ledger(Protocol):
    """Every method is atomic; calls made together may share one commit. Raises OutputError when it cannot write."""

    shares_commits: ClassVar[bool] = False
    """Whether a hand-over and ends that are asked for in one turn of the loop are one commit."""

    run: int
    """Number of this run, counted from 1."""

    async def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        """What is known of these identities; the unknown ones are left out."""

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        """Durably mark these as handed over; only then may their requests be written.

        Returns those that were refused and how they stand: another replica holds or has ended them since they were
        looked up. A ledger that one run has for itself refuses none.
        """

    async def release(self, keys: Sequence[str]) -> None:
        """Take back a hand-over of which surely nothing was accepted: the state before it stands again."""

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        """Durably record these ends and return the number of the last one, for `logged`."""

    async def logged(self, upto: int) -> None:
        """The outcome log durably has all lines up to this number; may be made durable with a later commit."""

    async def unlogged(self) -> list[bytes]:
        """Lines of jobs that an earlier run finished and may not have written to its log, oldest first."""

    async def last_seq(self) -> int:
        """Number of the newest line that waits for the log; 0 when none does."""

    def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        """Every job in doubt; with the flag those that earlier runs left handed over, instead."""

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """Which of these delivery ids belong to a job already."""

    async def count(self) -> dict[str, int]:
        """Number of jobs in each state."""

    async def get_note(self, name: str) -> bytes | None:
        """A small named value (a lane's last start, waiting triggers), or None."""

    async def put_note(self, name: str, value: bytes) -> None:
        """Durably keep a small named value."""

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """Replace a note if it still has the expected value (None: there is none); whether it was replaced."""

    async def close(self) -> None:
        """Mark the run as cleanly ended and let go of the file."""
