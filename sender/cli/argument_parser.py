"""The parser of one command: its help begins with a purpose and examples, a wrong option is told in one sentence."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from sender.cli.commands import COMMANDS
from sender.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType


class CommandParser(argparse.ArgumentParser):
    """Knows a command by its name, and adds nothing to it by itself."""

    def __init__(self, name: str, description: str, **more: Any) -> None:
        self._command = COMMANDS[name]
        usage = " ".join(("sender", name, "[OPTION…]", self._command.takes)).rstrip()
        super().__init__(prog=f"sender {name}", usage=usage, description=description, allow_abbrev=False, **more)
        self._positionals.title = "arguments"

    def format_help(self) -> str:
        """Purpose, examples, usage, the whole description, and the options under their headings."""
        purpose = f"{self._command.purpose[0].upper()}{self._command.purpose[1:]}.\n\n"
        examples = "".join(f"  # {text}\n  {line}\n\n" for text, line in self._command.examples)
        return purpose + examples + super().format_help()

    def error(self, message: str) -> NoReturn:
        """UsageError in one sentence, which names the near option."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0].split("=")[0]
            near = get_close_matches(word, self._option_string_actions, n=1, cutoff=0.75)
            hint = f"is {near[0]} meant?" if near else f"see {self.prog} --help"
            message = f"there is no option {word}; {hint}"
        raise UsageError(message.removeprefix("argument "))


def make_parser(name: str) -> tuple[ModuleType, CommandParser]:
    """The module of a command, and its parser with all options."""
    module = import_module(f"sender.cli.{name}")
    parser = CommandParser(name, module.HELP)
    module.add_arguments(parser)
    return module, parser
