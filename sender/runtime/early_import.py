"""A library that is long in coming is imported in a thread, while the main thread imports and prepares other things."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from threading import Thread


def begin_import(name: str) -> None:
    """Begin to import it; whoever imports it later waits for its end, and is told if it fails.

    Two threads must not import modules that import each other: the interpreter would take that for a deadlock. So what
    the library shares with the rest is best imported before.
    """
    Thread(target=_import, args=(name,), name=f"import {name}", daemon=True).start()


def _import(name: str) -> None:
    with suppress(Exception):  # the main thread tries it again, and tells
        import_module(name)
