"""The main ratios in three minutes: python benchmarks/quick.py [--accept] [--only TEXT]

Each is what a part of sender does in the time of a yardstick beside it, by processor time, so that it is nearly the
same on any machine; expected.toml has what they were. Exit 1 when one fell by more than 15 % in two trials;
`--accept` takes what is measured as what to expect.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import orjson
from engine import Figure, compare
from proof import prove
from rivals import FULL
from rivals.bare_aiohttp import CONNECTIONS
from rivals.commands import Tools
from throughput import BARE, client_of, cpu_ratio, measure
from validation import GOOD, OWN, contenders, decoders
from validation import measure as timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from throughput import Target

EXPECTED: Final = Path(__file__).with_name("expected.toml")
FELL: Final = 0.85
"""Part of the expected ratio that is still taken for it."""
JOBS: Final = 6000
ROUNDS: Final = 3
HEAD: Final = """\
# The main ratios, each the better the larger; `make bench-quick` exits 1 when one is more than 15 % below.
# `python benchmarks/quick.py --accept` writes what it measures.
"""


def main() -> int:
    options = _options()
    expected = tomllib.loads(EXPECTED.read_text()).get("ratio", {})
    found: dict[str, float] = {}
    begin = time.monotonic()
    for trial in TRIALS:
        if options.only in trial.__name__:
            _say(f"{trial.__name__}: {trial.__doc__}")
            found |= trial()
            if not options.accept and fallen(found, expected):
                found |= {name: max(value, found[name]) for name, value in trial().items()}
    if options.accept:
        EXPECTED.write_text(written(expected | found))
    for name, value in found.items():
        print(f"{value:7.3f}  expected {expected.get(name, float('nan')):7.3f}  {name}")
    low = [] if options.accept else fallen(found, expected)
    for name in low:
        _say(f"FELL by more than {1 - FELL:.0%}: {name}: {found[name]:.3f}, expected {expected[name]:.3f}")
    _say(f"{len(found)} ratios in {time.monotonic() - begin:.0f} s: {'FELL' if low else 'as expected'}")
    return 1 if low else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accept", action="store_true", help="write what is measured as what to expect")
    parser.add_argument("--only", default="", help="trials with this in their name: engine, bench, checking, pacing")
    return parser.parse_args()


def fallen(found: dict[str, float], expected: dict[str, float]) -> list[str]:
    """Names of those that are too far below what was expected."""
    return [name for name, value in found.items() if name in expected and value < FELL * expected[name]]


def written(ratios: dict[str, float]) -> str:
    """The file that holds them."""
    return HEAD + "\n[ratio]\n" + "".join(f'"{name}" = {value:.3f}\n' for name, value in sorted(ratios.items()))


def engine() -> dict[str, float]:
    """The whole engine beside the bare aiohttp loop."""
    runs = compare(("bare", "without", "full"), JOBS, ROUNDS)
    return {
        f"{what}, {loop}, to the bare aiohttp loop": _of_cpu(runs[loop, "bare"], runs[loop, program])
        for loop in ("uvloop", "asyncio")
        for program, what in (("without", "engine without ledger"), ("full", "engine with ledger"))
    }


def _of_cpu(bare: list[Figure], mine: list[Figure]) -> float:
    return median(one.cpu_s / other.cpu_s for one, other in zip(bare, mine, strict=True))


def bench() -> dict[str, float]:
    """`sender bench --rate max` beside the bare aiohttp loop."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)

        def own(to: Target) -> list[str]:
            return Tools(folder, to.url).sender(60, CONNECTIONS, None)

        ratios = []
        for _ in range(ROUNDS):
            mine, bare = measure(own, folder, 1.5), measure(client_of(FULL[BARE], "uvloop"), folder, 1.5)
            assert mine is not None
            assert bare is not None
            ratios.append(cpu_ratio(mine, bare))
    return {"sender bench --rate max, to the bare aiohttp loop": median(ratios)}


def checking() -> dict[str, float]:
    """A line to a job, and the check of an email, beside orjson's decoding of it."""
    checks = contenders()
    mine = {name: checks[name] for name in (OWN, "sender, line to job")}
    times = timed({**mine, **decoders()}, orjson.dumps(GOOD), rounds=9, calls=3000)
    yardstick = median(times["orjson, decode only"])
    return {f"decoding an email, to: {name}": yardstick / median(times[name]) for name in mine}


def pacing() -> dict[str, float]:
    """The rate that is reached at 100 a second; 0 when the ceiling was broken."""
    (found,) = prove(100, 8, "--scenario", "plain")
    return {"reached at 100 a second": 0.0 if found["broken"] else found["share"]}


TRIALS: Final[tuple[Callable[[], dict[str, float]], ...]] = (engine, bench, checking, pacing)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
