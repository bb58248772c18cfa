"""The ledger in memory: the same promises but the lasting ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sender.ledger.ledger import Doubt, FinalRecord, HandOverRecord, JobRecord
from sender.ledger.record_detail import error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sender.ledger.ledger import State


@dataclass(frozen=True, slots=True)
class _Row:
    state: State
    content: str
    run: int
    resendable: bool = True
    result: str | None = None
    detail: bytes | None = None
    before: _Row | None = None


class MemoryLedger:
    """See `sender.ledger.Ledger`."""

    shares_commits = False

    def __init__(self, run: int = 1) -> None:
        self.run = run
        self._rows: dict[str, _Row] = {}
        self._outbox: dict[int, bytes] = {}
        self._seq = 0
        self._notes: dict[str, bytes] = {}

    async def find(self, keys: Sequence[str]) -> dict[str, JobRecord]:
        rows = {key: self._rows[key] for key in keys if key in self._rows}
        return {
            key: JobRecord(
                one.state, one.content, one.run, one.resendable, result=one.result, error=error_of(one.detail)
            )
            for key, one in rows.items()
        }

    async def hand_over(self, records: Sequence[HandOverRecord]) -> dict[str, JobRecord]:
        for one in records:
            before = self._rows.get(one.key)
            result = before.result if before else None
            self._rows[one.key] = _Row("handed_over", one.content, self.run, True, result, one.detail, before)
        return {}

    async def release(self, keys: Sequence[str]) -> None:
        for key in keys:
            row = self._rows.get(key)
            if row is None or row.state != "handed_over":
                continue
            if row.before is not None:
                self._rows[key] = row.before
            elif row.run == self.run:
                del self._rows[key]

    async def finish(self, records: Sequence[FinalRecord]) -> int:
        for one in records:
            before = self._rows.get(one.key)
            result = one.result or (before.result if before else None)
            self._rows[one.key] = _Row(one.state, one.content, self.run, one.resendable, result, one.detail)
            self._seq += 1
            self._outbox[self._seq] = one.line
        return self._seq

    async def logged(self, upto: int) -> None:
        self._outbox = {seq: line for seq, line in self._outbox.items() if seq > upto}

    async def unlogged(self) -> list[bytes]:
        return list(self._outbox.values())

    async def last_seq(self) -> int:
        return max(self._outbox, default=0)

    async def doubts(self, *, earlier_runs_handed_over: bool = False) -> AsyncIterator[Doubt]:
        state = "handed_over" if earlier_runs_handed_over else "in_doubt"
        for key, row in sorted(self._rows.items()):
            if row.state == state and (row.run < self.run or not earlier_runs_handed_over):
                yield Doubt(key, row.content, row.state, row.detail or b"{}", row.resendable)

    async def known_results(self, results: Sequence[str]) -> set[str]:
        return {row.result for row in self._rows.values() if row.result is not None} & set(results)

    async def count(self) -> dict[str, int]:
        states = [row.state for row in self._rows.values()]
        return {state: states.count(state) for state in set(states)}

    async def get_note(self, name: str) -> bytes | None:
        return self._notes.get(name)

    async def put_note(self, name: str, value: bytes) -> None:
        self._notes[name] = value

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        if self._notes.get(name) != expected:
            return False
        if new is None:
            self._notes.pop(name, None)
        else:
            self._notes[name] = new
        return True

    async def close(self) -> None: ...

    def next_run(self) -> MemoryLedger:
        """What the next run finds."""
        ledger = MemoryLedger(self.run + 1)
        ledger._rows = {key: replace(row) for key, row in self._rows.items()}
        ledger._outbox, ledger._seq, ledger._notes = dict(self._outbox), self._seq, dict(self._notes)
        return ledger
