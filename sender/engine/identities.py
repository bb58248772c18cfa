"""Which identities this run has claimed, so that a repeated line is found without asking the ledger alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.ledger import JobRecord, Ledger


class Identities:
    """Identities from admission to their recorded end; memory is bounded by the jobs in hand."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._claimed: dict[str, str] = {}
        self._ended: dict[str, str] = {}
        self._lookups = 0

    async def look_up(self, keys: Sequence[str]) -> LookUp:
        """What the ledger knows of these; use the answer before the next await, as a context."""
        self._lookups += 1
        try:
            records = await self._ledger.find(keys)
        except BaseException:
            self._leave()
            raise
        return LookUp(self, records)

    def claim(self, key: str, content: str) -> None:
        """A job of this identity was admitted."""
        self._claimed[key] = content

    def ended(self, key: str) -> None:
        """The job's end stands in the ledger, or the claim was wrong after all."""
        content = self._claimed.pop(key, None)
        if content is not None and self._lookups:
            # A look-up under way may have missed the end in the ledger.
            self._ended[key] = content

    def content_of(self, key: str) -> str | None:
        """Content of the job that claimed this identity and has no recorded end, if any."""
        return self._claimed.get(key) or self._ended.get(key)

    def _leave(self) -> None:
        self._lookups -= 1
        if not self._lookups:
            self._ended.clear()


class LookUp:
    """The ledger's answer, good until the context is left."""

    def __init__(self, identities: Identities, records: dict[str, JobRecord]) -> None:
        self._identities = identities
        self.records = records

    def __enter__(self) -> dict[str, JobRecord]:
        return self.records

    def __exit__(self, *_: object) -> None:
        self._identities._leave()  # noqa: SLF001 - the two are one thing
