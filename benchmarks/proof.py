"""The pacing under worse circumstances, as `sender bench --prove-pacing` shows it: a section of RESULTS.md.

python benchmarks/proof.py [--rate 100] [--seconds 20] [--save]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

import results
from common import ENVIRONMENT

NOTES = """\
`sender bench --prove-pacing`: the engine's pacer, guard and transport against a sandbox that refuses what is over the
limit; {seconds:g} s for each scenario, one after the other. *Written* and *arrived* are the largest numbers in any
sliding second, at the sender and at the server's kernel. Where requests overtake each other on the wire, the arrivals
are beyond any sender's clock: the guard learns from refusals, and pays with some of the rate."""


def main() -> None:
    options = _options()
    proofs = prove(options.rate, options.seconds)
    if options.save:
        results.write("proof", "Pacing under worse circumstances", NOTES.format(seconds=options.seconds), table(proofs))
    else:
        print(table(proofs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md")
    return parser.parse_args()


def prove(rate: float, seconds: float, *arguments: str) -> list[dict[str, Any]]:
    """A document for each scenario; those that missed are told as well."""
    command = [sys.executable, "-m", "sender", "bench", "--prove-pacing", "--json", *arguments]
    command += ["--rate", f"{rate:g}", "--duration", f"{seconds:g}"]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE).stdout)
    return found


def table(proofs: list[dict[str, Any]]) -> str:
    head = ("circumstances", "reached", "written", "arrived", "429s", "gaps p1 / p50 / p99, ms", "holds")
    return results.table(head, map(_row, proofs))


def _row(proof: dict[str, Any]) -> list[object]:
    gaps = " / ".join(f"{proof['gaps_ms'][name]:.2f}" for name in ("p1", "p50", "p99"))
    return [proof["told"], f"{proof['share']:.2%}", proof["most_written"], proof["most_arrived"], proof["http_429"],
            gaps, _holds(proof)]


def _holds(proof: dict[str, Any]) -> str:
    if not proof["holds"]:
        return "no"
    return "as written" if proof["wire"] else "yes"


if __name__ == "__main__":
    main()
