"""What a consumer's readiness and metrics look at: its workspaces, readers, retries and dead letters."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from sender.consume.dead_letters import DeadLetters
    from sender.consume.reader import Reader
    from sender.consume.retry_queue import RetryQueue
    from sender.consume.workspace_task import WorkspaceTask
    from sender.runtime.conditions import Conditions
    from sender.runtime.metrics.replica_metrics import ReplicaMetrics
    from sender.runtime.metrics.workspace_metrics import Flag


def watch(
    metrics: ReplicaMetrics | None, conditions: Conditions, tasks: Mapping[str | None, WorkspaceTask],
    readers: Sequence[Reader], dead_letters: DeadLetters | None, retries: RetryQueue | None = None,
) -> None:
    """Have the conditions and the metrics, where there are any, look at these whenever asked."""
    workspaces = tuple(tasks.values())
    if any(one.shares for one in workspaces):
        conditions.watch("state", lambda: next(filter(None, map(_state_away, workspaces)), None))
    for one in workspaces:
        conditions.watch(f"workspace {one.name}", partial(getattr, one, "reason"))
        conditions.watch(f"key of {one.name}", partial(getattr, one, "key_problem"))
        conditions.watch(f"pause of {one.name}", partial(_paused, one))
        conditions.watch(f"kinds of {one.name}", partial(_refused_kinds, one))
        conditions.watch(f"outcomes of {one.name}", partial(_blocked_log, one))
        conditions.watch(f"dead letter of {one.name}", partial(one.acknowledger.trouble, dead_letters))
        if retries is not None:
            conditions.watch(f"retry queue of {one.name}", partial(one.acknowledger.trouble, retries))
    if metrics is None:
        return
    for name, task in tasks.items():
        metrics.of(name).watch_flags(_flags_of(task))
    for reader in readers:
        metrics.watch_queue(reader.queue.source, partial(getattr, reader, "lag"), reader.queue)
    metrics.dead_letters, metrics.retries = dead_letters, retries
    in_flight = [one.in_flight for one in workspaces]
    metrics.in_hand = lambda: (
        sum(1 for one in in_flight for _ in one) + sum(len(one.beside) for one in readers)
    )
    metrics.oldest = partial(_oldest, workspaces, readers)
    metrics.parked = lambda: (sum(one.parked for one in in_flight), sum(one.size for one in in_flight))
    if any(one.shares for one in workspaces):
        metrics.state = lambda: not any(map(_state_away, workspaces))


def _flags_of(one: WorkspaceTask) -> dict[Flag, Callable[[], bool]]:
    flags: dict[Flag, Callable[[], bool]] = {"paused": lambda: one.pause.paused, "halted": lambda: one.halted}
    return {**flags, "state_away": lambda: _state_away(one) is not None} if one.shares else flags


def _oldest(workspaces: Collection[WorkspaceTask], readers: Collection[Reader]) -> float | None:
    """Seconds since the oldest message in hand was read."""
    begun = [message.since for one in workspaces for message in one.in_flight]
    begun += [message.since for one in readers for message in one.beside]
    return asyncio.get_running_loop().time() - min(begun) if begun else None


def _state_away(one: WorkspaceTask) -> str | None:
    state = None if one.current is None else one.current.memory.state
    return one.state_away if state is None else state.trouble or one.state_away


def _paused(one: WorkspaceTask) -> str | None:
    return "paused by an operator or the settings; SIGUSR2 goes on" if one.pause.paused else None


def _blocked_log(one: WorkspaceTask) -> str | None:
    blocked = one.current is not None and one.current.session.recorder.log_blocked
    return "the outcome log takes no lines; jobs wait until it does" if blocked else None


def _refused_kinds(one: WorkspaceTask) -> str | None:
    kinds = "" if one.current is None else ", ".join(sorted(one.current.session.workspace.closed_kinds))
    return f"the API does not allow {kinds}; one job is tried every minute" if kinds else None
