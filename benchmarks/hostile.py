"""Lines that were made to be slow to check: a line twice as long may take twice as long, and not four times.

    python benchmarks/hostile.py [--rounds 3] [--save]

Each line is read and checked by itself, in three lengths; the quickest of some rounds.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any, Final

import results

from sender.jobs.job import Line
from sender.jobs.masking import mask, words_of
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final = (50_000, 200_000, 800_000)
EMAIL: Final = {"to": "ada@example.com", "transactional_message_id": 3, "identifiers": {"id": "1"}}
NOW: Final = 1_800_000_000.0
TEXT: Final = "The person ada was not found: " + "person-17 " * 40
NOTES: Final = """\
Lines of three lengths, each read and checked once; processor time, the quickest of {rounds} rounds. A cost in
proportion to the length gives 16 in the last column, the square of it 256; {worst:.0f} is the most here, since large
objects leave the processor's cache. The last two rows are what an error of the API costs a job of that size, and what
the note for its later errors costs a broadcast."""


def email(**fields: Any) -> bytes:
    return json.dumps({"id": "1", "payload": EMAIL | fields}).encode()


def broadcast(payload: Any) -> bytes:
    return json.dumps({"id": "1", "kind": "broadcast", "broadcast_id": 3, "payload": payload}).encode()


def raw(members: bytes) -> bytes:
    return b'{"id":"1","payload":%b,%b}}' % (json.dumps(EMAIL).encode()[:-1], members)


def names(size: int, form: str = "n%07d") -> dict[str, int]:
    return {form % number: 0 for number in range(size // 13)}


def wide_filter(size: int) -> dict[str, Any]:
    """Hundreds of levels down, thousands of conditions that are wrong."""
    node: dict[str, Any] = {"or": [{"segment": {"id": 0}}] * (size // 24)}
    for _ in range(100):
        node = {"and": [node, {"segment": {"id": 1}}]}
    return node


LINES: Final[dict[str, Callable[[int], bytes]]] = {
    "liquid that never ends, in `to`": lambda size: email(to="{{" * (size // 2)),
    "quotes and backslashes in `to`": lambda size: email(to='"' + '\\"' * (size // 3)),
    "open brackets in `to`": lambda size: email(to="a@b(" * (size // 4)),
    "commas in `to`": lambda size: email(to="," * size),
    "a name without an address in `to`": lambda size: email(to="a " * (size // 2)),
    "quoted names in `from`": lambda size: email(**{"from": '"a" ' * (size // 6)}),
    "open tags in `body`": lambda size: email(body="{%" * (size // 2)),
    "line ends in base64": lambda size: email(attachments={"a.pdf": "\n" * (size // 2) + "!"}),
    "base64 with a wrong end": lambda size: email(attachments={"a.pdf": "A" * size + "!"}),
    "attachments without contents": lambda size: email(attachments=names(size)),
    "blanks in a header": lambda size: email(headers={"X": "a" + " " * size}),
    "headers with wrong names": lambda size: email(headers=names(size, "n %06d")),
    "headers as text": lambda size: email(headers=json.dumps(names(size))),
    "unknown fields": lambda size: email(**names(size)),
    "fields almost known": lambda size: email(**names(size, "sub%05dject")),
    "unknown keys of the envelope": lambda size: json.dumps({"payload": EMAIL} | names(size)).encode(),
    "no payload, keys like it": lambda size: json.dumps({"kind": "email"} | names(size, "pay%04dload")).encode(),
    "keys that stand twice": lambda size: raw(b'"message_data":{' + b",".join([b'"a":1'] * (size // 6)) + b"}"),
    "halves of emojis": lambda size: raw(b'"subject":"' + b"\\ud83d" * (size // 6) + b'"'),
    "backslashes": lambda size: raw(b'"subject":"' + b"\\\\" * (size // 2) + b'\\ud83d"'),
    "the word payload in texts": lambda size: raw(b'"subject":"' + b'\\"payload\\": {' * (size // 14) + b'"'),
    "a language of one word": lambda size: email(language="a" * size),
    "decimals of many digits": lambda size: email(message_data={"n": [0.1234567890123456] * (size // 20)}),
    "integers of many digits": lambda size: email(send_at=10**40, message_data={"n": [10**40] * (size // 43)}),
    "arrays in arrays": lambda size: raw(b'"message_data":{"a":[' + b",".join([b"[[[1.5]]]"] * (size // 10)) + b"]}"),
    "brackets that never close": lambda size: raw(b'"message_data":' + b"[" * size),
    "audience names in a broadcast": lambda size: broadcast(names(size, "email%04ds")),
    "wrong entries in `ids`": lambda size: broadcast({"ids": [[]] * (size // 4)}),
    "wrong entries in `per_user_data`": lambda size: broadcast({"per_user_data": [{"data": []}] * (size // 14)}),
    "a wide filter far down": lambda size: broadcast({"recipients": wide_filter(size)}),
    "a long URL": lambda size: broadcast({"data_file_url": "http://" + "a:@/?#" * (size // 6)}),
    "`data` full of blanks": lambda size: broadcast({"ids": ["1"], "data": {"a": [0] * (size // 3)}}),
}


def parse(line: bytes) -> None:
    Parser().parse(Line("jobs.jsonl", 1, line), NOW)


def payload(size: int) -> bytes:
    return json.dumps({"ids": [f"person-{number % 5000}" for number in range(size // 15)]}).encode()


STEPS: Final[dict[str, tuple[Callable[[int], bytes], Callable[[bytes], object]]]] = {
    **{name: (make, parse) for name, make in LINES.items()},
    "masking an error": (payload, lambda body: mask(TEXT, body)),
    "words of a broadcast": (payload, words_of),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    options = parser.parse_args()
    found = {name: [took(step, make(size), options.rounds) for size in SIZES] for name, (make, step) in STEPS.items()}
    worst = max(times[-1] / times[0] for times in found.values())
    results.tell("hostile", "Checking hostile lines", NOTES.format(rounds=options.rounds, worst=worst), table(found))


def took(step: Callable[[bytes], object], data: bytes, rounds: int) -> float:
    """Seconds of processor time in the quickest round."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        step(data)
        times.append(time.process_time() - begin)
    return min(times)


def table(found: dict[str, list[float]]) -> str:
    growth = f"times for {SIZES[-1] // SIZES[0]} times the size"
    head = ("line", *(f"{size // 1000:,} kB, ms" for size in SIZES), growth)
    rows = [[name, *(f"{one * 1000:.1f}" for one in times), f"{times[-1] / times[0]:.1f}"]
            for name, times in found.items()]
    worst = max(times[-1] / times[0] for times in found.values())
    return results.table(head, [*rows, ["most of all", *[""] * len(SIZES), f"{worst:.1f}"]])


if __name__ == "__main__":
    main()
