"""A faithful local stand-in for the Customer.io App API, with its limits and faults.

See docs/api.md, "What the sandbox imitates".
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sender.sandbox.server import Server


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Server]:
    """A stand-in within this process, on a free port unless `port` is given; the keywords are those of Options."""
    from sender.sandbox.sandbox_options import Options
    from sender.sandbox.server import Server

    server = Server(Options(**options))
    server.start()
    try:
        yield server
    finally:
        server.close()
