"""The proofs as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sender.bench.bench_text import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sender.bench.proof import Proof

HEAD = ("scenario", "asked", "reached", "share", "most in 1 s, written", "at the server", "gaps p1", "p50", "p99 ms",
        "429s", "")


def told(proofs: Sequence[Proof]) -> str:
    """A line for each scenario, and what the guard cost where it had to learn."""
    if not proofs:
        return "no scenario came to its end\n"
    lines = table([HEAD, *map(_row, proofs)])
    for proof in proofs:
        if proof.wire:
            lines.append(
                f"{proof.scenario}: requests overtake each other on the wire, so no sender can rule their arrival; the "
                f"guard learned from {proof.http_429:,} refusals, widened its second by {proof.guard_spread_ms:g} ms "
                f"and took {proof.guard_share:.1%} of the limit, which cost {1 - proof.share:.1%} of the rate"
            )
    return "\n".join(lines) + "\n"


def _row(proof: Proof) -> tuple[str, ...]:
    verdict = (
        "ok" if proof.holds else "CEILING BROKEN" if proof.broken else "TOO SLOW" if not proof.errors else "ERRORS"
    )
    return (
        proof.scenario, f"{proof.asked:g}/s", f"{proof.reached:.2f}/s", f"{proof.share:.2%}", str(proof.most_written),
        str(proof.most_arrived), *(f"{proof.gaps_ms[name]:.1f}" for name in ("p1", "p50", "p99")),
        str(proof.http_429), verdict,
    )
