"""A SendPlan is everything that is settled before a run of `send` begins."""

from __future__ import annotations

from dataclasses import dataclass

from sender.inputs.input_options import BY_NAME, InputOptions
from sender.session.session_plan import SessionPlan


@dataclass(frozen=True, slots=True)
class SendPlan(SessionPlan):
    """What to send, where to, and where to write."""

    inputs: tuple[str, ...] = ()
    reading: InputOptions = BY_NAME
    """How rows become jobs."""
