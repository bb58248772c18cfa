"""Tables of text with delimiters: CSV, TSV and their relatives, in any encoding.

A row whose quotes are broken is told with its line and column. Where a quote is never closed nobody knows which of the
lines after it are rows, and the table ends there.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from sender.errors import InputError, UsageError
from sender.inputs.mapping.column_paths import WHY
from sender.inputs.mapping.columns import Columns
from sender.inputs.tables import Record
from sender.inputs.tables.broken_quote import broken_quote, place_of
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sender.inputs.files import InputFile

CHUNK: Final = 1 << 16
"""Bytes; rows of larger ones live so long that the garbage collector looks through them."""
MOST_ROW: Final = 26 * 2**20
"""Characters."""
CANDIDATES: Final = (",", ";", "\t", "|")
"""Delimiters that a header is searched for where none is named."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)
Entry = tuple[str, list[str], Problem | None]
"""What stood between line ends, its fields, and why it is no row."""
T = TypeVar("T")

csv.field_size_limit(MOST_ROW)  # the library's own limit is 128 KB for the whole process


class Dialect(NamedTuple):
    """How fields are written."""

    delimiter: str
    quote: str | None

    def reader(self, lines: Iterator[str] | list[str]) -> Iterator[list[str]]:
        """The library's reader, strict; it raises csv.Error at a broken quote."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        return csv.reader(lines, delimiter=self.delimiter, quotechar=self.quote, strict=True)


class CsvTable:
    """See `sender.inputs.tables.Table`."""

    def __init__(self, file: InputFile, *, delimiter: str = "", quote: str = '"', encoding: str = "") -> None:
        self.name = file.name
        self._file = file
        self.mark, known = _mark_of(file)
        """The byte order mark at the table's beginning, if there is one."""
        self.encoding = _encoding_of(encoding, known)
        if self.mark and self.encoding != known:
            raise UsageError(f"{self.name} begins with the byte order mark of {known}, and --encoding says {encoding}")
        quoting = None if quote in ("", "none") else quote
        self.dialect = Dialect(delimiter or self._delimiter(), quoting)
        self.header = self._read_header()
        self._columns = Columns(_names_of(self.header, self.name), texts=True)

    @property
    def columns(self) -> Columns:
        """See `Table.columns`."""
        return self._columns

    def encode(self, text: str) -> bytes:
        """A part of the table in the bytes in which it stood."""
        return text.encode(self.encoding, _errors_of(self.encoding))

    def close(self) -> None:
        """See `Table.close`."""
        self._file.close()

    def batches(self) -> Iterator[list[Record]]:
        """See `Table.batches`; the text of each row is what stood between line ends."""
        number, width = 0, len(self.header.values)
        for entries in self._entries(skip=1):
            batch: list[Record] = []
            for text, fields, problem in entries:
                number += 1
                if len(fields) != width and problem is None:
                    problem = _ragged(len(fields), width)
                batch.append(Record(number, fields, problem, text))
            yield batch

    def keys(self, places: Sequence[int]) -> Iterator[list[Any]]:
        """See `Table.keys`; where no quote stands a row is not taken apart beyond the last of these columns."""
        most = max(places, default=-1)
        last = most == len(self.header.values) - 1
        key = itemgetter(*places) if places else (lambda _: ())

        def of_entry(entry: Entry) -> Any:
            return key(entry[1]) if len(entry[1]) > most else None

        def of_lines(lines: list[str], line: int) -> list[Any]:
            try:
                if last:
                    raise IndexError  # noqa: TRY301 - a line end must be taken off the last field
                return [key(text.split(self.dialect.delimiter, most + 1)) for text in lines if text not in ("", "\r")]
            except IndexError:
                return [of_entry(entry) for entry in self._plain(lines, line)]

        yield from _without_first(self._read(of_lines, of_entry))

    def _entries(self, *, skip: int = 0) -> Iterator[list[Entry]]:
        """All rows as they stood and taken apart, the first one with the header."""
        found = self._read(self._plain, lambda entry: entry)
        return _without_first(found) if skip else found

    def _read_header(self) -> Record:
        for entries in self._entries():
            text, fields, problem = entries[0]
            if problem is not None:
                raise UsageError(f"{self.name}: the header cannot be read: {problem.message}")
            return Record(0, fields, None, text)
        raise UsageError(f"{self.name} is empty; a table begins with the names of its columns")

    def _delimiter(self) -> str:
        """Of the usual delimiters the one that parts the header most often."""
        first = next(filter(str.strip, "".join(itertools.islice(self._texts(), 4)).split("\n")), "")
        return max(CANDIDATES, key=first.count)

    def _texts(self) -> Iterator[str]:
        reader = self._file.chunks(CHUNK)
        decoder = codecs.getincrementaldecoder(self.encoding)(_errors_of(self.encoding))
        skip = len(self.mark)
        while chunk := reader.read():
            chunk, skip = chunk[skip:], max(0, skip - len(chunk))
            yield self._decode(decoder, chunk)
        yield self._decode(decoder, b"", last=True)

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes, *, last: bool = False) -> str:
        try:
            return decoder.decode(chunk, last)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name} is not {self.encoding}: {error.reason}; see --encoding") from None

    def _read(self, plain: Callable[[list[str], int], list[T]], quoted: Callable[[Entry], T]) -> Iterator[list[T]]:
        """All rows but blank lines, some at a time, none of which is empty.

        `plain` makes rows of lines without a quote, of which the first has this number, `quoted` one of the others.
        """
        rest, line, wanted = "", 1, 0
        waiting: list[str] = []
        size = 0
        for chunk in self._texts():
            waiting.append(chunk)
            size += len(chunk)
            if size < wanted or "\n" not in chunk:
                self._check_size(rest, size, line)
                continue
            *lines, tail = "".join([rest, *waiting]).split("\n")
            found, opened = self._cut(lines, line, plain, quoted)
            if found:
                yield found
            line += opened
            rest = "\n".join([*lines[opened:], tail])
            waiting, size, wanted = [], 0, len(rest)  # a long row is not read anew with each chunk
        lines = "".join([rest, *waiting]).split("\n")
        found, opened = self._cut(lines, line, plain, quoted)
        if found:
            yield found
        if opened < len(lines):
            self._tell_open("\n".join(lines[opened:]), line + opened)

    def _check_size(self, rest: str, size: int, line: int) -> None:
        if len(rest) + size > MOST_ROW:
            raise InputError(f"{self.name} has a row of more than {MOST_ROW:,} characters at line {line:,}")

    def _cut(
        self, lines: list[str], line: int, plain: Callable[[list[str], int], list[T]], quoted: Callable[[Entry], T]
    ) -> tuple[list[T], int]:
        """The rows of whole lines, and where a row begins whose quote is open at their end."""
        quote = self.dialect.quote
        if quote is None:
            return plain(lines, line), len(lines)
        found: list[T] = []
        place = 0
        for next_quoted in [number for number, text in enumerate(lines) if quote in text] + [len(lines)]:
            if next_quoted < place:
                continue  # a part of a row that began above
            if place < next_quoted:
                found += plain(lines[place:next_quoted], line + place)
                place = next_quoted
            if place < len(lines):
                entry, end = self._quoted(lines, place, line)
                if entry is None:
                    return found, place
                found.append(quoted(entry))
                place = end
        return found, place

    def _plain(self, lines: list[str], line: int) -> list[Entry]:
        try:
            rows = zip(lines, self.dialect.reader(lines), strict=True)
            return [(text, fields, None) for text, fields in rows if fields]
        except csv.Error:  # a carriage return amid a line, or a field that is too long
            return [self._one(text, line + number) for number, text in enumerate(lines) if text.strip("\r")]

    def _one(self, text: str, line: int) -> Entry:
        try:
            return text, next(self.dialect.reader([text])), None
        except csv.Error as error:
            return text, [], _unreadable(text, line, str(error))

    def _quoted(self, lines: list[str], place: int, line: int) -> tuple[Entry | None, int]:
        """The row that begins at this place, and where the next one does; None if its quote is open at the end."""
        taken = _Taken(lines, place)
        try:
            fields = next(self.dialect.reader(taken))
        except csv.Error as error:
            if taken.ended:
                return None, place
            text = "\n".join(lines[place : taken.number])
            return (text, [], self._broken(text, line + place, str(error))), taken.number
        text = lines[place] if taken.number == place + 1 else "\n".join(lines[place : taken.number])
        return (text, fields, None), taken.number

    def _broken(self, text: str, line: int, reason: str) -> Problem:
        broken = broken_quote(text, self.dialect.delimiter, self.dialect.quote or "")
        if broken is None or broken.at is None:
            return _unreadable(text, line, reason)
        opened, at = place_of(text, broken.opened, line), place_of(text, broken.at, line)
        message = f"a broken quote: the one opened at {opened} is closed, and more text follows at {at}"
        return Problem("bad_row", None, f"{message}; write a quote within a field twice")

    def _tell_open(self, text: str, line: int) -> None:
        broken = broken_quote(text, self.dialect.delimiter, self.dialect.quote or "")
        place = place_of(text, broken.opened if broken else 0, line)
        raise InputError(
            f"{self.name} has a broken quote: the one at {place} is never closed, so nobody knows which lines after it "
            "are rows; close it, or say --quote none if quotes mean nothing in this file"
        )


class _Taken:
    """Gives out lines from a place on, and knows how many it gave."""

    def __init__(self, lines: list[str], place: int) -> None:
        self._lines = lines
        self.number = place
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.number == len(self._lines):
            self.ended = True
            raise StopIteration
        self.number += 1
        return f"{self._lines[self.number - 1]}\n"


def _without_first(batches: Iterator[list[T]]) -> Iterator[list[T]]:
    """All rows but the first."""
    first = next(batches, [])
    if first[1:]:
        yield first[1:]
    yield from batches


def _mark_of(file: InputFile) -> tuple[bytes, str]:
    """The byte order mark, and the encoding that it tells; UTF-8 without one."""
    try:
        first = file.chunks().read()
    except InputError:
        first = b""  # the same break is told when it is read in earnest
    return next(((mark, name) for mark, name in _MARKS if first.startswith(mark)), (b"", "utf-8"))


def _encoding_of(name: str, known: str) -> str:
    """The encoding that the user names; `known` is that of the byte order mark."""
    if not name:
        return known
    try:
        found = codecs.lookup(name).name
    except LookupError:
        raise UsageError(f"there is no encoding {name}; utf-8, utf-16, latin-1 and cp1252 are some") from None
    if known.startswith(found):
        return known
    return f"{found}-le" if found in ("utf-16", "utf-32") else found


def _errors_of(encoding: str) -> str:
    return "strict" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"


def _names_of(header: Record, source: str) -> list[str]:
    names = [str(name).strip() for name in header.values]
    if any("\udc80" <= letter <= "\udcff" for name in names for letter in name):
        raise UsageError(f"the header of {source} is not UTF-8; say with --encoding what it is, for example cp1252")
    repeated = sorted({name for name in names if name and name != WHY and names.count(name) > 1})
    if repeated:
        raise UsageError(f"{source} has more than one column {', '.join(repeated)}; name them apart")
    return names


def _ragged(found: int, width: int) -> Problem:
    return Problem("bad_row", None, f"the row has {found:,} fields, and the header {width:,}")


def _unreadable(text: str, line: int, reason: str) -> Problem:
    column = text.find("\r") + 1
    if column and "new-line" in reason:
        reason = f"a carriage return stands at column {column:,}; save the file with line ends of LF or CRLF"
    return Problem("bad_row", None, f"line {line:,} cannot be read: {reason}")
