"""The Completer of a workspace: what becomes of messages once the end of their job is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.consume.acknowledger import reason_of
from sender.consume.later_ends import ending_of
from sender.engine.job_execution import JobExecution
from sender.outcomes.outcome import Outcome
from sender.outcomes.outcome_lines import OutcomeLines
from sender.outcomes.recorder import FinishedJob
from sender.queues import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.config.settings import Settings
    from sender.consume.acknowledger import Acknowledger
    from sender.consume.in_flight import InFlight, UnackedMessage
    from sender.jobs.job import Job
    from sender.jobs.kinds import LaneName
    from sender.ledger import JobRecord
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
            self._lines.tell(ended.outcome)
            if ended.identity is not None:
                self._complete(ended.identity, ended.outcome, later=ended.later)

    def known(self, job: Job, message: UnackedMessage, record: JobRecord) -> None:
        """The job ended before: its message is a duplicate, and only has to go the rest of its way."""
        doubts = self._session.doubts
        if record.state == "sent":
            self._record_again(message, job, record)
            return
        if record.state == "in_doubt" and record.resendable and self._is_reconciled(job.kind.lane):
            doubts.keep(JobExecution(job, owner=self._in_flight))
        if doubts.keeps(job.key):
            self._in_flight.add(job.key, message)
        else:
            message.reason = _known_reason(job, record, is_again=message.message.deliveries > 1)
            self._record_again(message, job, record)

    def take_over(self, ended: FinishedJob, execution: JobExecution) -> None:
        """An end that an earlier opening of the workspace could not record: if in doubt, the job may go again."""
        resendable = ended.entry is not None and ended.entry.resendable
        if ended.outcome.status == "in_doubt" and resendable and self._is_reconciled(execution.job.kind.lane):
            self._session.doubts.keep(JobExecution(execution.job, owner=self._in_flight))

    def ended_elsewhere(self, job: Job, record: JobRecord) -> None:
        """Another replica has ended the job, or is at work on it."""
        messages = self._in_flight.recorded(job.key)
        if record.owned_elsewhere or record.state == "handed_over":
            self._acknowledger.requeue(messages)
            return
        for message in messages:
            self.known(job, message, record)

    def _complete(self, key: str, outcome: Outcome, *, later: bool) -> None:
        if outcome.status != "in_doubt":
            self._session.doubts.take(key)
        elif self._session.doubts.keeps(key):
            self._in_flight.in_doubt(key)
            return
        messages = self._in_flight.recorded(key)
        # The end of what is no job is recorded under a name of its message's own: no ledger knows that.
        reason = reason_of(outcome, None if " " in key else key) if outcome.status in DEAD else None
        ending = Ending(outcome.status, outcome.delivery_id, outcome.error, None if " " in key else key)
        if later and not messages:
            self._acknowledger.amend(ending)
        for number, message in enumerate(messages):
            message.reason = reason or message.reason
            if number and not _is_again(messages[0], message):
                self._record_duplicate(message, outcome)
            else:
                message.message.ending = message.message.ending or ending
                if message.message.retries:  # the message that failed first is gone
                    self._acknowledger.amend(ending)
                self._end(message)

    def _record_again(self, message: UnackedMessage, job: Job, record: JobRecord) -> None:
        """One that was delivered before is the very message whose job ended so."""
        if message.message.deliveries > 1:
            message.message.ending = ending_of(job.key, record)
        self._record_duplicate(message, job)

    def _record_duplicate(self, message: UnackedMessage, of: Outcome | Job) -> None:
        """Nothing was requested for this one: it goes when that has its line."""
        key = f"duplicate {message.message.source} {message.message.id} {id(message)}"
        kind = of.kind if isinstance(of, Outcome) else of.kind.name
        outcome = Outcome(of.id, kind, "duplicate", message.message.source, message.line, meta=of.meta)
        self._in_flight.add(key, message)
        self._session.record(FinishedJob(outcome, None, key=key))

    def _end(self, message: UnackedMessage) -> None:
        if message.reason is not None:
            self._acknowledger.dead_letter(message, message.reason)
        else:
            self._acknowledger.ack(message)

    def _is_reconciled(self, lane: LaneName) -> bool:
        """Whether jobs in doubt of this lane wait to be sent again."""
        settings = self._settings
        resent = settings.in_doubt == "resend-if-absent" and lane == "send"
        return resent and settings.reconcile and self._session.workspace.reader.readable


def _known_reason(job: Job, record: JobRecord, *, is_again: bool) -> dict[str, Any]:
    """Why a job goes to the dead letter that ended before; its error only where this is the message that ended so."""
    reason: dict[str, Any] = {
        "reason": record.state, "code": record.state, "id": job.id, "kind": job.kind.name, "key": job.key,
    }
    if is_again and record.error is not None:
        reason |= {"code": record.error["code"], "field": record.error.get("field"), "error": record.error["message"]}
    return reason


def _is_again(first: UnackedMessage, other: UnackedMessage) -> bool:
    """Whether this is the same message once more, and not another one of the same job."""
    one, two = first.message, other.message
    return two.identity is not None and two.identity == one.identity and two.deliveries > 1
