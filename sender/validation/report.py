"""A Report gathers all that the checks find in one payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.jobs.nearest import nearest
from sender.jobs.problem import CLEAN, Findings, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES: Final[dict[type, str]] = {
    str: "text", int: "an integer", float: "a number", bool: "true or false", dict: "an object", list: "an array",
    type(None): "null",
}  # fmt: skip

Types = frozenset[type]
NO_TYPES: Final[Types] = frozenset()
TEXT: Final[Types] = frozenset({str})
FLAG: Final[Types] = frozenset({bool})
INTEGER: Final[Types] = frozenset({int})
OBJECT: Final[Types] = frozenset({dict})
ARRAY: Final[Types] = frozenset({list})


class Report:
    """Problems and warnings in the order in which they are found."""

    __slots__ = ("_problems", "_warnings")

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []

    def problem(self, code: str, field: str | None, message: str) -> None:
        """The job cannot be sent."""
        self._problems.append(Problem(code, field, message))

    def warn(self, code: str, field: str | None, message: str) -> None:
        """The job is sent, and somebody should look."""
        self._warnings.append(Problem(code, field, message))

    def findings(self) -> Findings:
        """All of it."""
        if not self._problems and not self._warnings:
            return CLEAN
        return Findings(tuple(self._problems), tuple(self._warnings))

    def types(self, fields: Mapping[str, Types], values: Mapping[str, Any], prefix: str = "") -> bool:
        """Check the type of each known field, warn of each unknown one; whether all types are right."""
        right = True
        for name, value in values.items():
            if type(value) in fields.get(name, NO_TYPES):
                continue
            allowed = fields.get(name)
            if allowed is None:
                self._unknown(name, fields, prefix)
            else:
                right = self._wrong_type(name, value, allowed, prefix) and right
        return right

    def require(self, values: Mapping[str, Any], *names: str) -> None:
        """Each of these fields must be there and not be empty."""
        for name in names:
            value = values.get(name)
            if value is None:
                self.problem("missing_field", name, f"{name} is missing; the API requires it")
            elif value == "" and type(value) is str:
                self.problem("empty_field", name, f"{name} is empty; the API requires it")

    def _unknown(self, name: str, known: Iterable[str], prefix: str) -> None:
        near = nearest(name, known)
        if near is None:
            # An unknown name may be anything, also somebody's address: it is not repeated.
            self.warn(
                "unknown_field", prefix.rstrip(".") or None, "a field that the API does not know is ignored by it"
            )
        else:
            self.warn("unknown_field", f"{prefix}{near}", f"a field is misspelt, is {near} meant? The API ignores it")

    def _wrong_type(self, name: str, value: Any, allowed: Types, prefix: str) -> bool:
        field = f"{prefix}{name}"
        if value is None:
            self.warn("null_field", field, f"{field} is null; leave it out to use the API's default")
            return True
        wanted = " or ".join(NAMES[kind] for kind in sorted(allowed, key=lambda kind: kind.__name__, reverse=True))
        self.problem("wrong_type", field, f"{field} is {NAMES.get(type(value), 'something else')}; it must be {wanted}")
        return False
