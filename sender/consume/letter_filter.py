"""A LetterFilter says which letters of a dead letter queue are meant. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sender.errors import UsageError

if TYPE_CHECKING:
    from sender.queues.letters import Letter


class LetterFilter(NamedTuple):
    """Empty sets take everything."""

    statuses: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()

    def takes(self, letter: Letter, code: str | None = None) -> bool:
        """Whether the letter is meant; `code` is what is known now, where that is more than the letter tells."""
        by_status = not self.statuses or letter.status in self.statuses
        return by_status and (not self.codes or (code or letter.code) in self.codes)


def words(option: str, text: str | None) -> frozenset[str]:
    """The words of a list with commas; UsageError when there is none."""
    found = frozenset(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not found:
        raise UsageError(f"{option} must not be empty")
    return found
