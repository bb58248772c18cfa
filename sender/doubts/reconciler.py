"""The Reconciler reads the API for jobs in doubt and says what became of each, or why nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.doubts.matching import Attempts
from sender.doubts.newsletter_reconciler import NewsletterReconciler
from sender.doubts.resolution import stays_open
from sender.doubts.send_reconciler import SendReconciler
from sender.doubts.trigger_reconciler import TriggerReconciler
from sender.jobs.kinds import SEND_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.doubted_attempts import DoubtedAttempts
    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.known_deliveries import KnownDeliveries
    from sender.doubts.resolution import Resolution
    from sender.engine.api_reader import ApiReader
    from sender.ledger.ledger import Ledger

REPEATABLE: Final = "no list shows this; doing it twice is the same as once: sender send --retry in_doubt"


class Reconciler:
    """Resolves all kinds; reads only."""

    def __init__(
        self, reader: ApiReader, ledger: Ledger, known: KnownDeliveries, doubted: DoubtedAttempts, *, lag: float
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._known = known
        self._doubted = doubted
        self._lag = lag

    async def resolve(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """One resolution for each; it takes a GET or more for each person, broadcast or newsletter."""
        now = self._reader.clock.now()
        young = [one for one in doubtful_jobs if now < one.until + self._lag]
        ripe = [one for one in doubtful_jobs if now >= one.until + self._lag]
        why = f"the API's lists are trusted {self._lag:g} s after the attempt (--reconcile-lag)"
        resolutions = [stays_open(one, why) for one in young]
        attempts, bound = all_attempts(doubtful_jobs, self._doubted.unbound), self._doubted.deliveries
        sends = SendReconciler(self._reader, self._ledger, self._known, Attempts(attempts), bound, self._lag)
        resolutions += await sends.resolve([one for one in ripe if one.kind in SEND_KINDS])
        triggers = TriggerReconciler(self._reader, self._ledger, attempts, bound, self._lag)
        resolutions += await triggers.resolve([one for one in ripe if one.kind == "broadcast"])
        newsletters = NewsletterReconciler(self._reader, attempts, self._lag)
        resolutions += await newsletters.resolve([one for one in ripe if one.kind == "newsletter_send"])
        looked_up = (*SEND_KINDS, "broadcast", "newsletter_send")
        return resolutions + [stays_open(one, REPEATABLE) for one in ripe if one.kind not in looked_up]


def all_attempts(in_doubt: Sequence[DoubtfulJob], earlier: Sequence[DoubtfulJob]) -> list[DoubtfulJob]:
    """Every attempt once, those of jobs that are in doubt with all that is known of them."""
    known = {(one.key, one.begun) for one in in_doubt}
    return [*in_doubt, *(one for one in earlier if (one.key, one.begun) not in known)]
