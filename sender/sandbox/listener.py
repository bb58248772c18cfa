"""The listening socket: accepts clients, and can be closed and opened again on the same port."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from sender.sandbox.transport import ask_for_stamps

if TYPE_CHECKING:
    from collections.abc import Callable

_BACKLOG: Final = 4096
_ACCEPTS_AT_ONCE: Final = 256
_AGAIN: Final = 0.1
"""Seconds until listening is tried again."""


class Listener:
    """One address; needs a running loop from `open` on."""

    def __init__(self, host: str, port: int, accepted: Callable[[socket.socket], None]) -> None:
        self._host = host
        self.port = port
        """The one that was asked for; the one that is listened on once it is open."""
        self._accepted = accepted
        self._socket: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.kernel_stamps = False
        """Whether the kernel stamps what arrives."""

    def open(self) -> None:
        """Listen; raises OSError when the address cannot be had."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.kernel_stamps = ask_for_stamps(listening)
            listening.bind((self._host, self.port))
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        self.port = int(listening.getsockname()[1])
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def reopen(self) -> None:
        """Listen again if it is closed, as soon as the address can be had."""
        self._stop_trying()
        if self._socket is None:
            try:
                self.open()
            except OSError:  # someone took the port meanwhile, or no descriptor is left
                self._try_again()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                client, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left: waiting clients would be reported without end
                self.close()
                self._try_again()
                return
            client.setblocking(False)
            self._accepted(client)

    def _try_again(self) -> None:
        self._retry = asyncio.get_running_loop().call_later(_AGAIN, self.reopen)

    def _stop_trying(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def close(self) -> None:
        """Refuse new clients; those that are connected stay."""
        self._stop_trying()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
