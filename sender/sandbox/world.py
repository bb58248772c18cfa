"""The data behind the stand-in: which ids exist, who is missing, what was accepted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from sender.sandbox.channels import Channels
from sender.sandbox.deliveries import Deliveries
from sender.sandbox.fates import Fates, parse_chance
from sender.sandbox.newsletters import Newsletter
from sender.sandbox.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sender.sandbox.deliveries import Delivery
    from sender.sandbox.sandbox_options import Options
    from sender.sandbox.writes import Write

END_OF_IDS: Final = 1000
"""Templates, contents, broadcasts and newsletters 1 to 999 exist."""
SHOWN: Final = (1, 2, 3)
"""Listed even when they were never used."""

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class World:
    """One workspace."""

    def __init__(self, options: Options, random: Random) -> None:
        self.options = options
        self.random = random
        self.deliveries = Deliveries(
            options.visibility_lag, forget=options.forget, show_scheduled=options.show_scheduled
        )
        self.fates = Fates(tuple(map(parse_chance, options.fates)), options.deliver_after)
        self.triggers = Triggers(options.queue, options.processing_time)
        self.newsletters: dict[int, Newsletter] = {}
        self.contents: dict[tuple[int, str], dict[str, Any]] = {}
        """Written contents by (template, content id or `language:xx`)."""
        self.channels = Channels()
        self.writes: dict[str, list[Write]] = {"newsletters": [], "contents": []}
        """Accepted calls that make no delivery, in order."""
        self.suppressed: dict[str, list[str]] = {}
        """Addresses on the suppression lists, by list."""
        self._addresses: frozenset[str] = frozenset()
        self.on_accepted: Callable[[Delivery], None] | None = None
        """Told of every accepted send."""
        self.started_at = int(self.now())

    def now(self) -> float:
        """Wall clock, seconds since the epoch: the API's own time."""
        return time.time()

    def reference(self) -> str:
        """A ULID, as error texts of the API end in one."""
        value = (int(self.now() * 1000) << 80) | self.random.getrandbits(80)
        return "".join(_BASE32[(value >> shift) & 31] for shift in range(125, -1, -5))

    def with_reference(self, text: str) -> str:
        """The text with a reference for the support."""
        return f"{text} (reference {self.reference()})"

    def newsletter(self, newsletter_id: int) -> Newsletter:
        """An existing newsletter as it stands now."""
        found = self.newsletters.get(newsletter_id)
        if found is None:
            found = Newsletter(newsletter_id, self.started_at, self.started_at)
            self.newsletters[newsletter_id] = found
        found.settle(self.now())
        return found

    def has_template(self, number: int) -> bool:
        """Whether there is a transactional message of this number."""
        return exists(number) or self.channels.kind(number) is not None

    def suppress(self, lists: dict[str, list[str]]) -> None:
        """Have these addresses on the suppression lists; what is sent to them is dropped."""
        self.suppressed = lists
        self._addresses = frozenset(address.lower() for listed in lists.values() for address in listed)

    def accept(self, delivery: Delivery) -> None:
        """Take in an accepted send."""
        delivery.suppressed = delivery.recipient.lower() in self._addresses
        self.deliveries.add(delivery)
        if self.on_accepted is not None:
            self.on_accepted(delivery)

    def keep(self, write: Write) -> None:
        """Note an accepted call, unless the sandbox only counts."""
        if not self.options.forget:
            self.writes["contents" if write.kind == "content" else "newsletters"].append(write)


def exists(number: int | None) -> bool:
    """Whether an id of a template, content, broadcast or newsletter is one of this workspace."""
    return number is not None and 1 <= number < END_OF_IDS


def is_missing(person: str) -> bool:
    """Whether nobody has this id or address: those with `missing` in it."""
    return "missing" in person.lower()


def is_shared(address: str) -> bool:
    """Whether more than one person has this address: those with `shared` in it."""
    return "shared" in address.lower()


def path_id(segment: str) -> int | None:
    """The number in a path, None if it is none."""
    return int(segment) if segment.isascii() and segment.isdigit() and len(segment) <= 18 else None
