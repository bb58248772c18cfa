"""Progress on stderr: one live line on a terminal, a log line every few seconds elsewhere.

    ━······· 14 %  2,747 of 19,260 · 98/s · 2:48 left · 50 sent before · 4 invalid
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from sender.runtime.recent_rate import RecentRate
from sender.runtime.screen import SCREEN, Screen

if TYPE_CHECKING:
    from collections.abc import Callable

BAR: Final = 8
EVERY: Final = 0.25
LOG_EVERY: Final = 5.0
LEAST_RATE: Final = 0.1
"""Jobs a second under which nobody can tell how long the rest takes."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands, in lines of its inputs."""

    total: int | None = None
    """All lines; None while they are not counted, or cannot be."""
    countable: bool = True
    """False where a stream is among the inputs: nobody knows how long it is."""
    done: int = 0
    """Lines that have an end, whichever; those that earlier runs ended too."""
    sent: int = 0
    """By this run."""
    sent_before: int = 0
    """By earlier runs."""
    invalid: int = 0
    rejected: int = 0
    failed: int = 0
    in_doubt: int = 0
    in_hand: int = 0
    """Requests under way."""
    stopping: bool = False
    """Whether a signal has asked for the end."""

    @property
    def problems(self) -> int:
        """Lines that ended without being sent, and not because they were sent before."""
        return self.invalid + self.rejected + self.failed + self.in_doubt

    @property
    def share(self) -> float | None:
        """Part of the lines that is done, from 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else None

    def seconds_left(self, rate: float) -> float | None:
        """How long the rest takes at so many jobs a second."""
        if self.total is None or self.done >= self.total or rate < LEAST_RATE:
            return None
        return (self.total - self.done) / rate


class Progress:
    """Shows snapshots until it is cancelled."""

    def __init__(self, look: Callable[[], Snapshot], *, stream: TextIO | None = None, shown: bool = True) -> None:
        self._look = look
        self._screen = SCREEN if stream is None else Screen(stream)
        self._shown = shown
        self._rate = RecentRate()

    async def run(self) -> None:
        """Draw or log, by what stderr is."""
        if not self._shown:
            return
        if self._screen.is_terminal:
            await self._draw()
        else:
            await self._log()

    async def _draw(self) -> None:
        try:
            while True:
                await asyncio.sleep(EVERY)
                now, rate = self._measure()
                self._screen.show(progress_line(now, rate, self._screen.width))
        finally:
            self._screen.show("")

    async def _log(self) -> None:
        self._measure()
        while True:
            await asyncio.sleep(LOG_EVERY)
            now, rate = self._measure()
            if now.stopping:
                log.info("stopping", in_hand=now.in_hand)
            else:
                total = {} if now.total is None else {"total": now.total}
                log.info("progress", done=now.done, **total, sent=now.sent, sent_before=now.sent_before,
                         problems=now.problems, per_second=round(rate, 1))

    def _measure(self) -> tuple[Snapshot, float]:
        """Where it stands, and how many jobs a second this run ended of late."""
        now = self._look()
        return now, self._rate.look(asyncio.get_running_loop().time(), now.done - now.sent_before)


def progress_line(now: Snapshot, rate: float, width: int) -> str:
    """The live line; what does not fit into `width` columns is left out: the bar first, then parts from the end."""
    if now.stopping:
        return f"stopping: {now.in_hand:,} in hand; Ctrl-C again ends now"[: max(0, width)]
    parts = _parts(now, rate)
    share = now.share
    percent = "" if share is None else f"{int(share * 100)} %  "
    bar = "" if share is None else f"{'━' * int(share * BAR):·<{BAR}} "
    for head in (f"{bar}{percent}", percent):
        if len(text := head + " · ".join(parts)) <= width:
            return text
    while len(parts) > 1 and len(percent + " · ".join(parts)) > width:
        parts.pop()
    return (percent + " · ".join(parts))[: max(0, width)]


def _parts(now: Snapshot, rate: float) -> list[str]:
    left = now.seconds_left(rate)
    return [
        _count(now),
        f"{rate:.0f}/s",
        *([] if left is None else [f"{clock(left)} left"]),
        *([] if not now.sent_before else [f"{now.sent_before:,} sent before"]),
        *(
            f"{count:,} {name.replace('_', ' ')}"
            for name in ("invalid", "rejected", "failed", "in_doubt") if (count := getattr(now, name))
        ),
    ]


def _count(now: Snapshot) -> str:
    if now.total is not None:
        return f"{now.done:,} of {now.total:,}"
    return f"{now.done:,} of a number not yet counted" if now.countable else f"{now.done:,} of an unknown number"


def clock(seconds: float) -> str:
    """A duration as clocks show it: 2:05, or 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
