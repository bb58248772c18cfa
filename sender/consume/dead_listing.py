"""What lies in a dead letter queue, told letter by letter; nothing is taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.jobs.masking import mask
from sender.queues.queue_url import open_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.consume.letter_filter import LetterFilter
    from sender.queues.letters import Letter


async def look_through(url: str, wanted: LetterFilter, tell: Callable[[Letter], None]) -> int:
    """Tell each letter that is meant, the oldest first; returns how many there were."""
    letters = open_letters(url)
    told = 0
    try:
        await letters.open()
        while page := await letters.read():
            for letter in filter(wanted.takes, page):
                tell(letter)
                told += 1
            await letters.leave(page)
    finally:
        await letters.aclose()
    return told


def facts(letter: Letter) -> dict[str, Any]:
    """What may be shown of a letter: not its payload, and of the reason nothing that stands in the payload."""
    known = {name: letter.reason.get(name) for name in ("id", "kind", "at", "queue", "message", "field")}
    error = letter.reason.get("error")
    return {
        **{name: value if isinstance(value, str) else None for name, value in known.items()},
        "status": letter.status, "code": letter.code, "bytes": len(letter.data),
        "error": mask(error, letter.data) if isinstance(error, str) else None,
    }
