"""What the errors endpoint of a trigger says of its job (docs/api.md, "Following triggers"). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.masking import mask_words
from sender.jobs.problem import Problem
from sender.outcomes.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.engine.waiting_triggers import WaitingTrigger

MOST_LINES: Final = 20
"""Lines of an errors endpoint that an outcome holds."""
CODE: Final = "broadcast_error"


def problems_in(document: Mapping[str, Any], words: bytes | None) -> tuple[Problem, ...]:
    """Its lines, masked by the payload's `words_of`; without these they are not told, as they may be personal."""
    told = document.get("errors")
    lines = [line for line in told if isinstance(line, str)] if isinstance(told, list) else []
    if words is None and lines:
        return (Problem(CODE, None, "see the errors endpoint of the trigger; its lines may be personal"),)
    problems = [Problem(CODE, None, mask_words(line, words or b"")) for line in lines[:MOST_LINES]]
    if document.get("next") not in (None, "", 0, "0"):
        problems.append(Problem(CODE, None, "there are more; see the errors endpoint of the trigger"))
    return tuple(problems)


def late_outcome(one: WaitingTrigger, problems: tuple[Problem, ...], now: float) -> Outcome:
    """The job's second outcome: it was accepted, and then there were errors."""
    facts = {name: value for name, value in one.facts.items() if name != "words"}
    meta = facts.pop("meta", None)
    return Outcome(
        facts.pop("id"), "broadcast", "sent", facts.pop("source"), facts.pop("line"), problems=problems,
        result=(("trigger_id", one.trigger),), finished_at=now, meta=None if meta is None else meta.encode(), **facts,
    )
