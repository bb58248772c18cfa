"""`sender send`: the main job."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sender.cli.arguments import add_settings
from sender.config.api_key import ApiKey
from sender.config.load import load, state_of, told_together
from sender.config.settings import SETTINGS
from sender.config.value import is_utf8
from sender.errors import UsageError
from sender.inputs.input_options import InputOptions
from sender.inputs.names import beside, expanded
from sender.send.send_plan import SendPlan
from sender.transport.base_url import REGIONS, check_base_url

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sender.config.settings import Settings

HELP: Final = "Send jobs from files and stdin, at the API's limit, and write what became of each."
STDIN: Final = "-"
OTHERS: Final = ("queues", "follow")
SHARED: Final = ("identity", "until", "follow_for")
"""Settings of these tables that mean something here, too."""
TEXTS: Final = {
    "identity": "content = rows of a table without an id are known by their content",
    "until": "the others follow the canary when this holds of it, like delivered>=95%,bounced<2%",
    "follow_for": "how long a canary with --until may take; 0 = 15m",
}
INPUT_HELP: Final = "a file of job lines or rows (docs/tables.md), .gz too; - is stdin"
SUFFIX: Final = ".outcomes.jsonl"
REHEARSAL: Final = ".rehearsal.jsonl"
"""Of a rehearsal's log: later runs look for memories in those with the usual name, and must not find it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help=INPUT_HELP)
    names = [name for name, setting in SETTINGS.items() if setting.table not in OTHERS or name in SHARED]
    add_settings(parser, names, texts=TEXTS)


def run(args: argparse.Namespace) -> int:
    """Send, and return the exit status."""
    plan = make_plan(args)
    from sender.runtime.logs import set_up
    from sender.runtime.loop import run as run_loop

    set_up(plan.settings.log_format, plan.settings.log_level)
    if plan.settings.dry_run:
        from sender.send.dry_run import rehearse

        return rehearse(plan)
    from sender.send.send_run import send_jobs

    return run_loop(send_jobs(plan)).tell()  # outside of the loop a Ctrl-C ends even a write that nobody reads


def make_plan(args: argparse.Namespace, *, sends: bool = True) -> SendPlan:
    """Resolve everything that can be known before the run; UsageError tells all that is wrong.

    What `sends` nothing has a key only where one is given.
    """
    settings = load(vars(args))
    problems: list[str] = []
    with _gathering(problems):
        base_url = check_base_url(settings.base_url or REGIONS[settings.region], allow_http=settings.allow_http)
    with _gathering(problems):
        needs_key = not settings.dry_run if sends else bool(settings.api_key_file or os.environ.get("SENDER_API_KEY"))
        api_key = ApiKey.load(settings.api_key_file) if needs_key else None
    with _gathering(problems):
        inputs = inputs_of(args.inputs)
        outcomes = Path(settings.outcomes or outcomes_beside(inputs, REHEARSAL if settings.redirect_to else SUFFIX))
        ledger = Path(settings.ledger or f"{outcomes}.ledger")
        if settings.redirect_to and outcomes.name.endswith(SUFFIX):
            raise UsageError(f"a rehearsal's log is not called …{SUFFIX}: later runs would take it for what was sent")
        _keep_apart(inputs, outcomes, ledger)
    with _gathering(problems):
        state = state_of(settings)
        if getattr(args, "until", None) and not settings.canary:
            raise UsageError("--until says when the others follow a --canary N; sender follow has it for a whole run")
        if state and settings.adopt:
            raise UsageError("--adopt takes another memory over into a ledger, not into a shared state")
        if settings.redirect_to and (state or settings.adopt):
            raise UsageError("a rehearsal (--redirect-to) has a ledger of its own: leave out --state and --adopt")
        if state and settings.ramp:
            raise UsageError("--ramp is for a run alone: the rate of a shared state belongs to all its replicas")
        if state and settings.dry_run:
            raise UsageError("--dry-run cannot look into a shared state without becoming a part of it: use --ledger")
    if problems:
        raise UsageError(told_together(problems))
    return SendPlan(settings, base_url, outcomes, ledger, api_key, state, inputs, reading_of(settings))


def reading_of(settings: Settings, *, check_files: bool = False) -> InputOptions:
    """What the settings say of the inputs."""
    return InputOptions(
        format="" if settings.format == "auto" else settings.format, map=settings.map,
        attachments=settings.attachments, delimiter=_character("--delimiter", settings.delimiter),
        quote=settings.quote if settings.quote == "none" else _character("--quote", settings.quote or '"'),
        encoding=settings.encoding, kind=settings.kind, by_content=settings.identity == "content",
        query=_query(settings),
        check_files=check_files,
    )


def _query(settings: Settings) -> str:
    if not settings.query_file:
        return settings.query
    if settings.query:
        raise UsageError("--query and --query-file are both given; one of them says what is read")
    try:
        return Path(settings.query_file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--query-file {settings.query_file} cannot be read: {error}") from None


def _character(option: str, text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) > 1 or text in ("\r", "\n"):
        raise UsageError(f"{option} takes one character, or tab")
    return text


@contextmanager
def _gathering(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        problems.append(str(error))


def inputs_of(given: list[str]) -> tuple[str, ...]:
    """The inputs: those named, or stdin where it is not a terminal."""
    if not given and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("name an INPUT, or pipe job lines into stdin; see --help")
    if not all(map(is_utf8, given)):
        raise UsageError("an INPUT has a name that is not UTF-8, and no outcome could tell it: rename the file")
    return expanded(given) or (STDIN,)


def outcomes_beside(inputs: Sequence[str], suffix: str = SUFFIX) -> str:
    """Where the outcomes of these inputs go by default."""
    own = beside(inputs[0]) if len(inputs) == 1 and inputs[0] != STDIN else None
    return f"{own or 'sender'}{suffix}"


def _keep_apart(inputs: tuple[str, ...], outcomes: Path, ledger: Path) -> None:
    """Neither log nor ledger may be written over what is read, by whatever name or link."""
    if _same(outcomes, ledger):
        raise UsageError(f"--outcomes and --ledger are the same file: {outcomes}")
    for name in inputs:
        if name != STDIN and any(_same(Path(name), written) for written in (outcomes, ledger)):
            raise UsageError(f"{name} is an input; outcomes and ledger must go to other files")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist yet
        return one.resolve() == other.resolve()
