from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sender.api_key import ApiKey
from sender.cli import COMMANDS
from sender.commands import send, validate
from sender.config import load
from sender.errors import UsageError
from sender.settings import DEFAULTS, SETTINGS, default_toml, option_of, variable_of

ROOT = Path(__file__).parents[2]
SAMPLES: dict[str, tuple[str, Any]] = {
    "flag": ("true", True), "seconds": ("2m", 120.0), "count": ("7", 7), "limit": ("7", 7), "rate": ("50", 50.0),
    "number": ("2.5", 2.5), "path": ("x", "x"), "text": ("sms", "sms"), "statuses": ("503, 504", (503, 504)),
    "words": ("rejected,in_doubt", ("rejected", "in_doubt")),
}  # fmt: skip


def sample(name: str) -> tuple[str, Any]:
    setting = SETTINGS[name]
    return (setting.choices[-1], setting.choices[-1]) if setting.choices else SAMPLES[setting.kind]


def test_the_shown_file_is_what_the_code_says() -> None:
    assert (ROOT / "config" / "sender.toml").read_text() == default_toml()


def test_the_shown_file_loads_as_the_defaults() -> None:
    assert load({"config": str(ROOT / "config" / "sender.toml")}, {}) == DEFAULTS


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_by_environment_and_file(name: str, tmp_path: Path) -> None:
    text, value = sample(name)
    clash = {"SENDER_AMBIGUOUS_STATUSES": "500"} if name == "safe_statuses" else {}
    assert getattr(load({}, {variable_of(name): text, **clash}), name) == value
    quoted = text if text in ("true", "7", "2.5", "50") else f'"{text}"'
    (tmp_path / "c.toml").write_text(f"[{SETTINGS[name].table}]\n{name} = {quoted}\n")
    assert getattr(load({"config": str(tmp_path / "c.toml")}, clash), name) == value


def parsed(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    send.add_arguments(parser)
    return vars(parser.parse_args(arguments))


@pytest.mark.parametrize("name", [name for name in SETTINGS if option_of(name) is not None])
def test_every_option(name: str) -> None:
    option = option_of(name)
    assert option is not None
    if SETTINGS[name].kind == "flag":
        assert getattr(load(parsed(option), {}), name) is not getattr(DEFAULTS, name)
    else:
        text, value = sample(name)
        assert getattr(load(parsed(option, text), {}), name) == value


def test_precedence(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[api]\ntimeout = 1\n[limits]\nrate = 1\nrate_app = 1\n")
    variables = {"SENDER_CONFIG": str(tmp_path / "c.toml"), "SENDER_TIMEOUT": "2", "SENDER_RATE": "2"}
    settings = load(parsed("--timeout", "3", "--rate", "app=4"), variables)
    assert (settings.timeout, settings.rate, settings.rate_app) == (3.0, 2.0, 4.0)


def test_all_problems_at_once(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[api]\ntimeot = 1\n[nonsense]\nx = 1\n[run]\nmemory = -1\n")
    variables = {"SENDER_TIMEOUT": "soon", "SENDER_RATES": "5"}
    with pytest.raises(UsageError) as caught:
        load(parsed("--config", str(tmp_path / "c.toml"), "--rate", "x=1"), variables)
    for words in (
        "is timeout meant",
        "no table [nonsense]",
        "[run] memory",
        "SENDER_TIMEOUT",
        "is SENDER_RATE",
        "no lane x",
    ):
        assert words in str(caught.value)


def test_the_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("abc123\n")
    key = ApiKey.load(str(path), {})
    assert key() == "abc123"
    assert "abc123" not in repr(key)
    assert key.reload() is False
    path.write_text("def456")
    assert key.reload() is True
    assert (key(), key.version) == ("def456", 2)
    path.unlink()
    assert key.reload() is False
    assert ApiKey.load("", {"SENDER_API_KEY": " k "})() == "k"
    for bad in ("two words", "ümlaut", "", "a\nb"):
        with pytest.raises(UsageError) as caught:
            ApiKey.load("", {"SENDER_API_KEY": bad})
        assert "two words" not in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not ASCII"):
        ApiKey.load(str(path), {})


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sender", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""


def test_help_shows_every_option_of_send() -> None:
    text = run("send", "--help").stdout
    for name in SETTINGS:
        option = option_of(name)
        assert option is None or option in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sender.cli import main; main(['--help']); "
        "print([m for m in ('aiohttp', 'structlog', 'anyio', 'orjson', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["snd"], "is send meant"),
        (["send", "--outcome", "x"], "is --outcomes meant"),
        (["send", "--nonsense"], "see sender send --help"),
        (["consume"], "there is no command consume"),
        (["outcomes", "nowhere"], "no such file"),
        (["sandbox", "--fault", "nonsense=1"], "there is no fault nonsense"),
    ],
)
def test_wrong_words_on_the_command_line(arguments: list[str], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_readme_and_changelog_tell_of_every_command_and_status() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"sender {command}" in readme
    from sender.codes import PROBLEMS, WARNINGS

    for code in (*PROBLEMS, *WARNINGS):
        assert f"`{code}`" in readme
    assert set(vars(validate)) >= {"HELP", "add_arguments", "run"}
