"""The DoubtedAttempts: every attempt that was ever in doubt, until the delivery that it made is known.

A job leaves its doubt in many ways: found absent, closed by hand, sent again on somebody's word. Its attempt may have
been accepted all the same, so it may have made a delivery that another job would take for its own. They are kept in a
note of the ledger, without personal data (`DoubtfulJob.anonymous`), as long as a list may be asked about their time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sender.doubts.doubtful_job import DoubtfulJob
from sender.doubts.matching import WIDE_SKEW
from sender.ledger.ledger import Doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sender.engine.api_clock import ApiClock
    from sender.ledger.ledger import Ledger

NOTE: Final = "doubted_attempts"
KEPT: Final = 86400.0
"""Seconds that an attempt is kept after its end, and longer where a job in doubt is about as old."""


class _Note(NamedTuple):
    unbound: dict[tuple[str, float], DoubtfulJob]
    """By key and beginning."""
    made: dict[str, tuple[str, float]]
    """Deliveries that are known to be theirs: the job's key, and the end of its attempts."""


class DoubtedAttempts:
    """Shared by replicas: every change is merged with the note."""

    def __init__(self, ledger: Ledger, clock: ApiClock, lag: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._reach = lag + 2 * WIDE_SKEW
        self._note = _Note({}, {})
        self._keys: set[str] = set()
        self._new: list[DoubtfulJob] = []
        self._done: set[str] = set()

    def add(self, attempt: DoubtfulJob) -> None:
        """An attempt ended in doubt; `save` makes it last."""
        self._new.append(attempt)
        self._keys.add(attempt.key)

    def done(self, key: str) -> None:
        """A job of which the API does one only is known to be done: no attempt of it can have made another."""
        if key in self._keys:
            self._done.add(key)

    def knows(self, key: str) -> bool:
        """Whether an attempt of this job was ever in doubt, and its delivery is not known."""
        return key in self._keys

    async def save(self) -> None:
        """Merge what was added with the note."""
        if self._new or self._done:
            await self._update()

    async def take_up(self, doubtful: Iterable[DoubtfulJob]) -> None:
        """Have all of these, which are in doubt now, and let go of what no list will be asked about any more."""
        in_doubt = list(doubtful)

        def change(note: _Note) -> None:
            _merge(note, in_doubt)
            self._prune(note, in_doubt)

        await self._update(change)

    async def bind(self, made: Mapping[str, str]) -> None:
        """These jobs, by key, made these deliveries."""

        def change(note: _Note) -> None:
            for key, delivery in made.items():
                _bind(note, key, delivery)

        if made:
            await self._update(change)

    @property
    def unbound(self) -> list[DoubtfulJob]:
        """Those that may have made a delivery of which nobody knows whose it is."""
        return list(self._note.unbound.values())

    @property
    def deliveries(self) -> set[str]:
        """Deliveries that are known to be theirs."""
        return set(self._note.made)

    async def _update(self, change: Callable[[_Note], None] | None = None) -> None:
        new, done = list(self._new), set(self._done)
        while True:
            raw = await self._ledger.get_note(NOTE)
            note = self._read(raw)
            _merge(note, new)
            if change is not None:
                change(note)
            for name in [name for name in note.unbound if name[0] in done]:
                del note.unbound[name]
            text = _write(note)
            if text == (raw or _write(_Note({}, {}))) or await self._ledger.swap_note(NOTE, raw, text):
                break
        self._note = note
        self._new = self._new[len(new) :]
        self._done -= done
        self._keys = {key for key, _ in note.unbound} | {one.key for one in self._new}

    def _read(self, raw: bytes | None) -> _Note:
        document: dict[str, Any] = orjson.loads(raw) if raw else {"unbound": [], "made": {}}
        unbound = (
            DoubtfulJob.of(Doubt(key, content, "in_doubt", orjson.dumps(detail), resendable), self._clock)
            for key, content, resendable, detail in document["unbound"]
        )
        made = {delivery: (key, until) for delivery, (key, until) in document["made"].items()}
        return _Note({(one.key, one.begun): one for one in unbound}, made)

    def _prune(self, note: _Note, in_doubt: list[DoubtfulJob]) -> None:
        keys = {one.key for one in in_doubt}
        oldest = min([self._clock.now() - KEPT, *(one.since for one in in_doubt)]) - self._reach
        for name, one in list(note.unbound.items()):
            if one.until < oldest and one.key not in keys:
                del note.unbound[name]
        for delivery, (_, until) in list(note.made.items()):
            if until < oldest:
                del note.made[delivery]


def _merge(note: _Note, attempts: Iterable[DoubtfulJob]) -> None:
    """What is known of an attempt later, such as the API's time, is better."""
    for one in attempts:
        if (known := note.unbound.get((one.key, one.begun))) is None or known.ahead is None:
            note.unbound[one.key, one.begun] = one.anonymous()


def _bind(note: _Note, key: str, delivery: str) -> None:
    """Of several attempts nobody knows which made it: then all of them may have made another one, too."""
    own = [name for name in note.unbound if name[0] == key]
    if own:
        note.made[delivery] = (key, max(note.unbound[name].until for name in own))
    if len(own) == 1:
        del note.unbound[own[0]]


def _write(note: _Note) -> bytes:
    rows = [(one.key, one.content, one.resendable, one.detail) for one in note.unbound.values()]
    return orjson.dumps({"unbound": rows, "made": note.made})
