"""The NewsletterReconciler looks up newsletters in doubt: each goes out once only, and shows when it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sender.doubts.matching import SKEW, WIDE_SKEW
from sender.doubts.readings import grouped, read_each
from sender.doubts.resolution import Resolution, contested, stays_open

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.engine.api_reader import ApiReader

ACCEPTED: Final = "the API accepted the job, and does not show the newsletter as sent yet"


class NewsletterReconciler:
    """Made for one pass over the jobs in doubt; reads only."""

    def __init__(self, reader: ApiReader, attempts: Sequence[DoubtfulJob], lag: float) -> None:
        self._reader = reader
        self._attempts = [one for one in attempts if one.kind == "newsletter_send"]
        self._lag = lag

    async def resolve(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """One resolution for each."""
        return await read_each(grouped(doubtful_jobs, lambda one: one.resource_id), self._resolve)

    async def _resolve(self, group: list[DoubtfulJob]) -> list[Resolution]:
        document = await self._reader.read(f"/v1/newsletters/{quote(group[0].resource_id, safe='')}")
        newsletter = document.get("newsletter")
        if not isinstance(newsletter, dict):
            return [stays_open(one, "the API's answer shows no newsletter") for one in group]
        sent_at = newsletter.get("sent_at")
        if not sent_at:
            return [self._not_sent(one) for one in group]
        if isinstance(sent_at, bool) or not isinstance(sent_at, int | float):
            why = "the API's answer tells no time at which the newsletter was sent"
            return [stays_open(one, why) for one in group]
        return [self._sent(one, sent_at) for one in group]

    def _not_sent(self, one: DoubtfulJob) -> Resolution:
        if not one.resendable:
            return stays_open(one, ACCEPTED)
        return Resolution(one, "absent", "the API shows that the newsletter was not sent")

    def _sent(self, one: DoubtfulJob, sent_at: float) -> Resolution:
        attempts = [other for other in self._attempts if other.resource_id == one.resource_id]
        first = min([one.since, *(other.since for other in attempts if other.key == one.key)])
        if sent_at < first - WIDE_SKEW and one.ahead is not None:
            return Resolution(one, "rejected", "the newsletter had been sent before this job")
        if sent_at < first - SKEW:
            return stays_open(one, "the newsletter was sent at about the time of this job")
        if sent_at > one.until + self._lag + WIDE_SKEW:
            return stays_open(one, "the newsletter was sent later than this job: somebody else may have sent it")
        rivals = tuple(other for other in attempts if other.key != one.key)
        if rivals:
            return contested(one, (one.resource_id,), rivals)
        number = int(one.resource_id) if one.resource_id.isdecimal() else one.resource_id
        return Resolution(one, "sent", result=(("newsletter_id", number),))
