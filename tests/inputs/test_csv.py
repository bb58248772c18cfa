"""CSV and its relatives: every row as it stood, and a broken quote is told with its place."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import InputError, UsageError
from sender.inputs.files import InputFile
from sender.inputs.spool import spool
from sender.inputs.tables import csv_table
from sender.inputs.tables.csv_table import CsvTable

if TYPE_CHECKING:
    from sender.inputs.tables import Record


def table(data: bytes | str, **options: str) -> CsvTable:
    data = data.encode() if isinstance(data, str) else data
    return CsvTable(InputFile("t.csv", spool("t.csv", iter([data]))), **options)


def rows(data: bytes | str, **options: str) -> list[Record]:
    return [record for batch in table(data, **options).batches() for record in batch]


def values(data: bytes | str, **options: str) -> list[list[str]]:
    found = rows(data, **options)
    assert not [record.problem for record in found if record.problem]
    return [list(record.values) for record in found]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_found_in_the_header(delimiter: str, end: str) -> None:
    lines = [["a", "b b"], ["1", 'x"y'], ["", "2,3;4\t5|6"]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(lines)
    assert table(text.getvalue()).columns.names == ("a", "b b")
    assert values(text.getvalue()) == lines[1:]


def test_a_delimiter_and_a_quote_of_ones_own() -> None:
    assert values("a^b\n'1^2'^'it''s'\n", delimiter="^", quote="'") == [["1^2", "it's"]]
    assert values('a,b\n"1,2"\n', quote="none") == [['"1', '2"']]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-sig", "utf-16-be-sig", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(encoding: str) -> None:
    text = "näme,b\nZoë 😀,2\n"
    marked = encoding.endswith("e-sig")
    data = f"\ufeff{text}".encode(encoding[:-4]) if marked else text.encode(encoding)
    assert table(data).columns.names == ("näme", "b")
    assert values(data) == [["Zoë 😀", "2"]]


def test_an_encoding_is_named() -> None:
    data = "näme,b\nZoë,2\n".encode("latin-1")
    assert values(data, encoding="latin-1") == [["Zoë", "2"]]
    with pytest.raises(UsageError, match=r"header .* is not UTF-8; say with --encoding"):
        table(data)
    with pytest.raises(UsageError, match="there is no encoding klingon"):
        table(data, encoding="klingon")
    with pytest.raises(UsageError, match="byte order mark of utf-16-le, and --encoding says cp1252"):
        table("a\n1\n".encode("utf-16"), encoding="cp1252")


def test_a_cut_utf_16_is_told() -> None:
    with pytest.raises(InputError, match="not utf-16-le"):
        rows("a\n1\n".encode("utf-16") + b"\x00")


CELL = st.text("a \"',;\r\n😀é", max_size=8)


@given(st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=30), st.integers(1, 60))
def test_whatever_a_csv_writer_writes_is_read_back_and_stood_so(lines: list[list[str]], chunk: int) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *lines])
    data = text.getvalue().encode()
    before, csv_table.CHUNK = csv_table.CHUNK, chunk
    try:
        found = rows(data)
        keys = [key for batch in table(data).keys([1]) for key in batch]
    finally:
        csv_table.CHUNK = before
    assert [list(record.values) for record in found] == lines
    assert [record.number for record in found] == list(range(1, len(lines) + 1))
    assert keys == [line[1] for line in lines]
    stood = "".join(f"{record.text}\n" for record in found)
    assert data.decode() == f'"a","b","c"\n{stood}'


@given(st.text('ab,"\n', max_size=60), st.integers(1, 20))
def test_broken_or_not_every_line_belongs_to_one_row_or_to_the_error(body: str, chunk: int) -> None:
    data = f"a,b\n{body}"
    before, csv_table.CHUNK = csv_table.CHUNK, chunk
    found: list[Record] = []
    told = ""
    try:
        for batch in table(data).batches():
            found += batch
    except InputError as error:
        told = str(error)
    finally:
        csv_table.CHUNK = before
    stood = [line for record in found for line in (record.text or "").split("\n") if line]
    given = [line for line in body.split("\n") if line]
    assert stood == given[: len(stood)]
    assert (len(stood) < len(given)) == ("never closed" in told)


def test_a_broken_quote_is_told_with_line_and_column() -> None:
    found = rows('a,b\n1,2\n3,"four\nfive"six\n7,8\n"9"x,10\n11,12\n')
    assert [(record.number, list(record.values)) for record in found if not record.problem] == [
        (1, ["1", "2"]), (3, ["7", "8"]), (5, ["11", "12"]),
    ]
    first, second = (record.problem for record in found if record.problem)
    assert first is not None
    assert second is not None
    assert first.code == second.code == "bad_row"
    assert "opened at line 3, column 3" in first.message
    assert "follows at line 4, column 6" in first.message
    assert "opened at line 6, column 1" in second.message
    assert "follows at line 6, column 4" in second.message


def test_a_quote_that_is_never_closed_swallows_nothing() -> None:
    found: list[Record] = []
    with pytest.raises(InputError, match="line 3, column 3 is never closed"):
        for batch in table('a,b\n1,2\n3,"4\n5,6\n7,8\n').batches():
            found += batch
    assert [list(record.values) for record in found] == [["1", "2"]]


def test_a_row_of_another_width_is_told_and_the_next_one_read() -> None:
    short, long, fine = rows("a,b\n1\n1,2,3\n\n4,5\n")
    assert short.problem is not None
    assert short.problem.message == "the row has 1 fields, and the header 2"
    assert long.problem is not None
    assert (fine.number, fine.values) == (3, ["4", "5"])


def test_bytes_of_another_encoding_stay_what_they_are() -> None:
    data = b"a,b\n1,Zo\xeb\n2,fine\n"
    found = rows(data)
    assert table(data).encode(found[0].text or "") == b"1,Zo\xeb"
    assert found[1].values == ["2", "fine"]


@pytest.mark.parametrize(("data", "words"), [
    ("", "is empty"), ("\n\n", "is empty"), ("a,a\n", "more than one column a"), ('"a"b,c\n', "header cannot be read"),
])
def test_what_is_no_table_is_told_before_anything(data: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        table(data)


def test_a_giant_row_costs_no_more_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MOST_ROW", 1000)
    with pytest.raises(InputError, match="more than 1,000 characters at line 3"):
        rows("a,b\n1,2\n" + "x" * 300_000)
