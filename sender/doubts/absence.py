"""Absence: whether `none is listed` proves that the API did not accept a job. Each missing proof keeps it in doubt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sender.doubts.matching import SKEW, may_be

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.doubts.delivery_lists import DeliveryLists
    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.known_deliveries import KnownDeliveries, KnownDelivery
    from sender.doubts.matching import Rules
    from sender.engine.api_clock import ApiClock

CLOCK: Final = (
    "this machine's clock was set after the attempt, or the API's was not known then: "
    "no list can surely be asked about that time"
)


class Absence:
    """Made for one pass over the jobs in doubt."""

    def __init__(self, lists: DeliveryLists, known: KnownDeliveries, clock: ApiClock, rules: Rules) -> None:
        self._lists = lists
        self._known = known
        self._clock = clock
        self._rules = rules
        self._shown: dict[tuple[object, ...], asyncio.Task[bool]] = {}

    async def objection(self, attempts: Sequence[DoubtfulJob]) -> str | None:
        """Why a job with these attempts, of which no list shows any, may have been accepted; None when nothing is left.

        Raises ReadingRefusedError and ReadingFailedError.
        """
        one = attempts[0]
        if not all(attempt.resendable for attempt in attempts):
            return "the API accepted the job, and lists no delivery that is surely this one"
        if one.person is None:
            return "the job names no single person to look up"
        if any(attempt.person_mark != one.person_mark for attempt in attempts):
            return "an earlier attempt of the job, with other content, was to somebody else, and cannot be looked up"
        if any(attempt.appears_later(self._clock.now(), self._rules.lag) for attempt in attempts):
            return "the API may list it only later: it is a draft, or its send_at is to come"
        if not all(self._is_timed(attempt) for attempt in attempts):
            return CLOCK
        if not await self._list_reaches(one, max(attempt.span[1] for attempt in attempts)):
            return "the API lists no delivery yet that was accepted after this attempt"
        return None

    def _is_timed(self, attempt: DoubtfulJob) -> bool:
        """Whether the attempt's time is known by the API's clock, and ours was not set since."""
        ahead = self._clock.ahead
        return attempt.ahead is not None and ahead is not None and abs(attempt.ahead - ahead) <= SKEW

    async def _list_reaches(self, one: DoubtfulJob, instant: float) -> bool:
        """Whether a delivery of ours that is surely later shows in the same kind of list, to the same matcher."""
        for known in self._known.after(one.kind, one.template, instant):
            key = (known.delivery_id, one.kind, one.template, one.person and one.person[0])
            if key not in self._shown:
                self._shown[key] = asyncio.create_task(self._is_recognised(known, one))
            if await asyncio.shield(self._shown[key]):
                return True
        return False

    async def _is_recognised(self, known: KnownDelivery, like: DoubtfulJob) -> bool:
        """Look the known delivery up as if its job were in doubt."""
        id_type = like.person[0] if like.person else ""
        value = await self._lists.identifier_of(known.delivery_id, id_type)
        if value is None:
            return False
        detail = like.detail | {"identifiers": {id_type: value}}
        one = replace(like, since=known.at, until=known.at, likely_until=known.at, detail=detail)
        listing = await self._lists.deliveries([one])
        listing = await self._lists.with_templates(listing, [one], self._rules.numbers)
        return any(d.id == known.delivery_id and may_be(one, d, self._rules) for d in listing.deliveries)
