"""The state of a fleet: a Redis, one that follows it and can take over, and clocks that may go wrong."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from tests.campaigns.relay import Relay
from tests.support.servers import RedisServer

FAKETIME: Final = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
"""Debian's package `faketime`."""


class _Clocked(RedisServer):
    """A server whose clock can be made quicker or slower, without a step."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, fsync="everysec")
        self._offset, self._rate, self._since = 0.0, 1.0, time.time()
        self._begun = self._since
        self._write()

    def environment(self) -> dict[str, str]:
        """The clock begins with the process: it is right then."""
        self._offset, self._rate, self._since = 0.0, 1.0, time.time()
        self._begun = self._since
        self._write()
        if FAKETIME is None:
            return super().environment()
        return {
            **super().environment(), "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def slew(self, ppm: int) -> None:
        """From now on the clock gains so many microseconds in each second."""
        now = time.time()
        shown = now + self._offset + (now - self._begun) * (self._rate - 1)
        self._rate = 1 + ppm / 1e6
        self._offset = shown - now - (now - self._begun) * (self._rate - 1)
        self._write()

    @property
    def _file(self) -> Path:
        return self.folder / "clock"

    def _write(self) -> None:
        self._file.write_text(f"{self._offset:+.6f} x{self._rate:.6f}\n")


class StatePair:
    """Known by one address; `fail_over` makes the follower the one that is asked."""

    def __init__(self, folder: Path) -> None:
        self._servers = [_Clocked(folder / name) for name in ("one", "other")]
        self._relay = Relay(self._servers[0].port)
        self._stack = ExitStack()

    @property
    def port(self) -> int:
        return self._relay.port

    def __enter__(self) -> Self:
        for server in self._servers:
            server.start()
            self._stack.callback(server.stop)
        self._follow()
        self._stack.enter_context(self._relay)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def slew(self, ppm: int) -> None:
        for server in self._servers:
            server.slew(ppm)

    def fail_over(self) -> None:
        """The one that is asked dies; the other takes over after a moment, and is followed in its turn."""
        self._relay.cut()
        self._servers[0].kill()
        self._servers.reverse()
        self._servers[0].do("REPLICAOF", "NO", "ONE")
        self._relay.turn(self._servers[0].port)
        self._relay.mend()
        self._servers[1].start()
        self._follow()

    def _follow(self) -> None:
        self._servers[1].do("REPLICAOF", "127.0.0.1", str(self._servers[0].port))
        ends = time.monotonic() + 30
        while self._link() != "up":
            assert time.monotonic() < ends, "the follower does not follow"
            time.sleep(0.05)

    def _link(self) -> str:
        found: Any = self._servers[1].do("INFO", "replication")
        return str(found["master_link_status"])
