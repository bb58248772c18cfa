"""Every setting, once: its table and key in the file, default, unit and sentence; options and environment follow."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

DAY: Final = 86400


class Setting(NamedTuple):
    """How a setting is written and read."""

    table: str
    help: str
    kind: str
    """One of text, path, number, seconds, count, limit, size, rate, flag, statuses, words, list, choice."""
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    """What stands for the value in `--help`, where the kind does not say it well."""
    lane_of: str | None = None
    """For the rate of another lane than `send`: its name in `--rate LANE=N`, which is its option."""
    option: str | None = None
    """Its option, where that is not its name."""


def _setting(default: Any, table: str, kind: str, text: str, **more: Any) -> Any:
    metadata = {"setting": Setting(table, text, kind, **more)}
    if isinstance(default, list | tuple | frozenset):
        return field(default=tuple(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run goes by."""

    region: str = _setting("us", "api", "choice", "the workspace's region", choices=("us", "eu"))
    base_url: str = _setting("", "api", "text", "another API than the region's, such as the sandbox", metavar="URL")
    allow_http: bool = _setting(False, "api", "flag", "allow a base URL with plain http to another machine")
    proxy: str = _setting(
        "", "api", "text", "http proxy to the API; default: HTTPS_PROXY and NO_PROXY; none = no proxy", metavar="URL"
    )
    api_key_file: str = _setting("", "api", "path", "file that holds the App API key; read again when it is refused")
    timeout: float = _setting(20.0, "api", "seconds", "longest time of a whole attempt, in seconds")
    keep_alive: float = _setting(
        10.0, "api", "seconds", "seconds that an idle connection is kept; shorter than the server's own time"
    )

    rate: float = _setting(
        100.0, "limits", "rate", "requests in any second on the send endpoints; LANE=N sets another lane's",
        metavar="[LANE=]N",
    )
    rate_trigger: float = _setting(
        0.1,
        "limits",
        "number",
        "broadcast triggers a second; below 1 it means one in any 1/N seconds",
        lane_of="trigger",
    )
    rate_app: float = _setting(10.0, "limits", "number", "requests in any second on all other endpoints", lane_of="app")
    concurrency: int = _setting(
        256, "limits", "count", "most requests under way in a lane; 256 hold 100 a second up to 2.5 s of latency"
    )

    paused: bool = _setting(False, "limits", "flag", "start nothing until this is turned off again (consume)")
    trigger_queue: int = _setting(5, "limits", "count", "broadcast triggers that may wait at the API to be processed")

    max_attempts: int = _setting(5, "retry", "count", "tries of a job whose failures are safe; outages do not count")
    backoff: float = _setting(0.5, "retry", "seconds", "longest first wait before a retry, doubled each time")
    backoff_cap: float = _setting(30.0, "retry", "seconds", "longest wait before a retry, in seconds")
    max_wait: float = _setting(900.0, "retry", "seconds", "longest Retry-After that a run waits for before it halts")
    max_outage: float = _setting(
        3600.0, "retry", "seconds",
        "seconds in which the API takes nothing of what waits, after which a run halts",
    )
    safe_statuses: tuple[int, ...] = _setting(
        [429], "retry", "statuses", "statuses that mean that nothing was accepted; they are retried"
    )
    ambiguous_statuses: tuple[int, ...] = _setting(
        [408, 500, 502, 504], "retry", "statuses", "statuses after which a job may have been accepted"
    )

    in_doubt: str = _setting(
        "hold", "doubt", "choice", "what becomes of a job that may have been accepted",
        choices=("hold", "resend-if-absent", "resend"),
    )
    reconcile: bool = _setting(True, "doubt", "flag", "settle jobs in doubt by reading the API at the end of a run")
    reconcile_lag: float = _setting(
        60.0, "doubt", "seconds", "seconds after which the API's lists show what it accepted"
    )
    broadcast_wait: float = _setting(
        60.0, "doubt", "seconds", "longest time that a run waits at its end for broadcasts to be processed"
    )

    kind: str = _setting("email", "run", "text", "kind of a bare payload", metavar="KIND")
    grace: float = _setting(25.0, "run", "seconds", "seconds that jobs in hand get after the first signal")
    memory: int = _setting(64 * 2**20, "run", "size", "payloads and messages held in memory, whatever their number")
    retry: tuple[str, ...] = _setting(
        [],
        "run",
        "words",
        "take up jobs that ended so once more, on your word",
        metavar="STATUS,…",
        choices=("rejected", "in_doubt", "failed", "invalid"),
    )
    limit: int = _setting(0, "run", "limit", "jobs started in this run; 0 = all", metavar="N")
    adopt: str = _setting("", "run", "path", "take over what this ledger or outcome log of another run knows")
    send_again: bool = _setting(
        False, "run", "flag", "send jobs that another memory knows as sent or in doubt, on your word"
    )
    max_rejected: str = _setting(
        "", "run", "text", "end the run when the API has refused so many jobs, or such a share of them",
        metavar="N|PERCENT",
    )
    dry_run: bool = _setting(False, "run", "flag", "check inputs and ledger, request and write nothing")
    preflight: bool = _setting(True, "run", "flag", "check key, region and templates before the first job")

    exclude: tuple[str, ...] = _setting(
        [], "safety", "list", "leave out everybody on this list: addresses, ids or their SHA-256 (may be repeated)",
        metavar="FILE[:COLUMN]",
    )
    unique: tuple[str, ...] = _setting(
        [], "safety", "words", "one message for each recipient, or for each recipient and template",
        metavar="recipient[,template]", choices=("recipient", "template"),
    )
    suppressions: bool = _setting(
        False, "safety", "flag", "leave out the addresses on the API's suppression lists, if the key may read them"
    )
    redirect_to: str = _setting(
        "", "safety", "text", "a rehearsal: send everything to this address or number, with a ledger of its own",
        metavar="ADDRESS[,PHONE]",
    )
    redirect_identifiers: str = _setting(
        "", "safety", "text", "the person of a rehearsal; default: the one with the address of --redirect-to",
        metavar="NAME=VALUE",
    )
    canary: int = _setting(
        0, "safety", "limit", "send so many jobs first, spread over the input, and ask before the others", metavar="N"
    )
    canary_wait: float = _setting(
        0.0, "safety", "seconds", "go on by itself so long after a canary that was all sent, instead of asking"
    )
    canary_seed: int = _setting(0, "safety", "limit", "another number chooses other jobs for the canary", metavar="N")
    stop_when: tuple[str, ...] = _setting(
        [], "safety", "list", "start nothing further when this holds, like rejected>2%, in_doubt>10 (may be repeated)",
        metavar="RULE",
    )

    until: str = _setting(
        "", "follow", "text",
        "follow deliveries until this holds, like open<1% or delivered>=95%,bounced<2%", metavar="RULE"
    )
    follow_for: float = _setting(
        0.0, "follow", "seconds", "longest time of following, like 15m or 6h; 0 = until the rule holds", option="for"
    )
    listen: str = _setting(
        "", "follow", "text", "take reporting webhooks there instead of reading lists", metavar="[HOST:]PORT"
    )
    deliveries: str = _setting(
        "sender.deliveries.jsonl", "follow", "path", "what becomes of the sends of a --state is written there"
    )
    webhook_key_file: str = _setting("", "follow", "path", "file that holds the webhook's signing key")
    replay_window: float = _setting(
        300.0, "follow", "seconds", "how far the time of a webhook may be from ours"
    )
    tls_cert: str = _setting("", "follow", "path", "certificate chain for https, as PEM")
    tls_key: str = _setting("", "follow", "path", "private key of --tls-cert, as PEM")

    window: str = _setting(
        "", "schedule", "text", "send only between these hours of the day", metavar="HH:MM-HH:MM"
    )
    days: str = _setting("", "schedule", "text", "send only on these days, like mon-fri or sat,sun", metavar="DAYS")
    timezone: str = _setting(
        "UTC", "schedule", "text", "time zone of --window, --days and --daily-cap", metavar="ZONE"
    )
    daily_cap: int = _setting(
        0, "schedule", "limit", "requests on the send endpoints in a calendar day, over all runs; 0 = no cap",
        metavar="N",
    )
    ramp: str = _setting(
        "", "schedule", "text", "begin slowly and reach the second rate after the time, like 10/s-100/s:30m",
        metavar="RATE-RATE:TIME",
    )

    format: str = _setting(
        "auto", "input", "choice", "what the inputs hold; auto = by their names (docs/tables.md)",
        choices=("auto", "lines", "csv", "tsv", "json", "ndjson", "parquet", "xlsx"),
    )
    map: str = _setting("", "input", "path", "mapping that makes a job of each row; default: column names are paths")
    attachments: str = _setting("", "input", "path", "folder of the files that a mapping attaches")
    delimiter: str = _setting(
        "", "input", "text", "what parts the fields of a CSV; default: what parts its header", metavar="CHAR"
    )
    quote: str = _setting(
        "", "input", "text", "what quotes a field of a CSV; none = nothing does; default: the double quote",
        metavar="CHAR",
    )
    encoding: str = _setting(
        "", "input", "text", "encoding of a CSV; default: by its byte order mark, else utf-8", metavar="NAME"
    )
    query: str = _setting("", "input", "text", "what is read from an input that is a database", metavar="SQL")
    query_file: str = _setting("", "input", "path", "file that holds the SQL of --query")

    outcomes: str = _setting("", "output", "path", "outcome log; default: beside the input")
    ledger: str = _setting("", "output", "path", "the run's memory; default: the outcome log's name + .ledger")
    state: str = _setting(
        "", "output", "text", "memory and pace that replicas share, instead of a ledger: redis://HOST/DB or postgres://HOST/DB",
        metavar="URL"
    )
    state_file: str = _setting("", "output", "path", "file that holds the URL of --state")
    keep: float = _setting(
        30.0 * DAY, "output", "seconds", "how long the shared state remembers finished jobs; doubts stay"
    )
    manifest: bool = _setting(
        True, "output", "flag", "write NAME.run.json, which sender verify holds against log and ledger"
    )
    durability: str = _setting(
        "full", "output", "choice", "what the ledger survives: full = power loss, normal and off = kill -9",
        choices=("full", "normal", "off"),
    )
    log_bodies: bool = _setting(
        False, "output", "flag", "keep the API's answers to refused jobs in their outcomes; they may hold personal data"
    )
    progress: bool = _setting(True, "output", "flag", "show progress on stderr")
    watch: bool = _setting(False, "output", "flag", "show the figures of the run on the terminal, second by second")
    live: str = _setting(
        "", "output", "text", "show the run on a page at this port, of this machine alone unless a host is named",
        metavar="[HOST:]PORT",
    )
    live_token_file: str = _setting(
        "", "output", "path", "file with a token; who has it may pause, resume and change the rate from the page"
    )
    live_personal: bool = _setting(
        False, "output", "flag", "show ids and job lines of dead letters to who has the token"
    )
    json: bool = _setting(False, "output", "flag", "print the summary as one JSON object")
    log_format: str = _setting("console", "output", "choice", "form of the log on stderr", choices=("console", "json"))
    log_level: str = _setting(
        "info", "output", "choice", "least level that is logged",
        choices=("debug", "info", "outcome", "warning", "error"),
    )

    require_identifiers: bool = _setting(
        True, "validation", "flag", "refuse an email without identifiers, instead of a warning"
    )
    risky_extensions: tuple[str, ...] = _setting(
        ["bat", "cmd", "com", "exe", "jar", "js", "msi", "ps1", "scr", "vbs"], "validation", "words",
        "attachments that are warned of, by extension",
    )

    source_file: str = _setting("", "queues", "path", "file that holds the queues' URLs, one a line")
    dead_letter: str = _setting(
        "", "queues", "text", "queue that takes jobs which nobody will try again, with the reason", metavar="URL"
    )
    dead_letter_file: str = _setting("", "queues", "path", "file that holds the URL of --dead-letter")
    retry_to: str = _setting(
        "", "queues", "text", "queue that takes jobs which failed, to be tried again by who reads it", metavar="URL"
    )
    retry_to_file: str = _setting("", "queues", "path", "file that holds the URL of --retry-to")
    retries: int = _setting(3, "queues", "count", "times that a job goes to --retry-to before it is a dead letter")
    identity: str = _setting(
        "message", "queues", "choice", "what tells jobs without an id apart: the broker's message id, or their content",
        choices=("message", "content"),
    )
    prefetch: int = _setting(100, "queues", "count", "messages of a queue in hand at once, but for parked ones")
    max_deliveries: int = _setting(5, "queues", "count", "deliveries after which a message goes to the dead letter")
    health_port: int = _setting(0, "queues", "limit", "port of /livez, /readyz and /metrics; 0 = none", metavar="PORT")
    health_host: str = _setting("0.0.0.0", "queues", "text", "addresses of the health port, parted by commas")  # noqa: S104


SETTINGS: Final[dict[str, Setting]] = {one.name: one.metadata["setting"] for one in fields(Settings)}
DEFAULTS: Final = Settings()


def options_of(name: str) -> tuple[str, ...]:
    """The command-line options of a setting: a flag has one to turn it on and one to turn it off."""
    setting = SETTINGS[name]
    if setting.lane_of is not None:
        return ()
    plain = setting.option or name.replace("_", "-")
    return (f"--{plain}", f"--no-{plain}") if setting.kind == "flag" else (f"--{plain}",)


def option_of(name: str) -> str | None:
    """The option that changes a setting's default, or None where it has none of its own."""
    options = options_of(name)
    if not options:
        return None
    return options[-1] if getattr(DEFAULTS, name) is True else options[0]


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return f"SENDER_{name.upper()}"


def default_toml() -> str:
    """config/sender.toml: every key with its default and sentence."""
    parts = ["# Every setting with its default. Command line > SENDER_… environment > this file > default.\n"]
    table = ""
    for name, setting in SETTINGS.items():
        if setting.table != table:
            table = setting.table
            parts.append(f"\n[{table}]\n")
        choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
        sentence = setting.help[0].upper() + setting.help[1:]
        parts.append(f"# {sentence}{choices}.\n{name} = {_toml(setting, getattr(DEFAULTS, name))}\n")
    return "".join(parts)


def shown(setting: Setting, value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if setting.kind == "size" and value % 2**20 == 0:
        return f"{value // 2**20}MiB"
    if setting.kind == "seconds" and value and value % DAY == 0:
        return f"{value / DAY:g}d"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _toml(setting: Setting, value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(setting, one) for one in value)}]"
    text = shown(setting, value)
    return (
        f'"{text}"' if isinstance(value, str) or (text[-1:].isalpha() and setting.kind in ("size", "seconds")) else text
    )
