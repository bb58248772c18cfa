"""What the ledger and the outcome log cost at full speed: python benchmarks/ledger.py [JOBS] [ROUNDS] [--save]

The same run without either, with the log alone, and with the ledger at each durability; on one core, all in turns.
"""

from __future__ import annotations

from statistics import median

import results
from engine import NAMES, compare, ratio

PROGRAMS = ("nothing", "without", "off", "normal", "full")


def main() -> None:
    """Tell the table."""
    count, rounds = results.numbers(20_000, 5)
    found = compare(PROGRAMS, count, rounds)
    rows = []
    for (loop, program), runs in found.items():
        rate, cpu = median(count / one.seconds for one in runs), median(one.cpu_s for one in runs) / count * 1e6
        part = ratio(found[loop, "nothing"], runs, "seconds")
        rows.append((loop, NAMES[program], f"{rate:,.0f}", f"{cpu:.0f}", f"{part:.2f}"))
    head = ("loop", "program", "jobs/s", "CPU, us each", "of the rate without either")
    notes = f"One core, {count:,} emails, pacer off; medians of {rounds} rounds in turns, ratios within a round."
    results.tell("ledger", "What the ledger and the outcome log cost", notes, results.table(head, rows))


if __name__ == "__main__":
    main()
