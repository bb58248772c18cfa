"""Which partition a day has, and which may be emptied: pure arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.outbox import schema
from sender.outbox.outbox_table import OutboxTable
from sender.outbox.statements import slot_of


@given(st.integers(1, 366), st.integers(0, 200_000))
def test_what_is_emptied_holds_no_day_that_is_kept(keep_days: int, today: int) -> None:
    ring = len(schema.slots(keep_days))
    kept = {slot_of(today - back, ring) for back in range(keep_days + 1)}
    assert slot_of(today + 1, ring) not in kept
    assert kept <= set(schema.slots(keep_days))


def test_there_is_a_step_for_each_version() -> None:
    assert len(schema._STEPS) == schema.VERSION


@given(st.integers(0, 10_000))
def test_a_comment_tells_its_version_and_no_other_comment_does(version: int) -> None:
    assert schema.version_of(f"sender outbox, version {version}") == version
    for other in (f"my sender outbox, version {version}", f"sender outbox, version {version}a", "", None):
        assert schema.version_of(other) is None


def test_without_days_to_keep_there_is_one_table() -> None:
    sql = schema.create(OutboxTable.named("shop.mail"), 0)
    assert "PARTITION" not in sql
    assert "TRUNCATE" not in sql
    assert sql.count("CREATE TABLE") == 2
