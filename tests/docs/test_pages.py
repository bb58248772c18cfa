"""The documentation says what is so: links, tables made from the code, figures, files, references in the code."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from sender.config.load import load, workspaces_of
from sender.jobs.codes import PROBLEMS, WARNINGS
from sender.jobs.job import Job, Line
from sender.outcomes.outcome import Outcome
from sender.runtime.metrics.replica_metrics import ReplicaMetrics
from sender.validation.parser import Parser
from tests.docs.markdown import DOCS, FENCE, PAGES, ROOT, anchors, blocks, codes, headings, links, name_of, rows

ELSEWHERE = re.compile(r"\b(CONTRACT|HOUSE)\b|\b(API|PERF|FIELD|STYLE|PEERS)\.md\b|\bshared/[A-Z]|\bseeds:")
REFERENCE = re.compile(r'docs/([a-z-]+\.md)((?:(?:,| and)\s+"[^"]+")*)')
SUFFIXES = (".py", ".lua", ".sh", ".toml", ".yaml", ".json", ".md")
CODE = sorted(
    path
    for folder in ("sender", "tests", "benchmarks", "examples", "config", "docs")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in SUFFIXES and path != Path(__file__)
)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_anchors_resolve(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {*DOCS.glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"} <= linked


def test_what_is_generated_is_up_to_date() -> None:
    """Tables of settings, options and codes; figures of RESULTS.md."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "benchmarks.md"], ids=name_of)
def test_every_figure_is_one_of_the_results(page: Path) -> None:
    figures = rows(page, "Figures")
    assert len(figures) >= 5
    for what, figure in figures:
        assert "<!-- figure: " in figure, what
        assert not re.search(r"\d", re.sub(r"[\d.,]+%?<!-- figure: .*?-->|pydantic v2", "", figure)), what


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_measured_figure_stands_without_its_source(page: Path) -> None:
    text = re.sub(r"<!-- generated: .*?<!-- end -->|<img .*?>", "", FENCE.sub("", page.read_text()), flags=re.DOTALL)
    measured = re.findall(r"[\d.,]+ ?%(?!<!-- figure)|[\d.,]+ times as fast|[\d,]+ (?:emails|jobs) a second", text)
    assert set(measured) <= {"5 %"}, "the share of low priority is a rule; all else is measured"


def test_every_code_is_explained() -> None:
    explained = codes(DOCS / "error-codes.md")
    for code in (*PROBLEMS, *WARNINGS):
        assert code in explained


def test_the_glossary_is_short_and_sorted() -> None:
    words = [word for word, _ in rows(DOCS / "glossary.md", "Glossary")]
    assert len(words) <= 25
    assert words == sorted(words)


def test_every_rule_of_the_checks_has_its_source() -> None:
    named = {code for row in rows(DOCS / "api.md", "Rules of the checks") for code in re.findall(r"`(\w+)`", row[0])}
    room = ROOT / "sender" / "validation"
    told = {
        node.args[0].value
        for path in {*room.glob("*.py")} - {room / "parser.py", room / "envelope.py"}  # these tell of the line
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("problem", "warn")
        and isinstance(node.args[0], ast.Constant)
    }
    assert told == named


def test_every_room_is_described() -> None:
    page = DOCS / "architecture.md"
    described = [row[0].strip("`") for row in rows(page, "Rooms")]
    assert sorted(described) == sorted(path.parent.name for path in (ROOT / "sender").glob("*/__init__.py"))
    drawn = blocks(page, "")[0]
    for room in ("send", "consume", "reconcile", "session", "validation", "engine", "pacing", "ledger", "transport",
                 "outcomes", "doubts", "shared_state", "inputs", "queues", "jobs", "cli"):
        assert f"{room}/" in drawn


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    for code in codes(page):
        if re.fullmatch(r"(sender|tests|docs|benchmarks|config|examples)/[\w./-]+", code):
            assert (ROOT / code).exists(), code
        elif re.fullmatch(r"[a-z_]+/[a-z_]+\.py", code):
            assert (ROOT / "sender" / code).exists(), code


def test_every_library_is_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += [one for extra in project["project"]["optional-dependencies"].values() for one in extra]
    names = {re.match(r"[\w-]+", one)[0] for one in wanted}  # type: ignore[index]
    told = set(re.findall(r"[\w-]+", " ".join(row[0] for row in rows(DOCS / "architecture.md", "Libraries"))))
    assert names <= told
    table = "".join(row[0] for row in rows(DOCS / "operations.md", "Installing"))
    assert set(re.findall(r"`(\w+)`", table)) == set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "job-format.md"], ids=name_of)
def test_jobs_that_are_shown_are_valid(page: Path) -> None:
    lines = [line for block in blocks(page, "json") for line in block.splitlines()]
    assert lines
    for number, line in enumerate(lines):
        job = Parser().parse(Line(name_of(page), number, line.encode()), 1_800_000_000.0)
        assert isinstance(job, Job), job
        assert not job.warnings, line


def test_the_outcome_that_is_shown_is_one() -> None:
    (block,) = blocks(DOCS / "delivery-semantics.md", "json")
    shown = json.loads(block)
    made = Outcome(
        "1", "email", "sent", "a", 1, attempts=1, http_status=200, result=(("delivery_id", "d"), ("queued_at", 1)),
        started_at=1.0, written_at=1.0, finished_at=2.0, latency_ms=1.0,
    )
    assert list(shown) == list(json.loads(made.to_line()))
    described = " ".join(row[0] for row in rows(DOCS / "delivery-semantics.md", "The outcome log"))
    for key in (*shown, "trigger_id", "newsletter_id", "meta"):
        assert f"`{key}`" in described


def test_settings_files_that_are_shown_are_valid(tmp_path: Path) -> None:
    shown = [block for page in PAGES for block in blocks(page, "toml")]
    assert shown
    for block in shown:
        path = tmp_path / "sender.toml"
        path.write_text(block)
        load({"config": str(path)}, {})
        workspaces_of(str(path))


def test_metrics_that_are_named_exist() -> None:
    async def scrape() -> str:
        return (await ReplicaMetrics().render())[1].decode()

    families = set(re.findall(r"^# TYPE (sender_\w+) ", asyncio.run(scrape()), re.MULTILINE))
    named = {one for one in codes(DOCS / "operations.md") if re.fullmatch(r"sender_\w+[a-z0-9]", one)}
    assert named == {one for one in families if not one.startswith("sender_process_")}


def test_nothing_points_to_what_is_not_here() -> None:
    assert [f"{name_of(path)}: {found[0]}" for path in CODE if (found := ELSEWHERE.search(path.read_text()))] == []


def test_the_code_points_to_pages_and_sections_that_exist() -> None:
    missing = [
        f"{name_of(path)}: {page} {section}"
        for path in CODE
        if path.suffix != ".md"
        for page, sections in REFERENCE.findall(path.read_text())
        for section in re.findall(r'"([^"]+)"', sections) or [""]
        if not (DOCS / page).exists() or (section and re.sub(r"\s+", " ", section) not in headings(DOCS / page))
    ]
    assert missing == []


def test_the_workflows_run_what_a_change_has_to_pass() -> None:
    folder = ROOT / ".github" / "workflows"
    ci, package = (yaml.safe_load((folder / name).read_text()) for name in ("ci.yml", "package.yml"))
    (job,) = ci["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    steps = [step.get("run", "") for one in package["jobs"].values() for step in one["steps"]]
    assert "python -m build" in steps
    assert any(step.startswith("docker build") for step in steps)
    for document in (ci, package):
        assert document["permissions"] == {"contents": "read"}
        assert all("timeout-minutes" in one for one in document["jobs"].values())


def test_pre_commit_runs_what_make_check_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [one["entry"] for one in hooks]
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    tools = re.findall(r"\$\(BIN\)/([\w-]+(?: check)?)", recipe)
    assert tools
    for tool in tools:
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in entries), tool
