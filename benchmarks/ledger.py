"""What the ledger and the outcome log cost at full speed: python benchmarks/ledger.py [JOBS] [ROUNDS]

The same run without either, with the log alone, and with the ledger at each durability; on one core, all in turns.
"""

from __future__ import annotations

import sys
from statistics import median

from common import machine
from engine import NAMES, compare, ratio

PROGRAMS = ("nothing", "without", "off", "normal", "full")


def main() -> None:
    """Print the table."""
    count, rounds = [*map(int, sys.argv[1:]), *(20_000, 5)[len(sys.argv) - 1 :]]
    found = compare(PROGRAMS, count, rounds)
    print(f"## Ledger and outcome log\n\n`python benchmarks/ledger.py {count} {rounds}`\n")
    print(f"{machine()}; one core, {count:,} emails, medians of {rounds} rounds in turns\n")
    print("| loop | program | jobs/s | CPU us/job | of the rate without either |\n|---|---|---:|---:|---:|")
    for (loop, program), runs in found.items():
        rate, cpu = median(count / one.seconds for one in runs), median(one.cpu_s for one in runs) / count * 1e6
        part = ratio(found[loop, "nothing"], runs, "seconds")
        print(f"| {loop} | {NAMES[program]} | {rate:,.0f} | {cpu:.0f} | {part:.2f} |")


if __name__ == "__main__":
    main()
