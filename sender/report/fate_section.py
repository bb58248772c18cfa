"""What the section of a run says of its deliveries: facts, flow, time to delivery, bounces. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sender.report.section import Bar, Chart, Curve, Fact, Flow, Table
from sender.report.words import number, seconds_told, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sender.report.fate_figures import FateFigures
    from sender.report.section import Tone

TONES: Final[dict[str, Tone]] = {
    "delivered": "good", "bounced": "bad", "dropped": "bad", "failed": "bad", "open": "second", "not followed": "quiet",
}
PERCENTS: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)


def fate_facts(fates: FateFigures) -> tuple[Fact, ...]:
    """The figures that matter."""
    counts, all_of, bounced = fates.fates, fates.followed, fates.bounces
    kinds = ", ".join(f"{number(bounced[kind])} {kind}" for kind in ("hard", "soft") if bounced[kind])
    facts = [Fact(f"delivered, {share(counts['delivered'], all_of)}", number(counts["delivered"]), "good")]
    for name in ("bounced", "dropped", "failed"):
        told = f" ({kinds})" if name == "bounced" and kinds else ""
        facts.append(Fact(f"{name}, {share(counts[name], all_of)}{told}", number(counts[name]),
                          "bad" if counts[name] else "quiet"))
    facts.append(Fact("not known yet", number(counts["open"]), "second" if counts["open"] else "quiet"))
    facts += [Fact(name, number(fates.marks[name])) for name in ("opened", "clicked") if fates.marks[name]]
    if fates.seconds.count:
        p50, p99 = fates.seconds.percentiles((50, 99))
        facts += [Fact("arrived within, p50", seconds_told(p50)), Fact("arrived within, p99", seconds_told(p99))]
    return tuple(facts)


def flow_of(
    statuses: Mapping[str, int], tones: Mapping[str, Tone], fates: FateFigures | None, index: int
) -> Flow | None:
    """From what was read over what became of it here to what became of it there; None where nothing was read."""
    jobs = sum(statuses.values())
    if not jobs or fates is None:
        return None
    here = tuple(Bar(name, count, tones.get(name, "quiet")) for name, count in statuses.items() if count)
    ends = {**fates.fates, "not followed": max(0, statuses.get("sent", 0) - fates.followed)}
    there = tuple(Bar(name, count, TONES[name]) for name, count in ends.items() if count)
    rows = [("read", number(jobs), "")]
    rows += [(bar.name, number(bar.count), share(bar.count, jobs)) for bar in here]
    rows += [(f"sent: {bar.name}", number(bar.count), share(bar.count, jobs)) for bar in there]
    told = f"{number(jobs)} jobs were read: {_listed(here)}; of those sent {_listed(there)}."
    table = Table("From read to delivered", ("what", "jobs", "of all read"), tuple(rows), words=(0,))
    return Flow(f"flow-{index}", told, jobs, here, there, table)


def _listed(bars: Sequence[Bar]) -> str:
    return ", ".join(f"{number(bar.count)} {bar.name.replace('_', ' ')}" for bar in bars)


def arrival_chart(fates: FateFigures, index: int) -> Chart | None:
    """Time to delivery by percentile."""
    total = fates.seconds.count
    if not total:
        return None
    percents = tuple(percent for percent in PERCENTS if percent <= 100 - 100 / total or percent == PERCENTS[0])
    values = tuple(fates.seconds.percentiles(percents))
    rows = [(f"{percent:g} %", seconds_told(value)) for percent, value in zip(percents, values, strict=True)]
    rows.append(("100 %", seconds_told(fates.seconds.most)))
    table = Table("Time to delivery", ("of all delivered", "within"), tuple(rows))
    told = f"Time to delivery of {number(total)} deliveries: " + ", ".join(f"{a} within {b}" for a, b in table.rows)
    note = "From the API's acceptance to the provider's word that it arrived."
    return Chart(f"arrival-{index}", "Time to delivery by percentile", f"{told}.", percents, "s",
                 (Curve("time to delivery", "good", values),), table, axis="percentile", note=note)


def fate_tables(fates: FateFigures) -> tuple[Table, ...]:
    """Bounces by domain and by reason."""
    head = ("domain", "deliveries", "delivered", "hard bounces", "soft", "other", "dropped")
    domains = tuple(
        (one.domain, number(one.deliveries), share(one.delivered, one.deliveries), number(one.hard), number(one.soft),
         number(one.other), number(one.dropped))
        for one in fates.domains
    )
    reasons = tuple(
        (one.reason or "no reason was told", number(one.deliveries), f"{one.bounce} {one.fate}".strip(),
         one.code or "–")
        for one in fates.reasons
    )
    note = "Those from which most came back or was held back, first."
    return (
        Table("Deliveries by domain", head, domains, note=note),
        Table("Why deliveries came back or were held back", ("for example", "deliveries", "as", "code"), reasons,
              words=(0, 2, 3)),
    )
