"""The proof of the pacing: the engine's pacer, guard and transport against a counting server, in several scenarios."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sender.bench.paced import Paced
from sender.bench.planning import refuse_vendor
from sender.bench.scenarios import SCENARIOS
from sender.config.api_key import ApiKey
from sender.errors import HaltError, UsageError
from sender.runtime.loop import run as run_loop
from sender.transport.base_url import check_base_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.bench.bench_options import BenchOptions
    from sender.bench.scenarios import Scenario
    from sender.config.settings import Settings

ENOUGH: Final = 0.995
KEY: Final = "sandbox-key"
_SPIN: Final = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


@dataclass(frozen=True, slots=True)
class Proof:
    """What one scenario showed; counts of requests, rates per second, gaps in milliseconds."""

    scenario: str
    told: str
    asked: float
    reached: float
    limit: int
    most_written: int
    """In any sliding second, by the instants at which they were written."""
    most_arrived: int
    """In any sliding second, counted by the server."""
    gaps_ms: dict[str, float]
    requests: int
    http_429: int
    errors: int
    guard_spread_ms: float
    guard_share: float
    wire: bool

    @property
    def share(self) -> float:
        """Part of the asked rate that was reached."""
        return self.reached / self.asked

    @property
    def broken(self) -> bool:
        """Whether the ceiling was broken: what is written never may, what arrives only where the wire reorders it."""
        return self.most_written > self.limit or (self.most_arrived > self.limit and not self.wire)

    @property
    def holds(self) -> bool:
        """Whether the ceiling held and the rate was reached; over a reordering wire the guard has to give some up."""
        return not self.broken and not self.errors and (self.wire or self.share >= ENOUGH)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "share": self.share, "broken": self.broken, "holds": self.holds}


def prove(settings: Settings, options: BenchOptions) -> tuple[list[Proof], bool]:
    """(a proof for each scenario, whether a signal ended them early)."""
    if not 1 <= options.rate <= 10_000:
        raise UsageError("--prove-pacing takes a --rate from 1 to 10,000")
    scenarios = [SCENARIOS[name] for name in options.scenarios]
    base_url = settings.base_url
    if base_url:
        base_url = check_base_url(base_url, allow_http=settings.allow_http)
        refuse_vendor(base_url, allowed=False)
        scenarios = [one for one in scenarios if not one.sandbox]
        if not scenarios:
            raise UsageError("--scenario asks for another latency, which only a sandbox of our own can have; "
                             "leave --base-url out")
    key = ApiKey.load(settings.api_key_file) if base_url else ApiKey(KEY)
    proofs: list[Proof] = []
    try:
        for scenario in scenarios:
            sys.stderr.write(f"{scenario.name}: {scenario.told}, {options.duration:g} s\n")
            proofs.append(_prove_one(scenario, options, base_url, key))
    except KeyboardInterrupt:
        return proofs, True
    return proofs, False


def _prove_one(scenario: Scenario, options: BenchOptions, base_url: str, key: ApiKey) -> Proof:
    with ExitStack() as stack:
        url = base_url or stack.enter_context(_sandbox(options.rate, scenario.sandbox))
        if scenario.busy:
            stack.enter_context(_busy())
        paced = run_loop(_run(Paced(url, key, options.rate, scenario), options.duration))
    return _proof(scenario, options.rate, paced)


async def _run(paced: Paced, duration: float) -> Paced:
    await paced.run(duration)
    return paced


def _proof(scenario: Scenario, rate: float, paced: Paced) -> Proof:
    lane = paced.stats
    gaps = lane["gaps_ms"] or dict.fromkeys(("p1", "p50", "p99", "max"), 0.0)
    seconds = (lane["last_at"] or 0.0) - (lane["first_at"] or 0.0)
    if scenario.idle:
        seconds -= gaps["max"] / 1000 - gaps["p50"] / 1000
    accepted = lane["arrived"] - lane["rejected_429"]
    return Proof(
        scenario.name, scenario.told, rate, round((accepted - 1) / seconds, 3) if seconds > 0 else 0.0,
        int(rate), paced.pacer.most_in_window, int(lane["max_in_window"]),
        {name: round(gaps[name], 2) for name in ("p1", "p50", "p99")}, paced.pacer.requests,
        int(lane["rejected_429"]), paced.errors, round(paced.guard.spread * 1000, 1), round(paced.guard.share, 3),
        scenario.wire,
    )


@contextmanager
def _sandbox(rate: float, arguments: tuple[str, ...]) -> Iterator[str]:
    """A sandbox in a process of its own, with the limit that is to be proven; gives its URL."""
    command = [sys.executable, "-m", "sender", "sandbox", "--port", "0", "--key", KEY, "--rate-send", f"{rate:g}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENDER_")}
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, env=clean)  # noqa: S603 - ourselves
    try:
        line = process.stdout.readline().decode() if process.stdout else ""
        if "listening on" not in line:
            raise HaltError("the sandbox for the proof did not start; try `sender sandbox --port 0`")
        yield line.partition("listening on ")[2].strip()
    finally:
        process.terminate()
        process.wait(5)
        if process.stdout:
            process.stdout.close()


@contextmanager
def _busy() -> Iterator[None]:
    """A busy process for every core; each ends by itself should we be killed."""
    command = [sys.executable, "-c", _SPIN]
    processes = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]  # noqa: S603 - ourselves
    try:
        yield
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
