"""`--until 'delivered>=95%,bounced<2%'`: what has to hold of the books. Pure."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from sender.errors import UsageError
from sender.follow.fate import FATES, MARKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sender.follow.books import FateBooks

_TERM: Final = re.compile(r"([a-z]+)(<=|>=|<|>)([0-9]{1,12}(?:\.[0-9]+)?)(%?)")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
USAGE: Final = (
    f"--until takes what has to hold, like open<1% or delivered>=95%,bounced<2%; the words are "
    f"{', '.join((*FATES, *MARKS))}"
)


class Term(NamedTuple):
    """A number or share of what was sent, and its bound."""

    name: str
    compare: str
    bound: float
    is_share: bool

    def holds(self, number: int, sent: int) -> bool:
        """Whether so many of so many are within the bound."""
        return _COMPARE[self.compare](number, self.bound * sent / 100 if self.is_share else self.bound)

    def may_hold(self, books: FateBooks) -> bool:
        """Whether it holds, or may hold when what is open has ended."""
        number, waiting = books.number(self.name), books.number("open")
        if self.compare.startswith("<"):
            return self.name == "open" or self.holds(number, books.sent)
        return self.name in MARKS or self.holds(number + (0 if self.name == "open" else waiting), books.sent)


class Until(NamedTuple):
    """All terms have to hold; without any, nothing ever does."""

    text: str
    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """UsageError for what is no condition."""
        text = "".join(text.split())
        terms = []
        for part in text.split(",") if text else ():
            found = _TERM.fullmatch(part)
            if found is None or found[1] not in (*FATES, *MARKS) or (found[4] and float(found[3]) > 100):
                raise UsageError(USAGE)
            terms.append(Term(found[1], found[2], float(found[3]), bool(found[4])))
        return cls(text, tuple(terms))

    def holds(self, books: FateBooks) -> bool:
        """Whether all of it is so now; where nothing was sent there is nothing to wait for."""
        if not self.terms:
            return False
        return not books.sent or all(term.holds(books.number(term.name), books.sent) for term in self.terms)

    def may_hold(self, books: FateBooks) -> bool:
        """Whether waiting may still help."""
        return all(term.may_hold(books) for term in self.terms)
