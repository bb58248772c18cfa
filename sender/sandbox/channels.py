"""Transactional messages by number and trigger name, and the channel that each belongs to.

The sandbox has no screen on which messages are set up: the first send that uses one decides its channel.
"""

from __future__ import annotations

from typing import Final

UNTEMPLATED: Final = 1
"""Emails without a template are counted as this message (docs/api.md, "Email")."""
_FIRST_NAMED: Final = 500
"""Trigger names get numbers from here on, in the order of their first use."""


class Channels:
    """The transactional messages that were used; a channel is the name of its send kind."""

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._next = _FIRST_NAMED

    def kind(self, number: int) -> str | None:
        """The channel of a message, None if no send has used it yet."""
        return self._kinds.get(number)

    def name(self, number: int) -> str | None:
        """The trigger name of a message, in lower case, None if it has none."""
        return self._names.get(number)

    def number(self, name: str) -> int | None:
        """The message behind a trigger name, in whatever case; None if the name is new."""
        return self._numbers.get(name.lower())

    def make(self, name: str, kind: str) -> int:
        """A new message of this channel for a new name."""
        while self._next in self._kinds:
            self._next += 1
        self._kinds[self._next] = kind
        self._names[self._next] = name.lower()
        self._numbers[name.lower()] = self._next
        return self._next

    def belongs(self, number: int, kind: str) -> bool:
        """Whether a message is one of this channel; one that was never used is from now on."""
        return self._kinds.setdefault(number, kind) == kind
