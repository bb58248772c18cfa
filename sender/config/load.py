"""Settings from command line, environment and file, in that order; every problem is told at once."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sender.config.settings import DEFAULTS, SETTINGS, Settings, option_of, variable_of
from sender.config.value import read_value
from sender.errors import UsageError
from sender.jobs.kinds import KINDS, LANES
from sender.jobs.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LANE_SETTING: Final = {"send": "rate", "trigger": "rate_trigger", "app": "rate_app"}
_OTHER_VARIABLES: Final = frozenset({
    "SENDER_API_KEY", "SENDER_CONFIG", "SENDER_SANDBOX_API_KEY", "SENDER_SANDBOX_WEBHOOK_KEY", "SENDER_SOURCE",
    "SENDER_WEBHOOK_KEY",
})
WORKSPACES: Final = "workspaces"
MOST_URL: Final = 65536
_KUBERNETES: Final = re.compile(r"SENDER_(.*_)?(SERVICE_(HOST|PORT.*)|PORT|PORT_\d.*)")
"""What Kubernetes puts into every container beside a Service whose name begins with `sender`."""


def load(given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a run; `given` holds what stands on the command line (None where nothing does)."""
    environment = os.environ if environment is None else environment
    config = _Config()
    path = given.get("config") or environment.get("SENDER_CONFIG")
    if path:
        config.read_file(path)
    config.read_environment(environment)
    config.read_options(given)
    return config.settings()


def checked(settings: Settings) -> Settings:
    """The settings as a program made them; UsageError names each that has a wrong value."""
    values, problems = {}, []
    for name, setting in SETTINGS.items():
        value = getattr(settings, name)
        try:
            values[name] = read_value(setting, list(value) if isinstance(value, tuple) else value)
        except ValueError as error:
            problems.append(f"{name} {error}")
    if problems:
        raise UsageError(told_together(problems))
    return replace(settings, **values)


class WorkspaceSettings(NamedTuple):
    """A workspace that jobs may name: `[workspaces.NAME]` in the settings file."""

    name: str
    api_key_file: str
    region: str
    base_url: str


def workspaces_of(path: str) -> tuple[WorkspaceSettings, ...]:
    """The workspaces of a settings file; UsageError when one is not well formed."""
    if not path:
        return ()
    tables = tomllib.loads(_text_of(path)).get(WORKSPACES, {})
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: a workspace is a table, [workspaces.NAME]")
    return tuple(_workspace(path, name, table) for name, table in tables.items())


def _workspace(path: str, name: str, table: Any) -> WorkspaceSettings:
    where = f"{path}: [workspaces.{name}]"
    known = WorkspaceSettings._fields[1:]
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise UsageError(f"{where} is a table of texts: {', '.join(known)}")
    for key in table:
        if key not in known:
            raise UsageError(f"{where} has no key {key}; it has {', '.join(known)}")
    if not table.get("api_key_file"):
        raise UsageError(f"{where} needs api_key_file, the file that holds its App API key")
    if table.get("region", "us") not in ("us", "eu"):
        raise UsageError(f"{where}: region is us or eu")
    return WorkspaceSettings(name, table["api_key_file"], table.get("region", ""), table.get("base_url", ""))


def told_together(problems: Sequence[str]) -> str:
    """One sentence, or a line for each."""
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join((f"{len(problems)} things are wrong:", *problems))


class _Config:
    """Values as they come in, where each came from, and what is wrong."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._origins: dict[str, str] = {}
        self._problems: list[str] = []

    def settings(self) -> Settings:
        """All of it, or a UsageError that tells every problem."""
        settings = replace(DEFAULTS, **self._values)
        self._check_sense(settings)
        if self._problems:
            raise UsageError(told_together(self._problems))
        return settings

    def read_file(self, path: str) -> None:
        """A TOML file, one table for each part of the program."""
        text = _text_of(path)
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"the configuration {path} is not TOML: {error}") from None
        for table, keys in document.items():
            where = f"{path}:{_line_number(text, table)}"
            if table == WORKSPACES:
                continue
            if not isinstance(keys, dict):
                self._problems.append(f"{where}: {table} stands outside of any table; {_tables_hint(table)}")
            elif table not in _tables():
                near = nearest(table, _tables())
                hint = f"is [{near}] meant?" if near else f"the tables are {', '.join(_tables())}"
                self._problems.append(f"{where}: there is no table [{table}]; {hint}")
            else:
                for key, value in keys.items():
                    self._set_key(table, key, value, f"{path}:{_line_number(text, table, key)}")

    def _set_key(self, table: str, key: str, value: Any, where: str) -> None:
        known = [name for name, setting in SETTINGS.items() if setting.table == table]
        if key in known:
            self._set(key, value, f"{where}: [{table}] {key}")
            return
        near = nearest(key, known)
        hint = f"is {near} meant?" if near else _tables_hint(key) if key in SETTINGS else f"it has {', '.join(known)}"
        self._problems.append(f"{where}: [{table}] has no key {key}; {hint}")

    def read_environment(self, environment: Mapping[str, str]) -> None:
        """`SENDER_…`; an empty variable is one that is not set."""
        known = {variable_of(name): name for name in SETTINGS}
        if environment.get("SENDER_API_KEY", "").strip():
            self._values.pop("api_key_file", None)  # a key in the environment comes before a file named in a file
        for variable, text in environment.items():
            if not text or not variable.startswith("SENDER_") or variable in _OTHER_VARIABLES:
                continue
            if variable == "SENDER_RATE":
                self._set_rates(text.split(","), variable)
            elif variable in known:
                self._set(known[variable], text, variable)
            elif not _KUBERNETES.fullmatch(variable) and (near := nearest(variable[7:], SETTINGS)):
                self._problems.append(f"there is no setting {variable}; is {variable_of(near)} meant?")

    def read_options(self, given: Mapping[str, Any]) -> None:
        """The command line."""
        for name in SETTINGS:
            value = given.get(name)
            option = option_of(name) or name
            if name == "rate":
                self._set_rates(value or (), option)
            elif value == "":
                self._problems.append(f"{option}: must not be empty")
            elif value is not None:
                self._set(name, value, option)

    def _set_rates(self, texts: Sequence[str], where: str) -> None:
        for text in texts:
            lane, equals, number = text.strip().rpartition("=")
            lane = lane if equals else "send"
            if lane in LANES:
                self._set(_LANE_SETTING[lane], number, where)
            else:
                self._problems.append(f"{where}: there is no lane {lane}; the lanes are {', '.join(LANES)}")

    def _set(self, name: str, value: Any, where: str) -> None:
        try:
            self._values[name] = read_value(SETTINGS[name], value)
            self._origins[name] = where
        except ValueError as error:
            self._problems.append(f"{where}: {error}")

    def _check_sense(self, settings: Settings) -> None:
        """What no value alone can tell."""
        if settings.kind not in KINDS:
            near = nearest(settings.kind, KINDS)
            hint = f"is {near} meant?" if near else f"the kinds are {', '.join(KINDS)}"
            self._problems.append(f"{self._origin('kind')}: there is no such kind; {hint}")
        if settings.timeout == 0:
            self._problems.append(f"{self._origin('timeout')}: must be above 0")
        if settings.backoff > settings.backoff_cap:
            self._problems.append(f"{self._origin('backoff', 'backoff_cap')}: backoff must not be above backoff_cap")
        both = set(settings.safe_statuses) & set(settings.ambiguous_statuses)
        if both:
            where = self._origin("safe_statuses", "ambiguous_statuses")
            listed = ", ".join(map(str, sorted(both)))
            self._problems.append(f"{where}: {listed} cannot be both in safe_statuses and in ambiguous_statuses")

    def _origin(self, *names: str) -> str:
        """Where a value came from; of several the one that was set."""
        return " and ".join(self._origins[name] for name in names if name in self._origins) or names[0]


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"the configuration {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"the configuration {path} is not TOML: it is not UTF-8 text") from None


def _tables() -> list[str]:
    return list(dict.fromkeys(setting.table for setting in SETTINGS.values()))


def _tables_hint(key: str) -> str:
    """Where a key belongs."""
    if key in SETTINGS:
        return f"put it under [{SETTINGS[key].table}]"
    return f"the tables are {', '.join(_tables())}"


def _line_number(text: str, table: str, key: str | None = None) -> int:
    """The line on which a table (or a key outside of any), or a table's key begins; 1 where that is not easily seen."""
    head = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(table)}\b")
    entry = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]") if key is not None else None
    found = 1
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            inside = head.match(line) is not None
        elif entry is not None and inside and entry.match(line):
            return number
        if found == 1 and head.match(line):
            found = number
            if entry is None:
                return number
    return found


def state_of(settings: Settings) -> str:
    """URL of the shared state, or empty; UsageError when a ledger is named beside it."""
    state = settings.state or url_in(settings.state_file)
    if state and settings.ledger:
        raise UsageError("--state and --ledger exclude each other: replicas share the one, a run alone has the other")
    return state


def url_in(path: str) -> str:
    """The URL that stands in a file; empty without a file."""
    return text_of(path).strip() if path else ""


def text_of(path: str) -> str:
    """A small file of settings; UsageError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_URL).decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} does not hold a URL: it is not text") from None
