"""A lane as its metrics see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sender.engine.breaker import Breaker


def lane(pacer: Any, **more: Any) -> Any:
    facts = {"in_hand": 3, "waiting": 7, "http_429": 2, "breaker": Breaker(100.0), "pacer": pacer}
    return SimpleNamespace(**(facts | more))
