"""What is said of the inputs before the first request: ids that repeat, and objects that have changed."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from sender.inputs.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.inputs.inputs import Inputs
    from sender.ledger import Ledger

log = structlog.get_logger()


async def look_through(inputs: Inputs, stopped: Callable[[], bool]) -> int:
    """Tell of rows whose id repeats; how many rows there are. UsageError when a table breaks on the way."""
    with closing(Survey(inputs.files)) as survey:
        while not stopped() and await asyncio.to_thread(survey.step):
            pass
        if survey.repeated:
            log.warning(
                "ids stand more than once; each is sent once", rows=survey.repeated,
                examples="; ".join(one.told() for one in survey.examples),
            )
        return survey.rows


async def tell_changed(inputs: Inputs, ledger: Ledger) -> None:
    """Tell of objects that have another content than when a run on this ledger read them."""
    for name, version in inputs.versions.items():
        note, now = f"version of {name}", version.encode()
        before = await ledger.get_note(note)
        if before is not None and before != now:
            log.warning("an input has changed since an earlier run read it; its rows are known by their ids",
                        input=name, etag=version, etag_before=before.decode())
        if before != now:
            await ledger.put_note(note, now)
