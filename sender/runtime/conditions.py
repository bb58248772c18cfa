"""Conditions: what must be true before a replica is ready, told by what the parts saw; the API is never called."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

import orjson
import structlog

from sender.jobs.masking import mask_credentials

Check = Callable[[], str | None]
"""Why a condition is not met; None when it is."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at all of them."""

log = structlog.get_logger()


class Conditions:
    """What must be true before a replica is ready, each by a name: set by the parts, or read of them when asked."""

    def __init__(self, *names: str) -> None:
        self._unmet: dict[str, str | None] = dict.fromkeys(names, "not yet known")
        self._watched: dict[str, Check] = {}

    def meet(self, name: str) -> None:
        """This condition is met from now on."""
        self._unmet[name] = None

    def miss(self, name: str, reason: str) -> None:
        """This condition is not met, for a reason that holds no secret."""
        self._unmet[name] = mask_credentials(reason)

    def watch(self, name: str, check: Check) -> None:
        """This condition is met while `check` gives no reason why not; it only looks at what is known already."""
        self._watched[name] = check

    def drop(self, name: str) -> None:
        """This condition matters no more."""
        self._unmet.pop(name, None)
        self._watched.pop(name, None)

    @property
    def ready(self) -> bool:
        """Whether all are met."""
        return not any(self.reasons().values())

    def met(self) -> dict[str, bool]:
        """Each by its name."""
        return {name: not reason for name, reason in self.reasons().items()}

    def report(self) -> bytes:
        """As JSON: `ready`, and of each condition whether it is met or why not."""
        reasons = self.reasons()
        shown = {
            name: {"met": False, "reason": reason} if reason else {"met": True} for name, reason in reasons.items()
        }
        return orjson.dumps({"ready": not any(reasons.values()), "conditions": shown}) + b"\n"

    def reasons(self) -> dict[str, str | None]:
        """Why each is not met; None for one that is."""
        return {**self._unmet, **{name: _checked(check) for name, check in self._watched.items()}}


def _checked(check: Check) -> str | None:
    try:
        reason = check()
    except Exception as error:  # noqa: BLE001 - a part that cannot even be looked at is no reason to seem dead
        return f"it cannot be told: {type(error).__name__}"
    return None if reason is None else mask_credentials(reason)


def _without_numbers(reason: str) -> str:
    """A number that changes is no news."""
    return re.sub(r"\d+", "", reason)


async def tell_changes(conditions: Conditions) -> None:
    """Log every condition that is no longer met, why, and when it is met again; until cancelled."""
    before: dict[str, str | None] = {}
    while True:
        now = conditions.reasons()
        for name in {**before, **now}:
            reason, earlier = now.get(name), before.get(name)
            if reason is None and earlier is not None:
                log.info("a condition is met", condition=name)
            elif reason is not None and _without_numbers(reason) != _without_numbers(earlier or ""):
                log.warning("not ready", condition=name, because=reason)
        before = now
        await asyncio.sleep(LOOK_EVERY)
