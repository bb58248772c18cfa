"""The crash harness: kill -9 at random instants, disks that fill up, torn logs, against a server that keeps count.

    python -m tests.campaigns.crash --kills 200

A round is one pile of jobs, sent by the same command again and again: each start but the last is killed at a random
instant, some on a disk that fills up, and now and then a line is torn that the log was about to end with. The server
answers some sends with a reset after it has accepted them. At the end of each round the books of both sides are held
against each other, before and after `sender reconcile`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import Sandbox, email, environment, outcomes, running_sandbox, sender, write_jobs

RATE = "400"
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from sender.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@dataclass
class Tally:
    """What all rounds came to."""

    kills: int = 0
    full_disks: int = 0
    torn_lines: int = 0
    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Jobs whose outcome says other than what the server knows."""
    in_doubt: int = 0
    settled: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.wrong)

    def __str__(self) -> str:
        rows = [
            ("kill -9", self.kills), ("full disks", self.full_disks), ("torn log lines", self.torn_lines),
            ("jobs", self.jobs), ("lost", len(self.lost)), ("accepted twice", len(self.twice)),
            ("outcomes that are wrong", len(self.wrong)), ("in doubt before reconcile", self.in_doubt),
            ("of them settled by reconcile", self.settled),
        ]
        return "\n".join(f"{name:>30}  {number:,}" for name, number in rows)


def command(sandbox: Sandbox) -> list[str]:
    return ["send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", RATE, "--timeout", "2", "--json",
            "--no-progress", "--no-preflight", "--no-reconcile"]


def run_and_kill(sandbox: Sandbox, cwd: Path, chance: random.Random, tally: Tally) -> bool:
    """One start, killed at some instant; whether it came to its end before."""
    arguments = [sys.executable, "-m", "sender", *command(sandbox)]
    full = chance.random() < 0.25
    if full:
        size = max((file.stat().st_size for file in cwd.iterdir()), default=0)
        limit = str(size + chance.randrange(1, 50_000))
        arguments = [sys.executable, "-c", LIMITED, limit, *command(sandbox)]
    process = subprocess.Popen(
        arguments, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, problems = process.communicate(timeout=20 if full else chance.uniform(0.25, 1.6))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        tally.kills += 1
        return False
    if full and process.returncode in (2, 3):
        tally.full_disks += 1
        return False
    assert process.returncode in (0, 1), problems.decode()
    return True


def tear(log: Path, chance: random.Random, tally: Tally) -> None:
    """The beginning of a line that was being written when the power went."""
    if chance.random() < 0.3 and log.exists():
        with log.open("ab") as file:
            file.write(b'{"id":"job-1","kind":"email","status":"se'[: chance.randrange(1, 40)])
        tally.torn_lines += 1


def last_lines(log: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in outcomes(log) if line["status"] != "duplicate"}


def compare(sandbox: Sandbox, cwd: Path, count: int, tally: Tally) -> int:
    """Hold the log against the server; returns the number of jobs in doubt."""
    accepted = Counter(sandbox.numbers())
    holding = last_lines(cwd / "jobs.jsonl.outcomes.jsonl")
    for number in range(count):
        name = f"job-{number}"
        status = holding.get(name, {}).get("status")
        if status is None or (status == "failed" and accepted[number]):
            tally.lost.append(name)
        if status == "sent" and not accepted[number]:
            tally.wrong.append(name)
        if accepted[number] > 1:
            tally.twice.append(name)
    ids = {message["delivery_id"]: message["payload"]["message_data"]["n"] for message in sandbox.messages}
    for name, line in holding.items():
        if line["status"] == "sent" and f"job-{ids.get(line['delivery_id'])}" != name:
            tally.wrong.append(name)
    return sum(line["status"] == "in_doubt" for line in holding.values())


def finish(sandbox: Sandbox, cwd: Path) -> None:
    """Run to the end, undisturbed."""
    done = sender(*command(sandbox), cwd=cwd)
    assert done.returncode in (0, 1), done.stderr.decode()
    summary = json.loads(done.stdout)
    books = sum(summary[name] for name in ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate"))
    assert summary["read"] == books + summary["not_started"], summary


def play_round(sandbox: Sandbox, cwd: Path, count: int, kills: int, chance: random.Random, tally: Tally) -> None:
    """One pile of jobs, killed at most so often."""
    write_jobs(cwd / "jobs.jsonl", [email(number) for number in range(count)])
    before = tally.kills
    while tally.kills - before < kills and not run_and_kill(sandbox, cwd, chance, tally):
        tear(cwd / "jobs.jsonl.outcomes.jsonl", chance, tally)
    finish(sandbox, cwd)
    tally.jobs += count
    doubts = compare(sandbox, cwd, count, tally)
    # One later delivery of the same template is what proves that another is absent.
    with (cwd / "jobs.jsonl").open("a") as file:
        file.write(json.dumps(email(count)) + "\n")
    time.sleep(1)
    sandbox.heal()
    finish(sandbox, cwd)
    reconciled = sender(
        "reconcile", "jobs.jsonl", "--base-url", sandbox.url, "--reconcile-lag", "2", "--rate", "app=500", cwd=cwd
    )
    assert reconciled.returncode in (0, 1), reconciled.stderr.decode()
    left = compare(sandbox, cwd, count + 1, tally)
    tally.in_doubt += doubts
    tally.settled += doubts - left


def torture(kills: int, seed: int, *, count: int = 1200, most_in_a_round: int = 20) -> Tally:
    """Rounds until so many kills have happened."""
    chance, tally = random.Random(seed), Tally()
    with running_sandbox("--rate-send", "0", "--rate-app", "0", "--visibility-lag", "1") as sandbox:
        while tally.kills < kills:
            sandbox.post("reset")
            sandbox.post("faults", fault="reset_after", probability=0.02)
            with tempfile.TemporaryDirectory() as folder:
                play_round(sandbox, Path(folder), count, min(most_in_a_round, kills - tally.kills), chance, tally)
            sys.stderr.write(f"{tally.kills} kills, {tally.jobs} jobs, {'good' if tally.good else 'BAD'}\n")
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tally = torture(args.kills, args.seed)
    sys.stdout.write(f"{tally}\n")
    for name in ("lost", "twice", "wrong"):
        found = getattr(tally, name)
        if found:
            sys.stdout.write(f"{name}: {found[:10]}\n")
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main())
