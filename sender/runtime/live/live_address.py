"""Where a live page listens, and by which names a browser may have come to it. Pure."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from sender.errors import UsageError

LOOPBACK: Final = "127.0.0.1"
MOST_PORT: Final = 65535


class LiveAddress(NamedTuple):
    """`[HOST:]PORT`; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> LiveAddress:
        """UsageError for what is no address."""
        host, colon, port = text.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (port.isascii() and port.isdigit()) or int(port[:6]) > MOST_PORT or bool(colon) > bool(host):
            raise UsageError("--live: must be a port, or HOST:PORT, like 8090 or 127.0.0.1:8090")
        return cls(host or LOOPBACK, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether nobody from outside of this machine can come."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url(self, port: int) -> str:
        """What to open in a browser on this machine."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - only compared
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def takes(self, header: str) -> bool:
        """Whether a Host header names this machine: an address, localhost, or the name that was given.

        A page of a stranger whose name points here sends its own name (DNS rebinding).
        """
        name, _, port = header.rpartition(":")
        if not name or not port.isdigit():
            name = header
        name = name.removeprefix("[").removesuffix("]").lower()
        if name in ("localhost", self.host.lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
