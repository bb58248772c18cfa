"""A LetterFilter says which letters of a dead letter queue are meant. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sender.errors import UsageError

if TYPE_CHECKING:
    from sender.queues.letters import Letter


class LetterFilter(NamedTuple):
    """Empty sets take everything."""

    statuses: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    """By `name_of`."""
    queue: str | None = None
    """The queue that their messages came from, as it is shown; None takes those of all."""

    def takes(self, letter: Letter, code: str | None = None) -> bool:
        """Whether the letter is meant; `code` is what is known now, where that is more than the letter tells."""
        by_status = not self.statuses or letter.status in self.statuses
        by_code = not self.codes or (code or letter.code) in self.codes
        by_queue = self.queue is None or letter.reason.get("queue") == self.queue
        return by_status and by_code and by_queue and (not self.names or name_of(letter) in self.names)


def name_of(letter: Letter) -> str:
    """What tells a letter from the others, and nothing of what it holds."""
    about = "\0".join(str(letter.reason.get(part)) for part in ("at", "queue", "message", "key"))
    return sha256(about.encode(errors="replace") + b"\0" + letter.data).hexdigest()[:24]


def words(option: str, text: str | None) -> frozenset[str]:
    """The words of a list with commas; UsageError when there is none."""
    found = frozenset(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not found:
        raise UsageError(f"{option} must not be empty")
    return found
