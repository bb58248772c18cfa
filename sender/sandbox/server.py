"""One sandbox on one port: sorts what arrived by its stamps, lets the app answer, delays as wires do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sender.sandbox.admin import PREFIX, Admin
from sender.sandbox.app import App, DownMode, Reaction
from sender.sandbox.connection import Connection
from sender.sandbox.listener import Listener

if TYPE_CHECKING:
    import socket

    from sender.sandbox.exchange import Request
    from sender.sandbox.faults import Fault
    from sender.sandbox.sandbox_options import Options


class Server:
    """One sandbox; needs a running loop from `start` on."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.app = App(options)
        self.connections: set[Connection] = set()
        self._admin = Admin(self.app, self)
        self._listener = Listener(options.host, options.port, self._connected)
        self._turn: list[tuple[int, Connection, Request]] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._up_again: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def url(self) -> str:
        """Base URL of the stand-in."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self.port}"

    @property
    def api_key(self) -> str:
        """The key that it takes."""
        return self.options.api_key

    def start(self) -> None:
        """Listen; raises OSError when the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._listener.open()
        if self.app.webhooks is not None:
            self.app.webhooks.start()
        self._sweep()

    def webhooks(self) -> dict[str, int]:
        """How many webhooks were posted, acknowledged, refused, and wait; nothing where none are posted."""
        webhooks = self.app.webhooks
        return {} if webhooks is None else {**webhooks.figures, "waiting": webhooks.waiting}

    def _connected(self, client: socket.socket) -> None:
        self.connections.add(Connection(client, self))

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)

    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self.connections)

    def unstamped(self) -> None:
        """Bytes came without a stamp of the kernel; the loop's time of reading them stands in."""
        self.app.loop_stamps += 1

    def stamped_by(self) -> str:
        """Who stamps arrivals: `kernel`, or `loop` where the kernel did not."""
        return "kernel" if self._listener.kernel_stamps and not self.app.loop_stamps else "loop"

    def broken_off(self, request: Request) -> None:
        """A request whose body will never come to its end is an arrival too."""
        self.app.broken_off(request)

    def head_arrived(self, request: Request) -> Fault | None:
        """A fault to strike before the request is read on."""
        return None if request.path.startswith(PREFIX) else self.app.fault_at_head(request)

    def arrived(self, connection: Connection, request: Request) -> None:
        """Take a whole request; the wire's inbound delay belongs to its stamp."""
        if request.path.startswith(PREFIX):
            connection.respond(request, Reaction(self._admin.handle(request)))
            return
        if self.options.jitter_ms:
            delay = self._wire_delay()
            request.stamp += round(delay * 1e9)
            self._later(delay, self._enqueue, connection, request)
        else:
            self._enqueue(connection, request)

    def _enqueue(self, connection: Connection, request: Request) -> None:
        if not self._turn:
            self._loop.call_soon(self._take_turn)
        self._turn.append((request.stamp, connection, request))

    def _take_turn(self) -> None:
        """Everything that one turn of the loop brought, in the order of its stamps."""
        turn, self._turn = self._turn, []
        if len(turn) > 1:
            turn.sort(key=lambda entry: entry[0])
        for _, connection, request in turn:
            reaction = self.app.handle(request)
            delay = self._answer_delay(reaction)
            if delay:
                self._later(delay, connection.respond, request, reaction)
            else:
                connection.respond(request, reaction)

    def _answer_delay(self, reaction: Reaction) -> float:
        least, most = self.options.latency_ms
        delay = self.app.random.uniform(least, most) / 1000 if most else 0.0
        if self.options.jitter_ms:
            delay += self._wire_delay()
        if reaction.fault is not None and reaction.fault.fault == "latency":
            delay += reaction.fault.seconds
        return delay

    def _wire_delay(self) -> float:
        return self.app.random.uniform(0, self.options.jitter_ms) / 1000

    def _later(self, delay: float, call: Any, *args: Any) -> None:
        def due() -> None:
            self._timers.discard(handle)
            call(*args)

        handle = self._loop.call_later(delay, due)
        self._timers.add(handle)

    def go_down(self, mode: DownMode, seconds: float) -> None:
        """For so many seconds refuse connections, answer 502, or never answer; own calls are answered but by refuse."""
        self.up()
        if mode == "refuse":
            self._listener.close()
            self._loop.call_soon(self._drop_connections)
        else:
            self.app.down = mode
        self._up_again = self._loop.call_later(seconds, self.up)

    def up(self) -> None:
        """Be reachable again."""
        if self._up_again is not None:
            self._up_again.cancel()
            self._up_again = None
        self.app.down = None
        self._listener.reopen()

    def _drop_connections(self) -> None:
        for connection in list(self.connections):
            connection.drop()

    def _sweep(self) -> None:
        """Close what was silent for longer than the keep-alive."""
        oldest = self._loop.time() - self.options.keep_alive
        for connection in list(self.connections):
            if connection.idle and connection.last_seen < oldest:
                connection.close()
        self._sweeper = self._loop.call_later(min(1.0, self.options.keep_alive / 4 or 1.0), self._sweep)

    def close(self) -> None:
        """End at once: nothing is answered any more."""
        self._listener.close()
        if self.app.webhooks is not None:
            self.app.webhooks.close()
        for handle in (self._up_again, self._sweeper, *self._timers):
            if handle is not None:
                handle.cancel()
        self._timers.clear()
        for connection in list(self.connections):
            connection.close()

    def stats(self) -> dict[str, Any]:
        """The statistics with all arrivals, as GET /_sandbox/stats?arrivals=1 gives them."""
        return self._admin.stats(arrivals=True)

    def messages(self) -> list[dict[str, Any]]:
        """All accepted sends, as GET /_sandbox/messages gives them."""
        return [item.record() for item in self._admin.accepted("messages")]

    def triggers(self) -> list[dict[str, Any]]:
        """All triggers of broadcasts, as GET /_sandbox/triggers gives them."""
        return [item.record() for item in self._admin.accepted("triggers")]

    def fault(self, name: str, **params: Any) -> None:
        """Make something go wrong; the same words as POST /_sandbox/faults."""
        self._admin.add_fault({"fault": name, **params})
