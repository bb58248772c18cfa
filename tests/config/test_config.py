from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.cli import consume, follow, send
from sender.config.api_key import ApiKey
from sender.config.load import load
from sender.config.settings import DEFAULTS, SETTINGS, default_toml, option_of, options_of, variable_of
from sender.config.value import read_value
from sender.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
SAMPLES: dict[str, tuple[str, Any]] = {
    "flag": ("true", True), "seconds": ("2m", 120.0), "count": ("7", 7), "limit": ("7", 7), "rate": ("50", 50.0),
    "number": ("2.5", 2.5), "path": ("x", "x"), "text": ("sms", "sms"), "statuses": ("503, 505", (503, 505)),
    "words": ("rejected,in_doubt", ("rejected", "in_doubt")), "size": ("2GiB", 2 * 2**30),
    "list": ("A.csv:e", ("A.csv:e",)),
}


def sample(name: str) -> tuple[str, Any]:
    setting = SETTINGS[name]
    if name == "backoff":
        return "3s", 3.0
    if name == "unique":
        return "recipient,template", ("recipient", "template")
    return (setting.choices[-1], setting.choices[-1]) if setting.kind == "choice" else SAMPLES[setting.kind]


def test_the_shown_file_is_what_the_code_says() -> None:
    assert (ROOT / "config" / "sender.toml").read_text() == default_toml()


def test_the_shown_file_loads_as_the_defaults() -> None:
    assert load({"config": str(ROOT / "config" / "sender.toml")}, {}) == DEFAULTS


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_by_environment_and_file(name: str, tmp_path: Path) -> None:
    text, value = sample(name)
    assert getattr(load({}, {variable_of(name): text}), name) == value
    quoted = text if text in ("true", "7", "2.5", "50") else f'"{text}"'
    (tmp_path / "c.toml").write_text(f"[{SETTINGS[name].table}]\n{name} = {quoted}\n")
    assert getattr(load({"config": str(tmp_path / "c.toml")}, {}), name) == value


def parsed(*arguments: str, command: ModuleType = send) -> dict[str, Any]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    command.add_arguments(parser)
    return vars(parser.parse_args(arguments))


@pytest.mark.parametrize("name", [name for name in SETTINGS if option_of(name) is not None])
def test_every_option(name: str) -> None:
    option = option_of(name)
    assert option is not None
    command = {"queues": consume, "follow": follow}.get(SETTINGS[name].table, send)
    if SETTINGS[name].kind == "flag":
        for one, value in zip(options_of(name), (True, False), strict=True):
            assert getattr(load(parsed(one, command=command), {variable_of(name): str(not value)}), name) is value
    else:
        text, value = sample(name)
        assert getattr(load(parsed(option, text, command=command), {}), name) == value


def test_a_list_is_given_by_repeating_its_option() -> None:
    given = parsed("--exclude", "a, b.csv", "--exclude", "c.csv:email")
    assert load(given, {}).exclude == ("a, b.csv", "c.csv:email")
    assert load({}, {"SENDER_EXCLUDE": "a.csv, b.csv"}).exclude == ("a.csv", "b.csv")
    with pytest.raises(UsageError, match="--stop-when: must be texts"):
        load(parsed("--stop-when", " "), {})


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


def problems_of(tmp_path: Path, toml: str = "", *arguments: str, **variables: str) -> str:
    (tmp_path / "c.toml").write_text(toml)
    with pytest.raises(UsageError) as caught:
        load(parsed("--config", str(tmp_path / "c.toml"), *arguments), variables)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[api]\n\ntimeout = inf", "c.toml:3: [api] timeout: must be seconds"),
        ("[api]\ntimeout = 0", "c.toml:2: [api] timeout: must be above 0"),
        ("[api]\ntimeout = true", "must be seconds"),
        ("[api]\ntimeout = [1]", "must be seconds"),
        ("[doubt]\nreconcile_lag = '1.2.3'", "must be seconds"),
        ("[limits]\nrate = nan", "must be a number above 0"),
        ("[limits]\nrate = -1", "must be a number above 0"),
        ("[limits]\nconcurrency = 1.5", "must be a whole number"),
        ("[limits]\nconcurrency = 99999999999999999999", "must be a whole number"),
        ("[run]\nmemory = '1KiB'", "must be a size of 1MiB or more"),
        ("[run]\nlimit = -1", "0 means all"),
        ("[run]\nretry = ['sent']", "takes only rejected"),
        ("[run]\nretry = [1]", "must be a list of texts"),
        ("[run]\nretry = {a = 1}", "must be a list of texts"),
        ("[run]\nkind = 'emial'", "c.toml:2: [run] kind: there is no such kind; is email meant?"),
        ("[run]\nkind = 3", "must be a text"),
        ("[retry]\nsafe_statuses = [200]", "must be HTTP statuses"),
        ("[retry]\nsafe_statuses = [500]", "500 cannot be both"),
        ("[retry]\nbackoff = 60", "must not be above backoff_cap"),
        ("[output]\njson = 'perhaps'", "must be true or false"),
        ("[output]\ndurability = ['full']", "must be one of full, normal, off"),
        ("timeout = 5", "c.toml:1: timeout stands outside of any table; put it under [api]"),
        ("[run]\ntimeout = 5", "c.toml:2: [run] has no key timeout; put it under [api]"),
        ("[ouput]\nx = 1", "c.toml:1: there is no table [ouput]; is [output] meant?"),
        ("[api]\nzzz = 1", "it has region, base_url"),
        ("[api\n", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file(toml: str, words: str, tmp_path: Path) -> None:
    assert words in problems_of(tmp_path, toml)


def test_a_status_need_not_be_a_list(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("\ufeff[retry]\nsafe_statuses = 429\n", encoding="utf-8")
    assert load({"config": str(tmp_path / "c.toml")}, {}).safe_statuses == (429,)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="cannot be read"):
            load({"config": str(path)}, {})
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load({"config": str(tmp_path / "binary")}, {})


@given(
    st.dictionaries(st.sampled_from(sorted(SETTINGS)), st.text() | st.sampled_from([v for v, _ in SAMPLES.values()]))
)
def test_any_environment_gives_settings_or_a_usage_error(variables: dict[str, str]) -> None:
    try:
        loaded = load({}, {variable_of(name): text for name, text in variables.items()})
    except UsageError as error:
        assert any(variable_of(name) in str(error) for name in variables)  # noqa: PT017
    else:
        assert type(loaded) is type(DEFAULTS)


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
    ),
)
def test_any_value_is_read_or_refused_in_words(name: str, value: Any) -> None:
    try:
        read = read_value(SETTINGS[name], value)
    except ValueError as error:
        assert str(error).startswith(("must ", "takes only "))  # noqa: PT017
    else:
        hash(read)
        assert (
            read == read_value(SETTINGS[name], read if not isinstance(read, tuple) else list(read)) or read == math.inf
        )


def test_rates_by_the_environment_and_the_command_line() -> None:
    settings = load(parsed("--rate", "app=5", "--rate", "max"), {"SENDER_RATE": "send=50,trigger=0.2,app=1"})
    assert (settings.rate, settings.rate_trigger, settings.rate_app) == (math.inf, 0.2, 5.0)


def test_what_kubernetes_sets_is_not_ours() -> None:
    variables = {"SENDER_PORT": "tcp://10.0.0.1:80", "SENDER_SERVICE_HOST": "10.0.0.1", "SENDER_PORT_80_TCP": "x"}
    assert load({}, variables) == DEFAULTS
    with pytest.raises(UsageError, match=r"is SENDER_TIMEOUT meant\?"):
        load({}, {"SENDER_TIMEOUTT": "5"})


def test_an_empty_option_is_not_the_default() -> None:
    with pytest.raises(UsageError, match="--outcomes: must not be empty"):
        load(parsed("--outcomes", ""), {})


def test_a_key_in_the_environment_comes_before_a_file_named_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[api]\napi_key_file = 'x'\n")
    config = {"config": str(tmp_path / "c.toml")}
    assert load(config, {}).api_key_file == "x"
    assert load(config, {"SENDER_API_KEY": "k"}).api_key_file == ""
    assert load(config, {"SENDER_API_KEY": "k", "SENDER_API_KEY_FILE": "y"}).api_key_file == "y"
    assert load({**config, "api_key_file": "z"}, {"SENDER_API_KEY": "k"}).api_key_file == "z"


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
    path.write_text("k" * 5000)
    with pytest.raises(UsageError, match="longer than"):
        ApiKey.load(str(path), {})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not ASCII"):
        ApiKey.load(str(path), {})
