"""What a user says of the inputs: their format, and how a row becomes a job (docs/tables.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Each is empty where the input itself tells."""

    format: str = ""
    """One of `sender.inputs.formats.FORMATS`."""
    map: str = ""
    """Path of the mapping file; without one column names are paths."""
    attachments: str = ""
    """Folder of the files that a mapping attaches."""
    delimiter: str = ""
    quote: str = '"'
    encoding: str = ""
    query: str = ""
    """The SQL text for an input that is a database."""
    kind: str = "email"
    """The kind of a job that names none."""
    by_content: bool = False
    """Whether rows may go without an id, and are then known by their content."""
    check_files: bool = False
    """Whether attachments are looked for when a row is read, and not only when its job starts."""


BY_NAME: Final = InputOptions()
"""Every input is what its name says."""
