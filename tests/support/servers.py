"""Real brokers for the tests: started on free ports in temporary folders, killed, paused, restarted and stopped.

A program that is missing, a shell too, is installed (apt-get, when root), else run in a container; where neither works
the suites that need it are named at the end of the run, and with CI set they fail.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import redis
import trustme

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = {
    "redis-server": "redis-server", "rabbitmq-server": "rabbitmq-server", "nats-server": "nats-server", "zsh": "zsh",
    "fish": "fish", "promtool": "prometheus", "kubectl": "kubectl", "java": "default-jre-headless", "mvn": "maven",
}
"""Programs, and the Debian packages that hold them."""
IMAGES = {"redis-server": "redis:7", "rabbitmq-server": "rabbitmq:3", "nats-server": "nats:2"}
DEBIAN_RABBIT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The program itself: the one on the PATH changes the user when it is root."""
SHOWN = {"redis-server": "Redis", "rabbitmq-server": "RabbitMQ", "nats-server": "NATS", "postgres": "PostgreSQL",
         "mariadb": "MariaDB"}
MOTO = "moto for Amazon SQS"
MOCK_KAFKA = "librdkafka's mock cluster for Kafka"
STAND_INS = {MOTO, MOCK_KAFKA}
STARTED = "SENDER_TESTS_STARTED"
"""The variable that names the file in which all processes of a run note the servers that they started."""
UNAVAILABLE = "is neither installed nor installable here"


class Certificates:
    """Of an authority of our own, as PEM files: a server's for `localhost`, and a client's."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        authority = trustme.CA()
        self.ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self.server, self.server_key = self._write(folder / "server", authority.issue_cert("localhost"))
        self.client, self.client_key = self._write(folder / "client", authority.issue_cert("sender@localhost"))

    @staticmethod
    def _write(path: Path, cert: trustme.LeafCert) -> tuple[Path, Path]:
        cert.cert_chain_pems[0].write_to_path(path.with_suffix(".pem"))
        cert.private_key_pem.write_to_path(path.with_suffix(".key"))
        return path.with_suffix(".pem"), path.with_suffix(".key")

    @property
    def options(self) -> str:
        """Of a URL, for a client that is let in."""
        return f"ca={self.ca}&cert={self.client}&key={self.client_key}"


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def program(name: str) -> list[str]:
    """How to start this server; its tests are left out loudly, or fail when CI is set, if there is no way."""
    if not shutil.which(name) and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if name == "rabbitmq-server" and DEBIAN_RABBIT.exists():
        return [str(DEBIAN_RABBIT)]
    if found := shutil.which(name):
        return [found]
    for engine in ("docker", "podman") if name in IMAGES else ():
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0:
            return [engine, IMAGES[name]]
    return []


def install_missing() -> None:
    """Get what the whole suite needs, before the first test and its time limit."""
    for name in PACKAGES:
        program(name)


@cache
def _install() -> None:
    """One process at a time: the package manager bears no second one."""
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    more = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with (Path(tempfile.gettempdir()) / "sender-tests-install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(map(shutil.which, PACKAGES)):
            return
        subprocess.run(["apt-get", "update"], env=more, **quiet)
        for package in PACKAGES.values():  # one by one: a package that does not exist here costs only itself
            subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", package], env=more, **quiet)


def require(name: str) -> list[str]:
    found = program(name)
    if found:
        return found
    text = f"{name} {UNAVAILABLE}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def note_started(what: str) -> None:
    """A real server, with its version where that is known, for the last lines of the run."""
    if notes := os.environ.get(STARTED):
        with Path(notes).open("a") as file:
            file.write(f"{what}\n")


def begin_notes() -> None:
    """In the process that sums up: where it and its workers note what was started."""
    handle, os.environ[STARTED] = tempfile.mkstemp(prefix="sender-tests-servers-")
    os.close(handle)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not proven, where nobody can overlook it; and which servers were real.

    A worker of xdist sums up, too, for nobody: it leaves the notes to the process that shows them.
    """
    if hasattr(terminalreporter.config, "workerinput"):
        return
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    _tell_real(terminalreporter, reasons)
    missing = {name for name in PACKAGES for reason in reasons if f"{name} {UNAVAILABLE}" in reason}
    if missing:
        terminalreporter.section("NOT RUN", sep="!", red=True, bold=True)
        names, packages = " ".join(sorted(missing)), " ".join(sorted({PACKAGES[name] for name in missing}))
        terminalreporter.write_line(f"The suites that need {names} were not run. Install: apt-get install {packages}")
        terminalreporter.write_line("or start docker or podman, and run the tests again. CI=1 makes this a failure.")


def _tell_real(terminalreporter: Any, reasons: list[str]) -> None:
    notes = Path(os.environ.get(STARTED, "/nonexistent"))
    started = set(notes.read_text().splitlines()) if notes.exists() else set()
    notes.unlink(missing_ok=True)
    real = sorted(started - STAND_INS)
    if real:
        terminalreporter.write_line(f"Real servers in this run: {', '.join(real)}.")
    if started & STAND_INS:
        terminalreporter.write_line(f"Stand-ins: {', '.join(sorted(started & STAND_INS))}.")
    if missing := next((one for one in reasons if "Apache Kafka" in one and "cannot be had here" in one), None):
        terminalreporter.section("KAFKA WAS NOT REAL", sep="!", red=True, bold=True)
        terminalreporter.write_line(f"{missing}: only the mock cluster of its client stood in for it.")


class Server:
    """One server process that can be hurt."""

    name = ""
    patience = 20.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._container = f"sender-test-{self.port}"
        self._engine: str | None = None

    def start(self) -> Self:
        how = require(self.name)
        self._engine = how[0] if len(how) == 2 else None
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._in_container(*how) if self._engine else [*how, *self.arguments()], cwd=self.folder,
                env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )
        self._wait_until_ready()
        note_started(self.shown)
        return self

    @property
    def shown(self) -> str:
        """Its name and version, as it tells them."""
        return SHOWN.get(self.name, self.name)

    def arguments(self) -> list[str]:
        return []

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _in_container(self, engine: str, image: str) -> list[str]:
        own = [f"-e{key}={value}" for key, value in self.environment().items() if os.environ.get(key) != value]
        where = ["--network=host", f"-v{self.folder}:{self.folder}", f"-w{self.folder}"]
        return [engine, "run", "--rm", f"--name={self._container}", *where, *own, image, *self.arguments()]

    def is_ready(self) -> bool:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            return True
        return False

    def _wait_until_ready(self) -> None:
        ends = time.monotonic() + self.patience * (5 if self._engine else 1)
        while not self.is_ready():
            if time.monotonic() > ends or (self._process and self._process.poll() is not None):
                log = (self.folder / "server.log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not start: {log[-2000:]}")
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, what: signal.Signals) -> None:
        assert self._process
        if self._engine:
            subprocess.run([self._engine, "kill", f"--signal={what.name}", self._container], check=False)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, what)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As by kill -9."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self.send(how)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._process.wait()
        self._process = None


class RedisServer(Server):
    name = "redis-server"

    def __init__(self, folder: Path, *, aof: bool = True, fsync: str = "always", password: str = "") -> None:
        super().__init__(folder)
        self.aof, self.fsync, self.password = aof, fsync, password

    def do(self, *command: Any) -> Any:
        with redis.Redis(port=self.port, password=self.password or None, socket_timeout=5) as client:
            return client.execute_command(*command)

    def use_send_lane(self, database: int) -> None:
        """As if a state there had been in use: a new one makes the lane wait for six seconds."""
        with redis.Redis(port=self.port, db=database, password=self.password or None, socket_timeout=5) as client:
            lane = {"configured": "100.0", "limit": 100, "window": 1_000_000, "floor": 0}
            client.hset("sender:{default}:lane:send", mapping=lane)
            client.sadd("sender:{default}:lanes", "send")

    def is_ready(self) -> bool:
        """It answers; while it reads its file it does not."""
        with suppress(redis.exceptions.RedisError):
            return bool(self.do("PING"))
        return False

    def stall(self, seconds: float) -> None:
        """It accepts for so long and does not answer."""
        self.do("CLIENT", "PAUSE", int(seconds * 1000), "ALL")

    def arguments(self) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", self.fsync] if self.aof else ["--appendonly", "no"]
        more = ["--requirepass", self.password] if self.password else []
        return ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), *keep, *more]

    @property
    def url(self) -> str:
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"


class NatsServer(Server):
    name = "nats-server"

    def arguments(self) -> list[str]:
        config = self.folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nmax_payload: 32MB\nmax_pending: 128MB\n'
            f'jetstream {{ store_dir: "{self.folder}/data", max_file: 1GB, max_mem: 256MB }}\n'
        )
        return ["-c", str(config)]

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


class RabbitServer(Server):
    name = "rabbitmq-server"
    patience = 45.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._epmd, self._distribution = free_port(), free_port()
        self.certificates = Certificates(folder / "tls")
        self.tls_port = free_port()
        """Where whoever has no certificate of our authority is sent away."""

    def environment(self) -> dict[str, str]:
        (self.folder / "plugins").write_text("[].")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\nlisteners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self.certificates.ca}\nssl_options.certfile = {self.certificates.server}\n"
            f"ssl_options.keyfile = {self.certificates.server_key}\nssl_options.verify = verify_peer\n"
            "ssl_options.fail_if_no_peer_cert = true\n"
        )
        (self.folder / "advanced.config").write_text(
            "[{rabbit, [{consumer_timeout, 1800000}, {channel_tick_interval, 1000}]}]."
        )
        folder = str(self.folder)
        return {
            **os.environ, "HOME": folder, "RABBITMQ_NODENAME": f"sender{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia", "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins", "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_DIST_PORT": str(self._distribution), "ERL_EPMD_PORT": str(self._epmd),
            "RABBITMQ_PID_FILE": f"{folder}/pid",
        }

    def is_ready(self) -> bool:
        """It answers the protocol's greeting only when it is up."""
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)) as probe:
            probe.settimeout(5)
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(1) == b"\x01"
        return False

    def evaluate(self, erlang: str) -> None:
        """Have an expression of Erlang evaluated in the running server; its own tool starts an Erlang for it."""
        if not self._engine and (call := shutil.which("erl_call")):
            command = [call, "-sname", self.environment()["RABBITMQ_NODENAME"], "-timeout", "60", "-e"]
            said = f"{erlang}\n".encode()
            done = subprocess.run(command, input=said, env=self.environment(), check=True, capture_output=True)
            assert done.stdout.startswith(b"{ok"), done.stdout
            return
        control = [self._engine, "exec", self._container, "rabbitmqctl"] if self._engine else [_control()]
        subprocess.run([*control, "eval", erlang], env=self.environment(), check=True, capture_output=True)

    def restart(self) -> None:
        """The broker ends and begins anew with what is on its disk, in the Erlang that runs: to start that takes
        ten times as long."""
        self.evaluate("ok = rabbit:stop(), ok = rabbit:start().")
        self._wait_until_ready()

    def stop(self) -> None:
        super().stop()
        if not self._engine and shutil.which("epmd"):
            subprocess.run(["epmd", "-port", str(self._epmd), "-kill"], check=False, capture_output=True)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"


def _control() -> str:
    beside = DEBIAN_RABBIT.with_name("rabbitmqctl")
    return str(beside) if beside.exists() else "rabbitmqctl"


class SqsServer(Server):
    """moto's server: it keeps all in memory, so it is never restarted; cut its line with a `Proxy`."""

    name = "moto"

    def start(self) -> Self:
        with (self.folder / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.support.moto_server", "-H", "127.0.0.1", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._wait_until_ready()
        note_started(MOTO)
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Proxy:
    """A line to a server that can be cut, and mended again; what passes can be delayed."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        """Seconds, each way."""
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Every connection breaks, new ones are refused."""
        if self._server:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        for one, other in ((reader, far_writer), (far_reader, writer)):
            self._writers.add(other)
            task = asyncio.create_task(self._pump(one, other))
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        self._writers.discard(writer)
        writer.transport.abort() if writer.transport.is_closing() else writer.close()


def server_fixture(kind: Callable[[Path], Server], name: str) -> Any:
    """A session fixture for one server."""

    @pytest.fixture(scope="session", name=name)
    def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
        server = kind(tmp_path_factory.mktemp(name))
        try:
            yield server.start()
        finally:
            server.stop()

    return running
