"""`--canary N`: a few jobs go first, spread over the input, and the others wait for a word (docs/guard-rails.md)."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from sender.jobs.job import Invalid
from sender.jobs.masking import mask_credentials
from sender.runtime.screen import SCREEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sender.config.settings import Settings
    from sender.inputs import Feed
    from sender.jobs.job import Line
    from sender.outcomes.outcome import Outcome
    from sender.outcomes.summary import Books
    from sender.runtime.stop_signals import StopRequest
    from sender.send.job_check import JobCheck

BATCH: Final = 2000
"""Lines that are looked at in one go, in a thread beside the loop."""
MOST_SHOWN: Final = 10
"""Jobs that are told of one by one."""

OPTIONS: Final = ("--canary", "--canary-wait", "--until", "--for")
"""Those that a run without its canary does without."""

Place = tuple[str, int]
"""Where a job stands: source and line."""

log = structlog.get_logger()


class Sample:
    """The first, the last, and others by chance: each set of them is as likely as any other. Pure."""

    def __init__(self, number: int, seed: int) -> None:
        self._number = number
        self._random = Random(seed)  # noqa: S311 - the same jobs again, whoever asks
        self._first: Place | None = None
        self._last: Place | None = None
        self._between: list[Place] = []
        self._seen = 0

    def see(self, place: Place) -> None:
        """The next one of the input; the last one so far is held apart."""
        if self._first is None:
            self._first = place
            return
        if self._last is not None:
            self._keep(self._last)
        self._last = place

    def _keep(self, place: Place) -> None:
        self._seen += 1
        room = self._number - 2
        if len(self._between) < room:
            self._between.append(place)
        elif room > 0 and (chosen := self._random.randrange(self._seen)) < room:
            self._between[chosen] = place

    @property
    def is_all(self) -> bool:
        """Whether nobody was left out."""
        return self._seen <= len(self._between) and (self._last is None or self._number > 1)

    @property
    def places(self) -> frozenset[Place]:
        """Those that were chosen."""
        ends = [place for place in (self._first, self._last) if place is not None]
        return frozenset([*ends[: self._number], *self._between])


async def choose(
    lines: Iterable[Line], check: JobCheck, settings: Settings, stopped: Callable[[], bool]
) -> Sample:
    """The canary's jobs, of all that can be sent; the same ones whenever it is asked."""
    sample = Sample(settings.canary, settings.canary_seed)
    remaining = iter(lines)
    while not stopped() and await asyncio.to_thread(_look, remaining, check, sample):
        pass
    return sample


def _look(lines: Iterator[Line], check: JobCheck, sample: Sample) -> bool:
    """Look at the next lines; whether there were any."""
    batch = list(islice(lines, BATCH))
    now = time.time()
    for line in batch:
        found, skip = check.check(line, now)
        if not isinstance(found, Invalid) and skip is None:
            sample.see((line.source, line.number))
    return bool(batch)


class PartFeed(NamedTuple):
    """A feed of the canary's lines alone, or of all others."""

    feed: Feed
    places: frozenset[Place]
    inside: bool

    async def read(self, most: int, most_bytes: int) -> Sequence[Line]:
        """See `Feed.read`."""
        while lines := await self.feed.read(most, most_bytes):
            if kept := [line for line in lines if ((line.source, line.number) in self.places) is self.inside]:
                return kept
        return []


def tell(books: Books, unsent: Sequence[Outcome]) -> None:
    """Write to stderr what became of the canary: how many were sent, and the first of those that were not."""
    before = f", {books.sent_before:,} of them before" if books.sent_before else ""
    sent = books.statuses["sent"] + books.sent_before
    lines = [f"canary: {sent:,} of {books.read:,} sent{before}"]
    for outcome in unsent[:MOST_SHOWN]:
        why = f" [{outcome.problems[0].code}] {outcome.problems[0].message}" if outcome.problems else ""
        lines.append(f"canary: {outcome.source}:{outcome.line}: {outcome.status}{why}")
    SCREEN.write("".join(f"{line}\n" for line in lines))


async def may_go_on(books: Books, wait: float, stop: StopRequest) -> bool:
    """Whether the others may be sent: by a yes on the terminal, or after `wait` seconds if the canary was all sent."""
    if wait:
        if books.all_sent:
            log.info("canary: the others follow", seconds=wait)
            await stop.unless_asked(asyncio.sleep(wait))
        return books.all_sent and not stop.asked
    if not _is_terminal():
        return False
    SCREEN.write("Send the others too? [y/N]\n")
    answer = await stop.unless_asked(_line_of_terminal())
    return (answer or "").strip().lower() in ("y", "yes")


def command_that_goes_on(arguments: Sequence[str]) -> str:
    """The command line of this run without its canary."""
    kept: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument in OPTIONS:
            next(waiting, None)
        elif argument.partition("=")[0] not in OPTIONS:
            kept.append(argument)
    if len(kept) == len(arguments):  # it was asked for by the environment, or in the settings file
        kept += ["--canary", "0"]
    return mask_credentials(shlex.join(["sender", *kept]))


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and SCREEN.is_terminal


async def _line_of_terminal() -> str:
    """What is typed, without a thread that nothing could end."""
    loop, handle = asyncio.get_running_loop(), sys.stdin.fileno()
    readable = asyncio.Event()
    loop.add_reader(handle, readable.set)
    try:
        await readable.wait()
        return os.read(handle, 100).decode(errors="replace")
    finally:
        loop.remove_reader(handle)
