"""Reads the pages of the documentation."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md",
    ROOT / "config" / "kubernetes" / "README.md", *sorted(DOCS.glob("*.md")),
)
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"')


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without fenced blocks and comments."""
    return COMMENT.sub("", FENCE.sub("", page.read_text()))


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def codes(page: Path) -> list[str]:
    """What stands between back-ticks."""
    return CODE.findall(prose(page))


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w\- ]", "", CODE.sub(r"\1", text).lower()).replace(" ", "-") for text in headings(page)}


def links(page: Path) -> list[str]:
    return [one or other for one, other in LINK.findall(prose(page))]


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, without their head, comments included."""
    section = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(), maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    kept = [re.sub(r"<!--.*?-->", lambda found: found[0].replace("|", "/"), line) for line in lines[2:]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in kept]


class Command(NamedTuple):
    """One command of a shell block."""

    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]


def commands(text: str) -> Iterator[Command]:
    """The commands of a shell block, without variables, redirections and comments."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in ("|", "&", "&&", "||", ";"):
                if words:
                    yield Command(tuple(words))
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):
                words.append(word)


def without_redirection(words: tuple[str, ...]) -> list[str]:
    """The words before `> FILE`."""
    return list(words[: words.index(">")]) if ">" in words else list(words)
