"""The list of all ledgers that this user has written: a file in the user's state directory (XDG_STATE_HOME)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def registered() -> dict[Path, Path | None]:
    """Every ledger that this user has written, whether it is still there or not, with its outcome log."""
    try:
        lines = _list().read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("\t") for line in lines)
    return {Path(name): Path(log) if log else None for name, _, log in pairs if Path(name).is_absolute()}


def register(ledger: Path, outcomes: Path) -> None:
    """Have other runs know this ledger and its log, and that a run of it begins.

    Where there is no folder to write to, they know what lies beside them.
    """
    ledger, outcomes = ledger.resolve(), outcomes.resolve()
    with suppress(OSError):
        if registered().get(ledger) == outcomes:
            os.utime(_list())
            return
        _list().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(_list(), "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(f"{ledger}\t{outcomes}\n")


def last_beginning() -> int:
    """Changes whenever a run of this user begins; 0 before the first."""
    try:
        return _list().stat().st_mtime_ns
    except OSError:
        return 0


def _list() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "sender" / "ledgers"
