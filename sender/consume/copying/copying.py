"""One run of `sender copy`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from sender.consume.copying.file_ends import STDOUT, FileSource, FileTarget, StdoutTarget
from sender.consume.copying.queue_ends import QueueTarget, queue_source
from sender.errors import UsageError
from sender.queues.address import parse_target, shown
from sender.queues.message_identity import are_one
from sender.queues.queue_url import is_queue

if TYPE_CHECKING:
    from sender.consume.copying.copies import CopySource, CopyTarget

TELL_EVERY: Final = 5.0
"""Seconds between two log lines."""

log = structlog.get_logger()


@dataclass(slots=True)
class CopyResult:
    """How many went which way in this run."""

    copied: int = 0
    known: int = 0
    """In the target already, since an earlier run was killed before it could say so."""
    left: int = 0
    """In the source: what makes no job line, or too large a one, or is in the hands of other readers."""

    def __str__(self) -> str:
        parts = [f"{self.copied:,} copied"]
        parts += [f"{self.known:,} there already"] if self.known else []
        parts += [f"{self.left:,} left"] if self.left else []
        return ", ".join(parts)


async def copy(source_name: str, target_name: str, mapping: str = "") -> CopyResult:
    """Copy all that is there; QueueError when a broker refuses, and what was copied stays so: the same call goes on.

    `mapping` is the path of the file that says how a row of a table becomes a job. UsageError when a name is wrong.
    """
    source, target = _ends(source_name, target_name, mapping)
    try:
        await target.open()
        await source.open()
        return await _copy(source, target)
    finally:
        await source.aclose()
        await target.aclose()


def _ends(source: str, target: str, mapping: str) -> tuple[CopySource, CopyTarget]:
    both = is_queue(source) and is_queue(target)
    if (both and are_one(parse_target(source), parse_target(target))) or source == target:
        raise UsageError(f"{shown(source) if is_queue(source) else source} cannot be copied to itself")
    to = shown(target) if is_queue(target) else target
    if mapping and is_queue(source):
        raise UsageError("--map is for a table; a queue holds jobs")
    found = queue_source(source) if is_queue(source) else FileSource(source, to, mapping)
    if is_queue(target):
        return found, QueueTarget(target)
    return found, StdoutTarget() if target == STDOUT else FileTarget(target)


async def _copy(source: CopySource, target: CopyTarget) -> CopyResult:
    result = CopyResult()
    told_at = time.monotonic()
    while copies := await source.read():
        known = await target.put(copies)
        await source.done(copies)
        result.known += known
        result.copied += len(copies) - known
        if time.monotonic() - told_at >= TELL_EVERY:
            told_at = time.monotonic()
            log.info("copying", copied=result.copied)
    result.left = source.left
    return result
