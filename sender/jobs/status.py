"""The words for what became of a job, as outcome log, summary and metrics write them."""

from __future__ import annotations

from typing import Final, Literal

Status = Literal["sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "skipped"]
STATUSES: Final[tuple[Status, ...]] = ("sent", "invalid", "rejected", "failed", "in_doubt", "duplicate", "skipped")
