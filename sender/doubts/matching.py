"""Which of the API's deliveries is whose: pure decisions over jobs in doubt and listed deliveries.

See docs/api.md, "Reading the API".
"""

from __future__ import annotations

from collections import defaultdict
from email.utils import getaddresses
from typing import TYPE_CHECKING, Final, NamedTuple

from sender.doubts.doubtful_job import checksum

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sender.doubts.doubtful_job import DoubtfulJob
    from sender.doubts.listed_delivery import ListedDelivery

SKEW: Final = 10.0
"""Seconds by which two instants of the API's clock may be told apart wrongly, its rounding to seconds included."""
WIDE_SKEW: Final = 120.0
"""The same where a mistake would call a delivery absent, or adopt another's."""
TYPES: Final = {
    "email": {"email"}, "sms": {"twilio", "sms", "whatsapp"}, "whatsapp": {"whatsapp", "twilio"}, "push": {"push"},
    "in_app": {"in_app"}, "inbox_message": {"inbox", "inbox_message", "in_app"},
}
"""The `type` that each send kind may have in the lists; a WhatsApp message by Twilio is `twilio`."""


class Rules(NamedTuple):
    """What every comparison needs."""

    numbers: Mapping[str, int]
    """The templates behind trigger names, where known."""
    lag: float
    """Seconds after which a list shows what was accepted."""


class Match(NamedTuple):
    """What the lists say of one job in doubt."""

    adopted: ListedDelivery | None = None
    candidates: tuple[ListedDelivery, ...] = ()
    """Deliveries that may be its own; none means that the lists show none."""
    rivals: tuple[DoubtfulJob, ...] = ()
    """Attempts of other jobs that may have made its one delivery."""


class Attempts:
    """All attempts that were ever in doubt and have no delivery, found by person."""

    def __init__(self, attempts: Iterable[DoubtfulJob]) -> None:
        self._by_person: dict[str, dict[str, list[DoubtfulJob]]] = defaultdict(lambda: defaultdict(list))
        self._by_job: dict[str, list[DoubtfulJob]] = defaultdict(list)
        for one in attempts:
            id_type, mark = one.person_mark or ("", "")
            self._by_person[id_type][mark].append(one)
            self._by_job[one.key].append(one)

    def of_job(self, job: DoubtfulJob) -> list[DoubtfulJob]:
        """The attempts of this job, with what its payload tells."""
        others = (one for one in self._by_job[job.key] if one.begun != job.begun)
        return [job, *(one.with_payload_of(job) if one.content == job.content else one for one in others)]

    def that_may_have_made(self, listed: ListedDelivery, rules: Rules) -> Iterator[DoubtfulJob]:
        """Those of its person, or of nobody known, that it does not contradict.

        An attempt whose time is not known by the API's clock may have made it at any time.
        """
        people = dict(listed.people)
        for id_type, marks in self._by_person.items():
            if id_type in people:
                found = marks.get(checksum(id_type, people[id_type]), [])
            else:
                found = [one for group in marks.values() for one in group]
            yield from (one for one in found if is_plausible(one, listed, rules, untimed=one.ahead is None))


def match(
    seen: Sequence[tuple[DoubtfulJob, Collection[ListedDelivery]]], attempts: Attempts, rules: Rules
) -> dict[str, Match]:
    """By key, what each job's own list says of it; `seen` has the deliveries in it that belong to no known job."""
    people = _people(listed for _, free in seen for listed in free)
    return {
        job.key: _match(attempts.of_job(job), [one._replace(people=people[one.id]) for one in free], attempts, rules)
        for job, free in seen
    }


def _match(
    own: Sequence[DoubtfulJob], free: Sequence[ListedDelivery], attempts: Attempts, rules: Rules
) -> Match:
    candidates = tuple(listed for listed in free if any(may_be(one, listed, rules) for one in own))
    plausible = [listed for listed in candidates if any(is_plausible(one, listed, rules) for one in own)]
    if len(plausible) != 1 or not any(is_like(one, plausible[0], rules) for one in own):
        return Match(None, candidates)
    (sole,) = plausible
    rivals = {one.key: one for one in attempts.that_may_have_made(sole, rules) if one.key != own[0].key}
    return Match(None if rivals else sole, candidates, tuple(rivals.values()))


def _people(deliveries: Iterable[ListedDelivery]) -> dict[str, tuple[tuple[str, str], ...]]:
    """All that the lists together tell of each delivery's person, who may be named in several ways."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for listed in deliveries:
        found[listed.id].update(listed.people)
    return {name: tuple(people.items()) for name, people in found.items()}


def may_be(one: DoubtfulJob, listed: ListedDelivery, rules: Rules, *, untimed: bool = False) -> bool:
    """Whether nothing that is sure speaks against it; `untimed` leaves the time out."""
    if listed.type is not None and listed.type not in TYPES.get(one.kind, {listed.type}):
        return False
    first, last = one.span
    if not untimed and not first - WIDE_SKEW <= listed.created <= last + rules.lag + WIDE_SKEW:
        return False
    number = number_of(one, rules.numbers)
    return number is None or listed.template is None or listed.template == number


def is_plausible(one: DoubtfulJob, listed: ListedDelivery, rules: Rules, *, untimed: bool = False) -> bool:
    """Whether neither recipient nor subject, as far as they are known, speak against it either."""
    same = _same_recipient(one, listed.recipient) and _same_subject(one, listed.subject)
    return same and may_be(one, listed, rules, untimed=untimed)


def is_like(one: DoubtfulJob, listed: ListedDelivery, rules: Rules) -> bool:
    """Whether template, time, recipient and subject all speak for it."""
    in_time = one.since - SKEW <= listed.created <= one.likely_until + rules.lag
    if one.due is not None:
        in_time = in_time or one.due - SKEW <= listed.created <= one.due + rules.lag
    number = number_of(one, rules.numbers)
    known = number is not None and listed.template == number and not one.is_anonymous
    return in_time and known and is_plausible(one, listed, rules)


def number_of(one: DoubtfulJob, numbers: Mapping[str, int]) -> int | None:
    """The number of its template; None for a trigger name that nobody has resolved."""
    return one.template if isinstance(one.template, int) else numbers.get(one.template)


def _same_recipient(one: DoubtfulJob, shown: str) -> bool:
    wanted = one.detail.get("to")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    if one.kind == "email":
        return bool(_addresses(wanted) & _addresses(shown))
    return one.kind not in ("sms", "whatsapp") or wanted.strip() == shown.strip()


def _addresses(text: str) -> set[str]:
    return {address.strip().lower() for _, address in getaddresses([text]) if address}


def _same_subject(one: DoubtfulJob, shown: str | None) -> bool:
    wanted = one.detail.get("subject")
    if not isinstance(wanted, str) or "{{" in wanted or "{%" in wanted or not shown:
        return True
    return wanted.split() == shown.split()
