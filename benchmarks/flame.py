"""Where a job's microseconds go: a flame graph, and the rooms of the house beside each other.

    python benchmarks/flame.py [JOBS] [--save]

`sender send` works with everything on (uvloop, checks, ledger at full durability, outcome log, pacer off), and every
millisecond of processor time its stacks are noted, each thread's with the time that this thread had. A C function
counts for the Python one that called it. `--save` writes the section of RESULTS.md and pictures/flame.svg.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import engine
import results
from common import KEY, ROOT, write_emails

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    Stacks = Counter[tuple[str, ...]]
    """Nanoseconds by stack, outermost frame first."""

PICTURE: Final = ROOT / "benchmarks" / "pictures" / "flame.svg"
EVERY: Final = 0.001
"""Seconds of processor time between two samples."""
ROW: Final = 17
WIDTH: Final = 1200
ALWAYS: Final = ("inputs", "validation", "jobs", "engine", "engine/pacing", "transport", "transport/wire", "ledger",
                 "outcomes", "loop and libraries")
"""Rooms that stand in the table even where no sample met them."""
LEAST: Final = 0.4
"""Pixels; what is narrower is left out."""
COLOURS: Final = ("#e8a33d", "#d9694a", "#5b8fb9", "#7aa95c", "#b07aa1", "#c9b037", "#5aa9a3", "#9c755f", "#d37295")
BELOW_ALL: Final = ("sender.runtime.loop:", "sender.cli.")
OTHERS: Final = "loop and libraries"
NOTES: Final = """\
{jobs:,} emails from a file with everything on: uvloop, checks, ledger at full durability, outcome log, pacer off; a
sample every millisecond of processor time. Time counts for the innermost frame of a room that is on the stack, with
what it calls in libraries; *{others}* is where no room is. Samples cost time as well: read shares, and microseconds
as their scale.

![flame graph](pictures/flame.svg)"""


class Sampler:
    """Notes stacks while it is on."""

    def __init__(self) -> None:
        self.stacks: Stacks = Counter()
        self._used: dict[int, int] = {}

    def start(self) -> None:
        """From now on."""
        self._used = dict(self._clocks())
        signal.signal(signal.SIGPROF, self._note)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def stop(self) -> None:
        """No more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _note(self, _number: int, frame: FrameType | None) -> None:
        frames: dict[int, FrameType | None] = {**sys._current_frames(), threading.get_ident(): frame}  # noqa: SLF001
        for thread, used in self._clocks():
            spent = used - self._used.get(thread, used)
            self._used[thread] = used
            if spent > 0 and frames.get(thread) is not None:
                self.stacks[stack_of(frames[thread])] += spent

    @staticmethod
    def _clocks() -> Iterator[tuple[int, int]]:
        """Processor time of each thread in ns."""
        for thread in threading.enumerate():
            if thread.ident is not None:
                yield thread.ident, time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident))


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """`module:function` of each frame, outermost first."""
    found: list[str] = []
    while frame is not None:
        found.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(reversed(found))


def room_of(stack: tuple[str, ...]) -> str:
    """The innermost room of the house that is on the stack; the loop's own frame stands below all others."""
    for frame in reversed(stack):
        if frame.startswith(BELOW_ALL):
            break
        found = re.match(r"sender\.(\w+)(?:\.(?:pacing|wire)\b)?", frame)
        if found:
            return found[0].removeprefix("sender.").replace(".", "/")
    return OTHERS


def rooms(stacks: Stacks) -> Counter[str]:
    """Nanoseconds by room."""
    found: Counter[str] = Counter()
    for stack, spent in stacks.items():
        found[room_of(stack)] += spent
    return found


def table(stacks: Stacks, jobs: int) -> str:
    """Rooms, the dearest first."""
    total = sum(stacks.values()) or 1
    found = rooms(stacks)
    found.update(dict.fromkeys(ALWAYS, 0))
    rows = [(room, f"{spent / jobs / 1000:.1f}", f"{spent / total:.1%}") for room, spent in found.most_common()]
    return results.table(("room", "us each", "share"), [*rows, ("all", f"{total / jobs / 1000:.1f}", "100%")])


def svg(stacks: Stacks) -> str:
    """A flame graph that needs no script; each box tells its name and share when it is pointed at."""
    total = sum(stacks.values()) or 1
    boxes = list(_boxes(stacks, total))
    height = (max((depth for depth, *_ in boxes), default=0) + 1) * ROW
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
    lines = [f'{head} font-size="11"><rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    for depth, left, width, name, spent in boxes:
        y = height - (depth + 1) * ROW
        text = f'<text x="{left + 3:.1f}" y="{y + 12}">{escape(_fitting(name, width))}</text>' if width > 30 else ""
        lines.append(f'<g><title>{escape(name)}: {spent / total:.1%}</title><rect x="{left:.1f}" y="{y}" '
                     f'width="{width:.1f}" height="{ROW - 1}" fill="{colour(name)}"/>{text}</g>')
    return "\n".join([*lines, "</svg>\n"])


def _boxes(stacks: Stacks, total: int) -> Iterator[tuple[int, float, float, str, int]]:
    """(depth, left, width, name, nanoseconds) of every box that can be seen."""
    waiting: list[tuple[int, float, list[tuple[tuple[str, ...], int]]]] = [(0, 0.0, list(stacks.items()))]
    while waiting:
        depth, left, here = waiting.pop()
        groups: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for stack, spent in here:
            if len(stack) > depth:
                groups.setdefault(stack[depth], []).append((stack, spent))
        for name, group in sorted(groups.items()):
            spent = sum(one for _, one in group)
            width = WIDTH * spent / total
            if width >= LEAST:
                yield depth, left, width, name, spent
                waiting.append((depth + 1, left, group))
            left += width


def _fitting(name: str, width: float) -> str:
    short = name.rpartition(".")[2] if name.startswith("sender.") else name
    room = int(width / 6.2)
    return short if len(short) <= room else short[: max(0, room - 1)] + "…"


def colour(name: str) -> str:
    """One for each room; grey for what is none."""
    found = re.match(r"sender\.(\w+)", name)
    return COLOURS[sum(found[1].encode()) % len(COLOURS)] if found else "#d8d8d8"


def work(folded: str, *arguments: str) -> None:
    """The process that is sampled: from warm connections to the last outcome on record."""
    from sender.engine.workspace import Workspace

    sampler, warm, tell = Sampler(), Workspace.warm, engine.tell

    async def warm_first(workspace: Workspace) -> None:
        await warm(workspace)
        sampler.start()

    def tell_last(begin: tuple[float, float]) -> None:
        sampler.stop()
        tell(begin)
        lines = (f"{';'.join(stack)} {spent}\n" for stack, spent in sampler.stacks.items())
        Path(folded).write_text("".join(lines))

    Workspace.warm, engine.tell = warm_first, tell_last  # type: ignore[method-assign, assignment]
    engine.engine("uvloop", "full", *arguments)


def measure(count: int) -> Stacks:
    """One run, sampled."""
    environment: dict[str, Any] = {**os.environ, "SENDER_API_KEY": KEY, "XDG_STATE_HOME": os.devnull,
                                   "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as path, engine.server() as url:
        folder = Path(path)
        write_emails(folder / "jobs.jsonl", count)
        command = [sys.executable, __file__, "work", str(folder / "folded"), "send", "jobs.jsonl", "--base-url", url,
                   "--json", "--no-progress", "--no-preflight", "--rate", "max", "--concurrency",
                   str(engine.CONCURRENCY)]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)
        return read(folder / "folded")


def read(path: Path) -> Stacks:
    """Folded stacks, as other tools write and read them too."""
    found: Stacks = Counter()
    for line in path.read_text().splitlines():
        stack, _, spent = line.rpartition(" ")
        found[tuple(stack.split(";"))] += int(spent)
    return found


def main() -> None:
    (count,) = results.numbers(20_000)
    stacks = measure(count)
    if "--save" in sys.argv:
        PICTURE.write_text(svg(stacks))
    results.tell("flame", "Where a job's microseconds go", NOTES.format(jobs=count, others=OTHERS),
                 table(stacks, count))


if __name__ == "__main__":
    work(*sys.argv[2:]) if sys.argv[1:2] == ["work"] else main()
