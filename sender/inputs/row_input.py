"""Inputs that are made of rows: a table with its mapping, or an array of jobs; each lane reads on by its own place."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from sender.inputs.files import PAUSE, take
from sender.inputs.line_batch import LineBatch
from sender.jobs.job import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.inputs import LaneOf
    from sender.inputs.files import InputFile
    from sender.inputs.mapping.row_mapper import RowMapper
    from sender.inputs.tables import Record, Table
    from sender.jobs.kinds import LaneName

BATCH: Final = 64


class RowInput(Protocol):
    """An input that can be read several times, and is no file of lines."""

    name: str
    lane: LaneName | None
    """The one lane of all its jobs; None where each tells its own."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns; none where its rows are jobs already."""

    def line_batches(self) -> Iterator[list[Line]]:
        """Its job lines from the beginning, a few at a time; raises InputError where the input breaks."""

    def batches(self) -> Iterator[LineBatch]:
        """The same for those who check them elsewhere."""

    def lines(self) -> Iterator[Line]:
        """The same one by one."""

    def line_at(self, number: int) -> Line | None:
        """The job line of this number, None where there is none."""

    def close(self) -> None:
        """Let go of it."""


class TableInput:
    """A table, and the mapping that makes jobs of its rows; `number` of a line counts the rows from 1."""

    def __init__(self, table: Table, mapper: RowMapper, file: InputFile | None = None) -> None:
        """`file` is what the table was read from, if it is one."""
        self.file = file
        self.name = table.name
        self.table = table
        self.mapper = mapper
        self.lane = mapper.lane

    @property
    def columns(self) -> tuple[str, ...]:
        """See `RowInput.columns`."""
        return self.table.columns.names

    def line_batches(self) -> Iterator[list[Line]]:
        """See `RowInput.line_batches`."""
        for records in self.table.batches():
            yield self._lines_of(records)

    def lines_from(self, number: int) -> Iterator[Line]:
        """The job lines from this row on; those before it are read, and no jobs are made of them."""
        for records in self.table.batches():
            if records[-1].number >= number:
                yield from self._lines_of([record for record in records if record.number >= number])

    def _lines_of(self, records: Sequence[Record]) -> list[Line]:
        name, line = self.name, self.mapper.line
        return [
            line(name, number, values) if problem is None else self.mapper.faulty(name, number, (), (problem,))
            for number, values, problem, _ in records
        ]

    def line_at(self, number: int) -> Line | None:
        """See `RowInput.line_at`; the other rows are read and not mapped."""
        for records in self.table.batches():
            for at, values, problem, _ in records:
                if at == number:
                    found = self.mapper.faulty(self.name, at, (), (problem,)) if problem is not None else None
                    return found or self.mapper.line(self.name, at, values)
        return None

    def id_keys(self) -> Iterator[list[object]]:
        """What tells rows apart, of each row from the beginning; None for one without an id."""
        places = self.mapper.id_columns
        if places is not None:
            yield from self.table.keys(places)
            return
        for records in self.table.batches():
            yield [None if record.problem else self.mapper.id_of(record.values) for record in records]

    def batches(self) -> Iterator[LineBatch]:
        """See `RowInput.batches`."""
        return (LineBatch(self.name, cut_lines=tuple(lines)) for lines in self.line_batches())

    def lines(self) -> Iterator[Line]:
        """See `RowInput.lines`."""
        for batch in self.line_batches():
            yield from batch

    def close(self) -> None:
        """See `RowInput.close`."""
        self.table.close()


class JobArray:
    """A JSON array of jobs."""

    lane: LaneName | None = None
    columns: tuple[str, ...] = ()

    def __init__(self, file: InputFile) -> None:
        self.name = file.name
        self.file = file

    def line_batches(self) -> Iterator[list[Line]]:
        """See `RowInput.line_batches`."""
        batch: list[Line] = []
        for line in self.lines():
            batch.append(line)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def batches(self) -> Iterator[LineBatch]:
        """See `RowInput.batches`."""
        return (LineBatch(self.name, cut_lines=tuple(lines)) for lines in self.line_batches())

    def lines(self) -> Iterator[Line]:
        """See `RowInput.lines`; a job that stands on several lines is put on one."""
        from sender.inputs.tables.json_elements import elements_of

        for number, element in enumerate(elements_of(self.file), 1):
            data = element.text.encode().replace(b"\r\n", b" ").replace(b"\n", b" ").replace(b"\r", b" ")
            yield Line(self.name, number, data)

    def line_at(self, number: int) -> Line | None:
        """See `RowInput.line_at`."""
        return next((line for line in self.lines() if line.number == number), None)

    def close(self) -> None:
        """See `RowInput.close`."""
        self.file.close()


class RowFeed:
    """The lines of one lane."""

    def __init__(self, source: RowInput, lane: LaneName, lane_of: LaneOf) -> None:
        self._lane = lane
        self._lane_of = lane_of
        self._whole = source.lane is not None
        self._batches: Iterator[list[Line]] = source.line_batches() if source.lane in (None, lane) else iter(())
        self._ready: deque[Line] = deque()
        self._ended = False
        self._stopped = False

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        while not self._ready and not self._ended and not self._stopped:
            found: list[Line] | None = await asyncio.to_thread(self._scan)
            if found is None:
                self._ended = True
                break
            self._ready.extend(found)
            if not found:
                await asyncio.sleep(PAUSE)
        return [] if self._stopped else take(self._ready, most, most_bytes)

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped = True

    def _scan(self) -> list[Line] | None:
        batch = next(self._batches, None)
        if batch is None or self._whole:
            return batch
        return [line for line in batch if self._lane_of(line.data) == self._lane]
