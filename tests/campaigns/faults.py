"""An API at its worst: 5 % of the sends reset after they were accepted, 1 % hang, 5 % are answered with a 500.

    python -m tests.campaigns.faults --jobs 3000

One run of `sender send` under the default policy, which ends by reconciling; then the books of both sides are held
against each other.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.campaigns.crash import Tally, compare
from tests.support.processes import Sandbox, email, outcomes, running_sandbox, sender, write_jobs

FAULTS = ({"fault": "reset_after", "probability": 0.05}, {"fault": "hang", "probability": 0.01},
          {"fault": "status_500", "probability": 0.05})


def doubted(log: Path) -> set[str]:
    """Jobs that were in doubt at some time."""
    return {line["id"] for line in outcomes(log) if line["status"] == "in_doubt"}


def run(sandbox: Sandbox, cwd: Path, jobs: int) -> dict[str, Any]:
    """The summary of the run, without its reconciliation being cut short."""
    write_jobs(cwd / "jobs.jsonl", [email(number) for number in range(jobs)])
    for fault in FAULTS:
        sandbox.post("faults", lane="send", **fault)
    done = sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--timeout", "3", "--reconcile-lag", "5",
                  "--rate", "app=10", "--json", "--no-progress", cwd=cwd, timeout=900)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def torture(jobs: int) -> tuple[dict[str, int], bool]:
    """Figures, and whether nothing was lost, twice or wrong."""
    tally = Tally(jobs=jobs)
    with running_sandbox("--visibility-lag", "2") as sandbox, tempfile.TemporaryDirectory() as folder:
        summary = run(sandbox, Path(folder), jobs)
        log = Path(folder) / "jobs.jsonl.outcomes.jsonl"
        left = compare(sandbox, log.read_bytes(), jobs, tally)
        doubts = doubted(log)
        ends = Counter(
            {line["id"]: line["status"] for line in outcomes(log) if line["id"] in doubts}.values()
        )
    ended = sum(summary[name] for name in ("sent", "failed", "in_doubt", "rejected", "invalid", "duplicate"))
    figures = {
        "jobs": jobs, "sent": summary["sent"], "were in doubt": len(doubts),
        "settled as sent": ends["sent"], "settled as absent": ends["failed"], "still in doubt": left,
        "lost": len(tally.lost), "accepted twice": len(tally.twice), "outcomes that are wrong": len(tally.wrong),
        "missing in the books": summary["read"] - ended - summary["not_started"],
    }
    return figures, tally.good and not figures["missing in the books"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    figures, good = torture(parser.parse_args().jobs)
    for name, number in figures.items():
        sys.stdout.write(f"{name:>30}  {number:,}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
