"""Conditions of a consumer and what is logged of them: each once, and its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from sender.config.api_key import ApiKey
from sender.consume.consume_run import _await_outputs
from sender.consume.dead_letters import DeadLetters
from sender.consume.watching import watch
from sender.consume.workspace_task import WorkspaceTask
from sender.outcomes.outcome import Outcome
from sender.outcomes.recorder import FinishedJob, Recorder
from sender.queues import QueueError
from sender.runtime.conditions import LOOK_EVERY, Conditions, tell_changes
from sender.runtime.tasks import end
from tests.consume.parts import FakeDeadLetter, message
from tests.support.memory_ledger import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sender.errors import OutputError
    from tests.support.virtual_time import VirtualLoop


class Numbering(FakeDeadLetter):
    """Names each refused letter in its error, as RabbitMQ does with its delivery tag."""

    full = True
    tries = 0

    async def put(self, line: bytes, reason: Mapping[str, object], identity: str | None = None) -> None:
        self.tries += 1
        if self.full:
            raise QueueError(f"refused: delivery_tag={self.tries}")
        await super().put(line, reason, identity)


async def test_a_dead_letter_that_refuses_is_told_once_for_all_letters_and_tries() -> None:
    """150 letters made 1,050 lines in 15 s."""
    queue = Numbering()
    letters = DeadLetters(queue)  # type: ignore[arg-type]
    with capture_logs() as logs:
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(letters.write(message(number), {"reason": "x"}))
            while letters.refused < 150:
                await asyncio.sleep(0.01)
            queue.full = False
    assert [one["log_level"] for one in logs] == ["warning", "info"]
    assert len(queue.put_in) == 50


async def told(conditions: Conditions, *changes: Any) -> list[tuple[str, str]]:
    """(condition, event) of all that is logged while these are done one after the other."""
    with capture_logs() as logs:
        telling = asyncio.create_task(tell_changes(conditions))
        for change in (*changes, lambda: None):
            await asyncio.sleep(LOOK_EVERY * 1.5)
            change()
        await end([telling])
    return [(one["condition"], one["event"]) for one in logs]


async def test_a_number_that_changes_in_a_reason_is_no_news() -> None:
    conditions = Conditions()
    conditions.miss("dead", "letters that wait: 48")
    lines = await told(conditions, lambda: conditions.miss("dead", "letters that wait: 62"))
    assert lines == [("dead", "not ready")]


async def test_a_condition_that_is_dropped_has_ended() -> None:
    """A dead letter that came back after the start left no line."""
    conditions = Conditions()
    conditions.miss("--dead-letter", "away")
    lines = await told(conditions, lambda: conditions.drop("--dead-letter"))
    assert lines == [("--dead-letter", "not ready"), ("--dead-letter", "a condition is met")]


def test_state_and_workspaces_are_named_while_the_outputs_are_waited_for() -> None:
    conditions = Conditions()
    plan: Any = SimpleNamespace(workspaces=(SimpleNamespace(name=None, ledger=None),))
    _await_outputs(plan, conditions)
    assert conditions.met() == {"workspace default": False, "state": False}


async def test_a_key_file_that_is_emptied_or_deleted_is_a_condition(tmp_path: Path) -> None:
    """Nobody was told before the next start failed."""
    file = tmp_path / "key"
    file.write_text("a-good-key")
    config: Any = SimpleNamespace(name=None, ledger=None, key=ApiKey.follow(str(file)))
    opening: Any = SimpleNamespace(memory=None)
    task, conditions = WorkspaceTask(config, opening, None, None), Conditions()  # type: ignore[arg-type]
    watch(None, conditions, {None: task}, (), None)
    assert conditions.met()["key of default"]
    file.write_text("")
    await task.look_at_key()
    assert not conditions.met()["key of default"]
    file.unlink()
    await task.look_at_key()
    assert "cannot be read" in (conditions.reasons()["key of default"] or "")
    assert config.key() == "a-good-key", "it stays in use"
    file.write_text("a-good-key")
    await task.look_at_key()
    assert conditions.met()["key of default"]


class Listener:
    """Of a recorder; it hears and does nothing."""

    def recorded(self, batch: Sequence[FinishedJob]) -> None: ...

    def log_failed(self, error: OutputError) -> None: ...


class Pipe:
    """An outcome log that takes lines only while somebody reads."""

    def __init__(self) -> None:
        self.read = asyncio.Event()

    async def append(self, lines: Sequence[bytes]) -> None:
        await self.read.wait()


def test_an_outcome_log_that_takes_no_lines_is_a_condition(virtual: VirtualLoop) -> None:
    """A pipe that nobody read held all jobs back, and the replica was ready."""

    async def run() -> list[bool]:
        pipe, conditions = Pipe(), Conditions()
        recorder = Recorder(MemoryLedger(), pipe, Listener())
        config: Any = SimpleNamespace(name=None, ledger=None, key=None)
        task = WorkspaceTask(config, SimpleNamespace(memory=None), None, None)  # type: ignore[arg-type]
        task.current = SimpleNamespace(session=SimpleNamespace(recorder=recorder))  # type: ignore[assignment]
        watch(None, conditions, {None: task}, (), None)
        recording = asyncio.create_task(recorder.run())
        recorder.put(FinishedJob(Outcome("a", "email", "sent", "f", 1), None))
        met = []
        for seconds in (4.0, 2.0):
            await asyncio.sleep(seconds)
            met.append(conditions.met()["outcomes of default"])
        pipe.read.set()
        await recorder.drain()
        met.append(conditions.met()["outcomes of default"])
        await end([recording])
        return met

    assert virtual.run_until_complete(run()) == [True, False, True]
