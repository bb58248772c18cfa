"""The Exclusions of a run: whether a job that could be sent is kept out by a rule of the user's own.

See docs/guard-rails.md, "Who must not get it".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from sender.errors import UsageError
from sender.inputs.duplicate_index import DuplicateIndex
from sender.jobs.payload import read_payload
from sender.jobs.problem import Problem
from sender.send.exclusions.digest_set import DigestSet
from sender.send.exclusions.exclusion_list import read_exclusions
from sender.send.exclusions.people import digest_of, digests_of, names_in, recipient_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.config.settings import Settings
    from sender.jobs.job import Job

EXCLUDED = Problem("excluded", None, "one of its recipients stands on a list of --exclude")
SUPPRESSED = Problem("suppressed", None, "one of its recipients stands on a suppression list of the API")
NOT_UNIQUE = Problem("not_unique", None, "an earlier job of the input is for the same recipient (--unique)")


class Exclusions(NamedTuple):
    """Judges each job of the input once or more, in the order of the input, with the same result each time."""

    excluded: DigestSet
    suppressed: DigestSet
    firsts: DuplicateIndex | None
    """Which job was the first for a recipient; None without --unique."""
    by_template: bool = False

    @classmethod
    def of(cls, settings: Settings, stopped: Callable[[], bool] = lambda: False) -> Self | None:
        """What the settings ask for, with its lists read; None when they ask for nothing."""
        if settings.unique and "recipient" not in settings.unique:
            raise UsageError("--unique takes recipient, or recipient,template")
        if not (settings.exclude or settings.unique or settings.suppressions):
            return None
        firsts = DuplicateIndex() if settings.unique else None
        excluded = read_exclusions(settings.exclude, stopped)
        return cls(excluded, DigestSet(), firsts, by_template="template" in settings.unique)

    def judge(self, job: Job) -> Problem | None:
        """Why the job is kept out, if it is; only sends name their recipients."""
        if job.kind.lane != "send":
            return None
        payload = read_payload(job.body)
        if self.excluded or self.suppressed:
            digests = [digest for name in names_in(job, payload) for digest in digests_of(name)]
            if any(digest in self.excluded for digest in digests):
                return EXCLUDED
            if any(digest in self.suppressed for digest in digests):
                return SUPPRESSED
        if self.firsts is None:
            return None
        recipient = recipient_of(job, payload)
        template = str(payload.get("transactional_message_id", "")) if self.by_template else ""
        name = f"{job.workspace or ''}\n{template}\n{recipient}"
        return None if not recipient or self.firsts.claim(digest_of(name).hex(), job.key) == job.key else NOT_UNIQUE
