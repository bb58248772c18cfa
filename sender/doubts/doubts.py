"""What a run does about jobs in doubt: remembers what will settle them, and settles them at its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.doubts.doubtful_job import Claimant
from sender.doubts.known_deliveries import NOTE, Witnesses
from sender.doubts.reconciler import Reconciler
from sender.doubts.resolver import Settlement, Settler
from sender.engine.trigger_follower import Waiting
from sender.jobs.problem import Problem
from sender.ledger import Entry

if TYPE_CHECKING:
    from sender.config.settings import Settings
    from sender.engine.job_execution import Delivery
    from sender.engine.workspace import Workspace
    from sender.jobs.kinds import Kind
    from sender.ledger import Ledger
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.recorder import Recorder

ALIVE: Final = "alive"
SIGN_OF_LIFE: Final = 1.0
"""Seconds between signs of life in the ledger, which tell a later run when this one died."""
DYING: Final = 10.0

log = structlog.get_logger()


class Doubts:
    """The run's part in what nobody knows; `note_end` is told of every end."""

    def __init__(self, workspace: Workspace, ledger: Ledger, recorder: Recorder, settings: Settings) -> None:
        self._workspace = workspace
        self._ledger = ledger
        self._recorder = recorder
        self._settings = settings
        self._witnesses = Witnesses()
        self._kept: dict[str, Delivery] = {}
        self._room = settings.memory
        self.settlement = Settlement()
        """What the last `settle` came to."""

    async def open(self) -> set[str]:
        """Take up what earlier runs left; returns the keys of jobs that they left handed over, in doubt from now on."""
        self._witnesses = Witnesses(await self._ledger.get_note(NOTE))
        return await self.carry()

    async def carry(self) -> set[str]:
        """Put in doubt what a run or replica that died left handed over; returns the keys."""
        alive = float(await self._ledger.get_note(ALIVE) or 0) + SIGN_OF_LIFE + DYING
        carried = await carry(self._ledger, alive)
        if carried:
            await self._recorder.replay()
        if self._workspace.triggers is not None:
            for waiting in carried.values():
                if waiting is not None:
                    self._workspace.triggers.doubted(waiting)
        return set(carried)

    @property
    def kept(self) -> list[str]:
        """Keys of the jobs that go again once they are surely absent."""
        return list(self._kept)

    def keeps(self, key: str) -> bool:
        """Whether the job is one of them."""
        return key in self._kept

    def keep(self, delivery: Delivery) -> None:
        """Keep it while there is room; what does not fit waits for the next run."""
        if len(delivery.job.body) <= self._room and delivery.job.key not in self._kept:
            self._room -= len(delivery.job.body)
            self._kept[delivery.job.key] = delivery

    def take(self, key: str) -> Delivery | None:
        """Keep it no longer."""
        delivery = self._kept.pop(key, None)
        if delivery is not None:
            self._room += len(delivery.job.body)
        return delivery

    async def note_end(self, delivery: Delivery, outcome: Outcome, resendable: bool) -> None:
        """Remember what a later settlement needs: proof of what was accepted, and the job that may go again."""
        kind = delivery.job.kind
        if outcome.status == "in_doubt":
            self._witnesses.doubted(outcome.finished_at or time.time())
            if resendable and self._goes_again(kind, delivery):
                self.keep(delivery)
        elif outcome.status == "sent" and kind.lane == "send" and delivery.tried_at is not None:
            delivery_id = str(dict(outcome.result).get("delivery_id", ""))
            self._witnesses.sent(kind.name, delivery.template, delivery_id, delivery.tried_at)
        if kind.lane == "trigger" and self._workspace.triggers is not None:
            await self._workspace.triggers.ended(delivery, outcome)

    async def keep_notes(self) -> None:
        """Save what is remembered every few seconds, until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(SIGN_OF_LIFE)

    async def save(self) -> None:
        """Save what is remembered, with a sign of life."""
        await self._ledger.put_note(ALIVE, repr(time.time()).encode())
        if self._witnesses.changed:
            await self._ledger.put_note(NOTE, self._witnesses.save())

    async def settle(self) -> list[Delivery]:
        """Wait until the API's lists can be trusted, read them, settle; returns the jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        self._workspace.reader.alone = True
        await self.save()
        following = asyncio.create_task(self._follow_broadcasts())
        try:
            self.settlement = await self._settle_all() if self._settings.reconcile else Settlement()
            await following
        finally:
            following.cancel()
        return self._absent()

    async def settle_ripe(self) -> list[Delivery]:
        """The same without a wait, beside the work: whatever is too young stays open; returns jobs to be sent again."""
        triggers = self._workspace.triggers
        if triggers is None or not self._workspace.reader.readable:
            return []
        await triggers.look()
        settler = self._settler()
        if await settler.claimants():
            self.settlement = await settler.settle(self._kept)
            return self._absent()
        return []

    def _absent(self) -> list[Delivery]:
        deliveries = [self.take(key) for key in self.settlement.absent]
        return [delivery for delivery in deliveries if delivery is not None]

    async def _settle_all(self) -> Settlement:
        settler = self._settler()
        claimants = await settler.claimants()
        if not claimants:
            return Settlement()
        wait = max(one.until for one in claimants) + self._settings.reconcile_lag - time.time()
        log.info("settling jobs in doubt", in_doubt=len(claimants), wait_s=round(max(0.0, wait)), skip="Ctrl-C")
        await asyncio.sleep(max(0.0, wait))
        settlement = await settler.settle(self._kept)
        log.info("settled", **settlement.counts(), to_send_again=len(settlement.absent),
                 still_in_doubt=len(settlement.still_open))  # fmt: skip
        for why, number in settlement.reasons().items():
            log.info("still in doubt", jobs=number, because=why)
        if not self._workspace.reader.readable:
            log.warning("the key may not read: nothing is polled or reconciled")
        return settlement

    async def _follow_broadcasts(self) -> None:
        triggers = self._workspace.triggers
        if triggers is None or not triggers.waiting:
            return
        log.info("following broadcasts", waiting=triggers.waiting, at_most_s=self._settings.broadcast_wait)
        try:
            async with asyncio.timeout(self._settings.broadcast_wait):
                await triggers.finish()
        except TimeoutError:
            log.warning("broadcasts are not processed yet; sender reconcile follows them", waiting=triggers.waiting)

    def _settler(self) -> Settler:
        if self._workspace.triggers is None:
            raise ValueError("the lanes are not open")
        reconciler = Reconciler(
            self._workspace.reader, self._ledger, self._witnesses, lag=self._settings.reconcile_lag, wall=time.time
        )
        return Settler(reconciler, self._ledger, self._recorder.put, self._workspace.triggers, time.time)

    def _goes_again(self, kind: Kind, delivery: Delivery) -> bool:
        """Whether the job is sent again once it is surely absent; a newsletter always may, as it goes out once only."""
        if not self._settings.reconcile or delivery.attempts >= self._settings.max_attempts:
            return False
        absent = self._settings.in_doubt == "resend-if-absent" and kind.lane == "send"
        return absent or kind.name == "newsletter_send"


async def carry(ledger: Ledger, alive: float) -> dict[str, Waiting | None]:
    """Put in doubt what earlier runs left handed over; returns their keys, with the trigger that may wait at the API.

    `alive` is the unix time until which the last of them may have lived, as far as it told.
    """
    carried: dict[str, Waiting | None] = {}
    entries: list[Entry] = []
    now = time.time()
    async for doubt in ledger.doubts(earlier_runs_handed_over=True):
        detail: dict[str, Any] = orjson.loads(doubt.detail)
        since = detail.get("since") or 0.0
        detail |= {"until": now, "likely_until": min(now, max(alive, since + DYING))}
        detail["attempts"] = detail.get("attempts", 0) + 1
        one = Claimant.of(doubt._replace(detail=orjson.dumps(detail)), now)
        problem = Problem("unanswered", None, "an earlier run handed the job over and left no answer")
        line = one.outcome("in_doubt", problem).to_line()
        entries.append(Entry(doubt.key, doubt.content, "in_doubt", line, detail=orjson.dumps(detail)))
        facts = {name: detail.get(name) for name in ("id", "source", "line", "attempts", "started_at")}
        waits = one.kind == "broadcast"
        carried[doubt.key] = Waiting(one.key, one.content, one.resource_id, None, since, facts) if waits else None
    if entries:
        await ledger.settle(entries)
    return carried
