"""Apache Kafka itself, one node without ZooKeeper: its jars come from Maven Central, into the user's cache, and are run
by the machine's own Java. Where that cannot be had, its tests are left out, and the end of the run says so."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Self

import pytest
import trustme
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.support.servers import Server, free_port, note_started, program

VERSION = "4.1.0"
FETCH_WITHIN = 300
MISSING = f"Apache Kafka {VERSION} cannot be had here (its jars are fetched by Maven, and run by Java)"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sender</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
  </dependencies>
</project>
"""
USER, PASSWORD = "sender", "correct-horse"


@cache
def jars() -> Path | None:
    """The folder with the jars; fetched once for all runs of this user, None where that does not work."""
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sender-tests"
    folder = cached / f"kafka-{VERSION}"
    if not program("java") or not (folder.exists() or program("mvn")):
        return None
    cached.mkdir(parents=True, exist_ok=True)
    with (cached / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder if folder.exists() or _fetch(folder) else None


def _fetch(folder: Path) -> bool:
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    (partial / "pom.xml").write_text(POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=partial, timeout=FETCH_WITHIN, capture_output=True, check=False)
        if done.returncode == 0:
            (partial / "jars").rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return folder.exists()


class KafkaServer(Server):
    """Its listener at `port` is for the tests; what connects to `proxy_port` is sent there again by the server."""

    name = "kafka"
    patience = 90.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.proxied_port, self.proxy_port, self.sasl_port = free_port(), free_port(), free_port()
        self.tls_port, self.sasl_tls_port, self._controller_port = free_port(), free_port(), free_port()
        self.authority = folder / "authority.pem"
        """The certificate of whoever signed the server's, which holds for `localhost`."""

    def start(self) -> Self:
        found = jars()
        if found is None:
            pytest.skip(MISSING)
        self._configure()
        command = [
            "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{found}/*", "kafka.Kafka",
            str(self.folder / "server.properties"),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._wait_until_ready()
        note_started(f"Apache Kafka {VERSION}")
        return self

    def _configure(self) -> None:
        """What its own tool would write, which takes five seconds for it."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        if not (data / "meta.properties").exists():
            (data / "meta.properties").write_text(
                "version=1\ncluster.id=c2VuZGVyLXRlc3RzLTAwMQ\nnode.id=1\ndirectory.id=c2VuZGVyLXRlc3RzLTAwMg\n"
            )
        host = "127.0.0.1"
        listeners = (
            f"PLAINTEXT://{host}:{self.port},SASL://{host}:{self.sasl_port},TLS://localhost:{self.tls_port},"
            f"SASL_TLS://localhost:{self.sasl_tls_port}"
        )
        jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        (self.folder / "server.properties").write_text(
            "process.roles=broker,controller\nnode.id=1\nmessage.max.bytes=40000000\nauto.create.topics.enable=false\n"
            f"controller.quorum.voters=1@{host}:{self._controller_port}\ncontroller.listener.names=CONTROLLER\n"
            f"listeners={listeners},PROXIED://{host}:{self.proxied_port},CONTROLLER://{host}:{self._controller_port}\n"
            f"advertised.listeners={listeners},PROXIED://{host}:{self.proxy_port}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL:SASL_PLAINTEXT,TLS:SSL,SASL_TLS:SASL_SSL\n"
            f"ssl.keystore.type=PEM\nssl.keystore.location={self._certificate()}\nsasl.enabled.mechanisms=PLAIN\n"
            f'listener.name.sasl.plain.sasl.jaas.config={jaas} user_{USER}="{PASSWORD}";\n'
            f'listener.name.sasl_tls.plain.sasl.jaas.config={jaas} user_{USER}="{PASSWORD}";\n'
            f"inter.broker.listener.name=PLAINTEXT\nlog.dirs={data}\noffsets.topic.replication.factor=1\n"
            "offsets.topic.num.partitions=1\ntransaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n"
            "group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\nlog.cleaner.dedupe.buffer.size=2097152\n"
            "num.network.threads=2\nnum.io.threads=2\nbackground.threads=2\n"
        )

    def _certificate(self) -> Path:
        path = self.folder / "server.pem"
        if not path.exists():
            authority = trustme.CA()
            authority.cert_pem.write_to_path(self.authority)
            certificate = authority.issue_cert("localhost")
            key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
            path.write_bytes(
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                + b"".join(one.bytes() for one in certificate.cert_chain_pems)
            )
        return path

    def is_ready(self) -> bool:
        """It answers, and knows its groups."""
        if not super().is_ready():
            return False
        consumer = Consumer({"bootstrap.servers": self.url, "group.id": "ready", "log_level": 0})
        with suppress(KafkaException), closing(consumer):
            consumer.committed([TopicPartition("ready", 0)], timeout=2)
            return True
        return False

    def make(self, *topics: str, partitions: int = 1, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        with AdminClient({"bootstrap.servers": self.url, "log_level": 0}) as admin:
            made = admin.create_topics([NewTopic(one, partitions, 1, config=config) for one in topics])
            for future in made.values():
                future.result(30)

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"
