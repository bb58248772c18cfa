"""NAME.deliveries.jsonl: what is known of each delivery, append-only; the last line of a delivery holds.

See docs/following.md, "The deliveries file".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from sender.outcomes.outcome_log import OutcomeLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIX: Final = ".deliveries.jsonl"
_ENDINGS: Final = (".outcomes.jsonl", ".jsonl")


class DeliveryLog(OutcomeLog):
    """One of them, appended to by one run at a time; what a crash left of a last line is cut off."""

    NAME: ClassVar = "deliveries file"
    LOSS: ClassVar = "what stands in it holds"


def beside(outcomes: Path) -> Path:
    """Where the deliveries of an outcome log are written."""
    for ending in _ENDINGS:
        if outcomes.name.endswith(ending):
            return outcomes.with_name(outcomes.name.removesuffix(ending) + SUFFIX)
    return outcomes.with_name(outcomes.name + SUFFIX)


def read_deliveries(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line as it stands; a torn last one, or what is no object, is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                document = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(document, dict):
                yield document
