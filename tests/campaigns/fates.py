"""What became of 20,000 receipts, watched and told twice: by lists and by webhooks; all books against the API's own.

    python -m tests.campaigns.fates --jobs 20000

2 % of them bounce, 1 % go to addresses on a suppression list, some are opened; each is on its way for up to 20 s. One
`sender follow` reads lists and one takes webhooks, of which a fifth come twice and none in order, both beside the run
that still sends. Both are killed on the way and started again. The live page of the run is watched from its beginning
to its end, and pauses it on the way. At the end a last `sender follow` asks by lists for all of it at once.

`--save` writes the figures into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sender.follow.delivery_log import beside, read_deliveries
from tests.support.live_pages import LivePage, write_token
from tests.support.processes import Sandbox, email, running_sandbox, start_sender, write_jobs

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

FATES: Final = ("--fate", "bounced=2%", "--fate", "opened=30%", "--fate", "deferred=3%", "--deliver-after", "1-20")
HEADINGS: Final = ("delivered", "bounced", "dropped", "failed", "open")
WHAT: Final = (
    "A run of `sender send` is followed by lists and by webhooks while it sends, both killed once and started again; "
    "its live page is watched and pauses it on the way. Then a new `sender follow --once` asks for all of it by lists, "
    "at half of the API's 10 requests a second."
)
WITHIN: Final = 900.0
"""Seconds for the whole of it."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.2)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


class Followed:
    """One `sender follow` that is killed once and started again."""

    def __init__(self, cwd: Path, log: Path, *options: str) -> None:
        self.deliveries = beside(log)
        self._arguments = ("follow", str(log), "--json", "--no-progress", *options)
        self._cwd = cwd
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return start_sender(*self._arguments, cwd=self._cwd, SENDER_WEBHOOK_KEY="sandbox-signing-key")

    def kill_and_start_again(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.process = self._start()

    def end(self, number: int | None = None) -> dict[str, Any]:
        """The books that it prints at its end."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=WITHIN)
        if not out:
            raise RuntimeError(err.decode())
        books: dict[str, Any] = json.loads(out)
        return books

    def fates(self) -> dict[str, str]:
        """What the file says of each delivery."""
        return {line["delivery_id"]: line["fate"] for line in read_deliveries(self.deliveries)}


class WatchedPage:
    """The live page of a run, whose events are read in a thread until the run ends."""

    def __init__(self, port: int) -> None:
        self.page = LivePage(f"http://127.0.0.1:{port}/")
        self.last: dict[str, Any] = {}
        self.events = 0
        until(self._answers, "the live page answers")
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _answers(self) -> bool:
        try:
            return bool(self.page.figures)
        except OSError:
            return False

    def _read(self) -> None:
        with urllib.request.urlopen(f"{self.page.url}events", timeout=60) as answer:
            for line in answer:
                if line.startswith(b"data: ") and b'"counts"' in line:
                    self.last = json.loads(line[6:])
                    self.events += 1

    def pause(self, sandbox: Sandbox) -> int:
        """Requests that came later than a second after the pause was asked for, in two seconds."""
        asked = time.monotonic()
        if self.page.ask("pause")[0] != 200:
            raise RuntimeError("the page could not pause the run")
        time.sleep(max(0.0, asked + 1 - time.monotonic()))
        before = sandbox.lanes["send"]["arrived"]
        time.sleep(2)
        late: int = sandbox.lanes["send"]["arrived"] - before
        self.page.ask("resume")
        return late

    def wrong(self, summary: dict[str, Any]) -> int:
        """Headings of the page's last figures that are not those of the run's summary."""
        self._reading.join(10)
        counts: dict[str, int] = self.last.get("counts", {})
        return sum(summary[name] != count for name, count in counts.items()) if counts else len(HEADINGS)


def own_fates(sandbox: Sandbox) -> dict[str, str]:
    with urllib.request.urlopen(f"{sandbox.url}/_sandbox/fates?format=jsonl", timeout=60) as answer:
        return {one["delivery_id"]: one["fate"] for one in map(json.loads, answer)}


def campaign(jobs: int, rate: int, cwd: Path) -> tuple[dict[str, Any], bool]:
    port = free_port()
    hook = ("--webhook", f"http://127.0.0.1:{port}/", "--webhook-repeats", "20%")
    with running_sandbox("--rate-send", str(rate), *FATES, *hook) as sandbox:
        sandbox.post("suppressions", bounces=[f"person{number}@example.com" for number in range(0, jobs, 100)])
        log = cwd / "jobs.jsonl.outcomes.jsonl"
        (cwd / "hooks").mkdir()
        (cwd / "hooks" / log.name).symlink_to(log)
        log.touch()
        write_jobs(cwd / "jobs.jsonl", (email(number) for number in range(jobs)))
        hooks = Followed(cwd, cwd / "hooks" / log.name, "--listen", f"127.0.0.1:{port}")
        live = free_port()
        run = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, "--rate", str(rate), "--no-reconcile",
                           "--no-progress", "--json", "--live", str(live), "--live-token-file", write_token(cwd),
                           cwd=cwd)
        watched = WatchedPage(live)
        until(lambda: lines_in(log) > jobs // 10, "the run sends")
        late = watched.pause(sandbox)
        base = ("--base-url", sandbox.url, "--reconcile-lag", "5")
        lists = Followed(cwd, log, *base, "--until", "open<=0")
        for one in (lists, hooks):
            until(lambda one=one: lines_in(one.deliveries) > jobs // 4, "fates are told")  # type: ignore[misc]
            one.kill_and_start_again()
        summary = json.loads(run.communicate(timeout=WITHIN)[0])
        sent, misread = summary["sent"], watched.wrong(summary)
        began = time.monotonic()
        lists.end()
        took = time.monotonic() - began
        until(lambda: sandbox.get("webhooks")["waiting"] == 0, "all webhooks are taken")
        by_hooks = hooks.end(signal.SIGTERM)
        requests = sandbox.lanes["app"]["arrived"]
        (cwd / "anew").mkdir()
        (cwd / "anew" / log.name).symlink_to(log)
        began = time.monotonic()
        anew = Followed(cwd, cwd / "anew" / log.name, *base, "--once")
        at_once = anew.end()
        whole = time.monotonic() - began
        whole_requests = sandbox.lanes["app"]["arrived"] - requests
        again = Followed(cwd, log, *base, "--once")
        by_lists, own = again.end(), own_fates(sandbox)
        webhooks = sandbox.get("webhooks")
    counts = Counter(own.values())
    same = {"by_lists": lists.fates() == own == anew.fates(), "by_webhooks": hooks.fates() == own}
    figures = {
        "sent": sent, **{f"{name}, the API's own": counts[name] for name in HEADINGS},
        **{f"{name}, by lists": by_lists[name] for name in (*HEADINGS, "opened")},
        **{f"{name}, by webhooks": by_hooks[name] for name in (*HEADINGS, "opened")},
        "requests for lists": requests, "seconds after the last send": round(took, 1),
        "all of it anew by lists, open": at_once["open"], "requests for that": whole_requests,
        "seconds for that": round(whole, 1),
        "looks at the live page": watched.events, "wrong on its last": misread,
        "sent later than 1 s after its pause": late,
        "webhooks acknowledged": webhooks["acknowledged"], "webhooks refused": webhooks["refused"],
        "wrong, by lists": 0 if same["by_lists"] else wrong(lists.fates(), own),
        "wrong, by webhooks": 0 if same["by_webhooks"] else wrong(hooks.fates(), own),
    }
    told = [{name: books[name] for name in (*HEADINGS, "sent", "opened", "deferred")} for books in (by_lists, by_hooks)]
    right = told[0] == told[1] and all(by_lists[name] == counts[name] for name in HEADINGS) and sent == jobs == len(own)
    return figures, right and all(same.values()) and not (misread or late)


def save(figures: dict[str, Any], jobs: int) -> None:
    """Its section of RESULTS.md."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    sys.argv[:1] = ["-m", "tests.campaigns.fates"]  # the command as it is told there
    from results import table, write  # the benchmarks are scripts, which find each other so

    write("fates", f"What became of {jobs:,} deliveries", WHAT,
          table(("", "figure"), ((name, f"{number:,}") for name, number in figures.items())))


def wrong(told: dict[str, str], own: dict[str, str]) -> int:
    return sum(told.get(name, "open") != fate for name, fate in own.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rate", type=int, default=400)
    parser.add_argument("--save", action="store_true", help="write the section of RESULTS.md, too")
    given = parser.parse_args()
    os.environ.pop("SENDER_WEBHOOK_KEY", None)
    with tempfile.TemporaryDirectory() as folder:
        figures, right = campaign(given.jobs, given.rate, Path(folder))
    for name, number in figures.items():
        sys.stdout.write(f"{name:>36}  {number:,}\n")
    if given.save:
        save(figures, given.jobs)
    sys.stdout.write("both books are those of the API\n" if right else "THE BOOKS DIFFER\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
