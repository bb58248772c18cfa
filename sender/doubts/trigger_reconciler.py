"""The TriggerReconciler looks up broadcasts in doubt in their lists of triggers; none is ever called absent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sender.doubts.known_ids import KnownIds
from sender.doubts.matching import SKEW, WIDE_SKEW
from sender.doubts.readings import grouped, read_each
from sender.doubts.resolution import Resolution, contested, stays_open

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.engine.api_reader import ApiReader
    from sender.ledger.ledger import Ledger

NOT_SURE: Final = "the API lists triggers that may be this one, but none that surely is"
UNREADABLE: Final = "the API lists triggers whose number or time cannot be read: one may be this one"
NONE: Final = (
    "the API lists no such trigger; a broadcast is never sent again by itself: look there, then sender reconcile "
    "--settle sent|failed"
)
IN_FLIGHT: Final = "a job whose answer is to come may have made the trigger that the API lists"


class TriggerReconciler:
    """Made for one pass over the jobs in doubt; reads only."""

    def __init__(
        self, reader: ApiReader, ledger: Ledger, attempts: Sequence[DoubtfulJob], bound: Collection[str], lag: float
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._attempts = [one for one in attempts if one.kind == "broadcast"]
        self._bound = frozenset(bound)
        self._lag = lag

    async def resolve(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """One resolution for each."""
        return await read_each(grouped(doubtful_jobs, lambda one: one.resource_id), self._resolve)

    async def _resolve(self, group: list[DoubtfulJob]) -> list[Resolution]:
        broadcast = group[0].resource_id
        document = await self._reader.read(f"/v1/broadcasts/{quote(broadcast, safe='')}/triggers")
        times = _times(document.get("triggers"))
        if times is None:
            return [stays_open(one, UNREADABLE) for one in group]
        names = {number: f"{broadcast}/{number}" for number in times}
        ids = await KnownIds.of(self._ledger, names.values(), self._bound, self._reader.clock.now())
        free = {number: at for number, at in times.items() if names[number] not in ids}
        attempts = [one for one in self._attempts if one.resource_id == broadcast]
        return [self._decide(one, free, attempts, ids) for one in group]

    def _decide(
        self, one: DoubtfulJob, free: Mapping[int, float], attempts: Sequence[DoubtfulJob], ids: KnownIds
    ) -> Resolution:
        own = [one, *(other for other in attempts if other.key == one.key and other.begun != one.begun)]
        mine = [number for number, at in free.items() if any(self._may_be(attempt, at) for attempt in own)]
        shown = tuple(str(number) for number in mine)
        if not mine:
            return stays_open(one, NONE)
        at = free[mine[0]]
        if len(mine) > 1 or not any(self._is_like(attempt, at) for attempt in own):
            return stays_open(one, NOT_SURE)._replace(shown=shown)
        rivals = tuple(other for other in attempts if other.key != one.key and self._is_rival(other, at))
        if rivals:
            return contested(one, shown, rivals)
        if ids.may_be_in_flight(at):
            return stays_open(one, IN_FLIGHT)._replace(shown=shown)
        return Resolution(one, "sent", result=(("trigger_id", mine[0]),))

    def _is_like(self, one: DoubtfulJob, created: float) -> bool:
        return one.since - SKEW <= created <= one.likely_until + self._lag

    def _may_be(self, one: DoubtfulJob, created: float) -> bool:
        return one.since - WIDE_SKEW <= created <= one.until + self._lag + WIDE_SKEW

    def _is_rival(self, one: DoubtfulJob, created: float) -> bool:
        """An attempt whose time is not known by the API's clock may have made it at any time."""
        return one.ahead is None or self._may_be(one, created)


def _times(triggers: object) -> dict[int, float] | None:
    """When each listed trigger was created; None where one cannot be read."""
    found: dict[int, float] = {}
    for trigger in triggers if isinstance(triggers, list) else ():
        number, created = (trigger.get("id"), trigger.get("created_at")) if isinstance(trigger, dict) else (None, None)
        if type(number) is not int or isinstance(created, bool) or not isinstance(created, int | float):
            return None
        found[number] = created
    return found
