"""Decoding and checking one typical email job: sender's own checks beside libraries for it.

    python benchmarks/validation.py [--rounds 9] [--calls 3000] [--save]

Side by side in one run, in turns; medians. All are given the same bytes. Which of some wrong emails each refuses is
tried first, since leaving out a rule is the easiest way to be quick.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import orjson
import results
from rivals import CHECKS, load

from sender.jobs.job import Job, Line
from sender.jobs.kinds import KINDS
from sender.validation import check
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[bytes], object]

NOW = time.time()
OWN = "sender, decode and check"
GOOD: dict[str, Any] = {
    "to": '"Ada Lovelace" <ada@example.com>',
    "transactional_message_id": 3,
    "identifiers": {"id": "100042"},
    "subject": "Your receipt",
    "language": "en",
    "tracked": True,
    "message_data": {
        "order": "O-000123",
        "name": "Ada Lovelace",
        "items": [{"name": f"coffee beans {n}", "quantity": n, "price": "12.50"} for n in range(1, 9)],
        "total": "450.00",
        "address": {"street": "1 Analytical Way", "city": "London", "country": "GB"},
        "note": "Thank you for your order. " * 5,
    },
}
WRONG: list[dict[str, Any]] = [
    {"to": 42},
    {"to": ""},
    {"to": "nobody"},
    {"to": ", ".join(f"p{n}@example.com" for n in range(10)), "cc": ", ".join(f"c{n}@example.com" for n in range(6))},
    {"identifiers": None},
    {"identifiers": {}},
    {"identifiers": {"id": "1", "email": "a@example.com"}},
    {"identifiers": {"name": "1"}},
    {"identifiers": {"id": ""}},
    {"transactional_message_id": 0},
    {"transactional_message_id": None},
    {"message_data": "text"},
    {"tracked": "yes"},
    {"send_at": int(NOW) + 100 * 86400},
    {"headers": {"X Y": "1"}},
    {"headers": {"X-Note": "näh"}},
    {"attachments": {"receipt": "aGk="}},
    {"attachments": {"receipt.pdf": "a§b"}},
]
"""What each has in the place of the good one's; None leaves the field out."""
NOTES = """\
One email of {size:,} bytes, decoded and checked; {rounds} rounds of {calls:,} calls each, in turns, medians. *Refuses*
is how many of {wrong} wrong emails are refused. `sender` collects all problems and warnings with their fields; pydantic
and msgspec call the same rules in Python where types do not tell them (msgspec cannot see unknown fields); JSON Schema
cannot count recipients over `to`, `cc` and `bcc`, and has no warnings. *Line to job* adds the envelope, the identity's
hash and the payload's own bytes to the check."""


class RefusedError(Exception):
    """By our own checks, which return problems."""


def main() -> None:
    options = _options()
    body, found = orjson.dumps(GOOD), contenders()
    refuses = {name: sum(not accepts(one, changed) for changed in wrong_bodies()) for name, one in found.items()}
    assert all(accepts(one, body) for one in found.values())
    times = measure(found | decoders(), body, options.rounds, options.calls)
    notes = NOTES.format(size=len(body), rounds=options.rounds, calls=options.calls, wrong=len(WRONG))
    if options.save:
        results.write("validation", "Checking a job", notes, table(times, refuses))
    else:
        print(f"{notes}\n\n{table(times, refuses)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def contenders() -> dict[str, Check]:
    """Those that check, ours first; what is not installed is left out and named."""
    found: dict[str, Check] = {OWN: own_check(), "sender, line to job": own_line()}
    for what in CHECKS:
        try:
            found |= load(what)()
        except ImportError as missing:
            print(f"not installed: {missing.name}")
    return found


def own_check() -> Check:
    kind = KINDS["email"]

    def checked(body: bytes) -> None:
        problems, _ = check(kind, orjson.loads(body), body, NOW)
        if problems:
            raise RefusedError

    return checked


def own_line() -> Check:
    parser = Parser()

    def parsed(body: bytes) -> None:
        line = Line("jobs.jsonl", 1, b'{"id":"receipt-000123","kind":"email","payload":%s}' % body)
        if not isinstance(parser.parse(line, NOW), Job):
            raise RefusedError

    return parsed


def decoders() -> dict[str, Check]:
    return {"orjson, decode only": orjson.loads, "json, decode only": json.loads}


def wrong_bodies() -> list[bytes]:
    changed = (GOOD | change for change in WRONG)
    return [orjson.dumps({name: value for name, value in one.items() if value is not None}) for one in changed]


def accepts(one: Check, body: bytes) -> bool:
    try:
        one(body)
    except Exception:  # noqa: BLE001 - each library has its own
        return False
    return True


def measure(found: dict[str, Check], body: bytes, rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds a call, of each round."""
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, one in found.items():
            begin = time.perf_counter()
            for _ in range(calls):
                one(body)
            times[name].append((time.perf_counter() - begin) / calls * 1e6)
    return times


def table(times: dict[str, list[float]], refuses: dict[str, int]) -> str:
    own = median(times[OWN])
    head = ("path", "us, median", "min–max", "sender is so many times as fast", "refuses")
    return results.table(head, (
        [name, f"{median(found):.2f}", f"{min(found):.2f}–{max(found):.2f}", f"{median(found) / own:.2f}",
         refuses.get(name, "–")] for name, found in times.items()
    ))


if __name__ == "__main__":
    main()
