"""The LetterDesk: an operator looks at a running consumer's dead letters, repairs them, and puts them back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from sender.consume.dead_listing import facts
from sender.consume.letter_filter import LetterFilter, name_of
from sender.consume.redrive import RedrivePlan, RedriveResult, redrive
from sender.errors import UsageError
from sender.jobs.job import MOST_LINE, Invalid, Line
from sender.queues.queue_url import open_letters
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sender.consume.consume_plan import ConsumePlan
    from sender.ledger import Ledger
    from sender.queues.letters import Letter

SHOWN: Final = ("at", "status", "code", "kind", "field", "error", "bytes")


class LetterDesk:
    """A live view's `Letters`; `queues` are the URLs of the queues by the names that letters call them."""

    def __init__(
        self, plan: ConsumePlan, queues: Mapping[str, str], ledger_of: Callable[[str | None], Ledger]
    ) -> None:
        self._plan = plan
        self._queues = queues
        self._ledger_of = ledger_of
        self._parser = Parser(plan.settings.kind)
        self._one_at_a_time = asyncio.Lock()

    async def look(self, *, personal: bool) -> list[dict[str, Any]]:
        """See `Letters.look`; one page of them."""
        async with self._one_at_a_time:
            letters = open_letters(self._plan.dead_letter)
            try:
                await letters.open()
                page = await letters.read()
                await letters.leave(page)
            finally:
                await letters.aclose()
        return [self._told(letter, personal=personal) for letter in page]

    async def redrive(self, names: Sequence[str]) -> str:
        """See `Letters.redrive`."""
        if not names:
            raise UsageError("no letter is chosen")
        return await self._redrive(LetterFilter(names=frozenset(names)))

    async def repair(self, name: str, line: str) -> str:
        """See `Letters.repair`; the line is checked as the consumer will check it."""
        data = line.encode(errors="replace").replace(b"\n", b" ").strip()
        key = self._parser.key_of(data)
        if key is None:
            raise UsageError("a repaired job line needs a payload and the id of its letter")
        found = self._parser.parse(Line("the repaired line", 1, data), time.time())
        if isinstance(found, Invalid):
            raise UsageError("; ".join(problem.message for problem in found.problems))
        return await self._redrive(LetterFilter(names=frozenset({name})), {key: data})

    async def _redrive(self, wanted: LetterFilter, repaired: Mapping[str, bytes] | None = None) -> str:
        """Through all letters once for each queue: a letter goes where it came from."""
        plan, all_of = self._plan, RedriveResult()
        urls = {one.name: one.base_url for one in plan.workspaces}
        moved: Counter[str] = Counter()
        async with self._one_at_a_time:
            for queue, url in self._queues.items():
                found = await redrive(RedrivePlan(
                    plan.settings, plan.dead_letter, url, wanted._replace(queue=queue), urls,
                    repaired=repaired, ledger_of=self._ledger_of,
                ))
                moved.update(found.redriven)
                all_of.settled += found.settled
                all_of.left = found.left
        all_of.redriven = moved
        return str(all_of)

    def _told(self, letter: Letter, *, personal: bool) -> dict[str, Any]:
        known = facts(letter)
        told = {name: known[name] for name in SHOWN} | {"name": name_of(letter), "id": None, "line": None}
        if personal:
            whole = not (letter.is_entry or letter.is_cut) and len(letter.data) <= MOST_LINE
            named = letter.key is not None or self._parser.key_of(letter.data) is not None
            line = letter.data.decode(errors="replace") if whole and named else None
            told |= {"id": known["id"], "line": line}
        return told
