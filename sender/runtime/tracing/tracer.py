"""A Tracer begins a span for each job; without one asked for, nobody traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobSpan(Protocol):
    """One job, from its taking up to its end."""

    def attempt(self, status: int | str, seconds: float | None = None) -> None:
        """A request ended with this HTTP status, or with the code of its fault."""

    def end(self, status: str, code: str | None = None) -> None:
        """The job ended so (`not_started`: it was given back), with the code of its first problem."""


class Tracer(Protocol):
    """Begins spans."""

    def begin(self, kind: str, lane: str, headers: Mapping[str, str | bytes] | None = None) -> JobSpan:
        """A job is taken up; `headers` are those of its message."""

    async def aclose(self) -> None:
        """Send what is left, but wait for it only a little."""


class NullSpan:
    """Nobody traces."""

    def attempt(self, status: int | str, seconds: float | None = None) -> None:
        """See `JobSpan`."""

    def end(self, status: str, code: str | None = None) -> None:
        """See `JobSpan`."""


NOBODY: Final = NullSpan()


class NullTracer:
    """Nobody traces."""

    def begin(self, kind: str, lane: str, headers: Mapping[str, str | bytes] | None = None) -> JobSpan:  # noqa: ARG002
        """See `Tracer`."""
        return NOBODY

    async def aclose(self) -> None:
        """See `Tracer`."""
