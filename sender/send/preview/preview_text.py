"""A Preview as text for a terminal: signs that steer one are shown as what they are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sender.jobs.problem import Problem
    from sender.send.preview.preview import Preview, Shown


def preview_text(preview: Preview) -> str:
    """All of it, with a line end."""
    parts = [_job(one) for one in (*preview.jobs, *preview.unsent)]
    if preview.counts:
        width = max(len(heading) for heading, _ in preview.counts)
        counts = [f"{heading:>{width}}  {number:,}" for heading, number in preview.counts]
        parts.append("\n".join((*counts, f"{'would take':>{width}}  {took(preview)}")))
    return _printable("\n\n".join(parts)) + "\n"


def took(preview: Preview) -> str:
    """How long it takes at the limits."""
    return f"{timedelta(seconds=round(preview.seconds))} at the limits ({preview.rate:g} sends a second)"


def told(problem: Problem) -> str:
    """A problem or a warning in one line."""
    field = f"{problem.field}: " if problem.field and not problem.message.startswith(problem.field) else ""
    return f"{field}{problem.message} [{problem.code}]"


def heading(one: Shown) -> str:
    """What it is: kind, id, status."""
    return " · ".join(text for text in (one.kind, one.id, one.status) if text)


def _job(one: Shown) -> str:
    lines = [f"{one.place}  {heading(one)}"]
    if one.request:
        lines.append(f"{one.request}{f'  template {one.template}' if one.template else ''}")
    word = "kept out" if one.status == "skipped" else "refused"
    lines += [f"{word}: {told(problem)}" for problem in one.problems]
    lines += [f"warning: {told(warning)}" for warning in one.warnings]
    return "\n".join((*lines, one.body)) if one.body else "\n".join(lines)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)
