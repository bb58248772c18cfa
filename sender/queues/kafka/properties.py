"""The file behind `?properties=`: how a Kafka cluster is reached and knows us, one `name=value` a line.

Names are those of librdkafka. Whatever decides about what is read, acknowledged or confirmed is not taken: it would
undo what this package promises; nor is what would load code or run a program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sender.jobs.nearest import nearest
from sender.queues.queue import QueueError

LARGEST: Final = 64 * 1024
"""Bytes."""
TAKEN: Final = frozenset((
    "security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password",
    "sasl.kerberos.service.name", "sasl.kerberos.principal", "sasl.kerberos.keytab",
    "sasl.oauthbearer.method", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.scope", "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.config", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem",
    "ssl.key.location", "ssl.key.pem", "ssl.key.password", "ssl.keystore.location", "ssl.keystore.password",
    "ssl.crl.location", "ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list",
    "ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification", "https.ca.location",
    "client.id", "client.rack", "client.dns.lookup", "broker.address.family", "compression.type",
    "session.timeout.ms", "socket.keepalive.enable", "connections.max.idle.ms", "metadata.max.age.ms",
    "receive.message.max.bytes",
))
SECRETS: Final = ("password", "secret", "pem", "config", "extensions")
"""How names end whose values nobody may see."""
_JAVA: Final = {
    "sasl.jaas.config": "give sasl.username and sasl.password",
    "ssl.truststore.location": "give the certificates as PEM in ssl.ca.location",
    "bootstrap.servers": "the brokers stand in the URL",
    "group.id": "the group stands in the URL",
}


def read_properties(path: str) -> dict[str, str]:
    """What stands in the file; QueueError names the line that is wrong, and repeats no value."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise QueueError(f"the properties {path} cannot be read: {why}") from None
    if len(data) > LARGEST:
        raise QueueError(f"the properties {path} are larger than {LARGEST:,} bytes")
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = (part.strip() for part in line.strip().partition("="))
        if not name or name.startswith(("#", "!")):
            continue
        if problem := _wrong(name, equals, value, found):
            raise QueueError(f"line {number} of the properties {path}: {problem}")
        found[name] = value
    return found


def secrets_of(properties: dict[str, str]) -> list[str]:
    """Values that must not be shown, the longest first."""
    found = {value for name, value in properties.items() if name.endswith(SECRETS) and len(value) > 2}
    return sorted(found, key=len, reverse=True)


def _wrong(name: str, equals: str, value: str, found: dict[str, str]) -> str | None:
    if not equals or not value:
        return "it must look like NAME=VALUE"
    if name in _JAVA:
        return f"{name} is not taken: {_JAVA[name]}"
    if name not in TAKEN:
        near = nearest(name, TAKEN)
        return f"{name[:60]} is not taken" + (f": is {near} meant?" if near else "; see docs/queues-and-state.md")
    return f"{name} stands there twice" if name in found else None
