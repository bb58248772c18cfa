"""`sender verify NAME.run.json`: whether inputs, outcome log and ledger are those that the manifest tells of."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from sender.errors import UsageError
from sender.jobs.identity import key_of_id
from sender.jobs.status import STATUSES
from sender.ledger.ledger_view import LedgerView
from sender.outcomes.outcome_log import read_outcomes
from sender.send.manifest import SCHEMA, hashed

if TYPE_CHECKING:
    from collections.abc import Iterator

REMEMBERED: Final = ("sent", "rejected", "failed", "in_doubt")
"""What the ledger knows of."""
BATCH: Final = 2000
MOST_NAMED: Final = 5


def read_manifest(path: Path) -> dict[str, Any]:
    """UsageError when it is none."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(f"{path} is no manifest of a run, or one of another version of sender")
    return document


def verify(manifest: dict[str, Any], folder: Path) -> Iterator[str]:
    """Everything that does not agree, in one sentence each; names are taken from `folder` where they are relative."""
    if manifest["ended"] is None:
        yield "the run has not come to its end: it is at work, or was killed; the same command goes on"
        return
    yield from _books(manifest["books"])
    yield from _limits(manifest["limits"])
    for name in ("inputs", "exclude"):
        for one in manifest[name]:
            yield from _same_file(one, folder)
    if manifest["map"] is not None:
        yield from _same_file(manifest["map"], folder)
    outcomes = _beside(manifest["outcomes"]["name"], folder)
    if not outcomes.is_file():
        yield f"the outcome log {outcomes} is not there"
        return
    yield from _begins_with(outcomes, manifest["outcomes"])
    if not manifest["ledger"]["shared"]:
        yield from _ledger(manifest, outcomes, _beside(manifest["ledger"]["path"], folder))


def _books(books: dict[str, Any]) -> Iterator[str]:
    ended = sum(books[status] for status in STATUSES) + books["not_started"]
    if books["read"] != ended:
        yield f"the books do not balance: {books['read']:,} lines were read, and {ended:,} stand under a heading"


def _limits(limits: dict[str, Any]) -> Iterator[str]:
    for lane, held in limits.items():
        if held["most"] > held["limit"]:
            most, window = held["most"], held["window_s"]
            yield f"the lane {lane} wrote {most:,} requests in {window:g} s; {held['limit']:,} are allowed"


def _same_file(told: dict[str, Any], folder: Path) -> Iterator[str]:
    if told["sha256"] is None:
        return
    now = hashed(str(_beside(told["name"], folder)))
    if now["sha256"] is None:
        yield f"{told['name']} is not there any more"
    elif now["sha256"] != told["sha256"]:
        yield f"{told['name']} has changed since the run"


def _begins_with(outcomes: Path, told: dict[str, Any]) -> Iterator[str]:
    """A log is only appended to: later runs and `reconcile` add lines, and change none."""
    digest, left = sha256(), told["bytes"] or 0
    with outcomes.open("rb") as file:
        while left and (data := file.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
    if left:
        yield f"the outcome log {outcomes} is shorter than it was at the end of the run"
    elif digest.hexdigest() != told["sha256"]:
        yield f"the outcome log {outcomes} has other lines than at the end of the run"


def _ledger(manifest: dict[str, Any], outcomes: Path, path: Path) -> Iterator[str]:
    if not path.is_file():
        yield f"the ledger {path} is not there"
        return
    with closing(LedgerView.open(path)) as view:
        if view.fact("host") != manifest["memory"]:
            yield f"the ledger {path} belongs to {view.fact('host')}, and the run went to {manifest['memory']}"
            return
        states = Counter(job.state for job in view.jobs())
        if view.fact("run") == str(manifest["run"]) and dict(states) != manifest["ledger"]["jobs"]:
            yield f"the ledger {path} has changed since the run, and no run of sender did it"
        yield from _log_and_ledger(outcomes, view)


def _log_and_ledger(outcomes: Path, view: LedgerView) -> Iterator[str]:
    """What the log's last line of a job says, the ledger says too."""
    differing: list[str] = []
    number = sent = 0
    standing = _standing(outcomes)
    while batch := list(islice(standing, BATCH)):
        known = view.find([key for text, _ in batch for key in (key_of_id(None, text), text)])
        for text, status in batch:
            record = known.get(key_of_id(None, text)) or known.get(text)
            sent += status == "sent"
            if record is None or record.state != status:
                number += 1
                differing = [*differing, text][:MOST_NAMED]
    if number:
        yield f"{number:,} jobs stand otherwise in the log than in the ledger: {', '.join(differing)}"
    kept = sum(job.state == "sent" for job in view.jobs())
    if kept != sent:
        yield f"the ledger knows {kept:,} jobs as sent, the log {sent:,}"


def _standing(outcomes: Path) -> Iterator[tuple[str, str]]:
    """(id, status) of every job that the ledger knows of, by its last line; in a private temporary file."""
    db = sqlite3.connect("")
    with closing(db):
        db.execute("CREATE TABLE last (id TEXT PRIMARY KEY, status TEXT) WITHOUT ROWID")
        for outcome in read_outcomes(outcomes):
            if isinstance(outcome.get("id"), str) and outcome.get("status") in REMEMBERED:
                db.execute("REPLACE INTO last VALUES (?, ?)", (outcome["id"], outcome["status"]))
        yield from db.execute("SELECT id, status FROM last ORDER BY id")


def _beside(name: str, folder: Path) -> Path:
    return Path(name) if Path(name).is_absolute() else folder / name
