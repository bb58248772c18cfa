"""The state of a fleet: a Redis, one that follows it and can take over, and clocks that may go wrong."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from tests.campaigns.relay import Relay
from tests.support.servers import RedisServer

SOURCE: Final = Path(__file__).with_name("clock.c")


@cache
def clock_library() -> Path | None:
    """What makes a server's clock wrong; None where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = Path(tempfile.mkdtemp(prefix="sender-clock-")) / "clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-lm"], check=True)
    return library


class _Clocked(RedisServer):
    """A server whose clock can be made quicker or slower, without a step."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, fsync="everysec")
        self._since, self._ahead, self._gain = time.time(), 0.0, 0.0
        self._write()

    def environment(self) -> dict[str, str]:
        library = clock_library()
        more = {} if library is None else {"LD_PRELOAD": str(library), "SLEWED_CLOCK": str(self._file)}
        return super().environment() | more

    def slew(self, ppm: int) -> None:
        """From now on the clock gains so many microseconds in each second."""
        now = time.time()
        self._since, self._ahead, self._gain = now, self._ahead + (now - self._since) * self._gain, ppm / 1e6
        self._write()

    @property
    def _file(self) -> Path:
        return self.folder / "clock"

    def _write(self) -> None:
        """In place: the server has the file mapped."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("3d", self._since, self._ahead, self._gain))


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
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def _start(self) -> None:
        for server in self._servers:
            self._stack.callback(server.stop)
            server.start()
        self._follow()
        self._stack.enter_context(self._relay)

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
