"""Commands and options that the documentation shows are those that there are."""

from __future__ import annotations

import argparse
import re
import tomllib
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import pytest

from sender.cli.commands import COMMANDS
from sender.config.load import load
from sender.config.settings import SETTINGS, variable_of
from sender.jobs.status import STATUSES
from tests.docs.markdown import DOCS, PAGES, ROOT, blocks, codes, commands, name_of, rows, without_redirection

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = {"curl", "docker", "export", "kubectl", "pip", "pre-commit", "tail"}


class Strict(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AssertionError(f"{self.prog}: {message}")


def parser_of(command: str) -> Strict:
    parser = Strict(prog=f"sender {command}", allow_abbrev=False)
    import_module(f"sender.cli.{command}").add_arguments(parser)
    return parser


def options_of(command: str) -> set[str]:
    return {option for action in parser_of(command)._actions for option in action.option_strings}


ALL_OPTIONS = set().union(*map(options_of, COMMANDS)) | {"--version"}


def check_sender(words: list[str]) -> None:
    command, *rest = words
    if command == "--version":
        return
    assert command in COMMANDS
    given = vars(parser_of(command).parse_intermixed_args(rest))
    if "config" in given:
        load({**given, "config": None}, {})


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        if match := re.fullmatch(r"\.\[(.*)\]", word):
            assert set(match[1].split(",")) <= set(extras)


def check(words: list[str]) -> None:
    program, *rest = words
    if program == "sender":
        check_sender(rest)
    elif program == "make":
        assert re.search(rf"^{re.escape(rest[0])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), rest
    elif program == "pip":
        check_pip(rest)
    elif program == "python":
        assert (ROOT / rest[0]).is_file(), rest
    else:
        assert program in FOREIGN or (ROOT / program).is_file(), program


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_has_one_type_can_be_typed(page: Path) -> None:
    for block in blocks(page, "sh"):
        for command in commands(block):
            check(without_redirection(command.words))


def test_the_check_finds_what_is_wrong() -> None:
    for wrong in ("sender sned a.jsonl", "sender send --rat 5", "make nothing", "python docs/nothing.py", "sendr send",
                  "pip install '.[speedy]'", "A=b sender validate --ledger x"):
        with pytest.raises(AssertionError):
            for command in commands(f"{wrong} > file # comment\n"):
                check(without_redirection(command.words))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_in_prose_exist(page: Path) -> None:
    for code in codes(page):
        command = re.match(r"(?:python -m )?sender ([a-z]+)\b", code)
        known = ALL_OPTIONS
        if command is not None:
            assert command[1] in COMMANDS, code
            known = options_of(command[1])
        elif not code.startswith("--"):
            continue
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code)) <= known, code


def test_every_command_option_and_variable_is_named() -> None:
    page = DOCS / "configuration.md"
    text = page.read_text()
    told = " ".join(row[0] for row in rows(page, "Commands"))
    for command in COMMANDS:
        assert f"`sender {command}" in told
        for option in options_of(command) - {"-h", "--help"}:
            assert f"`{option}`" in text or f"`{option} " in text, f"{command} {option}"
    for name in SETTINGS:
        assert f"`{variable_of(name)}`" in text


def test_the_changelog_tells_of_every_command() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for command in COMMANDS:
        assert f"`sender {command}`" in changelog
        assert set(vars(import_module(f"sender.cli.{command}"))) >= {"HELP", "add_arguments", "run"}


def test_every_status_is_explained() -> None:
    for page, heading in ((ROOT / "README.md", "A bulk backfill"), (DOCS / "delivery-semantics.md", "Statuses")):
        assert [row[0] for row in rows(page, heading)] == [f"`{status}`" for status in STATUSES]
