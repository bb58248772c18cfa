"""The README's pictures: a real run with a rough stretch and a real benchmark, reported, and seen by a real browser.

python benchmarks/pictures.py [FOLDER]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.browser import browser, chromium, opened
from tests.support.processes import Sandbox, email, environment, running_sandbox, write_jobs

JOBS = 6000
PAGES = (("report", "run.html", 1000, 1200, False), ("report-phone", "run.html", 390, 1200, True),
         ("bench", "bench.html", 1000, 1020, False))


def sender(cwd: Path, *arguments: str) -> None:
    """One command; a run in which some jobs were refused ends with 1."""
    done = subprocess.run([sys.executable, "-m", "sender", *arguments], cwd=cwd, env=environment(), check=False)
    assert done.returncode in (0, 1), done.returncode


def make_trouble(sandbox: Sandbox) -> None:
    """What a day may bring: refusals, lost answers, an outage, a stretch of 429s."""
    sandbox.post("faults", lane="send", fault="status_400", probability=0.004)
    sandbox.post("faults", lane="send", fault="reset_after", probability=0.002)
    time.sleep(20)
    sandbox.post("faults", fault="down", mode="refuse", seconds=4)
    time.sleep(20)
    sandbox.post("faults", lane="send", fault="status_429", probability=0.2, count=20)


def record(folder: Path) -> None:
    """The run, the benchmark and their pages."""
    write_jobs(folder / "receipts.jsonl", [email(number) for number in range(JOBS)])
    with running_sandbox("--latency", "20-120") as sandbox:
        trouble = threading.Thread(target=make_trouble, args=(sandbox,))
        trouble.start()
        sender(folder, "send", "receipts.jsonl", "--base-url", sandbox.url, "--no-progress", "--reconcile-lag", "5")
        trouble.join()
    with running_sandbox("--rate-send", "0", "--latency", "5-30") as sandbox:
        sender(folder, "bench", "--base-url", sandbox.url, "--rate", "500", "--duration", "20", "--save", "bench.json",
               "--threshold", "p99<100ms")
    sender(folder, "report", "receipts.jsonl.outcomes.jsonl", "--out", "run.html")
    sender(folder, "report", "bench.json", "--out", "bench.html")


def photograph(pages: Path, folder: Path) -> None:
    """Each page as it looks at the top."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as running:
        for name, page, width, height, dark in PAGES:
            with opened(running, (pages / page).as_uri(), width=width, dark=dark) as watched:
                assert not watched.complaints, watched.complaints
                clip = {"x": 0, "y": 0, "width": width, "height": height}
                watched.page.screenshot(path=folder / f"{name}.png", clip=clip, full_page=True)


def main() -> int:
    if chromium() is None:
        sys.stderr.write("there is no chromium, and none can be installed\n")
        return 1
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "pictures").resolve()
    with tempfile.TemporaryDirectory() as pages:
        os.environ.pop("SENDER_CONFIG", None)
        record(Path(pages))
        photograph(Path(pages), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
