"""The Reconciler reads the API for jobs in doubt and says what became of each, or why nobody knows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from sender.doubts.delivery_lists import DeliveryLists
from sender.doubts.matching import SKEW, WIDE_SKEW, ListedDelivery, match
from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.known_deliveries import KnownDeliveries
    from sender.doubts.matching import Match
    from sender.engine.api_reader import ApiReader
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome

AT_ONCE: Final = 8
"""Reads under way together: enough to use the rate at a latency of most of a second."""
REFUSED: Final = "the key may not read (401 or 403), so nothing could be looked up"

Fate = str
"""sent, rejected, absent, open."""


class Resolution(NamedTuple):
    """What the API's lists say of one job in doubt."""

    doubtful: DoubtfulJob
    fate: Fate
    """`sent`: the API has it; `rejected`: it cannot have been accepted; `absent`: it surely was not; else `open`."""
    why: str = ""
    result: tuple[tuple[str, Any], ...] = ()

    def outcome(self, now: float) -> Outcome:
        """The outcome line of a job that is settled."""
        doubtful = self.doubtful
        if self.fate == "sent":
            return doubtful.outcome("sent", result=self.result, finished_at=now)
        if self.fate == "rejected":
            return doubtful.outcome("rejected", Problem("api_error", None, self.why), finished_at=now)
        return doubtful.outcome("failed", Problem("absent", None, self.why), finished_at=now)


class Reconciler:
    """Rules on claimants; reads only."""

    def __init__(
        self, reader: ApiReader, ledger: Ledger, witnesses: KnownDeliveries, *, lag: float, wall: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._lists = DeliveryLists(reader, lag)
        self._witnesses = witnesses
        self._lag = lag
        self._wall = wall
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def rule(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """One ruling for each; it takes a GET or more for each person, broadcast or newsletter."""
        sends = [one for one in doubtful_jobs if one.kind not in ("broadcast", "newsletter_send")]
        broadcasts = _grouped((one for one in doubtful_jobs if one.kind == "broadcast"), lambda one: one.resource_id)
        newsletters = [[one] for one in doubtful_jobs if one.kind == "newsletter_send"]
        rulings = await self._rule_on_sends(sends)
        rulings += await self._each(broadcasts, self._rule_on_triggers)
        return rulings + await self._each(newsletters, self._rule_on_newsletter)

    async def _each(
        self, groups: Sequence[list[DoubtfulJob]], work: Callable[[list[DoubtfulJob]], Awaitable[list[Resolution]]]
    ) -> list[Resolution]:
        """Do it for all groups, a few at once; where the API cannot be read the doubt stays."""

        async def guarded(doubtful_jobs: list[DoubtfulJob]) -> list[Resolution]:
            async with self._gate:
                try:
                    return await work(doubtful_jobs)
                except ReadingRefusedError:
                    return [Resolution(one, "open", REFUSED) for one in doubtful_jobs]
                except ReadingFailedError as error:
                    return [Resolution(one, "open", f"the API could not be read: {error}") for one in doubtful_jobs]

        return [resolution for rulings in await asyncio.gather(*map(guarded, groups)) for resolution in rulings]

    async def _rule_on_sends(self, doubtful_jobs: Sequence[DoubtfulJob]) -> list[Resolution]:
        """Look, then match all at once, and only then say of anything that it is absent."""
        seen: dict[str, list[ListedDelivery]] = {}

        async def look(group: list[DoubtfulJob]) -> list[Resolution]:
            found = await self._lists.deliveries(group)
            seen.update((one.key, found) for one in group)
            return []

        async def tell_templates(group: list[DoubtfulJob]) -> list[Resolution]:
            found = await self._with_templates(seen[group[0].key], group, numbers)
            seen.update((one.key, found) for one in group)
            return []

        async def rule(group: list[DoubtfulJob]) -> list[Resolution]:
            return [await self._rule_on_send(one, findings[one.key]) for one in group]

        people = _grouped(doubtful_jobs, lambda one: one.person or one.kind)
        unread = await self._each(people, look)
        known = await self._ledger.known_results(list({s.id for found in seen.values() for s in found}))
        for key, found in seen.items():
            seen[key] = [listed for listed in found if listed.id not in known]
        people = [group for group in people if group[0].key in seen]
        numbers = await self._numbers(one for group in people for one in group if seen[one.key])
        unread += await self._each(people, tell_templates)
        findings = match([(one, seen[one.key]) for group in people for one in group], numbers, self._lag)
        failed = {resolution.doubtful.key for resolution in unread}
        return unread + await self._each([group for group in people if group[0].key not in failed], rule)

    async def _numbers(self, doubtful_jobs: Iterable[DoubtfulJob]) -> dict[str, int]:
        """The templates behind the trigger names, as far as they can be found."""
        found: dict[str, int] = {}
        for kind, name in {(one.kind, one.template) for one in doubtful_jobs}:
            if isinstance(name, str):
                with suppress(ReadingFailedError, ReadingRefusedError):
                    number = await self._number(name, kind)
                    found |= {} if number is None else {name: number}
        return found

    async def _rule_on_send(self, one: DoubtfulJob, finding: Match) -> Resolution:
        if finding.adopted is not None:
            found = finding.adopted
            return Resolution(one, "sent", result=(("delivery_id", found.id), ("queued_at", int(found.created))))
        if finding.candidates:
            return Resolution(one, "open", "the API shows deliveries that may be this one, but none that surely is")
        reason = await self._why_not_absent(one)
        if reason:
            return Resolution(one, "open", reason)
        return Resolution(one, "absent", "the API shows no such delivery, though it shows a later one")

    async def _why_not_absent(self, one: DoubtfulJob) -> str | None:
        """What keeps `none is listed` from being a verdict; None when nothing does."""
        now = self._wall()
        if not one.resendable:
            return "the API accepted the job, and lists no delivery that is surely this one"
        if one.person is None:
            return "the job names no single person to look up"
        if one.appears_later(now, self._lag):
            return "the API may list it only later: it is a draft, or its send_at is to come"
        if now < one.until + self._lag:
            return f"the API's lists are trusted {self._lag:g} s after the attempt (--reconcile-lag)"
        if not await self._witnessed(one):
            return "the API lists no delivery yet that was accepted after this attempt"
        return None

    async def _witnessed(self, one: DoubtfulJob) -> bool:
        """Whether a later delivery of ours, of the same kind and template, shows in the same kind of query."""
        person = one.person
        for witness in self._witnesses.after(one.kind, one.template, one.until):
            if person and await self._lists.shows(witness, person[0]):
                return True
        return False

    async def _number(self, name: str, kind: str) -> int | None:
        """The template behind a trigger name: as a delivery of ours shows it, else the one template of that name."""
        for witness in self._witnesses.after(kind, name, float("-inf")):
            number = await self._lists.template_of(witness)
            if number is not None:
                return number
        return await self._lists.template_named(name)

    async def _with_templates(
        self, free: list[ListedDelivery], doubtful_jobs: list[DoubtfulJob], numbers: Mapping[str, int]
    ) -> list[ListedDelivery]:
        """Where a list does not tell the template, ask each template's own list (docs/api.md, "Reading the API")."""
        if all(listed.template is not None for listed in free):
            return free
        wanted = {one.template if isinstance(one.template, int) else numbers.get(one.template) for one in doubtful_jobs}
        owner: dict[str, int] = {}
        for number in wanted:
            if number is not None:
                owner |= dict.fromkeys(await self._lists.of_template(number, doubtful_jobs), number)
        return [
            listed._replace(template=owner.get(listed.id)) if listed.template is None else listed for listed in free
        ]

    async def _rule_on_triggers(self, doubtful_jobs: list[DoubtfulJob]) -> list[Resolution]:
        broadcast = doubtful_jobs[0].resource_id
        document = await self._reader.read(f"/v1/broadcasts/{quote(broadcast, safe='')}/triggers")
        times = _times(document.get("triggers"))
        known = await self._ledger.known_results([f"{broadcast}/{number}" for number in times])
        free = {number: at for number, at in times.items() if f"{broadcast}/{number}" not in known}
        mine = {one.key: [n for n, at in free.items() if self._in_window(one, at)] for one in doubtful_jobs}
        claims = [number for numbers in mine.values() for number in numbers]
        rulings = []
        for one in doubtful_jobs:
            sole = mine[one.key][0] if len(mine[one.key]) == 1 and claims.count(mine[one.key][0]) == 1 else None
            rulings.append(_rule_on_trigger(one, sole, len(mine[one.key])))
        return rulings

    def _in_window(self, one: DoubtfulJob, created: float) -> bool:
        return one.since - SKEW <= created <= one.likely_until + self._lag

    async def _rule_on_newsletter(self, doubtful_jobs: list[DoubtfulJob]) -> list[Resolution]:
        (one,) = doubtful_jobs
        document = await self._reader.read(f"/v1/newsletters/{quote(one.resource_id, safe='')}")
        newsletter = document.get("newsletter")
        if not isinstance(newsletter, dict):
            return [Resolution(one, "open", "the API's answer shows no newsletter")]
        sent_at = newsletter.get("sent_at")
        if not sent_at:
            if self._wall() < one.until + self._lag:
                return [Resolution(one, "open", "it may still become visible that the newsletter was sent")]
            if not one.resendable:
                return [
                    Resolution(one, "open", "the API accepted the job, and does not show the newsletter as sent yet")
                ]
            return [Resolution(one, "absent", "the API shows that the newsletter was not sent")]
        if not isinstance(sent_at, int | float):
            return [Resolution(one, "open", "the API's answer tells no time at which the newsletter was sent")]
        if sent_at >= one.since - SKEW:
            number = int(one.resource_id) if one.resource_id.isdecimal() else one.resource_id
            return [Resolution(one, "sent", result=(("newsletter_id", number),))]
        if sent_at < one.since - WIDE_SKEW:
            return [Resolution(one, "rejected", "the newsletter had been sent before this job")]
        return [Resolution(one, "open", "the newsletter was sent at about the time of this job")]


def _grouped(doubtful_jobs: Iterable[DoubtfulJob], by: Callable[[DoubtfulJob], Hashable]) -> list[list[DoubtfulJob]]:
    groups: dict[Hashable, list[DoubtfulJob]] = defaultdict(list)
    for one in doubtful_jobs:
        groups[by(one)].append(one)
    return list(groups.values())


def _rule_on_trigger(one: DoubtfulJob, sole: int | None, candidates: int) -> Resolution:
    if sole is not None:
        return Resolution(one, "sent", result=(("trigger_id", sole),))
    if candidates:
        return Resolution(one, "open", "the API lists triggers that may be this one, but none that surely is")
    return Resolution(
        one, "open", "the API lists no such trigger; a broadcast is never sent again by itself: "
        "look there, then sender reconcile --settle sent|failed",
    )


def _times(triggers: object) -> dict[int, float]:
    """When each listed trigger was created."""
    found: dict[int, float] = {}
    for trigger in triggers if isinstance(triggers, list) else ():
        if isinstance(trigger, dict) and type(trigger.get("id")) is int:
            created = trigger.get("created_at")
            if isinstance(created, int | float):
                found[trigger["id"]] = created
    return found
