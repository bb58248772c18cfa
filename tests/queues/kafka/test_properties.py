"""The file that says how a cluster is reached: what is taken, what is not, and that no value is repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sender.queues import QueueError
from sender.queues.kafka.properties import LARGEST, TAKEN, read_properties, secrets_of

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, text: str | bytes) -> dict[str, str]:
    path = folder / "kafka.properties"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_properties(str(path))


def test_good(tmp_path: Path) -> None:
    text = "# a cluster\n\n! and more\nsecurity.protocol=SASL_SSL\r\n sasl.username = me \nsasl.password = a=b c\n"
    found = read(tmp_path, text)
    assert found == {"security.protocol": "SASL_SSL", "sasl.username": "me", "sasl.password": "a=b c"}
    assert secrets_of(found) == ["a=b c"]


@pytest.mark.parametrize(("line", "says"), [
    ("sasl.passwort=secret", "is sasl.password meant"),
    ("sasl.jaas.config=org.apache secret", "give sasl.username and sasl.password"),
    ("ssl.truststore.location=secret", "ssl.ca.location"),
    ("bootstrap.servers=secret", "stand in the URL"),
    ("enable.auto.commit=true", "not taken"),
    ("plugin.library.paths=secret", "not taken"),
    ("acks=0", "not taken"),
    ("secret", "NAME=VALUE"),
    ("sasl.password=", "NAME=VALUE"),
    ("client.id=secret\nclient.id=secret", "line 3"),
])
def test_bad(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(QueueError) as caught:
        read(tmp_path, f"\n{line}\n")
    assert says in str(caught.value)
    assert "=secret" not in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (LARGEST + 1)])
def test_no_properties(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(QueueError, match=r"kafka\.properties"):
        read(tmp_path, data)
    with pytest.raises(QueueError, match="No such file"):
        read_properties(str(tmp_path / "none"))


def test_nothing_that_decides_what_is_read_or_confirmed_nor_runs_a_program_is_taken() -> None:
    ours = ("auto", "acks", "idempotence", "group.", "isolation", "assignment", "plugin", "kinit", "engine", "max.poll")
    assert not [name for name in TAKEN if any(word in name for word in ours)]
