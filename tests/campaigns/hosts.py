"""Replicas on hosts of their own: network namespaces with a veth each, on one bridge, and a line to it that can be cut.

Each service has an address of its own on the bridge, so that a host can be cut off from one of them alone: packets are
dropped in both directions without a word, as a partition does. Needs root and `ip`; `iptables` for cuts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, suppress
from itertools import count
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICES: Final = ("api", "state", "broker")
_MADE: Final = count()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def unavailable() -> str | None:
    """Why there can be no hosts here; None when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "iptables") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} is not installed"
    try:
        with Hosts(1) as hosts:
            hosts.cut(0, "api")
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.decode().strip()}"
    return None


class Hosts:
    """A bridge with the services' addresses, and so many hosts."""

    def __init__(self, number: int, *, delay: str = "", loss: str = "") -> None:
        self.number = number
        self._quality = (*(("delay", delay) if delay else ()), *(("loss", loss) if loss else ()))
        self.shaped = False
        """Whether delay and loss are in force; a kernel without netem cannot."""
        mark = os.getpid() % 60_000
        self._net = f"10.{mark // 250 % 250}.{mark % 250}"
        # A namespace goes some time after it was deleted, and keeps its names until then.
        self._bridge = f"sb{mark}x{next(_MADE)}"
        self._stack = ExitStack()

    def address(self, service: str) -> str:
        return f"{self._net}.{10 + SERVICES.index(service)}"

    def name(self, host: int) -> str:
        return f"{self._bridge}-{host}"

    def inside(self, host: int) -> list[str]:
        """What a command begins with that runs on this host."""
        return ["ip", "netns", "exec", self.name(host)]

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _make(self) -> None:
        run("ip", "link", "add", "name", self._bridge, "type", "bridge")
        self._stack.callback(_quietly, "ip", "link", "del", self._bridge)
        for service in SERVICES:
            run("ip", "address", "add", f"{self.address(service)}/24", "dev", self._bridge)
        run("ip", "link", "set", self._bridge, "up")
        for host in range(self.number):
            self._add(host)

    def _add(self, host: int) -> None:
        name, outer = self.name(host), f"{self._bridge}v{host}"
        run("ip", "netns", "add", name)
        self._stack.callback(_quietly, "ip", "netns", "del", name)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._stack.callback(_quietly, "ip", "link", "del", outer)
        run("ip", "link", "set", outer, "master", self._bridge, "up")
        for command in (
            ("address", "add", f"{self._net}.{100 + host}/24", "dev", "eth0"), ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            run("ip", "-n", name, *command)
        if self._quality:
            with suppress(subprocess.CalledProcessError):
                run(*self.inside(host), "tc", "qdisc", "add", "dev", "eth0", "root", "netem", *self._quality)
                self.shaped = True

    def cut(self, host: int, service: str) -> None:
        """Nothing passes between the two any more, and nobody is told."""
        for chain, way in (("OUTPUT", "-d"), ("INPUT", "-s")):
            run(*self.inside(host), "iptables", "-w", "-A", chain, way, self.address(service), "-j", "DROP")

    def mend(self, hosts: Sequence[int]) -> None:
        """Everything passes again."""
        for host in hosts:
            run(*self.inside(host), "iptables", "-w", "-F")


def _quietly(*command: str) -> None:
    subprocess.run(command, check=False, capture_output=True)
