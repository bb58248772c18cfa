"""The crash harness: starts that are killed, stopped or robbed of their disk, against a server that keeps count.

    python -m tests.campaigns.crash --kills 200

A round is one pile of jobs, sent by the same command again and again: each start but the last suffers one of the
`ATTACKS`, and now and then a line is torn that the log was about to end with. The server
answers some sends with a reset after it has accepted them. At the end of each round the books of both sides are held
against each other, before and after `sender reconcile`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.attacks import ATTACKS, Stage
from tests.support.processes import Sandbox, email, running_sandbox, sender, write_jobs


@dataclass
class Tally:
    """What all rounds came to."""

    attacks: Counter[str] = field(default_factory=Counter)
    """How often each attack was played."""
    torn_lines: int = 0
    jobs: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Jobs whose outcome says other than what the server knows."""
    in_doubt: int = 0
    settled: int = 0

    @property
    def kills(self) -> int:
        return self.attacks.total()

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.wrong)

    def __str__(self) -> str:
        rows = [
            *self.attacks.most_common(), ("all starts that suffered", self.kills), ("torn log lines", self.torn_lines),
            ("jobs", self.jobs), ("lost", len(self.lost)), ("accepted twice", len(self.twice)),
            ("outcomes that are wrong", len(self.wrong)), ("in doubt before reconcile", self.in_doubt),
            ("of them settled by reconcile", self.settled),
        ]
        return "\n".join(f"{name:>30}  {number:,}" for name, number in rows)


def attack(stage: Stage, tally: Tally) -> bool:
    """One start that suffers something; whether it came to its end all the same."""
    names, weights = list(ATTACKS), [weight for _, weight in ATTACKS.values()]
    name = stage.chance.choices(names, weights)[0]
    tally.attacks[name] += 1
    return ATTACKS[name][0](stage)


def tear(log: Path, chance: random.Random, tally: Tally) -> None:
    """The beginning of a line that was being written when the power went."""
    if chance.random() < 0.3 and log.exists():
        with log.open("ab") as file:
            file.write(b'{"id":"job-1","kind":"email","status":"se'[: chance.randrange(1, 40)])
        tally.torn_lines += 1


def last_lines(log: bytes) -> dict[str, dict[str, Any]]:
    lines = (json.loads(line) for line in log.splitlines(keepends=True) if line.endswith(b"\n"))
    return {line["id"]: line for line in lines if line["status"] != "duplicate"}


def compare(sandbox: Sandbox, log: bytes, count: int, tally: Tally) -> int:
    """Hold the log against the server; returns the number of jobs in doubt."""
    accepted = Counter(sandbox.numbers())
    holding = last_lines(log)
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


def finish(stage: Stage) -> None:
    """Run to the end, undisturbed."""
    done = sender(*stage.command(), cwd=stage.cwd, XDG_STATE_HOME=str(stage.cwd / "state"))
    assert done.returncode in (0, 1), done.stderr.decode()
    summary = json.loads(done.stdout)
    books = sum(summary[name] for name in ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate"))
    assert summary["read"] == books + summary["not_started"], summary


def play_round(stage: Stage, count: int, kills: int, tally: Tally) -> None:
    """One pile of jobs, attacked at most so often."""
    sandbox, jobs = stage.sandbox, stage.cwd / "jobs.jsonl"
    write_jobs(jobs, [email(number) for number in range(count)])
    before = tally.kills
    while tally.kills - before < kills and not attack(stage, tally):
        tear(stage.log, stage.chance, tally)
    finish(stage)
    tally.jobs += count
    doubts = compare(sandbox, stage.written(), count, tally)
    # One later delivery of the same template is what proves that another is absent.
    with jobs.open("a") as file:
        file.write(json.dumps(email(count)) + "\n")
    time.sleep(1)
    sandbox.heal()
    finish(stage)
    reconciled = sender("reconcile", "jobs.jsonl", "--base-url", sandbox.url, "--reconcile-lag", "2",
                        "--rate", "app=500", cwd=stage.cwd)
    assert reconciled.returncode in (0, 1), reconciled.stderr.decode()
    left = compare(sandbox, stage.written(), count + 1, tally)
    tally.in_doubt += doubts
    tally.settled += doubts - left


def torture(kills: int, seed: int, *, count: int = 1200, most_in_a_round: int = 20) -> Tally:
    """Rounds until so many starts have suffered."""
    chance, tally = random.Random(seed), Tally()
    with running_sandbox("--rate-send", "0", "--rate-app", "0", "--visibility-lag", "1") as sandbox:
        while tally.kills < kills:
            sandbox.post("reset")
            with tempfile.TemporaryDirectory() as folder:
                stage = Stage(sandbox, Path(folder), chance)
                stage.usual_faults()
                play_round(stage, count, min(most_in_a_round, kills - tally.kills), tally)
            sys.stderr.write(f"{tally.kills} attacks, {tally.jobs} jobs, {'good' if tally.good else 'BAD'}\n")
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
