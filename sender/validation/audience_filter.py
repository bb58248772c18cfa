"""The filter language of a broadcast's `recipients` (docs/api.md, "Audience filter"), checked without recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.nearest import nearest

if TYPE_CHECKING:
    from sender.validation.report import Report

NODES: Final = ("and", "or", "not", "segment", "attribute")
SCALARS: Final = (str, int, float, bool)


def check_filter(root: Any, report: Report) -> None:
    """Every node is an object with exactly one key."""
    waiting: list[tuple[str, Any]] = [("recipients", root)]
    while waiting:
        path, node = waiting.pop()
        if type(node) is not dict or len(node) != 1:
            if type(node) is dict and "inverse" in node:
                report.warn("odd_filter", path, "inverse is a key of newsletters' filters; broadcasts use not")
            else:
                report.problem("bad_filter", path, f"{path} must be an object with exactly one of {', '.join(NODES)}")
            continue
        ((key, value),) = node.items()
        if key in ("and", "or"):
            waiting.extend(_branches(f"{path}.{key}", value, report))
        elif key == "not":
            waiting.append((f"{path}.not", value))
        elif key == "segment":
            _check_segment(f"{path}.segment", value, report)
        elif key == "attribute":
            _check_attribute(f"{path}.attribute", value, report)
        else:
            near = nearest(key, NODES)
            hint = f"; is {near} meant?" if near else ""
            report.problem("bad_filter", path, f"{path} has an unknown condition, use one of {', '.join(NODES)}{hint}")


def _branches(path: str, value: Any, report: Report) -> list[tuple[str, Any]]:
    if type(value) is not list or not value:
        report.problem("bad_filter", path, f"{path} must be an array of conditions, not empty")
        return []
    if len(value) == 1:
        report.warn("odd_filter", path, f"{path} has one condition only")
    return [(f"{path}[{number}]", node) for number, node in reversed(list(enumerate(value)))]


def _check_segment(path: str, value: Any, report: Report) -> None:
    if type(value) is not dict or type(value.get("id")) is not int:
        report.problem("bad_filter", path, f"{path} must be an object with the segment's number as id")


def _check_attribute(path: str, value: Any, report: Report) -> None:
    if type(value) is not dict or type(value.get("field")) is not str or not value["field"]:
        report.problem("bad_filter", path, f"{path} must be an object with field and operator")
        return
    operator = value.get("operator")
    if operator not in ("eq", "exists"):
        report.problem("bad_filter", f"{path}.operator", f"{path}.operator must be eq or exists")
    elif operator == "eq" and type(value.get("value")) not in SCALARS:
        report.problem("bad_filter", f"{path}.value", f"{path}.value must be a text, a number, true or false")
