"""The Reconciler reads the API for jobs in doubt and says what became of each, or why nobody knows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from sender.doubts.delivery_lists import Lists
from sender.doubts.matching import SKEW, WIDE_SKEW, Sighting, match
from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.jobs.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence

    from sender.doubts.doubtful_job import Claimant
    from sender.doubts.known_deliveries import Witnesses
    from sender.doubts.matching import Finding
    from sender.engine.api_reader import ApiReader
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome

AT_ONCE: Final = 8
"""Reads under way together: enough to use the rate at a latency of most of a second."""
REFUSED: Final = "the key may not read (401 or 403), so nothing could be looked up"

Fate = str
"""sent, rejected, absent, open."""


class Ruling(NamedTuple):
    """What the API's lists say of one job in doubt."""

    claimant: Claimant
    fate: Fate
    """`sent`: the API has it; `rejected`: it cannot have been accepted; `absent`: it surely was not; else `open`."""
    why: str = ""
    result: tuple[tuple[str, Any], ...] = ()

    def outcome(self, now: float) -> Outcome:
        """The outcome line of a job that is settled."""
        claimant = self.claimant
        if self.fate == "sent":
            return claimant.outcome("sent", result=self.result, finished_at=now)
        if self.fate == "rejected":
            return claimant.outcome("rejected", Problem("api_error", None, self.why), finished_at=now)
        return claimant.outcome("failed", Problem("absent", None, self.why), finished_at=now)


class Reconciler:
    """Rules on claimants; reads only."""

    def __init__(
        self, reader: ApiReader, ledger: Ledger, witnesses: Witnesses, *, lag: float, wall: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._lists = Lists(reader, lag)
        self._witnesses = witnesses
        self._lag = lag
        self._wall = wall
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def rule(self, claimants: Sequence[Claimant]) -> list[Ruling]:
        """One ruling for each; it takes a GET or more for each person, broadcast or newsletter."""
        sends = [one for one in claimants if one.kind not in ("broadcast", "newsletter_send")]
        broadcasts = _grouped((one for one in claimants if one.kind == "broadcast"), lambda one: one.resource_id)
        newsletters = [[one] for one in claimants if one.kind == "newsletter_send"]
        rulings = await self._rule_on_sends(sends)
        rulings += await self._each(broadcasts, self._rule_on_triggers)
        return rulings + await self._each(newsletters, self._rule_on_newsletter)

    async def _each(
        self, groups: Sequence[list[Claimant]], work: Callable[[list[Claimant]], Awaitable[list[Ruling]]]
    ) -> list[Ruling]:
        """Do it for all groups, a few at once; where the API cannot be read the doubt stays."""

        async def guarded(claimants: list[Claimant]) -> list[Ruling]:
            async with self._gate:
                try:
                    return await work(claimants)
                except ReadingRefusedError:
                    return [Ruling(one, "open", REFUSED) for one in claimants]
                except ReadingFailedError as error:
                    return [Ruling(one, "open", f"the API could not be read: {error}") for one in claimants]

        return [ruling for rulings in await asyncio.gather(*map(guarded, groups)) for ruling in rulings]

    async def _rule_on_sends(self, claimants: Sequence[Claimant]) -> list[Ruling]:
        """Look, then match all at once, and only then say of anything that it is absent."""
        seen: dict[str, list[Sighting]] = {}

        async def look(group: list[Claimant]) -> list[Ruling]:
            found = await self._lists.deliveries(group)
            seen.update((one.key, found) for one in group)
            return []

        async def tell_templates(group: list[Claimant]) -> list[Ruling]:
            found = await self._with_templates(seen[group[0].key], group, numbers)
            seen.update((one.key, found) for one in group)
            return []

        async def rule(group: list[Claimant]) -> list[Ruling]:
            return [await self._rule_on_send(one, findings[one.key]) for one in group]

        people = _grouped(claimants, lambda one: one.person or one.kind)
        unread = await self._each(people, look)
        known = await self._ledger.known_results(list({s.id for found in seen.values() for s in found}))
        for key, found in seen.items():
            seen[key] = [sighting for sighting in found if sighting.id not in known]
        people = [group for group in people if group[0].key in seen]
        numbers = await self._numbers(one for group in people for one in group if seen[one.key])
        unread += await self._each(people, tell_templates)
        findings = match([(one, seen[one.key]) for group in people for one in group], numbers, self._lag)
        failed = {ruling.claimant.key for ruling in unread}
        return unread + await self._each([group for group in people if group[0].key not in failed], rule)

    async def _numbers(self, claimants: Iterable[Claimant]) -> dict[str, int]:
        """The templates behind the trigger names, as far as they can be found."""
        found: dict[str, int] = {}
        for kind, name in {(one.kind, one.template) for one in claimants}:
            if isinstance(name, str):
                with suppress(ReadingFailedError, ReadingRefusedError):
                    number = await self._number(name, kind)
                    found |= {} if number is None else {name: number}
        return found

    async def _rule_on_send(self, one: Claimant, finding: Finding) -> Ruling:
        if finding.adopted is not None:
            found = finding.adopted
            return Ruling(one, "sent", result=(("delivery_id", found.id), ("queued_at", int(found.created))))
        if finding.candidates:
            return Ruling(one, "open", "the API shows deliveries that may be this one, but none that surely is")
        reason = await self._why_not_absent(one)
        if reason:
            return Ruling(one, "open", reason)
        return Ruling(one, "absent", "the API shows no such delivery, though it shows a later one")

    async def _why_not_absent(self, one: Claimant) -> str | None:
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

    async def _witnessed(self, one: Claimant) -> bool:
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
        self, free: list[Sighting], claimants: list[Claimant], numbers: Mapping[str, int]
    ) -> list[Sighting]:
        """Where a list does not tell the template, ask each template's own list (API.md section 7)."""
        if all(sighting.template is not None for sighting in free):
            return free
        wanted = {one.template if isinstance(one.template, int) else numbers.get(one.template) for one in claimants}
        owner: dict[str, int] = {}
        for number in wanted:
            if number is not None:
                owner |= dict.fromkeys(await self._lists.of_template(number, claimants), number)
        return [
            sighting._replace(template=owner.get(sighting.id)) if sighting.template is None else sighting
            for sighting in free
        ]

    async def _rule_on_triggers(self, claimants: list[Claimant]) -> list[Ruling]:
        broadcast = claimants[0].resource_id
        document = await self._reader.read(f"/v1/broadcasts/{quote(broadcast, safe='')}/triggers")
        times = _times(document.get("triggers"))
        known = await self._ledger.known_results([f"{broadcast}/{number}" for number in times])
        free = {number: at for number, at in times.items() if f"{broadcast}/{number}" not in known}
        mine = {one.key: [n for n, at in free.items() if self._in_window(one, at)] for one in claimants}
        claims = [number for numbers in mine.values() for number in numbers]
        rulings = []
        for one in claimants:
            sole = mine[one.key][0] if len(mine[one.key]) == 1 and claims.count(mine[one.key][0]) == 1 else None
            rulings.append(_rule_on_trigger(one, sole, len(mine[one.key])))
        return rulings

    def _in_window(self, one: Claimant, created: float) -> bool:
        return one.since - SKEW <= created <= one.likely_until + self._lag

    async def _rule_on_newsletter(self, claimants: list[Claimant]) -> list[Ruling]:
        (one,) = claimants
        document = await self._reader.read(f"/v1/newsletters/{quote(one.resource_id, safe='')}")
        newsletter = document.get("newsletter")
        if not isinstance(newsletter, dict):
            return [Ruling(one, "open", "the API's answer shows no newsletter")]
        sent_at = newsletter.get("sent_at")
        if not sent_at:
            if self._wall() < one.until + self._lag:
                return [Ruling(one, "open", "it may still become visible that the newsletter was sent")]
            if not one.resendable:
                return [Ruling(one, "open", "the API accepted the job, and does not show the newsletter as sent yet")]
            return [Ruling(one, "absent", "the API shows that the newsletter was not sent")]
        if not isinstance(sent_at, int | float):
            return [Ruling(one, "open", "the API's answer tells no time at which the newsletter was sent")]
        if sent_at >= one.since - SKEW:
            number = int(one.resource_id) if one.resource_id.isdecimal() else one.resource_id
            return [Ruling(one, "sent", result=(("newsletter_id", number),))]
        if sent_at < one.since - WIDE_SKEW:
            return [Ruling(one, "rejected", "the newsletter had been sent before this job")]
        return [Ruling(one, "open", "the newsletter was sent at about the time of this job")]


def _grouped(claimants: Iterable[Claimant], by: Callable[[Claimant], Hashable]) -> list[list[Claimant]]:
    groups: dict[Hashable, list[Claimant]] = defaultdict(list)
    for one in claimants:
        groups[by(one)].append(one)
    return list(groups.values())


def _rule_on_trigger(one: Claimant, sole: int | None, candidates: int) -> Ruling:
    if sole is not None:
        return Ruling(one, "sent", result=(("trigger_id", sole),))
    if candidates:
        return Ruling(one, "open", "the API lists triggers that may be this one, but none that surely is")
    return Ruling(
        one, "open", "the API lists no such trigger; a broadcast is never sent again by itself: "
        "look there, then sender reconcile --settle sent|failed",
    )  # fmt: skip


def _times(triggers: object) -> dict[int, float]:
    """When each listed trigger was created."""
    found: dict[int, float] = {}
    for trigger in triggers if isinstance(triggers, list) else ():
        if isinstance(trigger, dict) and type(trigger.get("id")) is int:
            created = trigger.get("created_at")
            if isinstance(created, int | float):
                found[trigger["id"]] = created
    return found
