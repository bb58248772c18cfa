"""The TriggerFollower asks the API which triggers still wait to be processed: at most five may.

See docs/delivery-semantics.md, "Broadcasts"; docs/api.md, "Following triggers".

    accepted or doubtful --(processed)--> errors read --> later outcome line, if there are errors

Nothing is asked while fewer than five wait; the rest is followed at the run's end. A trigger whose end cannot be seen
keeps others back for `LONGEST` seconds only: the API itself refuses one too many, and such a refusal is retried.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import structlog
from aiolimiter import AsyncLimiter

from sender.engine.api_reader import ReadingFailedError, ReadingRefusedError
from sender.engine.trigger_errors import MOST_LINES, late_outcome, problems_in
from sender.engine.waiting_triggers import WaitingTrigger, WaitingTriggers
from sender.jobs.masking import words_of
from sender.ledger.ledger import FinalRecord
from sender.outcomes.recorder import FinishedJob
from sender.runtime.long_step import run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.engine.api_reader import ApiReader
    from sender.engine.job_execution import JobExecution
    from sender.engine.lane_context import RecordFn
    from sender.jobs.problem import Problem
    from sender.ledger.ledger import Ledger
    from sender.outcomes.outcome import Outcome

POLLS: Final = 1.0
"""Requests a second at most."""
FULL_FOR: Final = 10.0
"""Seconds that a queue which the API called full is taken to be so, if nothing of ours is seen to wait."""
SKEW: Final = 10.0
LONGEST: Final = 600.0
"""Seconds after which a waiting trigger keeps no other back."""
FORGOTTEN: Final = 86400.0
"""Seconds after which a trigger is not followed any more."""
TELL_EVERY: Final = 60.0
"""Seconds between two log lines about a lane that waits."""

log = structlog.get_logger()


class TriggerFollower:
    """Knows which triggers wait; the lane asks `open` before it starts another."""

    def __init__(
        self, reader: ApiReader, ledger: Ledger, record: RecordFn, *, limit: int, lag: float, saved: bytes | None = None
    ) -> None:
        self._reader = reader
        self._clock = reader.clock
        self._record = record
        self._limit = limit
        self._lag = lag
        self._loop = asyncio.get_running_loop()
        self._full_until = 0.0
        self._polls = AsyncLimiter(1, 1 / POLLS)
        self._closed = asyncio.Event()
        self._waiting = WaitingTriggers(ledger, saved)
        self._unseen = "they are not processed"
        """Why the last trigger that was asked for is not known to be processed."""
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever the lane should ask again."""
        for one in self._waiting:
            one.at = min(one.at, self._clock.now())  # a note of a time to come would never grow old
        self._note_closed()

    @property
    def open(self) -> bool:
        """Whether another trigger may be started, if none is under way."""
        return self.has_room(0)

    def has_room(self, under_way: int) -> bool:
        """Whether one more may be started beside these; without the right to read nobody can tell, and it may."""
        if not self._reader.readable:
            return True
        keep_back = sum(not one.processed and self._age(one) < LONGEST for one in self._waiting)
        return keep_back + under_way < self._limit and self._loop.time() >= self._full_until

    @property
    def waiting(self) -> int:
        """Triggers that are not known to be processed, doubtful ones included."""
        return len(self._waiting)

    async def ended(self, execution: JobExecution, outcome: Outcome) -> None:
        """A job of the lane ended; what may wait at the API is noted durably."""
        if outcome.status not in ("sent", "in_doubt") or outcome.kind != "broadcast":
            return
        job, trigger = execution.job, dict(outcome.result).get("trigger_id")
        at = self._clock.now()
        if outcome.finished_at is not None and execution.tried_at is not None:
            at -= max(0.0, outcome.finished_at - execution.tried_at)
        facts = {"id": job.id, "source": job.source, "line": job.line, "attempts": execution.attempts,
                 "started_at": execution.started_at, "written_at": execution.written_at}
        words = await run_step(len(job.body), words_of, job.body)
        if words is not None:
            facts["words"] = b64encode(words).decode()
        if job.meta is not None:
            facts["meta"] = job.meta.decode()
        self._waiting.put(WaitingTrigger(job.key, job.content, job.path_ids[0], trigger, at, facts))
        await self._save()

    def resolved(self, key: str, trigger: int | None) -> None:
        """A doubt was resolved: it is this trigger, or none."""
        if trigger is None:
            self._waiting.remove(key)
        else:
            self._waiting.bind(key, trigger)

    def doubted(self, one: WaitingTrigger) -> None:
        """A job that an earlier run handed over may wait there."""
        self._waiting.add(one)
        self._note_closed()

    def told_full(self) -> None:
        """The API refused a trigger because its queue is full."""
        self._full_until = self._loop.time() + FULL_FOR
        self._note_closed()

    async def follow(self) -> None:
        """Poll while the queue is full, until cancelled."""
        while True:
            await self._closed.wait()
            begun = told = self._loop.time()
            while not self.open:
                await self._wait_a_while()
                if self._loop.time() >= told + TELL_EVERY:
                    told = self._loop.time()
                    log.warning("broadcasts wait for the API's queue", triggers=len(self._waiting),
                                waited_s=round(told - begun), because=self._unseen)
            self._closed.clear()
            self.on_change()

    async def look(self) -> None:
        """Take note of what other replicas know, and follow what waits by one step."""
        await self._save()
        await self._poll_all()
        self.on_change()

    async def finish(self) -> None:
        """Follow every trigger to its end; the caller limits the time."""
        while self._waiting and self._reader.readable:
            await self._poll_all()

    async def errors_of(self, broadcast: str, trigger: int, words: bytes | None) -> tuple[Problem, ...]:
        """The lines of a trigger's errors endpoint, masked by the payload's `words_of`; none without the right to read.

        Raises ReadingFailedError when the API does not answer.
        """
        try:
            await self._polls.acquire()
            document = await self._reader.read(f"{_path(broadcast, trigger)}/errors", limit=MOST_LINES)
        except ReadingRefusedError:
            return ()
        return problems_in(document, words)

    async def _wait_a_while(self) -> None:
        """Ask for one trigger after the other until there is room; the time alone makes room where none waits."""
        if not self._waiting:
            await asyncio.sleep(max(0.0, self._full_until - self._loop.time()))
        for one in list(self._waiting):
            if not self.open:
                await self._poll(one)

    async def _poll_all(self) -> None:
        for one in list(self._waiting):
            if self._reader.readable:
                await self._poll(one)

    async def _poll(self, one: WaitingTrigger) -> None:
        """Ask whether it is processed, and end it if so."""
        if one.key not in self._waiting:
            return  # another replica has ended it meanwhile
        try:
            one.processed = one.processed or await self._is_over(one)
            if one.processed:
                await self._end(one)
        except ReadingRefusedError:
            return
        except ReadingFailedError as error:
            self._unseen = f"the API could not be read: {error}"
            await asyncio.sleep(1 / POLLS)
        if one.key in self._waiting and self._age(one) > FORGOTTEN:
            await self._forget(one)

    async def _is_over(self, one: WaitingTrigger) -> bool:
        """Whether it waits no more, as far as the API tells; at most one request."""
        await self._polls.acquire()
        if one.trigger is None:
            return await self._doubt_is_over(one)
        try:
            shown = await self._reader.read(_path(one.broadcast, one.trigger))
        except ReadingFailedError as error:
            if error.status != 404 or self._age(one) <= self._lag:  # it may not be visible yet
                raise
            log.warning("the API does not know a trigger that it accepted; it is not followed any more",
                        broadcast=one.broadcast, trigger=one.trigger)
            return True
        if not shown.get("processed_at"):
            self._unseen = "the API shows no processed_at"
        return bool(shown.get("processed_at"))

    async def _doubt_is_over(self, one: WaitingTrigger) -> bool:
        """A doubtful trigger waits no more when every one that may be it is processed, and none can appear any more."""
        document = await self._reader.read(f"/v1/broadcasts/{quote(one.broadcast, safe='')}/triggers")
        listed = document.get("triggers")
        ours = {other.trigger for other in self._waiting if other.broadcast == one.broadcast}
        may_be = [
            entry for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, dict) and entry.get("id") not in ours and _maybe_since(entry, one.at - SKEW)
        ]
        self._unseen = "it is not known whether a doubtful trigger waits"
        return all(entry.get("processed_at") for entry in may_be) and self._age(one) > self._lag

    async def _end(self, one: WaitingTrigger) -> None:
        """It is processed: tell its errors, unless another replica has done so; raises ReadingFailedError."""
        problems: tuple[Problem, ...] = ()
        if one.trigger is not None:
            words = b64decode(one.facts["words"]) if "words" in one.facts else None
            try:
                problems = await self.errors_of(one.broadcast, one.trigger, words)
            except ReadingFailedError as error:
                if error.status != 404:
                    raise
        self._waiting.remove(one.key)
        if one.key in await self._save() and problems:
            outcome = late_outcome(one, problems, self._clock.wall())
            self._record(FinishedJob(outcome, FinalRecord(one.key, one.content, "sent", outcome.to_line()), later=True))

    async def _forget(self, one: WaitingTrigger) -> None:
        log.warning("a trigger was never seen to be processed; it is not followed any more",
                    broadcast=one.broadcast, trigger=one.trigger, because=self._unseen)
        self._waiting.remove(one.key)
        await self._save()

    async def _save(self) -> set[str]:
        """Merge with the note; returns the keys that this took out of it."""
        over = await self._waiting.save()
        self._note_closed()
        return over

    def _age(self, one: WaitingTrigger) -> float:
        return self._clock.now() - one.at

    def _note_closed(self) -> None:
        if not self.open:
            self._closed.set()


def _path(broadcast: str, trigger: int) -> str:
    return f"/v1/campaigns/{quote(broadcast, safe='')}/triggers/{trigger}"


def _maybe_since(entry: dict[str, Any], instant: float) -> bool:
    """Whether a listed trigger may have been created after that; one that tells no readable time may."""
    created = entry.get("created_at")
    return isinstance(created, bool) or not isinstance(created, int | float) or created >= instant
