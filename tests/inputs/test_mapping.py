"""From rows to jobs: values keep their type and their digits, and never leave their place."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.errors import UsageError
from sender.inputs.input_options import InputOptions
from sender.inputs.mapping.columns import Columns
from sender.inputs.mapping.mapping import Mapping
from sender.inputs.mapping.values import NumberText
from sender.jobs.job import Job
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from pathlib import Path

    from sender.inputs.mapping.row_mapper import RowMapper
    from sender.jobs.job import Line


def mapper(document: Any, names: list[str], *, texts: bool = True, **options: Any) -> RowMapper:
    mapping = Mapping("map.json" if document is not None else "", document, InputOptions(**options))
    return mapping.bind(Columns(names, texts=texts, sparse=not texts), "t.csv")


def line(document: Any, row: dict[str, Any], *, texts: bool = True, **options: Any) -> Line:
    return mapper(document, list(row), texts=texts, **options).line("t.csv", 7, list(row.values()))


def payload(leaf: Any, row: dict[str, Any], *, texts: bool = True) -> str:
    """What a leaf becomes, as it is written."""
    made = line({"payload": {"x": leaf}}, row, texts=texts, by_content=True)
    assert made.row is not None
    assert made.row.problems == ()
    return made.data.decode().removeprefix('{"payload":').removesuffix("}")


def problem(leaf: Any, row: dict[str, Any]) -> tuple[str | None, str | None, str]:
    made = line({"payload": {"x": leaf}}, row, by_content=True)
    assert made.row is not None
    (found,) = made.row.problems
    assert found.code == "bad_cell"
    return found.field, found.column, found.message


@pytest.mark.parametrize(("leaf", "value", "written"), [
    ("{{a}}", "12.50", '"12.50"'),
    ("{{a:float}}", "12.50", "12.50"),
    ("{{a:int}}", "123456789012345678901234567890", "123456789012345678901234567890"),
    ("{{a:int}}", "007", "7"),
    ("{{ a : int }}", " 5 ", "5"),
    ("{{a:bool}}", "Yes", "true"),
    ("{{a:json}}", '{"t": 12.50, "n": [1e2, null]}', '{"t":12.50,"n":[1e2,null]}'),
    ("{{a:date(%d.%m.%Y)}}", "2026-11-20T10:00:00Z", '"20.11.2026"'),
    ("{{a:date(%d.%m.%Y -> %Y-%m-%d)}}", "20.11.2026", '"2026-11-20"'),
    ("{{a:date(unix)}}", "2026-11-20", "1795132800"),
    ("{{a|there}}", "", '"there"'),
    ("{{a:int|3}}", "", "3"),
    ("Hi {{a|there}}, {{a}}!", "Ada", '"Hi Ada, Ada!"'),
    ("\\{{a}} {{a}}", "x", '"{{a}} x"'),
    ("{{a}}", '"}, "y": {"', '"\\"}, \\"y\\": {\\""'),
    ("{{a}}", "{{b}}", '"{{b}}"'),
    (3, "", "3"), (None, "", "null"), ([1, "{{a}}"], "x", '[1,"x"]'),
])
def test_what_a_leaf_becomes(leaf: Any, value: str, written: str) -> None:
    assert payload(leaf, {"a": value}) == f'{{"x":{written}}}'


@pytest.mark.parametrize(("value", "written"), [
    (Decimal("12.50"), "12.50"), (Decimal("1E+3"), "1000"), (NumberText("1.10"), "1.10"), (2**70, str(2**70)),
    (True, "true"), (None, "null"), (date(2026, 11, 20), '"2026-11-20"'), (0.1, "0.1"),
    (datetime(2026, 11, 20, 10, tzinfo=UTC), '"2026-11-20T10:00:00+00:00"'), ([Decimal("1.0")], "[1.0]"),
])
def test_typed_values_keep_type_and_digits(value: Any, written: str) -> None:
    assert payload("{{a}}", {"a": value}, texts=False) == f'{{"x":{written}}}'


def test_typed_values_in_a_text() -> None:
    row = {"a": Decimal("12.50"), "b": None, "c": {"d": 1}}
    assert payload("{{a}} EUR {{b}}{{c.d}}", row, texts=False) == '{"x":"12.50 EUR 1"}'
    assert payload("{{a:text}}", row, texts=False) == '{"x":"12.50"}'


@pytest.mark.parametrize(("leaf", "value", "words"), [
    ("{{a:float}}", "1E+400", "is too great for a number"),
    ("{{a:int}}", "12.50", "is not an integer"), ("{{a:int}}", "", "is empty"),
    ("{{a:float}}", "12,50", "is not a number"), ("{{a:float}}", "nan", "is not a number"),
    ("{{a:bool}}", "maybe", "neither true nor false"), ("{{a:json}}", "{", "does not hold JSON"),
    ("{{a:json}}", "NaN", "does not hold JSON"), ("{{a:date(unix)}}", "gestern", "is not a date"),
    ("{{a}}", "Zo\udceb", "--encoding"),
])
def test_a_bad_cell_is_told_with_field_and_column_and_without_its_text(leaf: str, value: str, words: str) -> None:
    field, column, message = problem(leaf, {"a": value})
    assert (field, column) == ("x", "a")
    assert words in message
    assert not value or value not in message


def test_all_bad_cells_of_a_row_are_told() -> None:
    made = line({"id": "{{i}}", "payload": {"x": "{{a:int}}", "y": {"z": "{{b:int}}"}}}, {"i": "1", "a": "x", "b": "y"})
    assert made.row is not None
    assert made.row.id == "1"
    assert [(one.field, one.column) for one in made.row.problems] == [("x", "a"), ("y.z", "b")]


def test_a_question_mark_drops_the_key() -> None:
    document = {"payload": {"x": "{{a?}}", "y": {"z": "dear {{a?}}"}, "l": ["{{a?}}", "b"]}}
    assert json.loads(line(document, {"a": ""}, by_content=True).data) == {"payload": {"y": {}, "l": ["b"]}}


def test_keys_may_hold_columns() -> None:
    made = line({"payload": {"message_data": {"{{k}}": "{{v}}"}}}, {"k": 'a"b', "v": "1"}, by_content=True)
    assert json.loads(made.data) == {"payload": {"message_data": {'a"b': "1"}}}


@given(st.dictionaries(st.sampled_from("abcd"), st.text(max_size=20), min_size=4, max_size=4))
def test_no_value_leaves_its_place(row: dict[str, str]) -> None:
    document = {"id": "n-{{a}}", "meta": {"b": "{{b}}"}, "payload": {"c": "{{c}}", "d": "<{{d}}>", "e": ["{{a}}"]}}
    made = json.loads(line(document, row).data)
    assert made == {
        "id": f"n-{row['a']}", "meta": {"b": row["b"]},
        "payload": {"c": row["c"], "d": f"<{row['d']}>", "e": [row["a"]]},
    }


@pytest.mark.parametrize(("given", "job_id"), [
    ("{{a}}", "1"), ("a", "1"), (["a", "b"], "1/x%2Fy"), ("order-{{a}}-{{b}}", "order-1-x/y"), (["{{a}}"], "1"),
])
def test_the_id_of_a_row(given: Any, job_id: str) -> None:
    assert json.loads(line({"id": given, "payload": {}}, {"a": "1", "b": "x/y"}).data)["id"] == job_id


def test_an_empty_id_is_told() -> None:
    made = line({"id": ["a", "b"], "payload": {}}, {"a": "1", "b": ""})
    assert made.row is not None
    assert "id that makes the row unique" in made.row.problems[0].message


@pytest.mark.parametrize(("document", "words"), [
    ({"id": "{{a}}", "payload": {"x": "{{a}"}}, "has no }}"),
    ({"id": "{{a}}", "payload": {"x": "{{a:flot}}"}}, "there is no filter :flot; is :float meant?"),
    ({"id": "{{a}}", "payload": {"x": "{{a:zzzzz}}"}}, "there are :int"),
    ({"id": "{{a}}", "payload": {"to": "{{emial}}"}}, "map.json: there is no column emial; is email meant"),
    ({"id": "{{a}}", "payload": {"to": "{{zzz}}"}}, "there is no column zzz; the columns are a, email"),
    ({"payload": {}}, "id names the column or columns that make a row unique"),
    ({"id": "nothing", "payload": {}}, "there is no column nothing"),
    ({"id": 3, "payload": {}}, "id must be a text"),
    ({"id": "{{a}}", "kind": "emial", "payload": {}}, "there is no kind emial; is email meant"),
    ({"id": "{{a}}", "kind": "email"}, "there is a kind but no payload"),
    ({"id": "{{a}}", "to": "x"}, "put the API's own body under the key payload"),
    ({"idd": "{{a}}", "payload": {}}, "is id meant"),
    ({"id": "{{a}}", "payload": []}, "payload must be an object"),
    ({"id": "{{a}}", "payload": {"x": "{{}}"}}, "names no column"),
    ({"id": "{{a}}", "payload": {"x": "{{a?|b}}"}}, "both a default and"),
    ({"id": "{{a}}", "payload": {"x": "{{a:itn}}"}}, "there is no filter :itn"),
    ({"id": "{{a}}", "payload": {"attachments": {"a.pdf": "{{file:{a}.pdf}}"}}}, "needs --attachments DIR"),
])
def test_a_wrong_mapping_is_told_before_any_row(document: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", "\\?").replace("{", "\\{")):
        mapper(document, ["a", "email"])


def test_without_a_mapping_columns_are_paths() -> None:
    row = {
        "id": "r-1", "to": "ada@example.com", "transactional_message_id": "3", "identifiers.id": "42",
        "message_data.total": "12.50", "message_data.items:json": "[1, 2]", "message_data.who.name": "Ada",
        "message_data.none": "", "queue_draft": "true", "meta.batch": "nov", "why": "said before", "priority": "",
    }
    made = line(None, row)
    assert json.loads(made.data) == {
        "id": "r-1", "meta": {"batch": "nov"},
        "payload": {
            "to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "42"},
            "message_data": {"total": "12.50", "items": [1, 2], "who": {"name": "Ada"}}, "queue_draft": True,
        },
    }
    assert isinstance(Parser().parse(made, 0.0), Job)


@pytest.mark.parametrize(("names", "words"), [
    (["to"], "there is no id"), (["id", ""], "column 2 has no name"), (["id", "to", "to.x"], "value itself"),
    (["id", "a..b"], "empty part"), (["id", "a.b", "a"], "two columns stand for a"),
])
def test_columns_that_are_no_paths_are_told(names: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mapper(None, names)


def test_a_finding_of_the_checks_names_the_column() -> None:
    body = {"to": "{{b}}", "transactional_message_id": 3, "identifiers": {"id": "{{c}}"}}
    made = line({"id": "{{a}}", "payload": body}, {"a": "1", "b": "nobody", "c": ""})
    found = Parser().parse(made, 0.0)
    assert [(one.field, one.column) for one in found.problems] == [("to", "b"), ("identifiers.id", "c")]  # type: ignore[union-attr]


def test_the_lane_is_known_where_the_kind_is() -> None:
    assert mapper({"id": "{{a}}", "payload": {}}, ["a"]).lane == "send"
    assert mapper({"id": "{{a}}", "kind": "broadcast", "payload": {}}, ["a"]).lane == "trigger"
    assert mapper({"id": "{{a}}", "kind": "{{a}}", "payload": {}}, ["a"]).lane is None


def test_a_mapping_file_that_is_none(tmp_path: Path) -> None:
    for text, words in (("[1]", "must be a JSON object"), ("{", "is not JSON")):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(UsageError, match=words):
            Mapping.load(InputOptions(map=str(tmp_path / "m.json")))
    with pytest.raises(UsageError, match="cannot be read"):
        Mapping.load(InputOptions(map=str(tmp_path / "none.json")))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"id": "{{a}}", "id": "{{b}}", "payload": {}}')
    with pytest.raises(UsageError, match="has id 2 times"):
        Mapping.load(InputOptions(map=str(tmp_path / "m.json")))
