"""A PostgreSQL of a benchmark's own, on a free port, as it is installed: every commit waits for the disk."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "tester"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Started, and gone at the end."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="sender-bench-")))
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


class PostgresServer:
    """It counts the statements of its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://{USER}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        data = str(self.folder / "data")
        command = [program("initdb"), "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder)
        options = ["-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.track=top"]
        self._process = subprocess.Popen(
            [program("postgres"), "-D", data, "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder),
             *options], user=self._user, cwd=self.folder, stderr=subprocess.DEVNULL,
        )
        for _ in range(300):
            if self.ask("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT 1") == "1":
                return
            time.sleep(0.05)
        sys.exit("PostgreSQL did not start")

    def ask(self, sql: str) -> str:
        """One value; empty while it does not answer."""
        command = [program("psql"), self.url, "-qAtc", sql]
        return subprocess.run(command, capture_output=True, check=False).stdout.decode().strip()

    @property
    def statements(self) -> int:
        """Of all clients so far, BEGIN and COMMIT too."""
        return int(self.ask("SELECT sum(calls) FROM pg_stat_statements"))

    @property
    def written(self) -> int:
        """Bytes of its log so far."""
        return int(self.ask("SELECT (pg_current_wal_lsn() - '0/0')::bigint"))

    @property
    def cpu(self) -> float:
        """Seconds of processor that it and its processes have used so far, those that have ended too."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if self._process is not None and self._process.pid in (int(stat.parent.name), int(fields[1])):
                    own, ended = map(int, fields[11:13]), map(int, fields[13:15])
                    ticks += sum(own) + (sum(ended) if int(stat.parent.name) == self._process.pid else 0)
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait()
            self._process = None


def program(name: str) -> str:
    beside = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), reverse=True)
    found = shutil.which(name) or next(iter(beside), None)
    if found is None:
        sys.exit(f"{name} is not installed (Debian: apt-get install postgresql)")
    return found
