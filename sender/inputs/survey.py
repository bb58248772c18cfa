"""The Survey goes through the tables of a run before its first request: how many rows there are, which ids repeat."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.errors import InputError, UsageError
from sender.inputs.repeated_ids import RepeatedIds
from sender.inputs.row_input import TableInput

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from sender.inputs.inputs import Input

STEP: Final = 16
"""Batches in one go, after which a run that was stopped need not wait for more."""
MOST_SHOWN: Final = 5


class Repetition(NamedTuple):
    """A row whose id stands above."""

    source: str
    row: int
    first_source: str
    first_row: int

    def told(self) -> str:
        """Where both stand."""
        first = "" if self.source == self.first_source else f" of {self.first_source}"
        return f"row {self.row:,} of {self.source} has the id of row {self.first_row:,}{first}"


class Survey:
    """Steps through all tables; `rows` and `repeated` are whole at the end."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._tables = [one for one in inputs if isinstance(one, TableInput)]
        self._ids = RepeatedIds()
        self.rows = 0
        self.repeated = 0
        """Rows whose id stands above."""
        self.examples: list[Repetition] = []
        self._steps = chain(self._count(), self._find()) if self._tables else iter(())

    def step(self) -> bool:
        """Go on a little; False at the end. UsageError when a table cannot be read to its end."""
        try:
            return next(self._steps, None) is not None
        except InputError as error:
            raise UsageError(f"{error}. Nothing was sent") from None

    def close(self) -> None:
        """Let go of the disk."""
        self._ids.close()

    def _count(self) -> Iterator[bool]:
        for table in self._tables:
            for number, keys in enumerate(table.id_keys()):
                self.rows += self._ids.add(keys)
                if number % STEP == 0:
                    yield True

    def _find(self) -> Iterator[bool]:
        """Which rows they are; hashes may be equal by chance, so the ids themselves are compared."""
        wanted: set[int] = set()
        for hashes in self._ids.hashes():
            self.repeated += hashes.total() - len(hashes)
            if len(wanted) < MOST_SHOWN:
                wanted.update(self._first(hashes))
            yield True
        if wanted:
            yield from self._examples(wanted)

    def _first(self, hashes: Counter[int]) -> list[int]:
        return sorted(hashes)[:MOST_SHOWN]

    def _examples(self, wanted: set[int]) -> Iterator[bool]:
        seen: dict[object, tuple[str, int]] = {}
        for table in self._tables:
            before = 0
            for keys in table.id_keys():
                for row, key in enumerate(keys, before + 1):
                    if key is None or hash(key) not in wanted:
                        continue
                    first = seen.setdefault(key, (table.name, row))
                    if first != (table.name, row):
                        self.examples.append(Repetition(table.name, row, *first))
                    if len(self.examples) == MOST_SHOWN:
                        return
                before += len(keys)
                yield True
