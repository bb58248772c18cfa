"""Real PostgreSQL and MariaDB for the tests, each in a temporary folder on a free port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.servers import UNAVAILABLE, Server, note_started

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme


def find(program: str, package: str) -> str:
    """The program, installed if that is possible; its tests are left out loudly, or fail when CI is set, if not."""
    for attempt in range(2):
        beside = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), reverse=True)
        beside.append(f"/usr/sbin/{program}")
        if found := next(filter(os.path.exists, [shutil.which(program) or "", *beside]), None):
            return found
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            more = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
            for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
                subprocess.run(["apt-get", *command], env=more, capture_output=True, check=False)
    text = f"{package} {UNAVAILABLE}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


class Database(Server):
    """A server whose data lie in a folder of their own, which an unprivileged user may enter."""

    user: str | None = None

    def __init__(self) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="sender-db-")))
        if self.user is not None:
            os.chown(self.folder, pwd.getpwnam(self.user).pw_uid, -1)

    def start(self) -> Self:
        self.prepare()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments(), cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, user=self.user,
            )
        self._wait_until_ready()
        note_started(self.shown)
        return self

    def prepare(self) -> None:
        """Make the data folder."""

    def restart(self) -> None:
        """It comes back with its data."""
        self._end(signal.SIGINT)
        self.start()

    def stop(self) -> None:
        self._end(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Database):
    name = "postgres"

    def __init__(self) -> None:
        self.user = "postgres" if os.geteuid() == 0 else None
        find("postgres", "postgresql")
        super().__init__()

    def prepare(self) -> None:
        if (self.folder / "data").exists():
            return
        subprocess.run(
            [find("initdb", "postgresql"), "-D", str(self.folder / "data"), "-U", "tester", "-A", "trust", "-E", "UTF8",
             "--locale=C"], check=True, capture_output=True, user=self.user, cwd=self.folder,
        )

    def arguments(self) -> list[str]:
        return [find("postgres", "postgresql"), "-D", str(self.folder / "data"), "-p", str(self.port), "-h",
                "127.0.0.1", "-k", str(self.folder), "-F"]

    def is_ready(self) -> bool:
        command = [find("psql", "postgresql"), self.url, "-c", "SELECT 1"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def do(self, sql: str) -> None:
        subprocess.run(
            [find("psql", "postgresql"), self.url, "-v", "ON_ERROR_STOP=1", "-q"], input=sql.encode(), check=True,
            capture_output=True,
        )

    @property
    def url(self) -> str:
        return f"postgres://tester@127.0.0.1:{self.port}/postgres"


class PgBouncer(Database):
    """A pooler before a server; the database says in which mode it pools."""

    name = "pgbouncer"

    def __init__(self, server: PostgresServer) -> None:
        self.user = server.user
        super().__init__()
        self._server = server

    def prepare(self) -> None:
        (self.folder / "users").write_text('"tester" ""\n')
        (self.folder / "pgbouncer.ini").write_text("[databases]\n" + "".join(
            f"{mode} = host=127.0.0.1 port={self._server.port} dbname=postgres pool_mode={mode}\n"
            for mode in ("session", "transaction")
        ) + (
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = trust\n"
            f"auth_file = {self.folder}/users\nunix_socket_dir =\n"
        ))

    def arguments(self) -> list[str]:
        return [find("pgbouncer", "pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def url(self, mode: str) -> str:
        return f"postgres://tester@127.0.0.1:{self.port}/{mode}"


class TlsServer(PostgresServer):
    """It is called `localhost`, and takes nobody without a certificate in his name."""

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__()
        self.authority = authority

    def prepare(self) -> None:
        super().prepare()
        data = self.folder / "data"
        (data / "pg_hba.conf").write_text(
            "hostssl all tester 127.0.0.1/32 trust\nhostssl all shop 127.0.0.1/32 cert\n"
        )
        self.authority.cert_pem.write_to_path(data / "ca.pem")
        mine = self.authority.issue_cert("localhost")
        mine.private_key_and_cert_chain_pem.write_to_path(data / "server.pem")
        (data / "server.pem").chmod(0o600)
        for name in ("ca.pem", "server.pem"):
            shutil.chown(data / name, self.user)

    def arguments(self) -> list[str]:
        files = {"ssl_ca_file": "ca.pem", "ssl_cert_file": "server.pem", "ssl_key_file": "server.pem"}
        more = [f"-c{name}={self.folder}/data/{file}" for name, file in files.items()]
        return [*super().arguments(), "-cssl=on", *more]


class MariaServer(Database):
    name = "mariadb"

    def __init__(self) -> None:
        find("mariadbd", "mariadb-server")
        super().__init__()

    def prepare(self) -> None:
        install = find("mariadb-install-db", "mariadb-server")
        how = ["--no-defaults", f"--datadir={self.folder}/data", "--user=root"]
        subprocess.run([install, *how, "--auth-root-authentication-method=normal"], check=True, capture_output=True)

    def start(self) -> Self:
        super().start()
        self.do("CREATE USER tester@localhost IDENTIFIED BY 'a secret'; GRANT ALL ON *.* TO tester@localhost; "
                "CREATE DATABASE shop;")
        return self

    def arguments(self) -> list[str]:
        return [find("mariadbd", "mariadb-server"), "--no-defaults", f"--datadir={self.folder}/data", "--user=root",
                f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.folder}/s"]

    def do(self, sql: str) -> None:
        client = [find("mariadb", "mariadb-client"), "--no-defaults", f"-S{self.folder}/s", "-uroot"]
        command = [*client, "--default-character-set=utf8mb4"]
        subprocess.run(command, input=sql.encode(), check=True, capture_output=True)

    @property
    def url(self) -> str:
        return f"mysql://tester:a%20secret@127.0.0.1:{self.port}/shop"


def running(server: Database) -> Iterator[Database]:
    try:
        yield server.start()
    finally:
        server.stop()
