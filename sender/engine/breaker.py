"""The Breaker of a lane: stops starting jobs when the API is down, and goes on by itself.

See docs/delivery-semantics.md, "Outages".

    closed --FAILURES bad answers in a row, or a stall--> open --harmless probe answers--> trying one job
      ^                                                    ^                                    |
      |                                                    +---- it fails: the wait doubles ----+
      +----------------------------- it is answered --------------------------------------------+

While it is open harmless probes go on, at least every 5 s: they tell an API that is away from one that is there and
refuses this job. Once one is answered after the wait, a job is tried.

Also the stall brake: a lane whose answers stop coming has more requests in hand than its latency explains, long
before the first of them times out. Pure: the caller passes loop times, in seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

BreakerState = Literal["closed", "open", "trying"]

FAILURES: Final = 5
FIRST_WAIT: Final = 1.0
PROBE_EVERY: Final = 4.5
"""Longest time between harmless probes; with the watchdog's step and the wait for a permit they come every 5 s."""
MOST_WAIT: Final = 60.0
SPARE: Final = 8
"""Requests in hand that need no explanation."""
UNKNOWN_LATENCY: Final = 0.3
STALL: Final = 1.0
"""Seconds without any answer, above three times the usual latency, after which a full lane is stalled."""
REMEMBERED: Final = 200
RECENT: Final = 20
"""Answers after which a changed latency is believed."""


class Breaker:
    """Judges a lane by its answers."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        """Requests a second that the lane may make; to be followed when it changes."""
        self.state: BreakerState = "closed"
        self.probe_at = 0.0
        """Loop time of the next probe while open."""
        self.try_at = 0.0
        """Loop time from which the next answered probe lets a job be tried."""
        self.answered = False
        """Whether the last probe since it opened was answered."""
        self._probe_wait = FIRST_WAIT
        self._try_wait = FIRST_WAIT
        self._bad_in_a_row = 0
        self._latencies: deque[float] = deque(maxlen=REMEMBERED)
        self._sum = 0.0
        self._recent_sum = 0.0
        self._slowest = UNKNOWN_LATENCY
        self._usual = UNKNOWN_LATENCY
        self._last_answer = float("-inf")
        self.opened = 0
        """How often it opened."""
        self.recoveries = 0
        """How often it closed again."""
        self.open_since: float | None = None
        """Loop time since when the lane is not closed, trials included."""

    @property
    def away(self) -> bool:
        """Whether the API gives no sign at all: what fails then says nothing of a job."""
        return self.state != "closed" and not self.answered

    def good(self, now: float, latency: float) -> None:
        """An answer came that shows the API at work, after `latency` seconds."""
        self._remember(latency)
        self._last_answer = now
        self._bad_in_a_row = 0
        if self.state == "trying":
            self._close()
        elif self.state == "open":
            self.probe_at = self.try_at = now

    def bad(self, now: float, started: float) -> None:
        """An ambiguous or failed attempt, begun then; what was begun before the breaker opened tells nothing new."""
        if not self._is_news(started):
            return
        self._bad_in_a_row += 1
        if self.state == "trying":
            self._try_wait = min(MOST_WAIT, self._try_wait * 2)
            self._open(now, self._try_wait)
        elif self.state == "closed" and self._bad_in_a_row >= FAILURES:
            self._open(now, self._try_wait)

    def is_refusal(self, started: float) -> bool:
        """Whether a failed attempt, begun then, is what an API that is there says to the job: it was a trial."""
        return self.state != "closed" and self.answered and self._is_news(started)

    def probed(self, began: float, *, answered: bool) -> None:
        """A harmless probe, begun then, ended: either one job may be tried, or the wait goes on."""
        self.answered = answered
        if not answered:
            self.try_at = began  # it was away: its next answer is news
            self._probe_wait = min(PROBE_EVERY, self._probe_wait * 1.5)
            self.probe_at = began + self._probe_wait
        elif began < self.try_at:
            self.probe_at = min(began + PROBE_EVERY, self.try_at)
        else:
            self.state = "trying"
            self._probe_wait = FIRST_WAIT

    def stood_still(self, now: float) -> None:
        """The process did not run for a while: the silence before tells nothing."""
        self._last_answer = now

    def most_in_hand(self) -> int:
        """Requests that may be in hand at once: twice what the latency explains, and a few."""
        return SPARE + round(2 * self.rate * self._usual)

    def stalled(self, now: float, in_hand: int, oldest_start: float) -> bool:
        """Whether answers have stopped coming; trips the breaker if so."""
        silence = now - max(self._last_answer, oldest_start)
        if self.state != "closed" or in_hand < self.most_in_hand() or silence < STALL + 3 * self._slowest:
            return False
        self._open(now, 0.0)
        return True

    def _remember(self, latency: float) -> None:
        full = len(self._latencies) == REMEMBERED
        leaving = self._latencies[0] if full else 0.0
        if len(self._latencies) >= RECENT:
            self._recent_sum -= self._latencies[-RECENT]
        self._latencies.append(latency)
        self._sum += latency - leaving
        self._recent_sum += latency
        if latency >= self._slowest or leaving >= self._slowest or len(self._latencies) == REMEMBERED // 4:
            self._slowest = max(self._latencies)
        if len(self._latencies) >= RECENT:
            self._usual = max(self._recent_sum / RECENT, self._sum / len(self._latencies))

    def _is_news(self, started: float) -> bool:
        return self.open_since is None or started > self.open_since

    def _open(self, now: float, wait: float) -> None:
        if self.state == "closed":
            self.opened += 1
            self.open_since = now
            self.answered = False
        self.state = "open"
        self.try_at = now + wait
        self.probe_at = now + min(wait, PROBE_EVERY)

    def _close(self) -> None:
        self.recoveries += 1
        self.state = "closed"
        self.open_since = None
        self._probe_wait = self._try_wait = FIRST_WAIT
        self._bad_in_a_row = 0
