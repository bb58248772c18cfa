"""Every command: what it is for, what it takes, and three examples, as `sender --help` and each `--help` begin."""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """A command as a user meets it; the module of its name in this package has its options and does it."""

    purpose: str
    takes: str
    """What stands after the options in its usage."""
    examples: tuple[tuple[str, str], ...]
    """(what it does, the line to type)."""


COMMANDS: Final = {
    "send": Command(
        "send jobs from files and stdin", "[INPUT…]",
        (
            ("Send a file; what became of each job is written beside it", "sender send receipts.jsonl"),
            ("Count what would be sent of an export, and send nothing",
             "sender send --dry-run orders.csv --map receipt.json"),
            ("Send what another program writes, as it comes", "tail -f jobs.jsonl | sender send --kind sms"),
        ),
    ),
    "validate": Command(
        "check jobs, send nothing", "[INPUT…]",
        (
            ("Tell each problem with its file, line and field", "sender validate receipts.jsonl"),
            ("Check bare payloads of another kind", "sender validate --kind push pushes.jsonl"),
            ("Check the first 1,000 lines, told as JSON", "sender validate --limit 1000 --json receipts.jsonl"),
        ),
    ),
    "preview": Command(
        "show jobs as they would be sent", "[INPUT…]",
        (
            ("The first jobs, and what would become of all", "sender preview receipts.jsonl"),
            ("One row of a table", "sender preview orders.csv --map receipt.json --row 17"),
            ("A page to show to others", "sender preview receipts.jsonl -n 20 --html --out preview.html"),
        ),
    ),
    "verify": Command(
        "hold a run's manifest against its log and ledger", "MANIFEST",
        (
            ("Log, ledger and manifest agree, or what does not", "sender verify receipts.jsonl.run.json"),
            ("The same of a rehearsal", "sender verify receipts.jsonl.rehearsal.run.json"),
            ("The same of an input from stdin", "sender verify sender.run.json"),
        ),
    ),
    "consume": Command(
        "send jobs from queues", "[URL…]",
        (
            ("Replicas that share one limit and one memory",
             "sender consume 'redis://redis/0?stream=jobs&group=senders' --state redis://redis/1"),
            ("One consumer alone, with a queue for what is refused",
             "sender consume 'amqp://rabbit/?queue=jobs' --ledger jobs.ledger --dead-letter 'amqp://rabbit/?queue=dead'"),
            ("In Kubernetes, with probes and metrics; SENDER_SOURCE names the queue",
             "sender consume --state redis://redis/1 --health-port 8080 --log-format json"),
        ),
    ),
    "outbox": Command(
        "the SQL of a transactional outbox in PostgreSQL", "create|migrate",
        (
            ("Read what would be made", "sender outbox create"),
            ("Make it, with the rights of two roles",
             "sender outbox create --writer shop --consumer sender --apply postgres://admin@db/shop"),
            ("After an upgrade of sender", "sender outbox migrate --apply postgres://admin@db/shop"),
        ),
    ),
    "dead": Command(
        "list what lies in a dead letter queue", "DEAD_URL",
        (
            ("When, why and which job, line by line", "sender dead 'redis://redis/0?stream=dead'"),
            ("How many there are of each code", "sender dead --count 'amqp://rabbit/?queue=dead'"),
            ("Job lines to repair, for sender redrive --repaired",
             "sender dead --status invalid,rejected --jobs 'redis://redis/0?stream=dead' > repair.jsonl"),
        ),
    ),
    "redrive": Command(
        "put dead letters back into their queue", "DEAD_URL --to QUEUE_URL",
        (
            ("What would go where, by what the consumers know",
             "sender redrive 'amqp://mq/?queue=dead' --to 'amqp://mq/?queue=jobs' --state redis://redis/1 --dry-run"),
            ("Those that surely were not accepted",
             "sender redrive 'redis://redis/0?stream=dead' --to 'redis://redis/0?stream=jobs' --code absent,api_error"),
            ("Repaired job lines in the place of what was refused",
             "sender redrive 'redis://redis/0?stream=dead' --to 'redis://redis/0?stream=jobs' --repaired repair.jsonl"),
        ),
    ),
    "copy": Command(
        "move jobs between files, queues and outboxes", "FROM TO",
        (
            ("A backfill into a queue", "sender copy receipts.jsonl 'redis://redis/0?stream=jobs&group=senders'"),
            ("From one broker to another",
             "sender copy 'amqp://mq/?queue=jobs' 'postgres://db/shop?table=sender_outbox'"),
            ("Dead letters into a file", "sender copy 'redis://redis/0?stream=dead' letters.jsonl"),
        ),
    ),
    "reconcile": Command(
        "settle jobs in doubt by reading the API", "[INPUT]",
        (
            ("Ask the API what became of the jobs in doubt of this input", "sender reconcile receipts.jsonl"),
            ("Close two of them by hand, as found in the dashboard",
             "sender reconcile receipts.jsonl --settle sent receipt-17 receipt-23"),
            ("Those of a shared memory", "sender reconcile --state redis://redis/1"),
        ),
    ),
    "follow": Command(
        "tell what became of what was sent: delivered, bounced, opened", "RUN…",
        (
            ("Ask until less than one in a hundred is open; it is written to receipts.jsonl.deliveries.jsonl",
             "sender follow receipts.jsonl.outcomes.jsonl"),
            ("For six hours, late bounces and opens too", "sender follow --for 6h receipts.jsonl.outcomes.jsonl"),
            ("One look, told as JSON", "sender follow --once --json receipts.jsonl.outcomes.jsonl"),
        ),
    ),
    "outcomes": Command(
        "filter outcome logs, and give back the job lines behind them", "OUTCOMES…",
        (
            ("How many there are of each status and code", "sender outcomes receipts.jsonl.outcomes.jsonl --count"),
            ("What the API refused", "sender outcomes receipts.jsonl.outcomes.jsonl --status rejected"),
            ("The job lines to repair and send again",
             "sender outcomes receipts.jsonl.outcomes.jsonl --status invalid,rejected --jobs receipts.jsonl"),
        ),
    ),
    "sandbox": Command(
        "a local stand-in for the API, with its limits and faults", "",
        (
            ("Listen on port 8025; send to it with --base-url http://127.0.0.1:8025", "sender sandbox"),
            ("Answers as slow as those of a far API", "sender sandbox --latency 50-300 --jitter 20"),
            ("One request in twenty is cut off, the same ones each time",
             "sender sandbox --fault reset_after=0.05 --seed 7"),
        ),
    ),
    "bench": Command(
        "load benchmark", "[compare A B]",
        (
            ("500 requests a second for 20 s; exit 1 if it was slower",
             "sender bench --base-url http://127.0.0.1:8025 --rate 500 --duration 20 --threshold 'p99<100ms'"),
            ("Two saved results side by side", "sender bench compare before.json after.json"),
            ("How exactly the engine keeps a limit", "sender bench --prove-pacing"),
        ),
    ),
    "report": Command(
        "one HTML page from a run or a benchmark", "FILE…",
        (
            ("One page, report.html, that needs no network", "sender report receipts.jsonl.outcomes.jsonl"),
            ("The figures as text", "sender report --text receipts.jsonl.outcomes.jsonl"),
            ("Runs and benchmarks on one page", "sender report --out week.html *.outcomes.jsonl bench.json"),
        ),
    ),
    "completion": Command(
        "shell completion for bash, zsh and fish", "SHELL",
        (
            ("For bash",
             "sender completion bash > ~/.local/share/bash-completion/completions/sender"),
            ("For zsh, into a folder of $fpath", "sender completion zsh > ~/.zfunc/_sender"),
            ("For fish", "sender completion fish > ~/.config/fish/completions/sender.fish"),
        ),
    ),
}
