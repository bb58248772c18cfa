"""The seam of a lane's pace: the run's own `Pacer`, or one that replicas share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable


class Turn(Protocol):
    """The right to write one request, to be used at once."""

    def written(self) -> None:
        """The request's write has returned just now."""

    def give_back(self) -> None:
        """Nothing was written; does nothing after `written`."""


class Pacing(Protocol):
    """Keeps a lane under its rate in any sliding window; all instants are loop times in seconds."""

    requests: int
    most_in_window: int
    first_written: float | None
    last_written: float | None

    @property
    def rate(self) -> float:
        """Requests per second that the limit allows."""

    @property
    def window(self) -> float:
        """The window's length in seconds."""

    @property
    def paused_until(self) -> float:
        """Until when the lane is paused; in the past when it is not."""

    def set_rate(self, rate: float) -> None:
        """Change the limit from now on."""

    def rest(self) -> None:
        """There is nothing to start."""

    def pause_until(self, instant: float) -> None:
        """Let nothing start before this instant; a later pause wins."""

    def next_at(self, now: float) -> float:
        """Earliest instant of the next turn, as far as is known now."""

    def turn(self) -> Awaitable[Turn]:
        """Wait for the next request's instant and take it; a cancelled wait has taken nothing."""
