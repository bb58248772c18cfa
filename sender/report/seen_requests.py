"""Which requests a log told before: a fate changes without one, and a crash may repeat the last lines."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

RECENT: Final = 5000
"""Lines within which a crash may repeat one."""
MOST_LASTING: Final = 100_000


class SeenRequests:
    """Knows requests by job and instant, in bounded memory."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[bytes, str], None] = OrderedDict()
        self._lasting: set[tuple[bytes, str]] = set()

    def is_new(self, job: bytes, stamp: str, *, lasting: bool) -> bool:
        """Whether no line before told of it; a `lasting` one may be told again much later."""
        request = (job, stamp)
        if request in self._recent or request in self._lasting:
            return False
        if lasting and len(self._lasting) < MOST_LASTING:
            self._lasting.add(request)
        else:
            self._recent[request] = None
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        return True
