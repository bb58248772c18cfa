"""The JobCheck of a run: what becomes of a line before it is asked whether its job was sent before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sender.jobs.job import Invalid, Job
from sender.validation import Options
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.settings import Settings
    from sender.jobs.job import Line
    from sender.jobs.problem import Problem
    from sender.send.exclusions.exclusions import Exclusions
    from sender.send.redirect import Redirect


class Checked(NamedTuple):
    """A line's job as it would be sent, or what is wrong with the line."""

    found: Job | Invalid
    skip: Problem | None = None
    """Why the job is kept out by a rule of the user's own."""


class JobCheck(NamedTuple):
    """Parser, exclusions and redirect, in this order: it is the job's own recipient whom a list keeps out."""

    parser: Parser
    exclusions: Exclusions | None = None
    redirect: Redirect | None = None

    def check(self, line: Line, now: float) -> Checked:
        """Judge a line at this unix time."""
        found = self.parser.parse(line, now)
        if isinstance(found, Invalid):
            return Checked(found if self.redirect is None else self.redirect.mark(found))
        skip = None if self.exclusions is None else self.exclusions.judge(found)
        if skip is None and self.redirect is not None:
            return Checked(self.redirect.apply(found))
        return Checked(found, skip)


def parser_of(settings: Settings) -> Parser:
    """The parser that the settings ask for."""
    return Parser(settings.kind, Options(settings.require_identifiers, frozenset(settings.risky_extensions)))


def identities_of(parser: Parser, *, by_content: bool) -> Callable[[Line], str | None]:
    """What reads the identity of a line's job: from its id, unchecked, or from all of it; None for what is no job."""

    def by_id(line: Line) -> str | None:
        return parser.key_of(line.data)

    def by_all(line: Line) -> str | None:
        job = parser.parse(line, 0.0)
        return job.key if isinstance(job, Job) else None

    return by_all if by_content else by_id
