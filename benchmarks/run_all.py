"""Every benchmark after the other, into RESULTS.md: python benchmarks/run_all.py [--minutes N] [--only NAME,…] [--list]

Each writes its own section when it ends, so that a run that is stopped has renewed what it measured; the targets, the
figures of README.md and docs/, and the pictures come last. `--minutes` (or BENCH_MINUTES) is how long it may take:
with less than all, rounds and seconds are fewer, and what cannot be had in the time is left as it was, the least
important first. One that fails is told, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = ROOT / "benchmarks"
LAST: Final = 1.0
"""Minutes that the targets and the pages take at the end."""
LATE: Final = 2.5
"""Times as long as it is expected to take, after which one is ended, and a minute more."""


@dataclass(frozen=True, slots=True)
class Step:
    """One benchmark."""

    name: str
    minutes: float
    """Of the whole of it, on two cores."""
    least: float
    """Of the smallest that still says something."""
    arguments: Callable[[float], list[str]]
    """For a part of the whole, from 0 to 1."""

    def part(self, share: float) -> float:
        """The part that it takes when all have this share; never less than its least."""
        return min(1.0, max(share, self.least / self.minutes))


def some(share: float, whole: int, least: int) -> str:
    """So many rounds, or seconds."""
    return str(max(least, round(share * whole)))


STEPS: Final = (
    Step("engine", 5.5, 1.2, lambda share: [some(share, 20_000, 8_000), some(share, 5, 2), "--save"]),
    Step("generators", 5.0, 2.5, lambda share: ["--rounds", some(share, 3, 1), "--save"]),
    Step("flame", 0.3, 0.3, lambda _: ["--save"]),
    Step("validation", 0.7, 0.7, lambda _: ["--save"]),
    Step("checking", 0.7, 0.3, lambda share: [some(share, 200_000, 100_000), some(share, 3, 1), "--save"]),
    Step("startup", 0.7, 0.4, lambda share: [some(share, 9, 5), "--save"]),
    Step("shared_limit", 5.5, 2.8, lambda share: ["--seconds", some(share, 15, 6), "--save"]),
    Step("throughput", 4.0, 1.0, lambda share: ["--rounds", some(share, 5, 1), "--save"]),
    Step("proof", 2.6, 1.3, lambda share: ["--seconds", some(share, 20, 8), "--save"]),
    Step("memory", 4.0, 4.0, lambda _: ["--save"]),
    Step("replicas", 2.5, 2.5, lambda _: ["--save"]),
    Step("state_cost", 1.5, 1.0, lambda share: [some(share, 20, 10), "--save"]),
    Step("outbox", 3.5, 3.0, lambda share: [some(share, 10_000, 5_000), "--save"]),
    Step("hostile", 1.0, 0.5, lambda share: ["--rounds", some(share, 9, 3), "--save"]),
    Step("ledger", 2.5, 0.9, lambda share: [some(share, 20_000, 8_000), some(share, 3, 1), "--save"]),
    Step("passing_over", 2.0, 0.5, lambda share: [some(share, 1_000_000, 100_000), "3", "--save"]),
    Step("pacing", 9.5, 5.5, lambda share: ["--seconds", some(share, 15, 8), "--save"]),
    Step("rebalances", 4.5, 2.5, lambda share: [some(share, 10_000, 3_000), "--save"]),
    Step("webhooks", 0.7, 0.4, lambda share: ["--events", some(share, 20_000, 8_000), "--save"]),
    Step("pictures", 2.0, 2.0, lambda _: []),
)
"""The most important ones first."""
OF_THE_TESTS: Final = ("outbox", "pictures", "rebalances")


def main() -> int:
    options = _options()
    steps = [step for step in STEPS if not options.only or step.name in options.only.split(",")]
    planned = list(plan(steps, options.minutes))
    if options.list:
        for step, share in planned:
            print(f"{step.name:13} {step.minutes * share:4.1f} min  {' '.join(step.arguments(share))}")
        return 0
    _say(f"{len(planned)} benchmarks, about {sum(step.minutes * share for step, share in planned):.0f} minutes; left "
         f"as they were: {', '.join(step.name for step in left_out(steps, planned)) or 'none'}")
    stopped, failed = False, []
    try:
        for step, share in planned:
            if not run(step, share):
                failed.append(step.name)
    except KeyboardInterrupt:
        stopped = True
        _say("stopped: what was measured until now is kept")
    if not finish():
        failed.append("the pages")
    _say(f"failed: {', '.join(failed)}" if failed else "done")
    return 1 if failed else 3 if stopped else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("BENCH_MINUTES") or 60))
    parser.add_argument("--only", default="", help="these, with commas between them")
    parser.add_argument("--list", action="store_true", help="tell what would run, and for how long")
    return parser.parse_args()


def plan(steps: list[Step], minutes: float) -> Iterator[tuple[Step, float]]:
    """(step, part of its whole): as many as fit with their least, then all of them by one share of what is left."""
    left = minutes - LAST
    chosen = []
    for step in steps:
        if step.least <= left:
            chosen.append(step)
            left -= step.least
    whole = sum(step.minutes for step in chosen)
    share = 0.0
    while share < 1 and sum(step.minutes * step.part(share + 0.01) for step in chosen) <= minutes - LAST and whole:
        share += 0.01
    for step in chosen:
        yield step, step.part(share)


def left_out(steps: list[Step], planned: list[tuple[Step, float]]) -> list[Step]:
    """Those for which there is no time."""
    chosen = {step.name for step, _ in planned}
    return [step for step in steps if step.name not in chosen]


def run(step: Step, share: float) -> bool:
    """One benchmark in a process group of its own; whether it ended well."""
    command = [_python(step), str(Path("benchmarks") / f"{step.name}.py"), *step.arguments(share)]
    _say(" ".join(command[1:]))
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdin=subprocess.DEVNULL)
    try:
        status: int | str = process.wait(60 * (LATE * step.minutes * share + 1))
    except subprocess.TimeoutExpired:
        status = "it took too long"
    finally:
        _end(process)
    _say(f"{step.name}: {time.monotonic() - begin:.0f} s{'' if status == 0 else f', FAILED: {status}'}")
    return status == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing that it started outlives it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _python(step: Step) -> str:
    """Some need what the environment of the tests brings: a browser, servers."""
    tests = ROOT / ".venv" / "bin" / "python"
    return str(tests) if step.name in OF_THE_TESTS and tests.exists() else sys.executable


def finish() -> bool:
    """Targets beside the figures, and the figures in the pages; whether both could be written."""
    commands = (["benchmarks/targets.py", "--save"], ["docs/generate.py"])
    return all(subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode == 0
               for command in commands)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
