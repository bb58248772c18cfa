"""A Problem is one thing wrong, or odd, about a job: a code for scripts, a field path, a sentence for people."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One finding of a check; the sentence never repeats what stands in the payload."""

    code: str
    """From the closed list in `codes`."""
    field: str | None
    """Path into the payload or envelope, `attachments[0]`, `recipients.and[0]`; None for the whole."""
    message: str
    """What is wrong and what to do, without any address, identifier or text of the payload."""
    column: str | None = None
    """The column of a table that the field came from."""


class Findings(NamedTuple):
    """All that the checks have to say of a payload: `problems` make the job invalid, `warnings` do not."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


CLEAN = Findings()
