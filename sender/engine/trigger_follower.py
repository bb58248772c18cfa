"""The Triggers that wait at the API: at most five, followed in its lists.

See docs/delivery-semantics.md, "Broadcasts"; docs/api.md, "Following triggers".

    accepted or doubtful --(list: processed)--> errors read --> later outcome line, if there are errors

They stand in a note of the ledger, so that a restart knows them. Nothing is asked while fewer than five wait; the rest
is followed at the run's end.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson
from aiolimiter import AsyncLimiter

from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.jobs.masking import mask_words, words_of
from sender.jobs.problem import Problem
from sender.ledger import FinalRecord
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob
from sender.runtime.long_step import run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.api_reader import ApiReader
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import RecordFn
    from sender.ledger import Ledger

NOTE: Final = "triggers"
POLLS: Final = 1.0
"""Requests a second at most."""
FULL_FOR: Final = 10.0
"""Seconds that a queue which the API called full is taken to be so, if the lists show nothing of ours."""
SKEW: Final = 10.0
MOST_LINES: Final = 20
"""Lines of an errors endpoint that an outcome holds."""


@dataclass(slots=True)
class WaitingTrigger:
    """A trigger that is not known to be processed."""

    key: str
    content: str
    broadcast: str
    trigger: int | None
    """None while it is in doubt whether there is one."""
    at: float
    """Unix seconds of its acceptance, or of the doubtful attempt."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What a later outcome line repeats: id, source, line, attempts."""


class TriggerFollower:
    """Knows which triggers wait; the lane asks `open` before it starts another."""

    def __init__(
        self,
        reader: ApiReader,
        ledger: Ledger,
        record: RecordFn,
        *,
        limit: int,
        lag: float,
        wall: Callable[[], float],
        saved: bytes | None = None,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._record = record
        self._limit = limit
        self._lag = lag
        self._wall = wall
        self._full_until = 0.0
        self._polls = AsyncLimiter(1, 1 / POLLS)
        self._closed = asyncio.Event()
        self._waiting = {one["key"]: WaitingTrigger(**one) for one in orjson.loads(saved or b"[]")}
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever the lane should ask again."""
        self._noted = set(self._waiting)
        """Keys that stood in the note when it was last read: one that is gone by now was ended by another replica."""
        self._over: set[str] = set()
        """Keys that wait no more and still stand in the note."""
        self._note_closed()

    @property
    def open(self) -> bool:
        """Whether another trigger may be started; without the right to read nobody can tell, and it may."""
        if not self._reader.readable:
            return True
        return len(self._waiting) < self._limit and self._wall() >= self._full_until

    @property
    def waiting(self) -> int:
        """Triggers that are not known to be processed, doubtful ones included."""
        return len(self._waiting)

    async def ended(self, execution: JobExecution, outcome: Outcome) -> None:
        """A job of the lane ended; what may wait at the API is noted durably."""
        trigger = dict(outcome.result).get("trigger_id")
        if outcome.status not in ("sent", "in_doubt") or outcome.kind != "broadcast":
            return
        job = execution.job
        facts = {"id": job.id, "source": job.source, "line": job.line, "attempts": execution.attempts,
                 "started_at": execution.started_at, "written_at": execution.written_at}
        words = await run_step(len(job.body), words_of, job.body)
        if words is not None:
            facts["words"] = b64encode(words).decode()
        if job.meta is not None:
            facts["meta"] = job.meta.decode()
        self._waiting[job.key] = WaitingTrigger(
            job.key, job.content, job.path_ids[0], trigger, execution.tried_at or self._wall(), facts
        )
        self._note_closed()
        await self._save()

    def settled(self, key: str, trigger: int | None) -> None:
        """A doubt was settled: it is this trigger, or none."""
        if key in self._waiting and trigger is not None:
            self._waiting[key].trigger = trigger
        elif self._waiting.pop(key, None) is not None:
            self._over.add(key)

    def doubted(self, one: WaitingTrigger) -> None:
        """A job that an earlier run handed over may wait there."""
        self._waiting.setdefault(one.key, one)
        self._note_closed()

    def told_full(self) -> None:
        """The API refused a trigger because its queue is full."""
        self._full_until = self._wall() + FULL_FOR
        self._note_closed()

    async def follow(self) -> None:
        """Poll while the queue is full, until cancelled."""
        while True:
            await self._closed.wait()
            await self._poll()
            if self.open:
                self._closed.clear()
                self.on_change()
            elif not self._waiting:
                await asyncio.sleep(max(0.0, self._full_until - self._wall()))

    async def look(self) -> None:
        """Take note of what other replicas know, and follow what waits by one step."""
        await self._save()
        if self._waiting and self._reader.readable:
            await self._poll()
        self.on_change()

    async def finish(self) -> None:
        """Follow every trigger to its end; the caller limits the time."""
        while self._waiting and self._reader.readable:
            await self._poll()

    async def errors_of(self, broadcast: str, trigger: int, words: bytes | None) -> tuple[Problem, ...]:
        """The lines of a trigger's errors endpoint, masked by the payload's `words_of`; none without the right to read.

        Raises ReadingFailedError when the API does not answer.
        """
        path = f"/v1/campaigns/{quote(broadcast, safe='')}/triggers/{trigger}/errors"
        try:
            await self._polls.acquire()
            document = await self._reader.read(path, limit=MOST_LINES)
        except ReadingRefusedError:
            return ()
        lines = [line for line in document.get("errors") or () if isinstance(line, str)]
        if words is None and lines:
            return (
                Problem("broadcast_error", None, "see the errors endpoint of the trigger; its lines may be personal"),
            )
        problems = [Problem("broadcast_error", None, mask_words(line, words or b"")) for line in lines[:MOST_LINES]]
        if document.get("next") not in (None, "", 0, "0"):
            problems.append(Problem("broadcast_error", None, "there are more; see the errors endpoint of the trigger"))
        return tuple(problems)

    async def _poll(self) -> None:
        """One list call for each broadcast that something waits for."""
        for broadcast in {one.broadcast for one in self._waiting.values()}:
            await self._polls.acquire()
            try:
                document = await self._reader.read(f"/v1/broadcasts/{quote(broadcast, safe='')}/triggers")
            except ReadingRefusedError:
                return
            except ReadingFailedError:
                await asyncio.sleep(1 / POLLS)
                continue
            listed = document.get("triggers")
            triggers = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            await self._compare(broadcast, triggers)

    async def _compare(self, broadcast: str, triggers: list[dict[str, Any]]) -> None:
        mine = [one for one in self._waiting.values() if one.broadcast == broadcast]
        numbers = {one.trigger for one in mine}
        done = []
        for one in mine:
            if one.trigger is not None:
                over = any(entry.get("id") == one.trigger and entry.get("processed_at") for entry in triggers)
            else:
                over = self._doubt_is_over(one, [entry for entry in triggers if entry.get("id") not in numbers])
            if over:
                done.append(one)
        for one in done:
            await self._end(one)

    def _doubt_is_over(self, one: WaitingTrigger, others: list[dict[str, Any]]) -> bool:
        """A doubtful trigger waits no more when every one that may be it is processed, and none can appear any more."""
        may_be = [entry for entry in others if (entry.get("created_at") or 0) >= one.at - SKEW]
        return all(entry.get("processed_at") for entry in may_be) and self._wall() > one.at + self._lag

    async def _end(self, one: WaitingTrigger) -> None:
        """It is processed: tell its errors, unless another replica has done so."""
        facts = dict(one.facts)
        words = b64decode(facts.pop("words")) if "words" in facts else None
        try:
            problems = () if one.trigger is None else await self.errors_of(one.broadcast, one.trigger, words)
        except ReadingFailedError:
            return  # it waits on, and the next poll asks again
        self._waiting.pop(one.key, None)
        self._over.add(one.key)
        if one.key in await self._save() and problems:
            meta = facts.pop("meta", None)
            outcome = Outcome(
                facts.pop("id"), "broadcast", "sent", facts.pop("source"), facts.pop("line"), problems=problems,
                result=(("trigger_id", one.trigger),), finished_at=self._wall(),
                meta=None if meta is None else meta.encode(), **facts,
            )
            self._record(FinishedJob(outcome, FinalRecord(one.key, one.content, "sent", outcome.to_line()), later=True))

    async def _save(self) -> set[str]:
        """Merge with the note, which replicas may share; returns the keys that this took out of it."""
        while True:
            raw = await self._ledger.get_note(NOTE)
            known = {one["key"]: WaitingTrigger(**one) for one in orjson.loads(raw or b"[]")}
            over = self._over & known.keys()
            new = {key: one for key, one in self._waiting.items() if key not in self._noted}
            merged = {key: self._waiting.get(key, one) for key, one in known.items() if key not in over} | new
            text = orjson.dumps([asdict(one) for one in merged.values()])
            if text == (raw or b"[]") or await self._ledger.swap_note(NOTE, raw, text):
                break
        self._waiting, self._noted = merged, set(merged)
        self._over -= over
        self._note_closed()
        return over

    def _note_closed(self) -> None:
        if not self.open:
            self._closed.set()
