"""The Completer of a workspace: what becomes of messages once the end of their job is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.consume.acknowledger import reason_of
from sender.engine.job_execution import JobExecution
from sender.outcomes.outcome_lines import OutcomeLines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.consume.acknowledger import Acknowledger
    from sender.consume.in_flight import InFlight, UnackedMessage
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import FinishedJob
    from sender.session.session import Session

DEAD: Final = ("invalid", "rejected", "failed", "in_doubt")


class Completer:
    """Acknowledges, writes dead letters, requeues, or keeps the messages of jobs in doubt."""

    def __init__(
        self, session: Session, in_flight: InFlight, acknowledger: Acknowledger, settings: Settings
    ) -> None:
        self._session = session
        self._in_flight = in_flight
        self._acknowledger = acknowledger
        self._settings = settings
        self._lines = OutcomeLines(settings.log_level)

    def recorded(self, batch: Sequence[FinishedJob]) -> None:
        """These ends are durable: their messages may go."""
        for ended in batch:
            self._session.workspace.observer.observe_outcome(ended.outcome.status)
            self._lines.tell(ended.outcome)
            if ended.identity is not None:
                self._complete(ended.identity, ended.outcome)

    def known(self, job: Job, message: UnackedMessage, record: JobRecord) -> None:
        """The job ended before: its message only has to go the rest of its way."""
        doubts = self._session.doubts
        if record.state == "sent":
            self._acknowledger.ack(message)
            return
        if record.state == "in_doubt" and record.resendable and self._is_reconciled(job.kind.lane):
            doubts.keep(JobExecution(job, owner=self._in_flight))
        if doubts.keeps(job.key):
            self._in_flight.add(job.key, message)
        else:
            reason = {"reason": record.state, "code": record.state, "id": job.id, "kind": job.kind.name, "key": job.key}
            self._acknowledger.dead_letter(message, reason)

    def ended_elsewhere(self, job: Job, record: JobRecord) -> None:
        """Another replica has ended the job, or is at work on it."""
        messages = self._in_flight.recorded(job.key)
        if record.owned_elsewhere or record.state == "handed_over":
            self._acknowledger.requeue(messages)
            return
        for message in messages:
            self.known(job, message, record)

    def _complete(self, key: str, outcome: Outcome) -> None:
        if outcome.status != "in_doubt":
            self._session.doubts.take(key)
        elif self._session.doubts.keeps(key):
            self._in_flight.in_doubt(key)
            return
        for message in self._in_flight.recorded(key):
            if outcome.status in DEAD:
                # The end of what is no job is recorded under a name of its message's own: no ledger knows that.
                self._acknowledger.dead_letter(message, reason_of(outcome, None if " " in key else key))
            else:
                self._acknowledger.ack(message)

    def _is_reconciled(self, lane: LaneName) -> bool:
        """Whether jobs in doubt of this lane wait to be sent again."""
        settings = self._settings
        resent = settings.in_doubt == "resend-if-absent" and lane == "send"
        return resent and settings.reconcile and self._session.workspace.reader.readable
