"""Who holds which part of a lane: whatever replicas do, no sliding window has more than the limit."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.shared_state.division import (
    APART,
    LATE,
    LEAST,
    TERM,
    Cooling,
    Division,
    Me,
    Part,
    Standing,
    decide,
    fair,
    rank_of,
)
from tests.support.virtual_time import most_in_any

LIMIT = 40
SURE = 0.99


def standing(
    parts: dict[int, Part], *cooling: Cooling, now: float = 100.0, heard: float = 100.0, **more: object
) -> Standing:
    found = Standing(Division(parts, cooling), now, LIMIT, 1.0, dict.fromkeys(parts, heard), 1000.0, True, 1, False)
    return found._replace(**more)  # type: ignore[arg-type]


def me(owner: int, wish: int = LIMIT, rank: int = 1, unwritten: int = 0) -> Me:
    return Me(owner, wish, rank, unwritten, 100.0)


@dataclass
class Server:
    """What `divide.lua` keeps."""

    division: Division = field(default_factory=lambda: Division({}))
    version: int = 0
    heard: dict[int, float] = field(default_factory=dict)
    floor: float = 0.0

    def divide(self, owner: int, now: float, version: int, division: Division | None) -> None:
        self.version += self.heard.get(owner, now) < now - TERM
        self.heard[owner] = now
        if division is not None and version == self.version:
            self.version, self.division = version + 1, Division.read(division.write())
            if not division.parts:
                self.floor = max(self.floor, now + 1 + 0.05)


@dataclass
class Replica:
    """Writes as much as its part lets it, at any instant that it may, in bursts."""

    owner: int
    chance: random.Random
    since: float
    size: int = 0
    until: float = 0.0
    work: int = LIMIT
    written: list[float] = field(default_factory=list)

    def write(self, now: float) -> None:
        room = self.size - sum(stamp > now - 1 for stamp in self.written)
        if now < self.until and room > 0 and self.work:
            self.written += [now] * self.chance.randint(0, room)

    def ask(self, server: Server, now: float, *, answered: bool) -> None:
        """One conversation; the last answer may be lost."""
        server.divide(self.owner, now, 0, None)
        for _ in range(3):
            seen = self._read(server, now)
            wanted = decide(seen, Me(self.owner, self.work, 1, 0, now))
            if wanted == seen.division:
                return
            size = wanted.parts.get(self.owner, Part(0, 0, 1)).size
            self.size = min(self.size, size)
            server.divide(self.owner, now, server.version - self.chance.choice([0, 0, 0, 1]), wanted)
            if not answered:
                return

    def _read(self, server: Server, now: float) -> Standing:
        settled = now >= server.floor
        part = server.division.parts.get(self.owner)
        self.size = part.size if part and settled else min(self.size, part.size if part else 0)
        self.until = now + SURE * TERM
        return Standing(server.division, now, LIMIT, 1.0, dict(server.heard), now - self.since, settled, 1, False)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32), deaths=st.floats(0, 0.02), away=st.floats(0, 0.3), idle=st.floats(0, 0.05))
def test_no_window_has_more_than_the_limit(seed: int, deaths: float, away: float, idle: float) -> None:
    """Replicas join, die, are away for any time, run out of work, lose answers, and take turns in any order."""
    chance, server, now = random.Random(seed), Server(), 100.0
    living: list[Replica] = []
    all_of_them: list[Replica] = []
    for _ in range(400):
        now += chance.choice([0.001, 0.05, 0.2])
        if len(living) < 5 and chance.random() < 0.05:
            living.append(Replica(len(all_of_them) + 1, chance, now))
            all_of_them.append(living[-1])
        for one in list(living):
            if chance.random() < deaths:
                living.remove(one)
            elif chance.random() < idle:
                one.work = chance.choice([0, 3, LIMIT])
            one.write(now)
            if chance.random() < 0.3 and chance.random() > away:
                one.ask(server, now, answered=chance.random() > 0.1)
    assert most_in_any(1.0, [stamp for one in all_of_them for stamp in one.written]) <= LIMIT


@settings(max_examples=60, deadline=None)
@given(works=st.lists(st.sampled_from([2, 5, LIMIT]), min_size=1, max_size=8).filter(lambda works: LIMIT in works),
       seed=st.integers(0, 2**32))
def test_a_stable_set_uses_all_and_nobody_has_more_than_its_share(works: list[int], seed: int) -> None:
    chance, server, now = random.Random(seed), Server(), 100.0
    replicas = [Replica(number, chance, now, work=work) for number, work in enumerate(works, 1)]
    for _ in range(12):
        for one in chance.sample(replicas, len(replicas)):
            now += 0.3
            one.ask(server, now, answered=True)
    sizes = {owner: part.size for owner, part in server.division.parts.items()}
    assert sizes == fair(dict(enumerate(works, 1)), LIMIT)
    assert sum(sizes.values()) == LIMIT
    assert not server.division.cooling


@given(st.dictionaries(st.integers(1, 99), st.integers(0, 200), min_size=1, max_size=12), st.integers(1, 120))
def test_fair_means_that_nobody_gets_less_than_who_wishes_no_more(wishes: dict[int, int], limit: int) -> None:
    shares = fair(wishes, limit)
    assert sum(shares.values()) == min(limit, sum(wishes.values()))
    for owner, share in shares.items():
        assert share <= wishes[owner]
        if share < wishes[owner]:
            assert all(other <= share + 1 for other in shares.values())


def test_what_is_given_back_is_another_s_a_window_later() -> None:
    full = {1: Part(LIMIT, LIMIT, 1), 2: Part(0, LIMIT, 1)}
    given_back = decide(standing(full), me(1))
    assert given_back.parts[1].size == LIMIT // 2
    assert given_back.cooling == (Cooling(LIMIT // 2, 100.0),)
    early = standing(given_back.parts, *given_back.cooling, now=101.0, heard=101.0)
    assert decide(early, me(2)).parts[2].size == 0
    late = early._replace(now=100.0 + 1 + APART + 0.001)
    assert decide(late, me(2)).parts[2].size == LIMIT // 2


def test_who_says_nothing_for_a_term_is_followed_a_window_later() -> None:
    parts = {1: Part(20, LIMIT, 1), 2: Part(20, LIMIT, 1)}
    silent = standing(parts, now=100 + TERM + 1 + LATE)
    assert decide(silent, me(1)).parts == parts
    dead = silent._replace(now=silent.now + 0.001)
    assert decide(dead, me(1)).parts == {1: Part(LIMIT, LIMIT, 1)}
    assert decide(dead._replace(vouched=3.0), me(1)).parts == parts, "the server's clock may have been put on"
    assert decide(dead._replace(settled=False), me(1)).parts == parts, "it may have been heard by the server before"


def test_what_is_under_way_keeps_its_part() -> None:
    full = {1: Part(LIMIT, LIMIT, 1), 2: Part(0, LIMIT, 1)}
    assert decide(standing(full), me(1, unwritten=30)).parts[1].size == 30
    assert decide(standing(full), me(1, wish=0, unwritten=7)).parts[1] == Part(7, 0, 1)


def test_the_line_comes_back_when_nobody_needs_more_than_there_is() -> None:
    parts = {1: Part(5, 5, 1), 2: Part(35, LIMIT, 1)}
    assert set(decide(standing(parts), me(2, wish=6)).parts) == {1}
    alone = decide(standing({1: Part(5, 5, 1)}), me(1, wish=5))
    assert (alone.parts, alone.cooling) == ({}, (Cooling(5, 100.0),))


def test_replicas_with_more_urgent_jobs_end_the_division() -> None:
    parts = {1: Part(20, LIMIT, 2), 2: Part(20, LIMIT, 2)}
    ended = decide(standing(parts), me(3, rank=0))
    assert ended.ended
    assert set(ended.parts) == {1, 2}
    assert set(decide(standing(parts)._replace(division=ended), me(1, rank=2)).parts) == {2}
    last = Division({2: Part(20, LIMIT, 2)}, (), ended=True)
    assert decide(standing({})._replace(division=last), me(2, rank=2)).ended is False, "and the next one begins afresh"


def test_a_young_division_leaves_parts_for_those_who_were_seen() -> None:
    young = standing({}, young=True, expected=4)
    assert decide(young, me(1)).parts[1].size == LIMIT // 4
    assert decide(young._replace(young=False), me(1)).parts[1].size == LIMIT


def test_a_clock_that_was_set_back_keeps_nothing_cool_for_hours() -> None:
    back = standing({1: Part(20, LIMIT, 1)}, Cooling(20, 5000.0))
    assert decide(back, me(1)).cooling == (Cooling(20, 101.0),)


@pytest.mark.parametrize(("wanted", "rank"), [
    ((0, 0, 0), 1), ((1, 0, 0), 0), ((1, 1, 0), 1), ((LEAST, 500, 0), 0), ((3, LEAST, 9), 1), ((0, 2, 1), 2),
])
def test_the_rank_is_that_of_the_most_urgent_backlog(wanted: tuple[int, int, int], rank: int) -> None:
    assert rank_of(wanted) == rank


def test_a_division_is_kept_as_text() -> None:
    made = Division({7: Part(1, 2, 0)}, (Cooling(3, 4.5),), ended=True)
    assert Division.read(made.write()) == made
    assert Division.read(b"") == Division({})
