"""Progress on stderr: one live line on a terminal, a log line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from sender.runtime.screen import SCREEN, Screen

if TYPE_CHECKING:
    from collections.abc import Callable

BAR: Final = 24
EVERY: Final = 0.25
LOG_EVERY: Final = 5.0
SMOOTH: Final = 0.2


class Snapshot(NamedTuple):
    """Where the run stands."""

    read: int
    ended: int
    sent: int
    problems: int
    bytes_read: int
    bytes_all: int | None
    waiting: int
    """Lines read and not ended."""


class Progress:
    """Shows snapshots until it is cancelled."""

    def __init__(self, look: Callable[[], Snapshot], *, stream: TextIO | None = None, shown: bool = True) -> None:
        self._look = look
        self._screen = SCREEN if stream is None else Screen(stream)
        self._shown = shown
        self._rate = 0.0
        self._before = 0

    async def run(self) -> None:
        """Draw or log, by what stderr is."""
        if not self._shown:
            return
        if self._screen.is_terminal:
            await self._draw()
        else:
            await self._log()

    async def _draw(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        try:
            while True:
                await asyncio.sleep(EVERY)
                now = loop.time()
                self._measure(self._look(), now - at)
                at = now
                self._screen.show(self.line(self._look(), self._screen.width))
        finally:
            self._screen.show("")

    async def _log(self) -> None:
        import structlog

        log = structlog.get_logger()
        while True:
            await asyncio.sleep(LOG_EVERY)
            now = self._look()
            self._measure(now, LOG_EVERY)
            log.info("progress", read=now.read, sent=now.sent, problems=now.problems, per_second=round(self._rate, 1))

    def _measure(self, now: Snapshot, seconds: float) -> None:
        rate = (now.sent - self._before) / seconds if seconds > 0 else 0.0
        self._rate = rate if not self._rate else self._rate + SMOOTH * (rate - self._rate)
        self._before = now.sent

    def line(self, now: Snapshot, width: int) -> str:
        """The live line; what does not fit the terminal is left out, the bar first."""
        count = f"{now.sent:,} sent  {self._rate:.0f}/s"
        problems = f"  {now.problems:,} not sent" if now.problems else ""
        share, eta = self.share(now), self.eta(now)
        rest = "" if eta is None else f"  {_clock(eta)} left"
        percent = "" if share is None else f"{share:4.0%}  "
        bar = "" if share is None else f"{'━' * round(share * BAR):·<{BAR}} "
        for text in (f"{bar}{percent}{count}{problems}{rest}", f"{percent}{count}{problems}{rest}", count + problems):
            if len(text) <= width:
                return text
        return count[: max(0, width)]

    def share(self, now: Snapshot) -> float | None:
        """Part of the work that is done, as far as the inputs' sizes tell."""
        if not now.bytes_all or not now.read:
            return None
        return min(1.0, now.bytes_read / now.bytes_all) * min(1.0, now.ended / now.read)

    def eta(self, now: Snapshot) -> float | None:
        """Seconds that the rest takes at the present rate."""
        share = self.share(now)
        if not share or self._rate < 0.1:
            return None
        return (now.ended / share - now.ended) / self._rate


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
