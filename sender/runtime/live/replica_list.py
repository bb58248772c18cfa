"""Who else works on a shared state, where a ledger can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sender.runtime.metrics.watched import answer_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.runtime.live.figures import Replica


@runtime_checkable
class ReplicaList(Protocol):
    """A ledger that replicas share."""

    async def replicas(self) -> Sequence[Replica]:
        """All that live, as far as the server knows."""


async def replicas_of(ledger: object) -> Sequence[Replica]:
    """None where nobody can tell, or nobody does in time."""
    return (await answer_of(ledger.replicas()) if isinstance(ledger, ReplicaList) else None) or ()
