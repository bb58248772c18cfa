"""`python -m sender` without its imports: a process that has them all forks one for each command.

What comes out is a process of its own, with its own streams, folder and environment, and a child of whoever asked, as
with `subprocess`. Starting Python costs ten times what most commands do; tests of starting itself use `subprocess`.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SENDER: Final = [sys.executable, "-m", "sender"]
_PR_SET_CHILD_SUBREAPER: Final = 36
_LARGEST: Final = 1 << 20
_KNOWN: Final = {"cwd", "stdin", "stdout", "stderr"}
_ONE_BY_ONE: Final = threading.Lock()
_MODULES: Final = {"sender", "tests.support.replica"}
_LEFT_OUT: Final = ("sender.__main__", "sender.report")
"""What few commands need."""
_LATE: Final = ("anyio._backends._asyncio", "uvloop")
"""What a command imports when its loop begins."""


class ForkedPopen(subprocess.Popen[bytes]):
    """A Popen of `python -m MODULE ...` whose process is forked, not started."""

    def _execute_child(self, args: Any, *more: Any) -> None:  # type: ignore[override]
        """Called by Popen; `more` is executable, preexec_fn, close_fds, pass_fds, cwd, env, ..., six pipe ends..."""
        cwd, env, pipes = more[4], more[5], more[9:15]
        ends = (pipes[0], pipes[3], pipes[5])
        streams = [end if end >= 0 else number for number, end in enumerate(ends)]
        request = json.dumps([*args[2:3], args[3:], str(cwd or Path.cwd()), dict(env or os.environ)]).encode()
        with _ONE_BY_ONE:
            server, _ = _server()
            server.sendall(len(request).to_bytes(4, "big"))
            socket.send_fds(server, [b"f"], streams)
            server.sendall(request)
            told = _read(server, 4)
        if len(told) < 4:  # a signal to process 0 is one to all tests
            raise RuntimeError("the process that forks commands has ended; what it said stands in the output")
        self.pid = int.from_bytes(told, "big")
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def popen(command: Sequence[str], *, env: dict[str, str], **more: Any) -> subprocess.Popen[bytes]:
    """The process of a command, forked where that makes no difference but in time."""
    start = ForkedPopen if _can_fork(command, env) and more.keys() <= _KNOWN else subprocess.Popen
    return start(command, env=env, **more)


def _can_fork(command: Sequence[str], environment: dict[str, str]) -> bool:
    """What changes Python or its libraries has to be started."""
    changed = {name for name, value in environment.items() if os.environ.get(name) != value}
    return (
        sys.platform == "linux" and list(command[:2]) == [sys.executable, "-m"] and command[2] in _MODULES
        and not any(name.startswith(("PYTHON", "LD_", "UV_", "TZ", "LC_", "LANG")) for name in changed)
    )


@cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """One for each process of tests, which takes the place of the parent of what is forked."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, its = socket.socketpair()
    command = [sys.executable, "-c", "from tests.support.fork_server import serve; serve()", str(its.fileno())]
    process = subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
    its.close()
    return ours, process


def serve() -> None:
    """Fork for each request, until whoever asks has ended."""
    asking = socket.socket(fileno=int(sys.argv[1]))
    _import_all()
    gc.freeze()
    while head := asking.recv(4):
        _, handles, _, _ = socket.recv_fds(asking, 1, 3)
        module, arguments, folder, environment = json.loads(_read(asking, int.from_bytes(head, "big")))
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            number = os.fork()
            if number:
                os.write(writing, number.to_bytes(4, "big"))
                os._exit(0)
            for handle in (reading, writing, asking.detach()):
                os.close(handle)
            _become(module, arguments, folder, environment, handles)
            return
        os.waitpid(between, 0)  # from now on the command is the child of the one that asks
        for handle in (*handles, writing):
            os.close(handle)
        asking.sendall(os.read(reading, 4))
        os.close(reading)


def _become(module: str, arguments: list[str], folder: str, environment: dict[str, str], handles: list[int]) -> None:
    """What `python -m MODULE` does."""
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
    for handle in handles:
        os.close(handle)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            _leave(end.code or 0)
        raise
    _leave(0)


def _leave(status: int) -> None:
    """End without taking apart what was imported, which costs more than most commands do."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
    atexit._run_exitfuncs()
    with suppress(OSError):  # Python says what it says of an output that is gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _import_all() -> None:
    import sender

    names = [one.name for one in pkgutil.walk_packages(sender.__path__, "sender.")]
    for name in (*_LATE, *names):
        if not name.startswith(_LEFT_OUT):
            with suppress(ImportError):  # an extra that is not installed
                importlib.import_module(name)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(min(size - len(data), _LARGEST))):
        data += more
    return data
