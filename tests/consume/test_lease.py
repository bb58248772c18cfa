"""Who may reconcile."""

from __future__ import annotations

import asyncio

import pytest

from sender.consume.lease import NOTE, Lease


class FakeLedger:
    def __init__(self, run: int, notes: dict[str, bytes]) -> None:
        self.run, self.notes = run, notes

    async def get_note(self, name: str) -> bytes | None:
        return self.notes.get(name)

    async def put_note(self, name: str, value: bytes) -> None:
        self.notes[name] = value

    async def swap_note(self, name: str, expected: bytes | None, new: bytes | None) -> bool:
        if self.notes.get(name) != expected:
            return False
        self.notes.pop(name, None)
        self.notes.update({} if new is None else {name: new})
        return True


@pytest.mark.parametrize("seconds", [-1.0, 20.0])
async def test_the_lease_is_one_s_until_it_runs_out(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.consume.lease.SECONDS", seconds)
    notes: dict[str, bytes] = {}
    one, other = (Lease(FakeLedger(run, notes)) for run in (1, 2))  # type: ignore[arg-type]
    async with one.acquired() as mine:
        assert mine
        async with other.acquired() as too:
            assert too == (seconds < 0)
    async with one.acquired() as mine:
        assert mine == (seconds > 0 or notes[NOTE].startswith(b"1"))


async def test_it_is_renewed_while_it_is_held_and_not_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.consume.lease.RENEW_EVERY", 0.01)
    notes: dict[str, bytes] = {}
    lease = Lease(FakeLedger(1, notes))  # type: ignore[arg-type]
    renewing = asyncio.create_task(lease.renew())
    async with lease.acquired(), asyncio.timeout(5):
        first = notes[NOTE]
        while notes[NOTE] == first:
            await asyncio.sleep(0.01)
    last = notes[NOTE]
    await asyncio.sleep(0.05)
    assert notes[NOTE] == last
    renewing.cancel()
