"""Command-line options made from the settings, so that they are described in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sender.config.settings import DEFAULTS, SETTINGS, options_of, shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

    from sender.config.settings import Setting

TITLES: Final = {
    "api": "the API", "limits": "limits", "retry": "retries", "doubt": "jobs in doubt", "run": "the run",
    "safety": "who gets it, and when to stop", "schedule": "when",
    "follow": "what becomes of it",
    "input": "what the inputs hold",
    "output": "what is written and shown", "validation": "checks",
    "queues": "queues",
}
_METAVARS: Final = {
    "seconds": "SECONDS", "count": "N", "limit": "N", "path": "PATH", "number": "N", "size": "SIZE",
    "statuses": "STATUS,…", "words": "WORD,…",
}


def add_settings(
    parser: argparse.ArgumentParser, names: Iterable[str], *, texts: Mapping[str, str] | None = None
) -> None:
    """Add the options of these settings, with other `texts` where they mean something else here.

    What is not given stays None. Values are checked with those of the file and the environment, all at once.
    """
    parser.add_argument("--config", metavar="PATH", help="settings file (or SENDER_CONFIG; see config/sender.toml)")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name in names:
        setting = SETTINGS[name]
        if setting.table not in groups:
            groups[setting.table] = parser.add_argument_group(TITLES[setting.table])
        _add(groups[setting.table], name, setting, (texts or {}).get(name, setting.help))


def _add(group: argparse._ArgumentGroup, name: str, setting: Setting, text: str) -> None:
    options = options_of(name)
    if not options:
        return
    default = getattr(DEFAULTS, name)
    help_text = text if default in ("", ()) or name == "limit" else f"{text} (default: {_default(name, setting)})"
    help_text = help_text.replace("%", "%%")
    if setting.kind == "flag":
        _add_flag(group, name, help_text)
        return
    more: dict[str, Any] = {"action": "append"} if setting.kind in ("rate", "list") else {}
    metavar = setting.metavar or "|".join(setting.choices) or _METAVARS.get(setting.kind, "TEXT")
    if setting.metavar and setting.choices:
        help_text = f"{help_text}: {', '.join(setting.choices)}"
    group.add_argument(*options, dest=name, metavar=metavar, help=help_text, **more)


def _add_flag(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    """On and off, so that the command line has the last word whatever file and environment say."""
    import argparse

    on, _ = options_of(name)
    group.add_argument(on, dest=name, default=None, action=argparse.BooleanOptionalAction, help=text)


def _default(name: str, setting: Setting) -> str:
    default = getattr(DEFAULTS, name)
    return ("on" if default else "off") if isinstance(default, bool) else shown(setting, default)
