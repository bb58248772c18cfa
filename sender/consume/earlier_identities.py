"""EarlierIdentities: under which keys a memory may know jobs that an earlier version of sender wrote into it.

Format 1 knew a message by the URL of its queue, as shown to people, and its id; format 2 by
`sender.queues.message_identity`. A memory that holds jobs of format 1 notes from which URLs they came; as long as they
are kept, each message is looked for under both.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.errors import UsageError
from sender.jobs.identity import key_of_content, key_of_id, key_of_message
from sender.queues.address import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sender.consume.in_flight import UnackedMessage
    from sender.jobs.job import Job
    from sender.ledger import JobRecord, Ledger

NOTE: Final = "identities"
FORMAT: Final = 2
FOR_EVER: Final = 100 * 365 * 86400.0
MOST: Final = 32
"""URLs that are remembered."""
_NEW_PARAMETERS: Final = re.compile(r"(?<=[?&])(name|trim|sentinel\w*|cluster|ca|cert|key|creds|nkey)=[^&]*(&|$)")
"""Format 1 did not have these."""

log = structlog.get_logger()


class EarlierIdentities:
    """Of one memory; `sources` are the URLs as format 1 knew them, empty where it never wrote."""

    def __init__(self, sources: Sequence[str] = ()) -> None:
        self._sources = sources

    def of(self, job: Job, message: UnackedMessage) -> list[str]:
        """The keys of format 1 of a job that has no id of its own."""
        identity = message.message.identity
        own = key_of_message(job.workspace, identity) if identity else key_of_content(job.workspace, job.content)
        if not self._sources or job.key != own:
            return []
        return [key_of_id(job.workspace, f"{source}\n{message.message.id}") for source in self._sources]

    def known_as(self, job: Job, message: UnackedMessage, found: Mapping[str, JobRecord]) -> Job:
        """The job under the key under which the memory knows it."""
        if job.key not in found:
            for key in self.of(job, message):
                if key in found:
                    return job._replace(key=key)
        return job


async def find_earlier(ledger: Ledger, urls: Iterable[str], keep: float = FOR_EVER) -> EarlierIdentities:
    """What a memory has of format 1; UsageError when a later version wrote it.

    `keep` is the number of seconds after which it forgets finished jobs.
    """
    sources = [_NEW_PARAMETERS.sub("", shown(url)).rstrip("?&") for url in urls]
    while True:
        before = await ledger.get_note(NOTE)
        note = await _first(ledger, keep) if before is None else orjson.loads(before)
        if note["format"] > FORMAT:
            raise UsageError(
                f"this memory was written by a later version of sender (identities of format {note['format']}, this "
                f"version knows {FORMAT}): use that version"
            )
        if note["until"] and note["until"] < time.time():
            held = (await ledger.count()).get("in_doubt")  # these are never forgotten
            note = {"format": FORMAT, "until": time.time() + keep if held else 0.0, "sources": note["sources"]}
        if not note["until"]:
            note["sources"] = []
        else:
            note["sources"] = list(dict.fromkeys([*note["sources"], *sources]))[:MOST]
        after = orjson.dumps(note)
        if after == before or await ledger.swap_note(NOTE, before, after):
            break
    if note["sources"]:
        log.info(
            "this memory holds messages of an earlier version, which knew them by their queue's URL: they are "
            "recognised under these URLs alone", urls=note["sources"], until=note["until"],
        )
    return EarlierIdentities(note["sources"])


async def _first(ledger: Ledger, keep: float) -> dict[str, Any]:
    """The note of a memory that has none: whatever it holds is of format 1."""
    holds = any((await ledger.count()).values())
    return {"format": FORMAT, "until": time.time() + keep if holds else 0.0, "sources": []}
