"""Where a run keeps what it must not forget: a ledger file of its own, or the state that replicas share."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson

from sender.errors import UsageError
from sender.jobs.masking import mask_credentials
from sender.ledger.sqlite_ledger import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from pathlib import Path

    from sender.config.settings import Settings
    from sender.session.session_plan import SessionPlan
    from sender.shared_state.shared_state import SharedState

BEGINNING: Final = 1 << 20
"""Bytes of an outcome log that are looked at for its first moment."""


async def open_ledger(path: Path, host: str, settings: Settings, stack: AsyncExitStack) -> SqliteLedger:
    """The ledger file of one run at a time, to be closed with the stack; UsageError when it belongs to another API."""
    ledger = await SqliteLedger.open(path, host, durability=settings.durability)
    stack.push_async_callback(ledger.close)
    return ledger


async def open_shared(
    url: str,
    base_url: str,
    settings: Settings,
    stack: AsyncExitStack,
    *,
    workspace: str | None = None,
    on_lost: Callable[[BaseException], None],
) -> SharedState:
    """The state behind `--state`, to be closed with the stack; UsageError when it cannot be used."""
    from sender.shared_state.state_url import open_state

    state = await open_state(
        url, workspace=workspace or "default", host=host_of(base_url), keep=settings.keep, on_lost=on_lost
    )
    stack.push_async_callback(state.close)
    return state


def check_shared(url: str) -> None:
    """UsageError when the URL behind `--state` is wrong, whether or not its server is there."""
    from sender.shared_state.state_url import check_state_url

    check_state_url(url)


def host_of(base_url: str) -> str:
    """The API that a memory is bound to (docs/delivery-semantics.md, "The ledger")."""
    return urlsplit(base_url).netloc


def memory_of(plan: SessionPlan) -> str:
    """What the plan's ledger is bound to: a rehearsal's is none of the API's own, and the other way round."""
    host = host_of(plan.base_url)
    return f"{host} (rehearsal)" if plan.settings.redirect_to else host


def shown_memory(plan: SessionPlan) -> str:
    """Where the session's memory lies, without a password."""
    return mask_credentials(plan.state) if plan.state else str(plan.ledger)


async def refuse_older_log(outcomes: Path, state: SharedState) -> None:
    """UsageError when the log tells of jobs that ended before the state began: it would let them be sent again."""
    began = _began(outcomes)
    # Ages are compared, each by its own clock: the two machines need not agree on the time.
    if began is not None and time() - began > await state.age():
        raise UsageError(
            f"the outcome log {outcomes} is older than the state at {state.shown}, which knows nothing of the jobs "
            "that the log tells of and would let them be sent again: was the state lost, or is it another? Restore "
            "it, or give only the jobs that were not sent, with another --outcomes"
        )


def _began(outcomes: Path) -> float | None:
    """Unix time of the first end that the log tells of."""
    if not outcomes.is_file():
        return None
    with outcomes.open("rb") as log:
        for line in log.read(BEGINNING).splitlines():
            with suppress(ValueError, TypeError, KeyError):  # a torn line, or one of a job that never started
                return datetime.fromisoformat(orjson.loads(line)["finished_at"]).timestamp()
    return None
