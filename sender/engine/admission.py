"""Whether a checked job is started, given what is known of its identity (docs/job-format.md, "Identity"). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Container

    from sender.jobs.job import Job
    from sender.ledger import JobRecord

Admission = Literal["start", "duplicate", "known", "id_conflict"]
"""`duplicate` = its twin stands in this run's input; `known` = an earlier run ended it, only counted."""


def admit(
    job: Job, in_hand: str | None, record: JobRecord | None, *, run: int, retry: Container[str] = ()
) -> Admission:
    """Decide on a job; `in_hand` is the content of a job with the same identity that this run holds already."""
    if in_hand is not None:
        return "duplicate" if in_hand == job.content else "id_conflict"
    if record is None:
        return "start"
    if record.run == run:
        return "duplicate" if _is_same(job, record) else "id_conflict"
    if record.state == "failed" or (record.state in retry and record.resendable):
        return "start"
    return "known" if _is_same(job, record) else "id_conflict"


def _is_same(job: Job, record: JobRecord) -> bool:
    """Whether the record is of the same content; one that was taken over from an outcome log does not tell."""
    return record.content in ("", job.content)
