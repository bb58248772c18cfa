"""The SendReconciler looks up jobs of the send lane: look, match all at once, and only then call one absent."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sender.doubts.absence import Absence
from sender.doubts.delivery_lists import DeliveryLists
from sender.doubts.known_ids import KnownIds
from sender.doubts.matching import Attempts, Match, Rules, match
from sender.doubts.readings import grouped, read_each
from sender.doubts.resolution import Resolution, contested, foreign, stays_open
from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.known_deliveries import KnownDeliveries
    from sender.doubts.listed_delivery import ListedDelivery, Listing
    from sender.doubts.other_ledgers import OtherLedgers
    from sender.engine.api_reader import ApiReader

NOT_SURE: Final = "the API shows deliveries that may be this one, but none that surely is"
UNREADABLE: Final = "the API's list holds entries of a form that is not known here: one may be this one"
IN_FLIGHT: Final = (
    "a job whose answer is to come, here or in another ledger, may have made what the API shows; ask again in 2 min"
)


class SendReconciler:
    """Made for one pass over the jobs in doubt; reads only."""

    def __init__(
        self,
        reader: ApiReader,
        ledgers: OtherLedgers,
        known: KnownDeliveries,
        attempts: Attempts,
        bound: Collection[str],
        lag: float,
    ) -> None:
        self._ledgers = ledgers
        self._known = known
        self._attempts = attempts
        self._bound = frozenset(bound)
        self._clock = reader.clock
        self._lists = DeliveryLists(reader, lag)
        self._numbers: dict[str, int] = {}
        self._rules = Rules(self._numbers, lag)
        self._absence = Absence(self._lists, known, self._clock, self._rules)
        self._listings: dict[str, Listing] = {}
        """What the list of each job shows, by key: deliveries that belong to no known job."""
        self._matches: dict[str, Match] = {}
        self._ids = KnownIds()
        self._around: dict[str, tuple[ListedDelivery, ...]] = {}
        """What was sent by the same template at the time of the delivery that a job would adopt, by the job's key."""

    async def resolve(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """One resolution for each."""
        people = grouped(doubtful_jobs, lambda one: one.person or one.kind)
        unread = await read_each(people, self._look)
        await self._leave_out_known()
        await self._find_numbers(one for one in doubtful_jobs if one.key in self._listings)
        unread += await read_each([group for group in people if group[0].key in self._listings], self._tell_templates)
        failed = {resolution.doubtful.key for resolution in unread}
        read = [one for one in doubtful_jobs if one.key not in failed]
        listed = [(one, self._listings[one.key].deliveries) for one in read]
        self._matches = match(listed, self._attempts, self._rules)
        unread += await read_each([[one] for one in read if self._matches[one.key].adopted], self._look_around)
        await self._find_strangers()
        failed = {resolution.doubtful.key for resolution in unread}
        return unread + await read_each([[one] for one in read if one.key not in failed], self._decide)

    async def _look(self, group: list[DoubtfulJob]) -> list[Resolution]:
        listing = await self._lists.deliveries(self._attempts_of(group))
        self._listings.update((one.key, listing) for one in group)
        return []

    def _attempts_of(self, group: list[DoubtfulJob]) -> list[DoubtfulJob]:
        """All of them, since a job may have been sent by one that was in doubt long ago."""
        return [attempt for one in group for attempt in self._attempts.of_job(one)]

    async def _leave_out_known(self) -> None:
        shown = [listed.id for listing in self._listings.values() for listed in listing.deliveries]
        self._ids = await KnownIds.of(self._ledgers, shown, self._bound, self._clock.now())
        for key, listing in self._listings.items():
            free = tuple(listed for listed in listing.deliveries if listed.id not in self._ids)
            self._listings[key] = listing._replace(deliveries=free)

    async def _find_numbers(self, doubtful_jobs: Iterable[DoubtfulJob]) -> None:
        """The templates behind the trigger names, as far as they can be found, where something is listed."""
        named = {(one.kind, one.template) for one in doubtful_jobs if self._listings[one.key].deliveries}
        for kind, name in named:
            if isinstance(name, str):
                with suppress(ReadingFailedError, ReadingRefusedError):
                    number = await self._number(name, kind)
                    self._numbers |= {} if number is None else {name: number}

    async def _number(self, name: str, kind: str) -> int | None:
        """The template behind a trigger name: as a delivery of ours shows it, else the one template of that name."""
        for known in self._known.after(kind, name, float("-inf")):
            number = await self._lists.template_of(known.delivery_id)
            if number is not None:
                return number
        return await self._lists.template_named(name)

    async def _tell_templates(self, group: list[DoubtfulJob]) -> list[Resolution]:
        attempts = self._attempts_of(group)
        listing = await self._lists.with_templates(self._listings[group[0].key], attempts, self._numbers)
        self._listings.update((one.key, listing) for one in group)
        return []

    async def _look_around(self, group: list[DoubtfulJob]) -> list[Resolution]:
        """Who else sent the same template when the delivery was made."""
        (one,) = group
        adopted = self._matches[one.key].adopted
        if adopted is not None and adopted.template is not None:
            self._around[one.key] = (await self._lists.neighbours(adopted.template, adopted.created)).deliveries
        return []

    async def _find_strangers(self) -> None:
        """Leave only the deliveries that no job of this ledger can have made."""
        shown = [listed.id for around in self._around.values() for listed in around]
        ids = await KnownIds.of(self._ledgers, shown, self._bound, self._clock.now())
        strange = {listed.id: False for found in self._matches.values() for listed in found.candidates}
        for key, around in self._around.items():
            for listed in around:
                if listed.id not in strange:
                    strange[listed.id] = listed.id not in ids and self._is_strange(listed, ids)
            self._around[key] = tuple(listed for listed in around if strange[listed.id])

    def _is_strange(self, listed: ListedDelivery, ids: KnownIds) -> bool:
        made = self._attempts.that_may_have_made(listed, self._rules)
        return not ids.may_be_in_flight(listed.created) and next(made, None) is None

    async def _decide(self, group: list[DoubtfulJob]) -> list[Resolution]:
        (one,) = group
        found = self._matches[one.key]
        shown = tuple(listed.id for listed in found.candidates)
        if self._listings[one.key].unreadable:
            return [stays_open(one, UNREADABLE)]
        if found.adopted is not None:
            return [self._adopt(one, found.adopted)]
        if found.rivals:
            return [contested(one, shown, found.rivals)]
        if shown:
            return [stays_open(one, NOT_SURE)._replace(shown=shown)]
        objection = await self._absence.objection(self._attempts.of_job(one))
        if objection is not None:
            return [stays_open(one, objection)]
        return [Resolution(one, "absent", "the API shows no such delivery, though it shows a later one")]

    def _adopt(self, one: DoubtfulJob, listed: ListedDelivery) -> Resolution:
        """The delivery is the job's, unless a job in flight or somebody else may have made it."""
        if self._ids.may_be_in_flight(listed.created):
            return stays_open(one, IN_FLIGHT)._replace(shown=(listed.id,))
        if strangers := self._around.get(one.key):
            return foreign(one, (listed.id, strangers[0].id))
        return Resolution(one, "sent", result=(("delivery_id", listed.id), ("queued_at", int(listed.created))))
