"""What rows cost: beside ready job lines, until the first request, and in memory.

    python benchmarks/tables.py [ROWS] [--save]

Times of the first part are processor time of one thread. The million rows are a CSV of 300 MB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from asyncio import run, to_thread
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import results
from common import KEY, sandbox
from startup import relay

from sender.inputs.input_options import InputOptions
from sender.inputs.inputs import open_inputs
from sender.inputs.lines import LineCutter
from sender.inputs.row_input import TableInput
from sender.validation.parser import Parser

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "order_id,email,customer,name,total,currency,date,city,items,comment\n"
COMMENT = "lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam nonumy eirmod tempor invidunt ut labore " * 2
MAPPING = {"id": "receipt-{{order_id}}", "kind": "email", "payload": {
    "to": "{{email}}", "transactional_message_id": 3, "identifiers": {"id": "{{customer}}"},
    "message_data": {
        "order": "{{order_id}}", "total": "{{total}}", "name": "{{name}}", "currency": "{{currency}}",
        "date": "{{date}}", "city": "{{city}}", "items": "{{items:int}}", "comment": "{{comment}}",
    },
}}
SAMPLE = 50_000
CHUNK = 1 << 18


def write(folder: Path, rows: int) -> None:
    """The table and its mapping; every tenth row has a quoted field."""
    (folder / "map.json").write_text(json.dumps(MAPPING))
    with (folder / "orders.csv").open("w") as file:
        file.write(HEADER)
        for n in range(rows):
            comment = f'"{COMMENT}, ""{n}"""' if n % 10 == 0 else COMMENT
            person, day = f"user{n}@example.com,{n},Name {n}", f"2026-11-{1 + n % 28:02d}"
            file.write(f"{n},{person},{n % 90}.50,EUR,{day},Berlin,{n % 9},{comment}\n")


def cpu(work: Callable[[], object], number: int) -> float:
    """Microseconds of processor time for each, the median of five."""
    times = []
    for _ in range(5):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) / number * 1e6)
    return median(times)


def costs(folder: Path) -> tuple[float, float]:
    """Microseconds for a ready line that is cut and checked, and for a row that is read, mapped and checked."""
    (table,) = open_inputs([str(folder / "orders.csv")], InputOptions(map=str(folder / "map.json"))).files
    assert isinstance(table, TableInput)
    parser = Parser()
    lines = []
    for batch in table.line_batches():
        lines += batch
        if len(lines) >= SAMPLE:
            break
    data = b"".join(line.data + b"\n" for line in lines)

    def of_lines() -> None:
        cutter = LineCutter("jobs")
        for place in range(0, len(data), CHUNK):
            for line in cutter.cut(data[place : place + CHUNK]):
                parser.parse(line, 0.0)

    def of_rows() -> None:
        read = 0
        for batch in table.line_batches():
            for line in batch:
                parser.parse(line, 0.0)
            read += len(batch)
            if read >= len(lines):
                return

    return cpu(of_lines, len(lines)), cpu(of_rows, len(lines))


async def first_request(folder: Path, url: str) -> tuple[float, float]:
    """Seconds from the start of the process to its first POST, and its peak memory in MB after 300 jobs."""
    async with relay(url) as (watch, address):
        begin = time.monotonic()
        memory = await to_thread(peak_of_send, folder, address)
    assert watch.first_post is not None
    return watch.first_post - begin, memory


def peak_of_send(folder: Path, address: str) -> float:
    """Send 300 rows, and return the peak memory in MB."""
    for old in folder.glob("*.outcomes*"):
        old.unlink()
    command = [sys.executable, "-m", "sender", "send", "orders.csv", "--map", "map.json", "--base-url", address]
    process = subprocess.Popen(
        [*command, "--limit", "300", "--no-progress", "--no-reconcile"], cwd=folder,
        env={**os.environ, "SENDER_API_KEY": KEY, "XDG_STATE_HOME": os.devnull},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


def judged(found: float, most: float) -> str:
    """The target, and whether it is met."""
    return f"{most:g}, {'met' if found <= most else 'missed'}"


def main() -> None:
    """Tell the table."""
    (number,) = results.numbers(1_000_000)
    with tempfile.TemporaryDirectory() as name, sandbox() as url:
        folder = Path(name)
        write(folder, number)
        line, row = costs(folder)
        starts = [run(first_request(folder, url)) for _ in range(3)]
        size = (folder / "orders.csv").stat().st_size / 1e6
    start, memory = median(start for start, _ in starts), max(memory for _, memory in starts)
    rows = [
        ("a ready job line: cut, checked, µs", f"{line:.1f}", ""),
        ("a row of ten columns: read, mapped, checked, µs", f"{row:.1f}", ""),
        ("row to line, times", f"{row / line:.2f}", judged(row / line, 1.5)),
        (f"first request of {number:,} rows, s", f"{start:.2f}", judged(start, 2)),
        ("peak memory of that run, MB", f"{memory:.0f}", judged(memory, 150)),
    ]
    notes = (
        f"A CSV of {size:,.0f} MB, one row in ten with a quoted field; all ids are compared before the first request."
    )
    results.tell("tables", "Tables", notes, results.table(("what", "measured", "target"), rows))


if __name__ == "__main__":
    main()
