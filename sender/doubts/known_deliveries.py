"""KnownDeliveries: deliveries of ours whose acceptance is known, kept to prove later that a list shows what came then.

No personal data: kind, template, delivery id and time. Two of each kind and template are enough: the first that was
accepted after the last doubtful attempt, which is the oldest useful one, and the newest.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

NOTE: Final = "known_deliveries"
MOST: Final = 200
"""Templates that are remembered, the latest used ones."""


class KnownDelivery(NamedTuple):
    """A delivery that was surely accepted."""

    delivery_id: str
    at: float
    """Unix seconds by the API's clock at which its request was begun."""


Key = tuple[str, int | str]
"""Kind, and template as `DoubtfulJob.template` tells it."""


class KnownDeliveries:
    """Remembers them; saved as a note of the ledger."""

    def __init__(self, saved: bytes | None = None) -> None:
        self._kept: dict[Key, tuple[KnownDelivery, KnownDelivery]] = {}
        self._last_doubt = float("-inf")
        self.changed = False
        for kind, template, *pair in _read(saved):
            self._kept[kind, template] = (KnownDelivery(*pair[0]), KnownDelivery(*pair[1]))

    def sent(self, kind: str, template: int | str, delivery_id: str, at: float) -> None:
        """A request begun then was accepted."""
        new = KnownDelivery(delivery_id, at)
        first, newest = self._kept.pop((kind, template), (new, new))
        if first.at <= self._last_doubt < at:
            first = new
        self._kept[kind, template] = (first, max(newest, new, key=lambda known: known.at))
        self.changed = True
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def doubted(self, at: float) -> None:
        """A doubtful attempt ended then."""
        self._last_doubt = max(self._last_doubt, at)

    def after(self, kind: str, template: int | str, instant: float) -> list[KnownDelivery]:
        """Those begun after that instant, the oldest first."""
        pair = self._kept.get((kind, template), ())
        return list(dict.fromkeys(known for known in pair if known.at > instant))

    def save(self) -> bytes:
        """For the ledger's note."""
        self.changed = False
        return orjson.dumps([[*key, *map(tuple, pair)] for key, pair in self._kept.items()])


def _read(saved: bytes | None) -> list[Any]:
    return orjson.loads(saved) if saved else []
