"""Settings from command line, environment and file, in that order; every problem is told at once."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sender.errors import UsageError
from sender.kinds import KINDS, LANES
from sender.settings import DEFAULTS, SETTINGS, Settings, option_of, variable_of
from sender.validation.report import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = re.compile(r"([\d.]+)\s*(s|m|h)?")
_UNITS: Final = {None: 1, "s": 1, "m": 60, "h": 3600}
RETRIED: Final = ("rejected", "in_doubt", "failed", "invalid")
_LANE_SETTING: Final = {"send": "rate", "trigger": "rate_trigger", "app": "rate_app"}
_OTHER_VARIABLES: Final = frozenset({"SENDER_API_KEY", "SENDER_CONFIG", "SENDER_SANDBOX_API_KEY", "SENDER_SOURCE"})


def load(given: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a run; `given` holds what stands on the command line (None where nothing does)."""
    environment = os.environ if environment is None else environment
    problems: list[str] = []
    values: dict[str, Any] = {}
    config = given.get("config") or environment.get("SENDER_CONFIG")
    if config:
        _from_file(Path(config), values, problems)
    _from_environment(environment, values, problems)
    _from_options(given, values, problems)
    if problems:
        raise UsageError("; ".join(problems))
    settings = replace(DEFAULTS, **values)
    _check_sense(settings, problems)
    if problems:
        raise UsageError("; ".join(problems))
    return settings


def _from_file(path: Path, values: dict[str, Any], problems: list[str]) -> None:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {path} is not TOML: {error}") from None
    tables = {setting.table for setting in SETTINGS.values()}
    for table, keys in document.items():
        if table not in tables or not isinstance(keys, dict):
            problems.append(f"{path}: there is no table [{table}]; the tables are {', '.join(sorted(tables))}")
            continue
        known = [name for name, setting in SETTINGS.items() if setting.table == table]
        for key, value in keys.items():
            if key in known:
                _set(key, value, f"{path}: [{table}] {key}", values, problems)
            else:
                near = nearest(key, known)
                hint = f"is {near} meant?" if near else f"the keys are {', '.join(known)}"
                problems.append(f"{path}: [{table}] has no key {key}; {hint}")


def _from_environment(environment: Mapping[str, str], values: dict[str, Any], problems: list[str]) -> None:
    known = {variable_of(name): name for name in SETTINGS}
    for variable, text in environment.items():
        if not variable.startswith("SENDER_") or variable in _OTHER_VARIABLES or not text:
            continue
        if variable in known:
            _set(known[variable], text, variable, values, problems)
        elif (near := nearest(variable, known)) is not None:
            problems.append(f"there is no setting {variable}; is {near} meant?")


def _from_options(given: Mapping[str, Any], values: dict[str, Any], problems: list[str]) -> None:
    for name in SETTINGS:
        value = given.get(name)
        if value is None:
            continue
        if name == "rate":
            for text in value:
                _set_rate(text, values, problems)
        else:
            _set(name, value, option_of(name) or name, values, problems)


def _set_rate(text: str, values: dict[str, Any], problems: list[str]) -> None:
    lane, equals, number = text.rpartition("=")
    lane = lane if equals else "send"
    if lane not in LANES:
        problems.append(f"--rate: there is no lane {lane}; the lanes are {', '.join(LANES)}")
        return
    _set(_LANE_SETTING[lane], number, f"--rate {lane}", values, problems)


def _set(name: str, value: Any, where: str, values: dict[str, Any], problems: list[str]) -> None:
    try:
        values[name] = _convert(name, value)
    except ValueError as error:
        problems.append(f"{where}: {error}")


def _convert(name: str, value: Any) -> Any:
    setting = SETTINGS[name]
    match setting.kind:
        case "flag":
            return _flag(value)
        case "choice":
            if value not in setting.choices:
                raise ValueError(f"must be one of {', '.join(setting.choices)}")
            return value
        case "seconds":
            return _seconds(value)
        case "rate" | "number":
            return _number(value)
        case "count":
            return _count(value)
        case "limit":
            return 0 if value in (0, "0") else _count(value)
        case "statuses":
            return tuple(_status(one) for one in _listed(value))
        case "words":
            return tuple(str(one).lower().lstrip(".") for one in _listed(value))
        case _:
            return _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("must be a text")
    return value


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("must be true or false")


def _seconds(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str) and (match := _SECONDS.fullmatch(value.strip())):
        return float(match.group(1)) * _UNITS[match.group(2)]
    raise ValueError("must be seconds, like 30, 30s, 5m or 1h")


def _number(value: Any) -> float:
    if value == "max":
        return float("inf")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not number > 0:
        raise ValueError("must be a number above 0")
    return number


def _count(value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool | float) or number < 1:
        raise ValueError("must be a whole number, 1 or more")
    return number


def _status(value: Any) -> int:
    number = _count(value)
    if not 400 <= number <= 599:
        raise ValueError("must be HTTP statuses from 400 to 599")
    return number


def _listed(value: Any) -> list[Any]:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)


def _check_sense(settings: Settings, problems: list[str]) -> None:
    if settings.kind not in KINDS:
        near = nearest(settings.kind, KINDS)
        hint = f"is {near} meant?" if near else f"the kinds are {', '.join(KINDS)}"
        problems.append(f"--kind: there is no kind {settings.kind!r}; {hint}")
    both = set(settings.safe_statuses) & set(settings.ambiguous_statuses)
    if both:
        problems.append(f"the statuses {', '.join(map(str, sorted(both)))} cannot be both safe and ambiguous")
    unknown = set(settings.retry) - set(RETRIED)
    if unknown:
        problems.append(f"--retry: takes {', '.join(RETRIED)}, not {', '.join(sorted(unknown))}")
    if settings.timeout == 0:
        problems.append("--timeout: must be above 0")
