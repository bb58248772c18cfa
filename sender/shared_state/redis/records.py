"""How the records of a ledger stand in Redis and in the arguments of its scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sender.ledger import JobRecord
from sender.ledger.record_detail import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sender.ledger import FinalRecord, State

BATCH: Final = 400
"""Jobs in one script, so that the server never stands still for the others."""
LETTERS: Final[dict[str, str]] = {"handed_over": "h", "sent": "s", "rejected": "j", "failed": "f", "in_doubt": "d"}
STATES: Final = {letter.encode(): cast("State", state) for state, letter in LETTERS.items()}


def final_fields(record: FinalRecord) -> tuple[Any, ...]:
    """One job for `finish.lua`."""
    return (
        record.key, record.content, LETTERS[record.state], int(record.resendable), record.result or "",
        record.detail or b"{}", record.line,
    )


def seen_as(record: JobRecord | None) -> str:
    """A record as `hand_over.lua` compares it."""
    return "" if record is None else f"{LETTERS[record.state]} {record.run}"


def job_records(flat: Sequence[bytes]) -> dict[str, JobRecord]:
    """The records that `find.lua` or `hand_over.lua` returned, by key."""
    return {
        key.decode(): JobRecord(
            STATES[state], content.decode(), int(run), resendable != b"0", elsewhere == b"1", result.decode() or None,
            error_of(detail),
        )
        for key, state, content, run, resendable, elsewhere, result, detail in rows(flat, 8)
    }


def rows(flat: Sequence[bytes], width: int) -> Iterator[Any]:
    """A script's flat answer, row by row."""
    return zip(*[iter(flat)] * width, strict=True)


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many at once as one script should have."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
