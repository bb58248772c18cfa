"""How often a run was begun, and how it ended last: from the manifest beside its outcome log, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.follow.delivery_log import SUFFIX, beside
from sender.report.section import Fact, Table
from sender.report.words import clean, number

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: Final = ".run.json"
MOST_BYTES: Final = 1 << 20


def read_manifest(outcomes: Path) -> dict[str, Any]:
    """The manifest's document; empty where there is none that can be read."""
    path = beside(outcomes)
    path = path.with_name(path.name.removesuffix(SUFFIX) + MANIFEST)
    try:
        with path.open("rb") as file:
            document = orjson.loads(file.read(MOST_BYTES))
    except (OSError, orjson.JSONDecodeError):
        return {}
    known = isinstance(document, dict) and str(document.get("schema", "")).startswith("sender.run/")
    return document if known else {}


def restarts(manifest: dict[str, Any]) -> int | None:
    """How often the command was begun again; None where nobody can tell, as of a state that replicas share."""
    run, ledger = manifest.get("run"), manifest.get("ledger")
    alone = isinstance(ledger, dict) and ledger.get("shared") is False
    return run - 1 if alone and type(run) is int and run >= 1 else None


def history_facts(manifest: dict[str, Any]) -> tuple[Fact, ...]:
    """Restarts, where there were any."""
    again = restarts(manifest)
    return (Fact("restarts", number(again), "second" if again else "quiet"),) if again is not None else ()


def history_table(manifest: dict[str, Any]) -> Table:
    """The last of the runs; without rows where there is no manifest."""
    rows: list[tuple[str, str]] = []
    for name, word in (("began", "last begun"), ("ended", "ended"), ("exit", "exit status"),
                       ("duplicates_risk", "sent twice?")):
        value = manifest.get(name)
        if manifest:
            rows.append((word, "not yet, or it was killed" if value is None else clean(value, 300)))
    return Table("The run", ("", ""), tuple(rows), words=(0, 1))
