"""The OutboxTable: what the parts of an outbox are called in the database."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sender.errors import UsageError

DEFAULT: Final = "sender_outbox"
LONGEST: Final = 40
"""Characters of a name: PostgreSQL takes 63, and parts of it add theirs."""
_NAME: Final = re.compile(rf"[a-z_][a-z0-9_]{{0,{LONGEST - 1}}}")


class OutboxTable(NamedTuple):
    """A table whose name needs no quotes; `schema` is empty where the search path finds it."""

    schema: str
    name: str

    @classmethod
    def named(cls, text: str) -> OutboxTable:
        """From `orders_outbox` or `shop.orders_outbox`; UsageError for what would need quotes."""
        schema, _, name = text.rpartition(".")
        if not _NAME.fullmatch(name) or (text != name and not _NAME.fullmatch(schema)):
            raise UsageError(
                f"{text[:60]!r} is no name for an outbox table: it takes small letters, digits and _, {LONGEST} at "
                "most, and before a dot the schema"
            )
        return cls(schema, name)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @property
    def is_default_schema(self) -> bool:
        """Whether it may be named without its schema."""
        return self.schema in ("", "public")

    def part(self, word: str) -> OutboxTable:
        """A table beside it."""
        return self._replace(name=f"{self.name}_{word}")

    def done(self, slot: int) -> OutboxTable:
        """The partition with the ends of one day."""
        return self.part(f"done_{slot}")
