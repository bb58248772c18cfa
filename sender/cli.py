"""The command `sender`: arguments in, exit status out (CONTRACT section 4)."""

from __future__ import annotations

import argparse
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Final, NoReturn

from sender import __version__
from sender.errors import HaltError, UsageError

COMMANDS: Final[dict[str, str]] = {
    "send": "send jobs from files and stdin",
    "validate": "check jobs, send nothing",
    "outcomes": "filter outcome logs, and give back the job lines behind them",
    "sandbox": "a local stand-in for the API, with its limits and faults",
}
USAGE: Final = 2
STOPPED: Final = 3


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        return _dispatch(arguments)
    except UsageError as error:
        return _say(error, USAGE)
    except HaltError as error:
        return _say(error, STOPPED)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STOPPED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview())
        return 0 if arguments else USAGE
    name, *rest = arguments
    if name in ("-V", "--version"):
        sys.stdout.write(f"sender {__version__}\n")
        return 0
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"is {near[0]} meant?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"there is no command {name}; {hint}")
    command = import_module(f"sender.commands.{name}")
    parser = _Parser(prog=f"sender {name}", description=command.HELP, allow_abbrev=False)
    command.add_arguments(parser)
    _refuse_key(rest)
    return int(command.run(parser.parse_args(rest)))


class _Parser(argparse.ArgumentParser):
    """Tells a wrong option in one sentence."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0].split("=")[0]
            near = get_close_matches(word, self._option_string_actions, n=1)
            hint = f"is {near[0]} meant?" if near else f"see {self.prog} --help"
            message = f"there is no option {word}; {hint}"
        raise UsageError(message)


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
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return (
        "usage: sender COMMAND [OPTION…]\n\n"
        "Sends jobs through the Customer.io App API: at its limit, nothing lost, nothing twice.\n\n"
        + "\n".join(lines)
        + "\n\nsender COMMAND --help explains each.\n"
    )


def _say(error: Exception, status: int) -> int:
    sys.stderr.write(f"sender: {error}\n")
    return status
