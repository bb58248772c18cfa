"""The Division of a lane: which replica may use which part of the limit, for as long as it renews it. Pure.

While replicas have more jobs than the lane takes, each holds a part of the limit and paces it alone, by its own clock
and what it wrote: the parts together are never more than the limit, so no sliding window is. A part passes from hand
to hand one window after its last use: who gives some back has stopped using it, and who says nothing for a `TERM` has
stopped by itself. So no clock of one replica is compared with that of another.

`decide` is what one replica makes of it. The server only swaps one version for the next, and notes when each replica
was heard last. Instants are the server's seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TERM: Final = 4.6
"""Seconds that a part is held after it was renewed last; `divide` of the servers knows it, too."""
LATE: Final = 0.5
"""Seconds by which a write may come later than its permit, when its part was not renewed."""
APART: Final = 0.02
"""Part of a second by which two clocks may part meanwhile, and by which stamps are unsure."""
YOUNG: Final = 1.5
"""Seconds from the beginning of a division in which parts are kept free for those who were seen and are not in it."""
LEAST: Final = 20
"""Requests in a window below which a lane is not divided."""


class Part(NamedTuple):
    """Of one replica."""

    size: int
    """Requests in any window that it may write."""
    wish: int
    """How many it could use; as many as the limit: all that there are."""
    rank: int
    """Of the jobs that it has most of: 0 high, 1 normal, 2 low."""


class Cooling(NamedTuple):
    """A part that nobody holds, and when it may have been used last."""

    size: int
    since: float


class Division(NamedTuple):
    """All parts, by the numbers of their owners."""

    parts: dict[int, Part]
    cooling: tuple[Cooling, ...] = ()
    ended: bool = False
    """Whether everybody is to leave it, since some have more urgent jobs than others."""

    @classmethod
    def read(cls, text: bytes | str) -> Self:
        """As `write` gave it; empty text is an empty one."""
        if not text:
            return cls({})
        parts, cooling, ended = orjson.loads(text)
        return cls({int(owner): Part(*part) for owner, part in parts.items()},
                   tuple(Cooling(*one) for one in cooling), ended)

    def write(self) -> bytes:
        """For the server."""
        parts = {str(owner): tuple(part) for owner, part in self.parts.items()}
        return orjson.dumps([parts, [tuple(one) for one in self.cooling], self.ended])


class Standing(NamedTuple):
    """How a lane stands, as one replica sees it."""

    division: Division
    now: float
    limit: int
    window: float
    heard: Mapping[int, float]
    """When each was heard last."""
    vouched: float
    """For how many seconds the server's clock is known to have gone evenly."""
    settled: bool
    """Whether parts may change hands: no server was lost or replaced within what its predecessor may have granted."""
    expected: int
    """Replicas that asked for slots of late, in the division or not."""
    young: bool
    """Whether the division has just begun."""

    @property
    def can_be_divided(self) -> bool:
        """Whether it takes enough requests, and in a window as short as a part is sure for."""
        return self.limit >= LEAST and self.window == 1.0

    def passed(self, since: float) -> float:
        """Seconds that have surely passed since."""
        return min(self.now - since, self.vouched)


class Me(NamedTuple):
    """The replica that decides."""

    owner: int
    wish: int
    """0: it has nothing to send, and leaves."""
    rank: int
    unwritten: int
    """Requests that have their permit and are not written yet: its part cannot be less."""
    stopped: float
    """The server's time, or later, at which it uses nothing above what is decided."""


def decide(standing: Standing, me: Me) -> Division:
    """The division as this replica would have it; the same when it is content."""
    parts = dict(_living(standing, me.owner))
    cooling = _cooling(standing)
    mine = parts.pop(me.owner, Part(0, 0, me.rank))
    ended = standing.division.ended or (me.wish > 0 and any(part.rank != me.rank for part in parts.values()))
    others = {owner: part.wish for owner, part in parts.items()}
    wish = min(me.wish, standing.limit)
    stays = not ended and standing.can_be_divided and _is_short({**others, me.owner: wish}, standing.limit)
    target = _share(standing, me, others, wish) if stays else 0
    size = mine.size
    if target > size and standing.settled:
        size += min(target - size, max(0, standing.limit - size - _used(parts, cooling)))
    elif target < size:
        size = max(target, min(me.unwritten, size))
        cooling = (*cooling, Cooling(mine.size - size, max(me.stopped, standing.now)))
    if size or target:
        parts[me.owner] = Part(size, wish if target else 0, me.rank)
    return Division(dict(sorted(parts.items())), cooling, ended and bool(parts))


def fair(wishes: Mapping[int, int], limit: int) -> dict[int, int]:
    """Each gets what it wishes, as far as all get the same; what is left of that goes to the first."""
    shares: dict[int, int] = {}
    left = limit
    for number, (owner, wish) in enumerate(sorted(wishes.items(), key=lambda one: (one[1], -one[0]))):
        shares[owner] = min(wish, left // (len(wishes) - number))
        left -= shares[owner]
    return shares


def rank_of(wanted: Sequence[int]) -> int:
    """Of the most urgent class with a backlog; a few urgent jobs are started first anyway. `reserve` knows it, too."""
    ranks = [rank for rank, number in enumerate(wanted) if number]
    return next((rank for rank in ranks if wanted[rank] >= LEAST), ranks[-1] if ranks else 1)


def _living(standing: Standing, me: int) -> dict[int, Part]:
    """Without those whose parts have ended, and can be used by others."""
    dead = TERM + standing.window + LATE
    return {owner: part for owner, part in standing.division.parts.items()
            if owner == me or not standing.settled or standing.passed(standing.heard.get(owner, 0)) <= dead}


def _cooling(standing: Standing) -> tuple[Cooling, ...]:
    """What cannot be used yet; where the clock was set back, from now on."""
    return tuple(Cooling(size, min(since, standing.now + 1)) for size, since in standing.division.cooling
                 if not standing.settled or standing.passed(since) <= standing.window + APART)


def _used(parts: Mapping[int, Part], cooling: Sequence[Cooling]) -> int:
    return sum(part.size for part in parts.values()) + sum(one.size for one in cooling)


def _is_short(wishes: Mapping[int, int], limit: int) -> bool:
    """Whether somebody could use more than there is; else the line of slots serves all better."""
    return any(wish >= limit for wish in wishes.values())


def _share(standing: Standing, me: Me, others: Mapping[int, int], wish: int) -> int:
    wishes = {**others, me.owner: wish}
    if standing.young:  # those who were seen and are not in it yet
        wishes |= {-number: standing.limit for number in range(1, standing.expected - len(wishes) + 1)}
    return min(wish, fair(wishes, standing.limit)[me.owner])
