"""Imports that begin in a thread."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from sender.runtime.early_import import begin_import

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_who_imports_it_later_waits_for_its_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "early_events", (begun, may_end), raising=False)
    (folder / "early_slow.py").write_text(
        "import threading\nbegun, may_end = threading.early_events\nbegun.set()\nassert may_end.wait(30)\ndone = True\n"
    )
    begin_import("early_slow")
    assert begun.wait(30)
    threading.Timer(0.01, may_end.set).start()
    assert import_module("early_slow").done


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_failure_is_told_to_who_imports_it_and_to_nobody_else(folder: Path) -> None:
    (folder / "early_broken.py").write_text("raise OSError('no certificates')\n")
    begin_import("early_broken")
    with pytest.raises(OSError, match="no certificates"):
        import_module("early_broken")
    assert "early_broken" not in sys.modules
