"""Faults on demand: each says what becomes of a request before, or instead of, its proper answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import random

KINDS: Final = {
    "latency": "answer later by `seconds`",
    "status": "answer `status` without accepting; `retry_after` and `body` may be given",
    "accept_status": "accept, then answer `status`",
    "reset_before": "reset the connection when the head has arrived",
    "reset_after": "accept, then reset the connection",
    "hang": "accept, and never answer",
    "hang_before": "never answer, without accepting",
    "cut_body": "accept, and cut the answer in half",
    "garbage": "accept, and answer something that is not HTTP",
    "html": "accept, and answer 200 with an HTML page",
    "html_404": "answer 404 with an HTML page",
}


@dataclass(slots=True)
class Fault:
    """One rule; it applies to requests whose path starts with `path`."""

    kind: str
    probability: float = 1.0
    count: int | None = None
    path: str = "/v1/send/"
    status: int = 500
    seconds: float = 1.0
    retry_after: str | None = None
    body: str | None = None
    until: float = field(default=float("inf"))

    def applies(self, path: str, chance: random.Random) -> bool:
        """Whether this request gets it; counts down."""
        if not path.startswith(self.path) or self.count == 0 or time.time() > self.until:
            return False
        if chance.random() >= self.probability:
            return False
        if self.count is not None:
            self.count -= 1
        return True

    def retry_after_header(self) -> str | None:
        """`date:N` is N seconds ahead as an HTTP-date, anything else stands as it is."""
        if self.retry_after is not None and self.retry_after.startswith("date:"):
            return formatdate(time.time() + float(self.retry_after[5:]), usegmt=True)
        return self.retry_after


def parse_fault(text: str) -> list[Fault]:
    """`reset_after=0.05,hang=0.01,status_502=0.05` on the command line; ValueError says what is wrong."""
    faults = []
    for part in text.split(","):
        name, _, share = part.partition("=")
        kind, _, status = name.rpartition("_") if name.rpartition("_")[2].isdigit() else (name, "", "")
        if kind not in KINDS:
            raise ValueError(f"there is no fault {name}; there are {', '.join(KINDS)} (status_502, accept_status_500)")
        fault = Fault(kind, float(share or 1))
        if status:
            fault.status = int(status)
        faults.append(fault)
    return faults


def fault_from(document: dict[str, Any]) -> Fault:
    """From an admin call; ValueError says what is wrong."""
    kind = document.get("fault")
    if kind not in KINDS:
        raise ValueError(f"fault must be one of {', '.join(KINDS)}")
    known = {name: document[name] for name in document if name in Fault.__slots__ and name != "kind"}
    if "for" in document:
        known["until"] = time.time() + float(document["for"])
    return Fault(kind, **known)
