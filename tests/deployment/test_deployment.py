"""The container of the Deployment, with its own arguments, files and variables, as a process beside a real Redis."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families as parse

from sender.consume import consumer
from tests.deployment.manifests import container, only
from tests.support.fork_server import popen
from tests.support.processes import SENDER, environment, running_sandbox
from tests.support.processes import email as email_job
from tests.support.servers import RedisServer, free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

PASSWORD = "hunter2"
JOBS = 40


class Pod:
    """The files of the pod in a folder, and its process."""

    def __init__(self, folder: Path, sandbox: Sandbox, server: RedisServer) -> None:
        self.folder, self.sandbox = folder, sandbox
        self.port = free_port()
        self.config = folder / "sender.toml"
        self.config.write_text(only("ConfigMap")["data"]["sender.toml"])
        secrets = {
            "api-key": "sandbox-key\n",
            "source-url": f"{server.url}?stream=jobs&group=senders\n",
            "state-url": server.url.removesuffix("/0") + "/1\n",
            "dead-letter-url": f"{server.url}?stream=dead\n",
        }
        self.variables = {}
        for one in container()["env"]:
            path = folder / one["value"].rpartition("/")[2]
            path.write_text(secrets[path.name])
            self.variables[one["name"]] = str(path)
        self.arguments = [
            argument.replace("/etc/sender/sender.toml", str(self.config)).replace("=8080", f"={self.port}")
            for argument in container()["args"]
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        clean = environment(SENDER_BASE_URL=self.sandbox.url, SENDER_HEALTH_HOST="127.0.0.1", **self.variables)
        del clean["SENDER_API_KEY"]
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = popen(
                [*SENDER, *self.arguments], cwd=self.folder, env=clean, stdout=out, stderr=err
            )

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError:
            return 0, b""

    def metrics(self) -> dict[str, float]:
        """The largest value of each name."""
        found: dict[str, float] = {}
        for family in parse(self.get("/metrics")[1].decode()):
            for sample in family.samples:
                found[sample.name] = max(sample.value, found.get(sample.name, sample.value))
        return found

    def told(self) -> str:
        return (self.folder / "err").read_text()

    def until(self, what: Callable[[], bool]) -> None:
        ends = time.monotonic() + 30
        while not what():
            assert self.process is not None
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < ends, (self.told(), self.get("/readyz"))
            time.sleep(0.05)

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), password=PASSWORD)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def pod(tmp_path: Path, server: RedisServer) -> Iterator[Pod]:
    with running_sandbox() as sandbox:
        pod = Pod(tmp_path, sandbox, server)
        yield pod
        if pod.process is not None and pod.process.poll() is None:
            pod.process.kill()
            pod.process.wait()


def test_it_becomes_ready_sends_tells_follows_its_config_and_drains(pod: Pod, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as broker:
        for number in range(JOBS):
            broker.xadd("jobs", {"job": json.dumps(email_job(number))})
    pod.start()
    pod.until(lambda: pod.get("/readyz")[0] == 200)
    assert pod.get("/livez") == (200, b"ok\n")
    pod.until(lambda: pod.metrics().get("sender_outcomes_total", 0) == JOBS)
    assert sorted(pod.sandbox.numbers()) == list(range(JOBS))
    metrics = pod.metrics()
    assert metrics["sender_requests_total"] == JOBS
    assert metrics["sender_ready"] == metrics["sender_state_up"] == 1
    assert metrics["sender_rate_limit"] == 100
    assert metrics["sender_ledger_commit_seconds_count"] > 0
    follow_a_new_rate(pod)
    server.pause()
    pod.until(lambda: pod.get("/readyz")[0] == 503)
    assert pod.get("/livez")[0] == 200, "what waits for its state is alive"
    server.resume()
    pod.until(lambda: pod.get("/readyz")[0] == 200)
    assert pod.end() == 0, pod.told()
    lines = [json.loads(line) for line in (pod.folder / "out").read_text().splitlines()]
    assert sorted(line["id"] for line in lines if line["status"] == "sent") == sorted(
        f"job-{number}" for number in range(JOBS)
    )
    logged = [json.loads(line) for line in pod.told().splitlines()]
    assert logged, "its log is JSON, line by line"
    assert all("event" in line for line in logged)
    for text in (pod.told(), (pod.folder / "out").read_text()):
        assert PASSWORD not in text
        assert "sandbox-key" not in text
        assert "@example.com" not in text


def follow_a_new_rate(pod: Pod) -> None:
    pod.config.write_text(pod.config.read_text().replace("rate = 100 ", "rate = 20 "))
    assert pod.process is not None
    pod.process.send_signal(signal.SIGHUP)
    pod.until(lambda: pod.metrics()["sender_rate_limit"] == 20)


def test_without_its_server_it_waits_and_says_why(pod: Pod, server: RedisServer) -> None:
    """It ended, and Kubernetes started it again with growing pauses."""
    server.stop()
    pod.start()
    pod.until(lambda: b"--dead-letter" in pod.get("/readyz")[1])
    assert pod.get("/readyz")[0] == 503
    assert pod.get("/livez")[0] == 200
    server.start()
    pod.until(lambda: pod.get("/readyz")[0] == 200)
    assert pod.end() == 0, pod.told()
    assert PASSWORD not in pod.told()


def test_the_grace_of_the_pod_holds_what_a_drain_may_take() -> None:
    """Readers, jobs in hand, those that are let go of, and what brokers are told: each has its time."""
    config: dict[str, Any] = only("Deployment")["spec"]["template"]["spec"]
    assert config["terminationGracePeriodSeconds"] > 25 + 2 * consumer.LET_GO_WITHIN + consumer.CLOSE_WITHIN
