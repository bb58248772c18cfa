"""The manifest of a run, NAME.run.json: what was sent from what, by whom, with which rules, and what became of it.

It is written when the run begins, and anew when it has ended. `sender verify` holds it against log and ledger.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
import socket
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from sender.config.settings import DEFAULTS, SETTINGS
from sender.jobs.masking import mask_credentials
from sender.runtime.version import __version__
from sender.session.stores import memory_of, shown_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sender.send.exclusions.exclusions import Exclusions
    from sender.send.send_plan import SendPlan
    from sender.session.session import Session

SCHEMA: Final = "sender.run/1"
SUFFIX: Final = ".run.json"
LOG_SUFFIXES: Final = (".outcomes.jsonl", ".jsonl")
PERSONAL: Final = ("redirect_to", "redirect_identifiers")
"""Settings that name a person; that they are set is told, and not to what."""

log = structlog.get_logger()


def manifest_path(outcomes: Path) -> Path:
    """Beside the outcome log, with its name."""
    for suffix in LOG_SUFFIXES:
        if outcomes.name.endswith(suffix):
            return outcomes.with_name(outcomes.name.removesuffix(suffix) + SUFFIX)
    return outcomes.with_name(outcomes.name + SUFFIX)


class Manifest:
    """That of one run; what cannot be written is warned of, and holds no run."""

    def __init__(self, plan: SendPlan, session: Session, versions: Mapping[str, str]) -> None:
        self._plan = plan
        self._session = session
        self._versions = versions
        self._path = manifest_path(plan.outcomes)
        self._document: dict[str, Any] = {
            "schema": SCHEMA, "sender": __version__, "python": platform.python_version(),
            "run": session.ledger.run, "by": _who(), "began": _now(), "ended": None, "exit": None,
            "rehearsal": bool(plan.settings.redirect_to), "api": plan.base_url, "memory": memory_of(plan),
            "options": _options(plan), "inputs": None, "map": None, "exclude": None, "outcomes": None,
            "ledger": {"path": shown_memory(plan), "shared": bool(plan.state)}, "books": None, "limits": None,
            "duplicates_risk": None,
        }

    async def begin(self) -> None:
        """Say that the run has begun."""
        await asyncio.to_thread(self._write)

    async def end(self, status: int, summary: Mapping[str, Any], exclusions: Exclusions | None) -> None:
        """Say how the run ended; hashes its inputs and its log."""
        document, settings = self._document, self._plan.settings
        document |= {"ended": _now(), "exit": status, "books": _books(summary), "limits": self._limits()}
        document["duplicates_risk"] = _risk(settings.in_doubt, settings.retry, summary["in_doubt"])
        document["ledger"]["jobs"] = await self._session.ledger.count()
        if exclusions is not None:
            document["exclusions"] = {"listed": len(exclusions.excluded), "suppressed": len(exclusions.suppressed)}
        await asyncio.to_thread(self._hash_and_write)

    def _limits(self) -> dict[str, Any]:
        """The limit of each lane, in requests and seconds, and the most that it wrote in any such window."""
        pacers = self._session.workspace.pacers
        return {
            name: {"limit": round(pacer.rate * pacer.window), "window_s": pacer.window, "most": pacer.most_in_window}
            for name, pacer in pacers.items()
        }

    def _hash_and_write(self) -> None:
        settings, document = self._plan.settings, self._document
        document["inputs"] = [hashed(name, self._versions.get(name)) for name in self._plan.inputs]
        document["map"] = hashed(settings.map) if settings.map else None
        document["exclude"] = [hashed(name) for name in settings.exclude]
        document["outcomes"] = hashed(str(self._plan.outcomes))
        self._write()

    def _write(self) -> None:
        data = orjson.dumps(self._document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(data)
            beside.replace(self._path)
        except OSError as error:
            log.warning("the manifest cannot be written", path=str(self._path), error=error.strerror)


def hashed(name: str, version: str | None = None) -> dict[str, Any]:
    """A file by its name, bytes and SHA-256; these are null for what is no file on this machine."""
    path = Path(name)
    if not path.is_file():
        path = Path(name.rpartition(":")[0])  # FILE:COLUMN
    found: dict[str, Any] = {"name": mask_credentials(name), "bytes": None, "sha256": None}
    if version is not None:
        found["version"] = version
    try:
        if path.is_file():
            with path.open("rb") as file:
                found |= {"bytes": path.stat().st_size, "sha256": file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        log.warning("a file cannot be read for the manifest", path=str(path), error=error.strerror)
    return found


def _options(plan: SendPlan) -> dict[str, Any]:
    """The settings that are not as by default; URLs without passwords."""
    given = {name: value for name, value in asdict(plan.settings).items() if value != getattr(DEFAULTS, name)}
    return {
        name: "set" if name in PERSONAL else mask_credentials(value) if isinstance(value, str) else value
        for name, value in given.items() if name in SETTINGS
    }


def _books(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name not in ("outcomes", "ledger")}


def _risk(in_doubt: str, retry: tuple[str, ...], doubts: int) -> str:
    if in_doubt == "resend":
        return "Jobs whose answer was lost were sent again at once (--in-doubt resend): some may have arrived twice."
    if "in_doubt" in retry:
        return "Jobs in doubt were sent again on somebody's word (--retry in_doubt): some may have arrived twice."
    told = "Nothing was sent twice: a job whose answer was lost is kept in doubt and not sent again"
    return f"{told}; {doubts:,} are, and may or may not have arrived." if doubts else f"{told}, and none is."


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container may have a number for a user, and no name
        return f"{os.getuid()}@{socket.gethostname()}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
