"""The command `sender` with something left out, to see what it costs:

    python benchmarks/variant.py [asyncio,no-ledger] send …

`asyncio` hides uvloop; `no-ledger` remembers jobs only while the run lives, and writes no ledger.
"""

from __future__ import annotations

import sys
from typing import Any

import sender.session.stores
from sender.cli.main import main
from tests.support.memory_ledger import MemoryLedger


class Forgetful(MemoryLedger):
    """In the place of the SQLite ledger."""

    was_clean, last_hand_over = True, None

    @classmethod
    async def open(cls, *_: Any, **__: Any) -> Forgetful:
        return cls()

    async def bind_workspace(self, name: str) -> None:
        """There is nobody to tell."""


def leave_out(parts: str) -> None:
    for part in parts.split(","):
        if part == "asyncio":
            sys.modules["uvloop"] = None  # type: ignore[assignment]  # makes `import uvloop` fail
        elif part == "no-ledger":
            sender.session.stores.SqliteLedger = Forgetful  # type: ignore[attr-defined,assignment]


if __name__ == "__main__":
    leave_out(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
