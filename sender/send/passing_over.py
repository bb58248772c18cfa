"""Whether a run may pass over lines by their bytes alone, and what decides what is made of a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.inputs.sent_lines import SentLines
from sender.ledger.sqlite_ledger import SqliteLedger
from sender.runtime.version import __version__

if TYPE_CHECKING:
    from sender.ledger import Ledger
    from sender.outcomes.tally import Tally
    from sender.send.job_check import JobCheck
    from sender.send.send_plan import SendPlan


def sent_lines(plan: SendPlan, check: JobCheck, ledger: Ledger, tally: Tally) -> SentLines | None:
    """The lines that this ledger knows to be sent; None where each line has to be read all the same.

    That is so with lists of people, a redirect or a canary, which look at each job, and with a state that replicas
    share, which forgets.
    """
    settings = plan.settings
    if not isinstance(ledger, SqliteLedger) or settings.canary or check.exclusions or check.redirect:
        return None
    return SentLines(ledger, f"{__version__} {settings.kind} {settings.require_identifiers}", tally.passed_over)
