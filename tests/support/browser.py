"""A real headless Chromium for tests of pages.

Where it is missing it is installed with apt (as root). Where that is not possible the tests that need it say loudly
what they did not check, and fail when CI is set.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
APT = ("apt-get update -qq", "apt-get install -y -qq --no-install-recommends chromium")


@functools.cache
def chromium() -> str | None:
    """The browser's path; None when there is none and none can be installed."""
    found = shutil.which("chromium")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in APT:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 600}
            subprocess.run(command.split(), check=False, **quiet)  # type: ignore[call-overload]
        found = shutil.which("chromium")
    return found


def missing(what: str) -> None:
    """Say what was not checked, or fail in CI."""
    told = f"NOT CHECKED, there is no chromium: {what}. Install it: apt-get install chromium"
    if os.environ.get("CI"):
        raise AssertionError(told)
    sys.__stderr__.write(f"\n*** {told}\n")  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn(told, stacklevel=2)


@contextmanager
def browser() -> Iterator[Any]:
    """A running browser; `chromium()` must have found one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield running
        finally:
            running.close()


class Watched:
    """A page and everything that it asked for or complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))


@contextmanager
def opened(running: Any, url: str, *, width: int = 1200, dark: bool = False) -> Iterator[Watched]:
    """The page at this URL, in a window of this width."""
    scheme = "dark" if dark else "light"
    context = running.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1)
    try:
        watched = Watched(context.new_page())
        watched.page.goto(url)
        watched.page.wait_for_load_state("load")
        yield watched
    finally:
        context.close()
