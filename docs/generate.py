"""Writes what the documentation takes from the code and from benchmarks/RESULTS.md.

python docs/generate.py            # writes it
python docs/generate.py --check    # names the pages that are out of date, exit 1 if there are any

* Between `<!-- generated: NAME -->` and `<!-- end -->` stands a table that is made from the code.
* A figure before `<!-- figure: SECTION | ROW | COLUMN -->` is a cell of RESULTS.md; `SECTION > HEADING` where a section
  has several tables, `FIRST / SECOND` for a row that two columns name.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from results import RESULTS, cells  # noqa: E402

from sender.cli.main import COMMANDS  # noqa: E402
from sender.config.settings import DEFAULTS, SETTINGS, options_of, shown, variable_of  # noqa: E402
from sender.jobs.codes import PROBLEMS, WARNINGS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK: Final = re.compile(r"(<!-- generated: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
FIGURE: Final = re.compile(r"([0-9][0-9.,]*%?)?<!-- figure: ([^|]+?) \| ([^|]+?) \| ([^|]+?) -->")


def main() -> int:
    """Write or check every page."""
    check = sys.argv[1:] == ["--check"]
    stale = [page for page in PAGES if page.read_text() != renewed(page)]
    told = "out of date, run python docs/generate.py" if check else "written"
    for page in stale:
        if not check:
            page.write_text(renewed(page))
        sys.stdout.write(f"{page.relative_to(ROOT)}: {told}\n")
    return 1 if check and stale else 0


def renewed(page: Path) -> str:
    """The page as it should be; ValueError names a block or a figure that does not exist."""
    makers = {"settings": settings, "options": options, "problems": problems, "warnings": warnings}

    def block(found: re.Match[str]) -> str:
        if found[2] not in makers:
            raise ValueError(f"{page.name}: nothing is generated as {found[2]}")
        return f"{found[1]}{makers[found[2]]()}\n{found[3]}"

    known = cells(RESULTS.read_text())

    def figure(found: re.Match[str]) -> str:
        key = (found[2], found[3], found[4])
        if key not in known:
            raise ValueError(f"{page.name}: RESULTS.md has no figure {' | '.join(key)}")
        return f"{known[key]}<!-- figure: {' | '.join(key)} -->"

    return FIGURE.sub(figure, BLOCK.sub(block, page.read_text()))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [tuple(head), *map(tuple, rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def settings() -> str:
    """Every setting: option, variable, place in the file, default, sentence."""
    return table(
        ("option", "variable", "in the file", "default", "what it is"),
        (
            (
                " ".join(f"`{option}`" for option in options_of(name)) or f"`--rate {setting.lane_of}=N`",
                f"`{variable_of(name)}`",
                f"`[{setting.table}] {name}`",
                f"`{shown(setting, default)}`" if (default := getattr(DEFAULTS, name)) not in ("", ()) else "",
                setting.help + (f": {', '.join(f'`{one}`' for one in setting.choices)}" if setting.choices else ""),
            )
            for name, setting in SETTINGS.items()
        ),
    )


def options() -> str:
    """The options of each command that are no settings."""
    own = ((name, list(_own_options(name))) for name in COMMANDS)
    return "\n\n".join(f"### sender {name}\n\n{table(('option', 'what it is'), rows)}" for name, rows in own if rows)


def parser_of(command: str) -> argparse.ArgumentParser:
    """The arguments of a command."""
    parser = argparse.ArgumentParser(prog=f"sender {command}", allow_abbrev=False)
    import_module(f"sender.cli.{command}").add_arguments(parser)
    return parser


def _own_options(command: str) -> Iterator[tuple[str, str]]:
    parser = parser_of(command)
    actions = [one for one in parser._actions if one.option_strings and one.dest != "help"]  # noqa: SLF001 - no other way
    with_settings = any(one.dest == "config" for one in actions)
    for one in actions:
        if not (with_settings and one.dest in (*SETTINGS, "config")):
            names = " ".join(f"`{name}`" for name in one.option_strings)
            values = f" {_values(one)}" if _values(one) else ""
            yield names + values, parser._get_formatter()._expand_help(one)  # noqa: SLF001


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is None:
        return "/".join(map(str, action.choices or ()))
    return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar


def problems() -> str:
    """The codes of `error`."""
    return _codes(PROBLEMS)


def warnings() -> str:
    """The codes of `warnings`."""
    return _codes(WARNINGS)


def _codes(codes: Mapping[str, str]) -> str:
    return table(("code", "meaning"), ((f"`{code}`", text) for code, text in codes.items()))


if __name__ == "__main__":
    sys.exit(main())
