"""Settings that change under a run: told once, wrong ones change nothing, signals are heard."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sender.config import live
from sender.config.live import LiveSettings, OperatorSignals
from sender.config.load import load
from sender.config.settings import DEFAULTS, Settings

if TYPE_CHECKING:
    from pathlib import Path


class Followed:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[Settings, frozenset[str]]] = []
        self.live = LiveSettings(self.read(), self.read, lambda *told: self.told.append(told), str(path))

    def read(self) -> Settings:
        return load({"config": str(self.path)}, {})


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    path = tmp_path / "sender.toml"
    path.write_text("[limits]\nrate = 100\n")
    return Followed(path)


def test_a_changed_rate_is_told_once(followed: Followed) -> None:
    followed.path.write_text("[limits]\nrate = 50\nrate_app = 5\n")
    followed.live.look()
    followed.live.look()
    ((settings, changed),) = followed.told
    assert changed == {"rate", "rate_app"}
    assert (settings.rate, settings.rate_app, settings.rate_trigger) == (50, 5, DEFAULTS.rate_trigger)


@pytest.mark.parametrize("text", ["[limits]\nrate = -1\n", "[limits]\nrate = ", "[limts]\nrate = 1\n", "\xff"])
def test_a_wrong_file_changes_nothing_and_is_said(followed: Followed, text: str) -> None:
    followed.path.write_bytes(text.encode("latin-1"))
    with capture_logs() as logs:
        followed.live.look()
    assert [line["log_level"] for line in logs] == ["warning"]
    assert not followed.told
    assert followed.live.settings.rate == 100


def test_what_needs_a_restart_is_named_and_not_taken_over(followed: Followed) -> None:
    followed.path.write_text('[limits]\nrate = 60\n[doubt]\nin_doubt = "resend"\n')
    with capture_logs() as logs:
        followed.live.look()
    assert logs[0]["settings"] == ["in_doubt"]
    assert followed.live.settings == replace(DEFAULTS, rate=60)


async def test_the_file_is_followed_through_an_exchange(followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.005)
    following = asyncio.create_task(followed.live.follow())
    followed.path.unlink()  # between unlink and rename there is no file: nothing changes
    await asyncio.sleep(0.05)
    assert not followed.told
    other = followed.path.with_name("new")
    other.write_text("[limits]\nrate = 42\n")
    other.replace(followed.path)
    async with asyncio.timeout(10):
        while not followed.told:
            await asyncio.sleep(0.005)
    assert followed.told[0][0].rate == 42
    following.cancel()


async def test_a_volume_of_kubernetes_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubelet writes a new folder and turns a link over; the file's own path never changes."""
    monkeypatch.setattr(live, "EVERY", 0.005)
    for name, rate in (("..one", 100), ("..two", 30)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sender.toml").write_text(f"[limits]\nrate = {rate}\n")
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "sender.toml").symlink_to("..data/sender.toml")
    followed = Followed(tmp_path / "sender.toml")
    following = asyncio.create_task(followed.live.follow())
    (tmp_path / "..tmp").symlink_to("..two")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    async with asyncio.timeout(10):
        while not followed.told:
            await asyncio.sleep(0.005)
    assert followed.told[0][0].rate == 30
    following.cancel()


async def test_without_a_file_there_is_nothing_to_follow() -> None:
    await LiveSettings(DEFAULTS, lambda: DEFAULTS, lambda *_: None).follow()


async def test_signals_are_an_operator_s_words() -> None:
    heard: list[object] = []

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while len(heard) < count:
                await asyncio.sleep(0.005)

    with OperatorSignals(lambda: heard.append("look"), heard.append):
        for number, sent in enumerate((signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2), 1):
            os.kill(os.getpid(), sent)
            await until(number)
    assert heard == ["look", True, False]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
