"""The statements of the SQLite ledger, each on a small table of what stood there before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sender.ledger import sqlite_statements as statements
from sender.ledger.sqlite_schema import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

FIRST, SECOND = 1, 2
"""Two runs."""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path / "l", "off")
    yield connection
    connection.close()


def hand_over(db: sqlite3.Connection, *keys: str, run: int = FIRST, content: str = "c", detail: str = "{}") -> None:
    statements.hand_over(db, json.dumps([(key, content, detail) for key in keys]), run)


def finish(
    db: sqlite3.Connection, state: str, *keys: str, run: int = FIRST, content: str = "c", resendable: int = 1,
    result: str | None = None, detail: str | None = None
) -> int:
    jobs = json.dumps([(key, content, state, resendable, result, detail) for key in keys])
    return statements.finish(db, jobs, json.dumps({state: len(keys)}), json.dumps([f"{key}\n" for key in keys]), run)


def known(db: sqlite3.Connection, *keys: str) -> dict[str, tuple[Any, ...]]:
    """state, content, run, resendable by key"""
    return {key: tuple(rest) for key, *rest in json.loads(statements.find(db, json.dumps(keys)))}


def count(db: sqlite3.Connection) -> dict[str, int]:
    return dict(statements.count(db))


def test_what_is_found(db: sqlite3.Connection) -> None:
    finish(db, "in_doubt", "ended", "both", resendable=0)
    hand_over(db, "held")
    hand_over(db, "both", run=SECOND, content="new")
    assert known(db, "ended", "held", "both", "unknown") == {
        "ended": ("in_doubt", "c", FIRST, 0, None, None),
        "held": ("handed_over", "c", FIRST, 1, None, None),
        "both": ("handed_over", "new", SECOND, 0, None, None),
    }


def test_a_second_hand_over_stays_the_first_runs(db: sqlite3.Connection) -> None:
    hand_over(db, "a", detail='{"n":1}')
    hand_over(db, "a", run=SECOND, content="new", detail='{"n":2}')
    assert known(db, "a") == {"a": ("handed_over", "new", FIRST, 1, None, None)}
    assert statements.left_handed_over(db, "", SECOND, 9) == [("a", "new", "handed_over", '{"n":2}', 1)]


def test_release_takes_back_what_this_run_handed_over_or_what_had_ended_before(db: sqlite3.Connection) -> None:
    finish(db, "failed", "ended")
    hand_over(db, "ended", "earlier")
    hand_over(db, "mine", "kept", run=SECOND)
    statements.release(db, '["ended","earlier","mine","unknown"]', SECOND)
    found = known(db, "ended", "earlier", "mine", "kept")
    assert {key: state for key, (state, *_) in found.items()} == {
        "ended": "failed", "earlier": "handed_over", "kept": "handed_over",
    }


def test_an_end_replaces_all_of_an_earlier_one_but_its_result(db: sqlite3.Connection) -> None:
    finish(db, "in_doubt", "a", resendable=0, result="d1", detail='{"n":1}')
    hand_over(db, "a", run=SECOND)
    finish(db, "failed", "a", run=SECOND, content="new")
    row = db.execute("SELECT state, content, run, resendable, result, detail FROM jobs").fetchall()
    assert row == [("failed", "new", SECOND, 1, "d1", None)]
    finish(db, "sent", "a", result="d2")
    assert json.loads(statements.known_results(db, '["d1","d2","d3"]')) == ["d2"]


def test_every_job_is_counted_once_in_its_last_state(db: sqlite3.Connection) -> None:
    hand_over(db, "a", "b", "c")
    assert count(db) == {"handed_over": 3}
    finish(db, "failed", "a", "b")
    finish(db, "sent", "c")
    assert count(db) == {"failed": 2, "sent": 1}
    finish(db, "sent", "a", "d")
    assert count(db) == {"failed": 1, "sent": 3}
    hand_over(db, "b", "c")
    assert count(db) == {"handed_over": 2, "sent": 2}


def test_the_outbox_keeps_its_order_and_its_numbers(db: sqlite3.Connection) -> None:
    assert statements.last_seq(db) == 0
    assert finish(db, "sent", "b", "a") == 2
    assert finish(db, "sent", "c") == 3
    statements.forget_logged(db, 0)
    assert statements.unlogged(db) == [("b\n",), ("a\n",), ("c\n",)]
    statements.forget_logged(db, 2)
    assert statements.unlogged(db) == [("c\n",)]
    statements.forget_logged(db, 3)
    assert (statements.unlogged(db), statements.last_seq(db)) == ([], 0)
    assert finish(db, "sent", "d") == 4, "a number is never given twice"


def test_doubts_come_by_key_in_pages_and_not_while_they_go_again(db: sqlite3.Connection) -> None:
    finish(db, "in_doubt", "c", "a", "b", detail='{"n":1}')
    finish(db, "in_doubt", "d", run=SECOND, resendable=0)
    finish(db, "failed", "e")
    finish(db, "in_doubt", "later", run=SECOND + 1)
    hand_over(db, "b", run=SECOND)

    def page(after: str, most: int) -> list[Any]:
        return statements.in_doubt(db, after, SECOND, most)

    assert page("", 1) == [("a", "c", "in_doubt", '{"n":1}', 1)]
    assert page("a", 9) == [("c", "c", "in_doubt", '{"n":1}', 1), ("d", "c", "in_doubt", None, 0)]


def test_what_earlier_runs_left_handed_over_comes_by_key_in_pages(db: sqlite3.Connection) -> None:
    finish(db, "in_doubt", "b", resendable=0)
    hand_over(db, "c", "b", "a", detail='{"n":1}')
    hand_over(db, "mine", run=SECOND)
    first = statements.left_handed_over(db, "", SECOND, 2)
    assert first == [("a", "c", "handed_over", '{"n":1}', 1), ("b", "c", "handed_over", '{"n":1}', 0)]
    assert statements.left_handed_over(db, "b", SECOND, 2) == [("c", "c", "handed_over", '{"n":1}', 1)]
    assert statements.left_handed_over(db, "", FIRST, 9) == []


def test_another_memory_adds_what_is_unknown_or_failed_here(db: sqlite3.Connection) -> None:
    for state in ("sent", "rejected", "failed", "in_doubt"):
        finish(db, state, state, run=SECOND)
    hand_over(db, "held", run=SECOND)
    finish(db, "failed", "failed_held", run=SECOND)
    hand_over(db, "failed_held", run=SECOND)
    keys = ("sent", "rejected", "failed", "in_doubt", "held", "failed_held", "new", "newer")
    rows = [(key, "theirs", "in_doubt" if key == "newer" else "sent", 0, f"d-{key}", "{}") for key in keys]
    assert statements.adopt(db, json.dumps(rows)) == 3
    assert {key: row for key, row in known(db, *keys).items() if row[1] == "theirs"} == {
        "failed": ("sent", "theirs", 0, 0, "d-failed", None), "new": ("sent", "theirs", 0, 0, "d-new", None),
        "newer": ("in_doubt", "theirs", 0, 0, "d-newer", None),
    }
    assert count(db) == {"sent": 3, "rejected": 1, "in_doubt": 2, "handed_over": 2}
    assert json.loads(statements.known_results(db, '["d-new","d-sent"]')) == ["d-new"]
    assert statements.adopt(db, json.dumps(rows)) == 0
    assert statements.adopt(db, "[]") == 0
    assert statements.unlogged(db)[-1] == ("failed_held\n",), "no outcome of another memory goes to this log"
