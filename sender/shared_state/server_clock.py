"""The ServerClock: what the server's clock says in terms of the loop's, and how far that may be wrong.

Each answer carries the server's time, and it was read there between our sending and our receiving: so the difference
of the two clocks lies between two bounds, and many answers narrow them. Pure; all in seconds.
"""

from __future__ import annotations

from math import inf
from typing import Final

DRIFT: Final = 1.1e-3
"""Seconds by which two clocks may part in a second: NTP slews one by up to 500 ppm, and the other the other way."""
STALE: Final = 1.0
"""Seconds."""


class ServerClock:
    """Learns from answers; `to_loop` is good within `error`."""

    def __init__(self) -> None:
        self._least = -inf
        self._most = inf
        self._at = float("-inf")
        self.even_since = inf
        """Loop time since when neither of the two has jumped."""

    @property
    def error(self) -> float:
        """Half of what is not known; infinite before the first answer."""
        return (self._most - self._least) / 2

    def error_at(self, instant: float) -> float:
        """What `error` may have grown to at a loop time to come."""
        return self.error + max(0.0, instant - self._at) * DRIFT

    def is_stale(self, now: float) -> bool:
        """Whether the server was not heard for so long that its clock should be read anew before it is relied on."""
        return now - self._at > STALE

    def learn(self, sent: float, received: float, server: float) -> bool:
        """Take an answer; False when one of the clocks has jumped, and only this answer counts."""
        apart = max(0.0, received - self._at) * DRIFT if self._most < inf else 0.0
        self._at = received
        least = max(self._least - apart, server - received)
        most = min(self._most + apart, server - sent)
        agree = least <= most
        if not agree or self.even_since == inf:
            self.even_since = sent
        self._least, self._most = (least, most) if agree else (server - received, server - sent)
        return agree

    def to_loop(self, server: float) -> float:
        """The loop's time at that instant of the server."""
        return server - (self._least + self._most) / 2
