"""What a server has to do for the shared state: `redis` and `postgres` are two implementations of these protocols.

Every call is atomic, made again until the server answers, and raises StateLost when the server has lost the state or
takes this replica for dead, and OutputError for what waiting does not mend. Instants are the server's microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.engine.pacing.pace import Demand
    from sender.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord
    from sender.queues import StatementPart
    from sender.shared_state.state_connection import StateConnection


class Look(NamedTuple):
    """How a lane stands."""

    limit: float
    window: float
    held: bool
    """Whether an operator paused it."""
    now: float


class Grant(NamedTuple):
    """Slots that the server gave, `granted` of them, each `step` after the one before, and how the lane stands."""

    now: float
    granted: float
    first: float
    step: float
    ask_again: float
    paused_until: float
    paused: float
    limit: float
    window: float
    divided: float = 0
    """Whether replicas hold parts of the lane, and no slots are given."""


class Holders(NamedTuple):
    """Who holds which part of a lane, and how it stands."""

    now: float
    version: int
    division: bytes
    """As `Division.write` gave it; empty when there is none."""
    begins: float
    """When the first parts may be used."""
    floor: float
    """Before it nothing may be given, or change hands."""
    limit: int
    window: float
    held: bool
    paused_until: float
    unsettled: float
    """When replicas differed last in what they have most of, the rate was changed or a division ended."""
    care: float
    """The window as the most careful replica's guard has widened it."""
    replicas: int
    """How many asked for slots of late."""
    heard: dict[int, float]
    """When each owner renewed its part last."""


class JobTable(Protocol):
    """Jobs, outcome lines, notes, and the owners: replicas that say every few seconds that they live."""

    together: Callable[[Sequence[FinalRecord]], StatementPart | None] | None
    """What goes into the transaction of these ends, where the server can take it in."""

    async def join(self) -> int:
        """Become an owner; returns its number."""

    async def beat(self, owner: int, *, patient: bool = False) -> None:
        """Say that it lives; with patience until the server hears it, else Away when it does not."""

    async def leave(self, owner: int) -> None:
        """A clean end: whatever is left may be taken over at once."""

    async def told(self, owner: int) -> tuple[int, bool]:
        """It has said again what a restarted server may have forgotten. Returns how many others have not yet, and
        whether to wait for them."""

    async def owners(self) -> list[tuple[int, int, int]]:
        """Of each that has not left: number, microseconds since its last sign of life, jobs that it has handed over."""

    async def bind(self, name: str, value: str) -> str:
        """Give a fact its value, unless it has one; returns the value that stands."""

    async def find(self, owner: int, keys: Sequence[str]) -> dict[str, JobRecord]:
        """See `Ledger.find`."""

    async def hand_over(
        self, owner: int, records: Sequence[HandOverRecord], seen: Mapping[str, JobRecord]
    ) -> dict[str, JobRecord]:
        """See `Ledger.hand_over`; one that has ended, and has not failed, is given only to who has seen it so."""

    async def release(self, owner: int, keys: Sequence[str]) -> None:
        """See `Ledger.release`."""

    async def finish(self, owner: int, records: Sequence[FinalRecord], logged: int) -> int:
        """See `Ledger.finish`; lines up to `logged` are forgotten."""

    async def outbox(self, owner: int, logged: int) -> tuple[int, list[bytes]]:
        """Forget what is logged, take over what dead replicas left; returns the number of the last line (0: none
        waits) and the lines."""

    async def take(self, owner: int, most: int) -> int:
        """Take what dead replicas left handed over; returns how many were taken now."""

    async def doubts(self, owner: int, *, taken: bool, after: str, most: int) -> list[Doubt]:
        """A page of the jobs in doubt, or of those taken from the dead, by key."""

    async def known_results(self, results: Sequence[str]) -> set[str]:
        """See `Ledger.known_results`; as far back as finished jobs are kept."""

    async def count(self) -> dict[str, int]:
        """See `Ledger.count`."""

    async def get_note(self, name: str) -> bytes | None:
        """See `Ledger.get_note`."""

    async def put_note(self, name: str, value: bytes) -> None:
        """See `Ledger.put_note`."""

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        """See `Ledger.swap_note`."""


class LaneTable(Protocol):
    """The lanes: one line of slots each, which all replicas share."""

    async def ask(self, lane: str, *what: Any, patient: bool = True) -> Look:
        """Say something of a lane, and see how it stands; without patience Away when the server does not answer.

        `declare`, configured rate (empty: as it is), limit, window: join it | `rate`, limit, window | `pause`,
        microseconds | `hold` | `go` | `distrust`. Anything else changes nothing.
        """

    async def reserve(
        self, owner: int, lane: str, wants: Demand, *, widened: int, share: float, lead: int, owed: int, urgent: int
    ) -> Grant | None:
        """Slots for jobs of three priorities; None: the lane has to be declared. Away when there is no answer.

        `widened`: by how much the window is widened; `share`: part of the limit that may be used; `lead`: how soon a
        slot can be reached; `owed`: by how much writes came late; `urgent`: one slot past what the API asked to wait
        (1), and past an operator's pause (2).
        """

    async def divide(
        self, owner: int, lane: str, version: int, division: bytes | None, *, parts: bool, care: int
    ) -> Holders | None:
        """Renew this owner's part, and put a division, with `parts` or without, in the place of this version of it.

        None: the lane has to be declared. Away when there is no answer. What stands is returned, whosever it is.
        """


class StateServer(NamedTuple):
    """A server that was found and checked."""

    connection: StateConnection
    jobs: JobTable
    lanes: LaneTable
    durability: str
    """One sentence on what the server's settings promise."""
    warnings: Sequence[str] = ()
    database: str | None = None
    """Names the database, as a `DatabaseQueue` does; None where there can be no queue in it."""
