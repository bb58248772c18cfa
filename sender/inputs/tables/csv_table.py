"""Tables of text with delimiters: CSV, TSV and their relatives, in any encoding.

A row whose quotes are broken is told with its line and column. Where a quote is never closed nobody knows which of the
lines after it are rows, and the table ends there.
"""

from __future__ import annotations

import codecs
import csv
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.errors import InputError, UsageError
from sender.inputs.mapping.column_paths import WHY
from sender.inputs.mapping.columns import Columns
from sender.inputs.tables import Record
from sender.inputs.tables.broken_quote import broken_quote, place_of
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.inputs.files import InputFile

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
        number, width, begun = 0, len(self.header.values), False
        for entries in self._entries():
            batch: list[Record] = []
            for text, fields, problem in entries:
                if not fields and problem is None:
                    continue  # a blank line
                if not begun:
                    begun = True
                    continue
                number += 1
                if len(fields) != width and problem is None:
                    problem = _ragged(len(fields), width)
                batch.append(Record(number, fields, problem, text))
            if batch:
                yield batch

    def _read_header(self) -> Record:
        for entries in self._entries():
            for text, fields, problem in entries:
                if problem is not None:
                    raise UsageError(f"{self.name}: the header cannot be read: {problem.message}")
                if fields:
                    return Record(0, fields, None, text)
        raise UsageError(f"{self.name} is empty; a table begins with the names of its columns")

    def _delimiter(self) -> str:
        """Of the usual delimiters the one that parts the header most often."""
        first = next(filter(str.strip, "".join(itertools.islice(self._texts(), 4)).split("\n")), "")
        return max(CANDIDATES, key=first.count)

    def _texts(self) -> Iterator[str]:
        reader, decoder = self._file.chunks(), codecs.getincrementaldecoder(self.encoding)(_errors_of(self.encoding))
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

    def _entries(self) -> Iterator[list[Entry]]:
        """All rows with the header and blank lines, as they stood and taken apart."""
        rest, line, wanted = "", 1, 0
        waiting: list[str] = []
        size = 0
        for chunk in self._texts():
            waiting.append(chunk)
            size += len(chunk)
            if size < wanted or "\n" not in chunk:
                self._check_size(rest, size, line)
                continue
            body, _, tail = (rest + "".join(waiting)).rpartition("\n")
            entries, rest = self._cut(body, line)
            yield entries
            line += body.count("\n") + 1 - (rest.count("\n") + 1 if rest else 0)
            rest = f"{rest}\n{tail}" if rest else tail
            waiting, size = [], 0
            wanted = len(rest)  # a long row is not read anew with each chunk
        rest += "".join(waiting)
        if rest:
            entries, open_row = self._cut(rest, line)
            yield entries
            if open_row:
                self._tell_open(open_row, line + rest[: len(rest) - len(open_row)].count("\n"))

    def _check_size(self, rest: str, size: int, line: int) -> None:
        if len(rest) + size > MOST_ROW:
            raise InputError(f"{self.name} has a row of more than {MOST_ROW:,} characters at line {line:,}")

    def _cut(self, body: str, line: int) -> tuple[list[Entry], str]:
        """The rows of whole lines, and the beginning of one whose quote is open at their end."""
        lines = body.split("\n")
        if self.dialect.quote is None or self.dialect.quote not in body:
            try:
                rows = zip(lines, self.dialect.reader(lines), strict=True)
                return [(text, fields, None) for text, fields in rows], ""
            except csv.Error:
                pass  # a carriage return amid a line: which one is found one by one
        return self._cut_quoted(lines, line)

    def _cut_quoted(self, lines: list[str], line: int) -> tuple[list[Entry], str]:
        taken = _Taken(lines)
        reader = self.dialect.reader(taken)
        entries: list[Entry] = []
        while True:
            begin = taken.number
            try:
                fields = next(reader)
            except StopIteration:
                return entries, ""
            except csv.Error as error:
                text = "\n".join(lines[begin : taken.number])
                if taken.ended:
                    return entries, text
                entries.append((text, [], self._broken(text, line + begin, str(error))))
                continue
            count = taken.number - begin
            entries.append((lines[begin] if count == 1 else "\n".join(lines[begin : taken.number]), fields, None))

    def _broken(self, text: str, line: int, reason: str) -> Problem:
        broken = broken_quote(text, self.dialect.delimiter, self.dialect.quote or "")
        if broken is None or broken.at is None:
            return Problem("bad_row", None, f"line {line:,} cannot be read: {reason}")
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
    """Gives out lines, and knows how many."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self.number = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.number == len(self._lines):
            self.ended = True
            raise StopIteration
        self.number += 1
        return f"{self._lines[self.number - 1]}\n"


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
