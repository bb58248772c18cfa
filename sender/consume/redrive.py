"""One run of `sender redrive`: letters go back to the queue; those whose jobs stand as sent leave.

A letter is taken out only when the broker of the queue has confirmed its copy. A run that dies between the two leaves
both: the consumer knows the job by its identity, and sends it once.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from sender.errors import HaltError
from sender.queues.message_identity import CONTENT
from sender.queues.queue_url import open_letters, open_target
from sender.runtime.supervisor import Supervisor
from sender.session.stores import host_of, open_ledger, open_shared
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence

    from sender.config.settings import Settings
    from sender.consume.letter_filter import LetterFilter
    from sender.ledger import JobRecord, Ledger
    from sender.queues.letters import Letter, LetterBox
    from sender.queues.publisher import Publisher

Way = Literal["queue", "settled", "left"]


@dataclass(frozen=True, slots=True)
class RedrivePlan:
    """What to take out of which dead letter queue, and where it goes."""

    settings: Settings
    dead_letter: str
    target: str
    """The queue's URL."""
    wanted: LetterFilter
    base_urls: Mapping[str | None, str]
    """The API of each workspace, by which its memory is known."""
    state: str = ""
    """URL of the shared state, or empty."""
    repaired: Mapping[str, bytes] | None = None
    """Job lines that take the place of the letters' own, by identity; then no other letter goes back."""
    dry_run: bool = False
    ledger_of: Callable[[str | None], Ledger] | None = None
    """The memory of a workspace where it is open already: HaltError while it is not. Else it is opened anew."""


@dataclass(slots=True)
class RedriveResult:
    """How many letters went which way."""

    redriven: Counter[str] = field(default_factory=Counter)
    """By their codes."""
    settled: int = 0
    left: int = 0

    def add(self, ways: Mapping[Way, Sequence[Case]]) -> None:
        """These went so."""
        self.redriven.update(case.code for case in ways["queue"])
        self.settled += len(ways["settled"])
        self.left += len(ways["left"])

    def __str__(self) -> str:
        parts = [f"{number:,} {code} -> queue" for code, number in sorted(self.redriven.items())]
        if self.settled:
            parts.append(f"{self.settled:,} settled as sent -> removed")
        return ", ".join([*parts, f"{self.left:,} left"])


class Case(NamedTuple):
    """A letter, and what is known of its job now."""

    letter: Letter
    key: str | None
    """The job's identity, where it can be told."""
    record: JobRecord | None = None

    @property
    def state(self) -> str:
        """How the job stands by its memory, else by its letter."""
        return self.letter.status if self.record is None else self.record.state

    @property
    def code(self) -> str:
        """Why it is here; a job that was in doubt may be known to be absent now."""
        return "absent" if self.letter.status == "in_doubt" and self.state == "failed" else self.letter.code

    @property
    def would_be_known(self) -> bool:
        """Whether a consumer that had the job before would recognise it, or surely nothing of it was accepted."""
        return self.key is not None or self.letter.identity is not None or self.letter.status != "unknown"


def way_of(case: Case, wanted: LetterFilter, repaired: Container[str] | None = None) -> Way:
    """Decide on a letter. What may have been sent stays: a consumer would only write its letter anew."""
    if case.record is not None and case.state == "sent":
        return "settled"
    is_repaired = repaired is not None and case.key in repaired
    if case.state in ("in_doubt", "handed_over") or not case.would_be_known:
        return "left"
    if (repaired is not None or case.letter.is_entry or case.letter.is_cut) and not is_repaired:
        return "left"
    return "queue" if wanted.takes(case.letter, case.code) else "left"


async def redrive(plan: RedrivePlan) -> RedriveResult:
    """Look through all letters that are there now; QueueError when a broker refuses, and what was moved stays moved."""
    result = RedriveResult()
    async with AsyncExitStack() as stack:
        letters = open_letters(plan.dead_letter)
        stack.push_async_callback(letters.aclose)
        target = open_target(plan.target)
        stack.push_async_callback(target.aclose)
        await letters.open()
        await target.open()
        memories = _Memories(plan, stack)
        while page := await letters.read():
            ways: dict[Way, list[Case]] = {"queue": [], "settled": [], "left": []}
            for case in await memories.look_up(page):
                ways[way_of(case, plan.wanted, plan.repaired)].append(case)
            if plan.dry_run:
                await letters.leave(page)
            else:
                await _move(ways, letters, target, plan.repaired or {})
            result.add(ways)
    return result


async def _move(
    ways: Mapping[Way, Sequence[Case]], letters: LetterBox[Any], target: Publisher[Any], repaired: Mapping[str, bytes]
) -> None:
    """Publish, and only then remove. A letter that tells no identity of its message is known by what it asks for."""
    jobs = [
        (repaired.get(one.key or "", one.letter.data), one.letter.identity or CONTENT) for one in ways["queue"]
    ]
    if jobs:
        await target.redrive(jobs)
    await letters.remove([one.letter for way in ("queue", "settled") for one in ways[way]])
    await letters.leave([one.letter for one in ways["left"]])


class _Memories:
    """The ledger of each workspace, opened when the first letter asks for it."""

    def __init__(self, plan: RedrivePlan, stack: AsyncExitStack) -> None:
        self._plan = plan
        self._stack = stack
        self._supervisor = Supervisor()
        self._parser = Parser()
        self._open: dict[str | None, Ledger] = {}

    async def look_up(self, page: Sequence[Letter]) -> list[Case]:
        """The letters with what is known of their jobs, in their order."""
        cases = [Case(letter, letter.key or self._parser.key_of(letter.data)) for letter in page]
        if not (self._plan.state or self._plan.settings.ledger or self._plan.ledger_of):
            return cases
        records: dict[str, JobRecord] = {}
        for name, keys in self._by_workspace(cases).items():
            records |= await (await self._ledger(name)).find(keys)
        if self._supervisor.failure is not None:
            raise self._supervisor.failure
        return [case._replace(record=records.get(case.key or "")) for case in cases]

    def _by_workspace(self, cases: Sequence[Case]) -> dict[str | None, list[str]]:
        found: dict[str | None, list[str]] = {}
        for case in cases:
            name = workspace_of(case.letter.data)
            if case.key is not None and name in self._plan.base_urls:
                found.setdefault(name, []).append(case.key)
        return found

    async def _ledger(self, name: str | None) -> Ledger:
        if name not in self._open:
            self._open[name] = await self._made(name)
        return self._open[name]

    async def _made(self, name: str | None) -> Ledger:
        plan = self._plan
        if plan.ledger_of is not None:
            return plan.ledger_of(name)
        if not plan.state:
            path = Path(plan.settings.ledger)
            path = path if name is None else path.with_name(f"{path.name}.{name}")
            return await open_ledger(path, host_of(plan.base_urls[name]), plan.settings, self._stack)
        state = await open_shared(
            plan.state, plan.base_urls[name], plan.settings, self._stack, workspace=name, on_lost=self._lost
        )
        return state.ledger

    def _lost(self, error: BaseException) -> None:
        self._supervisor.fail(HaltError(f"the memory was lost meanwhile: {error}; the same command goes on"))


def workspace_of(data: bytes) -> str | None:
    """The workspace that a job line names."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    name = found.get("workspace") if isinstance(found, dict) and "payload" in found else None
    return name if isinstance(name, str) else None
