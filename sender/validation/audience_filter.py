"""The filter language of a broadcast's `recipients` (docs/api.md, "Audience filter"), checked without recursion."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.jobs.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sender.validation.findings import Report

NODES: Final = ("and", "or", "not", "segment", "attribute")
SCALARS: Final = (str, int, float, bool)
MOST_STEPS: Final = 12
"""Steps of a path that are written out."""


class _Place(NamedTuple):
    """Where a node stands; its path is written only when there is something to say."""

    step: str
    above: _Place | None = None

    def __str__(self) -> str:
        steps = list(islice(self._steps(), MOST_STEPS + 1))
        whole = len(steps) <= MOST_STEPS
        return "".join(reversed(steps)) if whole else "recipients…" + "".join(reversed(steps[:MOST_STEPS]))

    def _steps(self) -> Iterator[str]:
        place: _Place | None = self
        while place is not None:
            yield place.step
            place = place.above


def check_filter(root: Any, report: Report) -> None:
    """Every node is an object with exactly one key."""
    waiting: list[tuple[_Place, Any]] = [(_Place("recipients"), root)]
    while waiting:
        place, node = waiting.pop()
        condition = _condition(place, node, report)
        if condition is None:
            continue
        key, value = condition
        below = _Place(f".{key}", place) if key in NODES else place
        if key in ("and", "or"):
            waiting.extend(_branches(below, value, report))
        elif key == "not":
            waiting.append((below, value))
        elif key == "segment":
            _check_segment(below, value, report)
        elif key == "attribute":
            _check_attribute(below, value, report)
        else:
            near = nearest(key, NODES) if report.takes_problems else None
            hint = f"; is {near} meant?" if near else ""
            _tell(place, f"has an unknown condition, use one of {', '.join(NODES)}{hint}", report)


def _condition(place: _Place, node: Any, report: Report) -> tuple[str, Any] | None:
    if type(node) is dict:
        members = [(key, value) for key, value in node.items() if key != "inverse" and value is not None]
        if len(members) == 1:
            if "inverse" in node:
                path = str(place) if report.takes_warnings else ""
                report.warn("odd_filter", path, "inverse is a key of newsletters' filters; broadcasts use not")
            return members[0]
    _tell(place, f"must be an object with exactly one of {', '.join(NODES)}", report)
    return None


def _branches(place: _Place, value: Any, report: Report) -> list[tuple[_Place, Any]]:
    if type(value) is not list or not value:
        _tell(place, "must be an array of conditions, not empty", report)
        return []
    if len(value) == 1:
        path = str(place) if report.takes_warnings else ""
        report.warn("odd_filter", path, f"{path} has one condition only")
    return [(_Place(f"[{number}]", place), node) for number, node in reversed(list(enumerate(value)))]


def _check_segment(place: _Place, value: Any, report: Report) -> None:
    if type(value) is not dict or type(value.get("id")) is not int or value["id"] < 1:
        _tell(place, "must be an object with the segment's number, 1 or more, as id", report)


def _check_attribute(place: _Place, value: Any, report: Report) -> None:
    if type(value) is not dict or type(value.get("field")) is not str or not value["field"]:
        _tell(place, "must be an object with field and operator", report)
        return
    operator = value.get("operator")
    if operator not in ("eq", "exists"):
        _tell(_Place(".operator", place), "must be eq or exists", report)
    elif operator == "eq" and type(value.get("value")) not in SCALARS:
        _tell(_Place(".value", place), "must be a text, a number, true or false", report)


def _tell(place: _Place, what: str, report: Report) -> None:
    path = str(place) if report.takes_problems else ""
    report.problem("bad_filter", path, f"{path} {what}")
