"""The command `sender`: arguments in, exit status out (docs/delivery-semantics.md, "Exit statuses")."""

from __future__ import annotations

import os
import sys
from typing import Final

from sender.cli.commands import COMMANDS
from sender.errors import SenderError, UsageError
from sender.runtime.version import __version__

USAGE: Final = 2
STOPPED: Final = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    _open_missing_streams()
    try:
        status = _dispatch(arguments)
    except SystemExit as end:  # argparse, after --help
        status = end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        status = STOPPED
    except BrokenPipeError:  # whoever read our output has seen enough
        status = STOPPED
        _drop_output()
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - the last line of defence: exit 1 would be a lie
        status = _explain(error)
    status = _flush(status)
    if argv is None:
        _ignore_signals()
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        sys.stderr.write(_overview())
        return USAGE
    name, *rest = arguments
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0
    if name in ("-V", "--version"):
        sys.stdout.write(f"sender {__version__}\n")
        return 0
    if name not in COMMANDS:
        raise UsageError(_no_command(name))
    _turn_sigterm_into_interrupt()
    from sender.cli.argument_parser import make_parser  # not before: the overview needs none

    command, parser = make_parser(name)
    _refuse_key(rest)
    # Options may stand between inputs; argparse cannot have both that and `--`.
    parse = parser.parse_args if "--" in rest else parser.parse_intermixed_args
    return int(command.run(parse(rest)))


def _no_command(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"is {near[0]} meant?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"there is no command {name}; {hint}"


def _refuse_key(arguments: list[str]) -> None:
    for argument in arguments:
        if argument == "--":
            return
        if argument == "--api-key" or argument.startswith("--api-key="):
            raise UsageError(
                "the key is never an argument, where others can read it: set SENDER_API_KEY, or use --api-key-file"
            )


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.purpose}" for name, command in COMMANDS.items()]
    return (
        "usage: sender COMMAND [OPTION…]\n\n"
        "Sends jobs through the Customer.io App API: at its limit, nothing lost, nothing twice.\n\n"
        + "\n".join(lines)
        + "\n\nsender COMMAND --help explains each.\n"
    )


def _explain(error: BaseException) -> int:
    """Tell why it ended. What no one foresaw is told by its place alone: its message may hold somebody's data."""
    told = _told(error)
    if told is not None:
        sys.stderr.write(f"sender: {told}\n")
        return USAGE if isinstance(told, UsageError) else STOPPED
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        sys.stderr.write(f"sender: stopped by the system: {error.strerror or type(error).__name__}{place}\n")
        return STOPPED
    from traceback import format_tb

    sys.stderr.writelines(format_tb(error.__traceback__))
    sys.stderr.write(
        f"sender: a fault of sender itself, {type(error).__name__} at the place above; please report it. "
        "The same command goes on where this one stopped\n"
    )
    return STOPPED


def _told(error: BaseException) -> SenderError | None:
    """The sentence for the user, also out of a task group."""
    if isinstance(error, SenderError):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((told for one in inner if (told := _told(one)) is not None), None)


def _turn_sigterm_into_interrupt() -> None:
    """Until a command handles it better, SIGTERM ends it as Ctrl-C does: files are closed, exit 3."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _ignore_signals() -> None:
    """All is done and told: one Ctrl-C more, while Python ends, must not change the exit status."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _open_missing_streams() -> None:
    """Started with stdout or stderr closed, we still have something to write to, and files do not get their numbers."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_WRONLY)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def _flush(status: int) -> int:
    """Have the output written while we can still tell that it was not."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _drop_output()
        sys.stderr.write(f"sender: the output cannot be written: {error.strerror}\n")
        return STOPPED
    return status


def _drop_output() -> None:
    """Python would complain once more while it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
