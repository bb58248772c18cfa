"""The RedisConnection of one workspace: scripts, one epoch, and patience while the server is away.

Every script begins with a look at the epoch marker (`prelude.lua`): a server that lost its state answers StateLost and
nothing else. Every new connection first says which server it found (`enter.lua`): after a restart or a failover, which
may have forgotten its last moments, no slot is granted before all that may have been granted then is past.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from redis import exceptions as redis_errors

from sender.errors import OutputError, StateAway, UsageError
from sender.jobs.masking import mask_credentials
from sender.queues import QueueError
from sender.queues.redis_server import RedisServer, answers_of
from sender.shared_state.redis.replication import Replication
from sender.shared_state.state_connection import KEEPING, TIMEOUT, StateConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPTS: Final = Path(__file__).parent / "scripts"
PASSING: Final = (
    "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "OOM", "BUSY", "UNBLOCKED", "NOREPLICAS",
)
"""Answers of a server that cannot write just now: as good as being away."""
REFUSALS: Final = {
    redis_errors.OutOfMemoryError: "is full: its Redis has reached maxmemory",
    redis_errors.ReadOnlyError: "cannot be written: its Redis is a replica",
    "MISCONF": "cannot be saved: its Redis cannot write its files",
    "NOREPLICAS": "cannot be written: its Redis has fewer replicas than min-replicas-to-write",
}
"""What a server that answers, and keeps nothing, says by an error of the library's or by its first word."""


class RedisConnection(StateConnection):
    """Calls the scripts of one workspace; open it with `await RedisConnection.open(...)`."""

    def __init__(self, url: str, workspace_tag: str, host: str) -> None:
        plain, _, query = url.partition("?")
        super().__init__(mask_credentials(plain))
        self._meta = f"sender:{{{workspace_tag}}}:meta"
        self._host = host
        self._wait: tuple[Any, ...] = ()
        """The command that waits until what was written lasts."""
        self._server = ""
        """Run id of the server that was met last."""
        self._sources = {path.stem: path.read_text() for path in SCRIPTS.glob("*.lua")}
        self._digests: dict[str, str] = {}
        limits = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        server = RedisServer.of(plain, dict(parse_qsl(query)))
        self._redis: Any = server.open(self._meta, protocol=2, redis_connect_func=self._greet, **limits)

    @classmethod
    async def open(cls, url: str, workspace_tag: str, host: str) -> RedisConnection:
        """Connect and find or found the epoch; UsageError when the server cannot be used, StateAway when it is away."""
        try:
            connection = cls(url, workspace_tag, host)
        except QueueError as error:
            shown = mask_credentials(url.partition("?")[0])
            raise UsageError(f"--state {shown} cannot be used: {error}") from None
        try:
            await connection._enter()
        except redis_errors.AuthenticationError:
            await connection.close()
            raise UsageError(
                f"--state {connection.shown} refuses the user or password that stands in the URL"
            ) from None
        except (redis_errors.RedisError, OSError) as error:
            await connection.close()
            text = connection.told(error)
            kind = StateAway if _is_away(error, text) else UsageError
            raise kind(f"--state {connection.shown} cannot be used: {text}") from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def rejoin(self) -> None:
        """Take the epoch as it is now, after StateLost; waits while the server is away."""
        await self.until_answered(self._enter)

    async def now(self) -> float:
        """The server's unix seconds; StateAway when it does not answer."""
        try:
            seconds, microseconds = await self.command("TIME")
        except (redis_errors.RedisError, OSError) as error:
            raise StateAway(f"--state {self.shown} cannot be used: {self.told(error)}") from None
        return int(seconds) + int(microseconds) / 1e6

    async def call(self, script: str, *arguments: Any, patient: bool = True, lasting: bool = False) -> Any:
        """Run a script; with patience until the server answers. `lasting` waits for the disk where that was asked for.

        Raises StateLost, Away (without patience only), and OutputError for what waiting does not mend.
        """
        lasts = lasting and bool(self._wait)
        return await self.until_answered(
            lambda: self._run(script, arguments, lasting=lasts), patient=patient, keeps=script in KEEPING
        )

    async def command(self, *arguments: Any) -> Any:
        """A plain command, once."""
        return await self._redis.execute_command(*arguments)

    def wait_for(self, durable: str) -> None:
        """From now on what has to last is waited for: `waitaof` until it is on the server's disk (Redis 7.2), `wait`
        until one of its replicas has it."""
        within = int(TIMEOUT * 900)
        self._wait = {"waitaof": ("WAITAOF", 1, 0, within), "wait": ("WAIT", 1, within)}.get(durable, ())

    async def look_at_history(self) -> Replication | None:
        """Ask how the server's history stands, and keep it; None where it does not tell."""
        try:
            history = Replication.of(await self.command("INFO", "replication"))
        except (redis_errors.RedisError, OSError, KeyError, ValueError):
            return None
        self.history = history
        return history

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    def told(self, error: BaseException) -> str:
        """An error's text without credentials, on one line."""
        return mask_credentials(" ".join(str(error).split()))[:300]

    async def _enter(self) -> None:
        entered = await self.command("EVAL", self._sources["enter"], 1, self._meta, "", *self._entry())
        token, born, host, _ = entered
        if host.decode() != self._host:
            raise UsageError(
                f"the state at {self.shown} belongs to the API at {host.decode()}, this run goes to {self._host}: "
                "use another database or workspace"
            )
        self.token, self.born = token.decode(), int(born) / 1e6

    def _entry(self) -> tuple[str, str]:
        return secrets.token_hex(8), self._host

    async def _greet(self, connection: Any) -> None:
        """On every new connection, before its first command."""
        await connection.on_connect()
        server = await _server_of(connection)
        await connection.send_command("EVAL", self._sources["enter"], 1, self._meta, server, *self._entry())
        *_, other = await connection.read_response()
        other = other or self._server not in ("", server)  # the first of the replicas to come is told by the state
        self._server = server
        if other:
            self.found_another()

    async def _run(self, script: str, arguments: Sequence[Any], *, lasting: bool) -> Any:
        self.calls += 1
        digest = self._digests.get(script) or await self._load(script)
        try:
            return await self._evaluate(digest, arguments, lasting=lasting)
        except redis_errors.NoScriptError:
            return await self._evaluate(await self._load(script), arguments, lasting=lasting)

    async def _evaluate(self, digest: str, arguments: Sequence[Any], *, lasting: bool) -> Any:
        command = ("EVALSHA", digest, 1, self._meta, self.token, *arguments)
        if not lasting:
            return await self._redis.execute_command(*command)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.execute_command(*command)
        pipeline.execute_command(*self._wait)
        answer, kept = await answers_of(pipeline)
        if not (kept[0] if isinstance(kept, list | tuple) else kept):
            where = "the append-only file was not synced" if self._wait[0] == "WAITAOF" else "no replica had it"
            raise redis_errors.TimeoutError(f"{where} in time")
        return answer

    async def _load(self, script: str) -> str:
        source = self._sources["prelude"] + self._sources[script]
        digest = self._digests[script] = str(await self._redis.script_load(source))
        return digest

    def judge(self, error: Exception) -> None:
        """Return for what passes, raise for what does not."""
        if isinstance(error, redis_errors.ConnectionError | redis_errors.TimeoutError | OSError):
            return
        if not isinstance(error, redis_errors.ResponseError):
            raise error
        text = self.told(error)
        if text.startswith("STATELOST"):
            raise self.lost(text[10:]) from None
        lasts = type(error) is redis_errors.ResponseError and not text.startswith(PASSING)
        if lasts or isinstance(error, redis_errors.NoPermissionError):
            raise OutputError(f"the shared state at {self.shown} cannot be written: {text}") from None

    def refusal_in(self, error: Exception) -> str | None:
        """See `StateConnection.refusal_in`."""
        return REFUSALS.get(type(error)) or REFUSALS.get(str(error).partition(" ")[0])


def _is_away(error: Exception, text: str) -> bool:
    """Whether it is nobody's mistake, and passes."""
    passing = (redis_errors.ReadOnlyError, redis_errors.OutOfMemoryError)  # their texts begin otherwise
    gone = (redis_errors.ConnectionError, redis_errors.TimeoutError, OSError)
    return isinstance(error, gone + passing) or text.startswith(PASSING)


async def _server_of(connection: Any) -> str:
    """The server's run id; where INFO is forbidden a new one each time, so that every reconnection counts."""
    try:
        await connection.send_command("INFO", "server")
        text = (await connection.read_response()).decode()
    except redis_errors.ResponseError:
        return secrets.token_hex(20)
    return next((line[7:] for line in text.splitlines() if line.startswith("run_id:")), secrets.token_hex(20))
