"""Command-line options made from the settings, so that they are described in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sender.settings import DEFAULTS, SETTINGS, option_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

_METAVARS = {"seconds": "SECONDS", "count": "N", "limit": "N", "path": "PATH", "number": "N"}


def add_settings(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add the options of these settings; what is not given stays None."""
    parser.add_argument("--config", metavar="PATH", help="settings file (see config/sender.toml)")
    for name in names:
        option = option_of(name)
        if option is not None:
            _add(parser, name, option)


def _add(parser: argparse.ArgumentParser, name: str, option: str) -> None:
    setting = SETTINGS[name]
    default = getattr(DEFAULTS, name)
    if setting.kind == "flag":
        text = f"do not {setting.help}" if default else setting.help
        parser.add_argument(option, dest=name, action="store_const", const=not default, help=text)
        return
    shown = (
        f" (default: {default:g})" if isinstance(default, int | float) else f" (default: {default})" if default else ""
    )
    more: dict[str, Any] = {"action": "append"} if setting.kind == "rate" else {}
    if setting.choices:
        more["choices"] = setting.choices
    else:
        more["metavar"] = setting.metavar or _METAVARS.get(setting.kind, "TEXT")
    parser.add_argument(option, dest=name, help=(setting.help + shown).replace("%", "%%"), **more)
