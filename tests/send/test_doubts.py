"""Jobs in doubt, from the fault to the settlement: real processes against a real server."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.campaigns.crash import torture
from tests.support.processes import email, outcomes, running_sandbox, sender, start_sender, write_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.processes import Sandbox

QUICK = ("--rate", "2000", "--rate", "app=500", "--rate", "trigger=50", "--reconcile-lag", "1", "--timeout", "1",
         "--no-progress", "--json")
PATIENT = ("--timeout", "15")
"""Where nothing hangs: a busy machine may take its time."""
LOG = "jobs.jsonl.outcomes.jsonl"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with running_sandbox(
        "--rate-send",
        "0",
        "--rate-app",
        "0",
        "--rate-trigger",
        "0",
        "--visibility-lag",
        "0.5",
        "--processing-time",
        "0.3",
    ) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.post("reset")
    shared.heal()
    return shared


def send(sandbox: Sandbox, cwd: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = sender("send", "jobs.jsonl", "--base-url", sandbox.url, *QUICK, *arguments, cwd=cwd)
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def reconcile(sandbox: Sandbox, cwd: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Its exit status and what it found, as soon as the lists are trusted."""
    quick = ("--rate", "app=500", "--reconcile-lag", "1", "--json", "--base-url", sandbox.url)
    ends = time.monotonic() + 30
    while True:
        time.sleep(1.2)
        done = sender("reconcile", "jobs.jsonl", *quick, *arguments, cwd=cwd)
        found = json.loads(done.stdout) if done.stdout else {}
        if b"lists are trusted" not in done.stdout or found["settled"] or time.monotonic() > ends:
            break
    return done.returncode, found or {"stderr": done.stderr.decode()}


def holding(cwd: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in outcomes(cwd / LOG) if line["status"] != "duplicate"}


def fault(sandbox: Sandbox, name: str, **more: Any) -> None:
    sandbox.post("faults", fault=name, **more)


def break_a_few(sandbox: Sandbox) -> None:
    """Some accepted without an answer, some refused without a clear word; the last ones well again."""
    fault(sandbox, "reset_after", probability=0.1, count=10)
    fault(sandbox, "status", status=500, probability=0.1, count=10)
    fault(sandbox, "hang", probability=0.02, count=1)
    fault(sandbox, "no_id", probability=0.02, count=2)


def test_a_run_ends_by_settling_its_doubts(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n, meta={"n": n}) for n in range(400)])
    break_a_few(sandbox)
    status, summary = send(sandbox, tmp_path, "--rate", "150")
    accepted = set(sandbox.numbers())
    assert summary["in_doubt"] == 0
    assert summary["sent"] == len(accepted) == len(sandbox.numbers())
    assert summary["failed"] == 400 - len(accepted) > 0
    assert status == 1
    for name, line in holding(tmp_path).items():
        number = int(name.removeprefix("job-"))
        assert line["status"] == ("sent" if number in accepted else "failed")
        assert line["meta"] == {"n": number}
        assert line["attempts"] == 1
        if line["status"] == "failed":
            assert line["error"]["code"] == "absent"
    ids = {message["delivery_id"]: f"job-{message['payload']['message_data']['n']}" for message in sandbox.messages}
    assert all(ids[line["delivery_id"]] == name for name, line in holding(tmp_path).items() if "delivery_id" in line)
    sandbox.heal()
    assert send(sandbox, tmp_path)[0] == 0
    assert sorted(sandbox.numbers()) == list(range(400))


def test_absent_jobs_are_sent_again_once_by_policy(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(300)])
    fault(sandbox, "reset_after", probability=0.1, count=8)
    fault(sandbox, "status", status=500, probability=0.1, count=8)
    status, summary = send(sandbox, tmp_path, "--rate", "150", "--in-doubt", "resend-if-absent")
    assert (status, summary["sent"], summary["in_doubt"]) == (0, 300, 0)
    assert sorted(sandbox.numbers()) == list(range(300))
    assert summary["attempts"] == summary["lanes"]["send"]["requests"] > 300
    assert all(line["status"] == "sent" for line in holding(tmp_path).values())


def test_without_read_scope_everything_stays_in_doubt(tmp_path: Path) -> None:
    with running_sandbox("--rate-send", "0", "--no-read-scope") as sandbox:
        write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(20)])
        fault(sandbox, "reset_after", count=2)
        begin = time.monotonic()
        status, summary = send(sandbox, tmp_path, "--reconcile-lag", "30", "--in-doubt", "resend-if-absent")
        assert time.monotonic() - begin < 20
        assert (status, summary["sent"], summary["in_doubt"]) == (1, 18, 2)
        assert len(sandbox.numbers()) == len(set(sandbox.numbers())) == 20
        status, found = reconcile(sandbox, tmp_path)
        assert (status, found["in_doubt"]) == (1, 2)


def test_a_signal_skips_the_wait(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(1), email(2)])
    fault(sandbox, "reset_after", count=1)
    quick = [one if one != "1" else "50" for one in QUICK]
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, *quick, cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if b"settling" in line:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert json.loads(out)["in_doubt"] == 1
    assert process.returncode == 3


def test_kill_9_while_settling_loses_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(100)])
    fault(sandbox, "reset_after", probability=0.2, count=10)
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, *QUICK, "--rate", "100", cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if b"settling" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    status, found = reconcile(sandbox, tmp_path)
    assert (status, found["in_doubt"], found["settled"]) == (0, 0, 10)
    assert {line["status"] for line in holding(tmp_path).values()} == {"sent"}
    assert len(sandbox.numbers()) == 100


def test_reconcile_says_what_it_settled_and_why_not(sandbox: Sandbox, tmp_path: Path) -> None:
    later = email(2)
    later["payload"]["queue_draft"] = True
    write_jobs(tmp_path / "jobs.jsonl", [email(1), later, email(3)])
    fault(sandbox, "reset_after", count=1)
    fault(sandbox, "status", status=500, count=1)
    _, summary = send(sandbox, tmp_path, "--rate", "20", "--no-reconcile")
    assert summary["in_doubt"] == 2
    status, found = reconcile(sandbox, tmp_path)
    assert status == 1
    by_id = {job["id"]: job for job in found["jobs"]}
    assert by_id["job-1"]["delivery_id"] == sandbox.messages[0]["delivery_id"]
    assert "draft" in by_id["job-2"]["because"]
    done = sender("reconcile", "jobs.jsonl", "--base-url", sandbox.url, "--reconcile-lag", "1", cwd=tmp_path)
    assert b"0 settled, 1 still in doubt" in done.stdout


def test_settle_by_hand(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(4)])
    fault(sandbox, "reset_after", count=2)
    fault(sandbox, "no_id", count=1)
    assert send(sandbox, tmp_path, "--rate", "20", "--no-reconcile")[1]["in_doubt"] == 3
    doubtful = [name for name, line in holding(tmp_path).items() if line["error"] is not None]
    unknown = next(
        n for n, line in holding(tmp_path).items() if (line["error"] or {}).get("code") == "accepted_id_unknown"
    )
    lost = [name for name in doubtful if name != unknown]
    for wrong in (("failed", unknown), ("sent", "nobody"), ("maybe", lost[0]), ("sent",)):
        status, found = reconcile(sandbox, tmp_path, "--settle", *wrong)
        assert status == 2, found
    assert len(holding(tmp_path)) == 4
    assert reconcile(sandbox, tmp_path, "--settle", "sent", lost[0], unknown)[0] == 1
    assert reconcile(sandbox, tmp_path, "--settle", "failed", lost[1])[0] == 0
    after = holding(tmp_path)
    assert (after[lost[0]]["status"], after[unknown]["status"]) == ("sent", "sent")
    assert (after[lost[1]]["status"], after[lost[1]]["error"]["code"]) == ("failed", "settled_by_hand")
    status, summary = send(sandbox, tmp_path)
    assert (status, summary["sent"], summary["duplicate"]) == (0, 1, 3)


def test_reconcile_needs_a_ledger_that_is_there_and_free(sandbox: Sandbox, tmp_path: Path) -> None:
    status, found = reconcile(sandbox, tmp_path)
    assert status == 2
    assert "there is no ledger" in found["stderr"]
    assert not (tmp_path / f"{LOG}.ledger").exists()
    write_jobs(tmp_path / "jobs.jsonl", [email(n) for n in range(50)])
    process = start_sender("send", "jobs.jsonl", "--base-url", sandbox.url, *QUICK, "--rate", "10", cwd=tmp_path)
    while not sandbox.messages:
        time.sleep(0.05)
    status, found = reconcile(sandbox, tmp_path)
    assert status == 2
    assert "in use by another run" in found["stderr"]
    process.kill()
    process.communicate()


def broadcast(name: str, payload: Any = None, number: int = 12) -> dict[str, Any]:
    return {"id": name, "kind": "broadcast", "broadcast_id": number, "payload": payload or {}}


def test_at_most_five_triggers_wait(tmp_path: Path) -> None:
    with running_sandbox(
        "--rate-trigger", "0", "--rate-app", "0", "--processing-time", "0.2", "--queue-full", "422"
    ) as api:
        write_jobs(tmp_path / "jobs.jsonl", [broadcast(f"b{n}", number=12 + n % 2) for n in range(7)])
        status, summary = send(api, tmp_path, *PATIENT)
        assert (status, summary["sent"], summary["attempts"]) == (0, 7, 7)
        assert api.lanes["trigger"]["statuses"] == {"200": 7}
        assert api.lanes["app"]["arrived"] < 40


def test_a_full_queue_that_others_filled_is_safe(tmp_path: Path) -> None:
    with running_sandbox("--rate-trigger", "0", "--rate-app", "0", "--processing-time", "1", "--queue", "2",
                         "--queue-full", "422") as api:
        write_jobs(tmp_path / "jobs.jsonl", [broadcast(f"b{n}") for n in range(4)])
        status, summary = send(api, tmp_path, "--trigger-queue", "5", *PATIENT)
        assert (status, summary["sent"], summary["rejected"]) == (0, 4, 0)
        assert api.lanes["trigger"]["statuses"]["422"] >= 1


def test_errors_of_a_broadcast_stand_in_its_outcome(sandbox: Sandbox, tmp_path: Path) -> None:
    refused = {"per_user_data": [{"id": "missing-1", "data": {}}, {"id": "cust-2", "data": {}}]}
    write_jobs(tmp_path / "jobs.jsonl", [
        broadcast("good"), broadcast("late", {"emails": ["a@b.c", "missing-2@b.c"]}), broadcast("refused", refused),
    ])
    status, summary = send(sandbox, tmp_path, *PATIENT)
    assert status == 1
    assert (summary["sent"], summary["rejected"]) == (2, 1)
    assert summary["warnings"] == {"broadcast_error": 1, "default_audience": 1}
    lines = holding(tmp_path)
    assert lines["good"]["error"] is None
    assert (lines["late"]["status"], lines["late"]["error"]["code"]) == ("sent", "broadcast_error")
    codes = [problem["code"] for problem in lines["refused"]["error"]["problems"]]
    assert codes == ["api_error", "broadcast_error"]
    assert "missing-" not in (tmp_path / LOG).read_text()


def test_a_broadcast_is_never_sent_again_after_an_ambiguous_end(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [broadcast("lost"), broadcast("refused", number=13)])
    fault(sandbox, "reset_after", count=1)
    fault(sandbox, "status", status=502, count=1)
    status, summary = send(sandbox, tmp_path, "--in-doubt", "resend")
    assert (status, summary["sent"], summary["in_doubt"]) == (1, 1, 1)
    assert sandbox.lanes["trigger"]["arrived"] == 2
    assert holding(tmp_path)["lost"]["trigger_id"] == 1


def test_a_restart_knows_the_triggers_that_wait(tmp_path: Path) -> None:
    with running_sandbox(
        "--rate-trigger", "0", "--rate-app", "0", "--processing-time", "3", "--queue-full", "422"
    ) as api:
        write_jobs(tmp_path / "jobs.jsonl", [broadcast(f"b{n}", {"emails": ["missing-9@b.c"]}) for n in range(6)])
        process = start_sender("send", "jobs.jsonl", "--base-url", api.url, *QUICK, *PATIENT, cwd=tmp_path)
        while len(api.get("triggers")) < 5:
            time.sleep(0.02)
        time.sleep(0.3)
        process.kill()
        process.communicate()
        status, summary = send(api, tmp_path, *PATIENT)
        assert status == 1
        assert summary["sent"] + summary["duplicate"] + summary["in_doubt"] == 6
        assert set(api.lanes["trigger"]["statuses"]) == {"200"}
        assert sum((line["error"] or {}).get("code") == "broadcast_error" for line in holding(tmp_path).values()) >= 5


def test_broadcast_wait_is_a_limit_and_reconcile_fetches_the_rest(tmp_path: Path) -> None:
    with running_sandbox("--rate-trigger", "0", "--processing-time", "3", "--rate-app", "0") as api:
        write_jobs(tmp_path / "jobs.jsonl", [broadcast("b", {"emails": ["missing@example.com"]})])
        status, summary = send(api, tmp_path, "--broadcast-wait", "0.5")
        assert (status, summary["sent"], summary["elapsed_s"] < 3) == (0, 1, True)
        status, _ = reconcile(api, tmp_path)
        assert status == 0
        line = holding(tmp_path)["b"]
        assert (line["status"], line["error"]["code"]) == ("sent", "broadcast_error")
        assert "missing@" not in (tmp_path / LOG).read_text()


def newsletter(number: int) -> dict[str, Any]:
    return {"id": f"n{number}", "kind": "newsletter_send", "newsletter_id": number, "payload": {}}


def test_newsletters_are_sent_once_whatever_the_answer(sandbox: Sandbox, tmp_path: Path) -> None:
    write_jobs(tmp_path / "jobs.jsonl", [newsletter(1), newsletter(2)])
    fault(sandbox, "reset_after", count=1)
    fault(sandbox, "status", status=500, count=1)
    status, summary = send(sandbox, tmp_path)
    assert (status, summary["sent"]) == (0, 2), holding(tmp_path)
    assert {line["newsletter_id"] for line in holding(tmp_path).values()} == {1, 2}
    (tmp_path / LOG).unlink()
    (tmp_path / f"{LOG}.ledger").unlink()
    status, summary = send(sandbox, tmp_path)
    assert (status, summary["rejected"]) == (1, 2), "on a first try `already sent` is a refusal"


def test_kill_9_a_dozen_times(tmp_path: Path) -> None:
    """The small sister of `make crash`."""
    tally = torture(6, seed=3, count=500)
    assert tally.good, str(tally)
    assert tally.kills >= 5
    assert tally.settled == tally.in_doubt


def twins(*names: str) -> list[dict[str, Any]]:
    """The same message to the same person, wanted several times."""
    return [{**email(1), "id": name} for name in names]


def lose_answers(sandbox: Sandbox, cwd: Path, jobs: list[dict[str, Any]], *arguments: str) -> None:
    """These jobs are accepted in order, and stay in doubt."""
    write_jobs(cwd / "jobs.jsonl", jobs)
    fault(sandbox, "reset_after", count=len(jobs))
    assert send(sandbox, cwd, "--rate", "20", "--no-reconcile", *arguments)[1]["in_doubt"] == len(jobs)


def refuse_darkly(sandbox: Sandbox, cwd: Path, jobs: list[dict[str, Any]]) -> None:
    """The last of these jobs is not accepted, and stays in doubt."""
    write_jobs(cwd / "jobs.jsonl", jobs)
    fault(sandbox, "status", status=500, count=1)
    send(sandbox, cwd, "--rate", "20", "--no-reconcile")


def test_a_job_closed_by_hand_may_have_made_what_another_is_looking_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """X was closed with `--settle sent X`, and Y became `sent` with X's delivery."""
    lose_answers(sandbox, tmp_path, twins("x"))
    refuse_darkly(sandbox, tmp_path, twins("x", "y"))
    assert reconcile(sandbox, tmp_path, "--settle", "sent", "x")[0] == 1
    status, found = reconcile(sandbox, tmp_path)
    (y,) = found["jobs"]
    made = sandbox.messages[0]["delivery_id"]
    assert (status, y["id"], y["status"], y["shown"], y["rivals"]) == (1, "y", "in_doubt", [made], ["x"])
    assert "--settle sent ID=DELIVERY_ID" in y["because"]
    status, found = reconcile(sandbox, tmp_path, "--settle", "sent", f"x={made}")
    assert (status, found["jobs"][0]) == (1, {"id": "x", "status": "sent", "delivery_id": made})
    status, found = reconcile(sandbox, tmp_path)
    assert (status, found["in_doubt"]) == (1, 1)
    assert "rivals" not in found["jobs"][0]
    assert "shown" not in found["jobs"][0], "the delivery has its owner"
    for taken in (f"y={made}", "x=", "y=", "nobody=d"):
        assert reconcile(sandbox, tmp_path, "--settle", "sent", taken)[0] == 2
    assert reconcile(sandbox, tmp_path, "--settle", "failed", "y=d")[0] == 2


def test_a_job_sent_again_may_have_made_what_another_is_looking_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """X was sent again with `--retry in_doubt`, and Y got the delivery of its first attempt."""
    lose_answers(sandbox, tmp_path, twins("x"))
    assert send(sandbox, tmp_path, "--retry", "in_doubt", "--no-reconcile")[1]["sent"] == 1
    refuse_darkly(sandbox, tmp_path, twins("x", "y"))
    status, found = reconcile(sandbox, tmp_path)
    (y,) = found["jobs"]
    assert (status, y["rivals"], y["shown"]) == (1, ["x"], [sandbox.messages[0]["delivery_id"]])
    status, found = reconcile(sandbox, tmp_path, "--settle", "sent", f"x={y['shown'][0]}")
    assert holding(tmp_path)["x"]["delivery_id"] == sandbox.messages[1]["delivery_id"], "the one that is known stays"


def test_a_delivery_is_bound_by_hand(sandbox: Sandbox, tmp_path: Path) -> None:
    jobs = [*twins("x"), {**email(2), "id": "x=y"}]
    lose_answers(sandbox, tmp_path, jobs)
    made = [message["delivery_id"] for message in sandbox.messages]
    pairs = (f"x={made[0]}", f"x=y={made[1]}")
    assert reconcile(sandbox, tmp_path, "--settle", "sent", *pairs)[0] == 0
    after = holding(tmp_path)
    assert [after[name]["delivery_id"] for name in ("x", "x=y")] == made


def test_another_senders_delivery_is_not_adopted(sandbox: Sandbox, tmp_path: Path) -> None:
    """The job was not accepted, another service sent the same, and the job became `sent`."""
    (tmp_path / "theirs").mkdir()
    refuse_darkly(sandbox, tmp_path, twins("x"))
    theirs = [*twins("a"), *(email(number) for number in range(2, 5))]
    write_jobs(tmp_path / "theirs" / "jobs.jsonl", theirs)
    write_jobs(tmp_path / "jobs.jsonl", twins("x"))
    status, summary = send(sandbox, tmp_path / "theirs", "--rate", "20")
    assert (status, summary["sent"]) == (0, 4)
    status, found = reconcile(sandbox, tmp_path, "--reconcile-lag", "8")
    (x,) = found["jobs"]
    assert (status, x["status"]) == (1, "in_doubt")
    assert "another sender" in x["because"]
    assert x["shown"][0] == sandbox.messages[0]["delivery_id"]
    assert len(x["shown"]) == 2


@pytest.mark.parametrize("theirs", ["sent", "in_doubt"])
def test_another_ledgers_delivery_is_not_adopted(sandbox: Sandbox, tmp_path: Path, theirs: str) -> None:
    """A job of another ledger was sent, or may have been, and the job in doubt of this one got its delivery."""
    refuse_darkly(sandbox, tmp_path, twins("x"))
    write_jobs(tmp_path / "other.jsonl", twins("other"))
    if theirs == "in_doubt":
        fault(sandbox, "reset_after", count=1)
    done = sender("send", "other.jsonl", "--base-url", sandbox.url, *QUICK, "--no-reconcile", cwd=tmp_path)
    assert json.loads(done.stdout)[theirs] == 1, done.stderr
    status, found = reconcile(sandbox, tmp_path, "--reconcile-lag", "8")
    (x,) = found["jobs"]
    assert (status, x["status"]) == (1, "in_doubt")
    assert x.get("rivals") == (["other"] if theirs == "in_doubt" else None)
    done = sender("reconcile", "other.jsonl", "--base-url", sandbox.url, "--reconcile-lag", "1", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["in_doubt"] == (1 if theirs == "in_doubt" else 0)


SET_CLOCK = (
    "import os, time\n"
    "real = time.time\n"
    "def now():\n"
    "    return real() + float(os.environ['CLOCK_STEP'])\n"
    "time.time = now\n"
)


def test_a_clock_that_was_set_between_two_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    """The clock went on by ten minutes, the doubtful job was looked for there, called absent, and sent again."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(SET_CLOCK)
    path = f"{tmp_path / 'patch'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"

    def at(step: float, *arguments: str) -> Any:
        return sender(*arguments, "--base-url", sandbox.url, cwd=tmp_path, PYTHONPATH=path, CLOCK_STEP=str(step))

    write_jobs(tmp_path / "jobs.jsonl", [email(1)])
    fault(sandbox, "reset_after", count=1)
    done = at(-600, "send", "jobs.jsonl", *QUICK, "--no-reconcile")
    assert json.loads(done.stdout)["in_doubt"] == 1, done.stderr
    write_jobs(tmp_path / "jobs.jsonl", [email(1), email(2)])
    time.sleep(1.2)  # until the lists are trusted by the clock of the API: our own went on
    done = at(0, "send", "jobs.jsonl", *QUICK, "--in-doubt", "resend-if-absent")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["failed"]) == (0, 0), done.stderr
    assert sandbox.numbers() == [1, 2]
    assert holding(tmp_path)["job-1"]["delivery_id"] == sandbox.messages[0]["delivery_id"], "by the API's own clock"


def test_an_absent_job_after_the_clock_was_set_stays_open(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(SET_CLOCK)
    path = f"{tmp_path / 'patch'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    write_jobs(tmp_path / "jobs.jsonl", [email(1), email(2)])
    fault(sandbox, "status", status=500, count=1)
    sender("send", "jobs.jsonl", "--base-url", sandbox.url, *QUICK, "--rate", "20", "--no-reconcile", cwd=tmp_path,
           PYTHONPATH=path, CLOCK_STEP="-600")
    status, found = reconcile(sandbox, tmp_path)
    assert (status, found["in_doubt"]) == (1, 1)
    assert "clock" in found["jobs"][0]["because"]


def test_a_lost_descheduling_was_done(sandbox: Sandbox, tmp_path: Path) -> None:
    """The answer was lost, the API said `not scheduled` to the next try, and the job ended `rejected`."""
    at = int(time.time()) + 86400
    schedule = {"id": "on", "kind": "newsletter_schedule", "newsletter_id": 1,
                "payload": {"scheduled_at": at, "timezone": "UTC"}}
    off = {"id": "off", "kind": "newsletter_schedule", "newsletter_id": 1, "payload": {"scheduled_at": 0}}
    write_jobs(tmp_path / "jobs.jsonl", [schedule])
    assert send(sandbox, tmp_path, *PATIENT)[0] == 0
    write_jobs(tmp_path / "jobs.jsonl", [schedule, off])
    fault(sandbox, "reset_after", count=1)
    status, summary = send(sandbox, tmp_path, *PATIENT)
    assert (status, summary["sent"], summary["attempts"]) == (0, 1, 2), holding(tmp_path)
    assert holding(tmp_path)["off"]["newsletter_id"] == 1
    write_jobs(tmp_path / "jobs.jsonl", [{**off, "id": "again"}])
    assert send(sandbox, tmp_path, *PATIENT)[1]["rejected"] == 1, "on a first try `not scheduled` is a refusal"


def test_a_newsletter_in_doubt_that_is_retried_was_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    """`--retry in_doubt` was answered `already sent`, and the job ended `rejected`."""
    lose_answers(sandbox, tmp_path, [newsletter(7)])
    status, summary = send(sandbox, tmp_path, "--retry", "in_doubt", "--no-reconcile")
    assert (status, summary["sent"]) == (0, 1), holding(tmp_path)
    assert holding(tmp_path)["n7"]["newsletter_id"] == 7


def test_a_ledger_of_an_earlier_version_is_read(sandbox: Sandbox, tmp_path: Path) -> None:
    """Its doubts have no time of the API's clock: what is listed is adopted, and nothing is called absent."""
    lose_answers(sandbox, tmp_path, [email(1)])
    refuse_darkly(sandbox, tmp_path, [email(1), email(2), email(3)])
    with closing(sqlite3.connect(tmp_path / f"{LOG}.ledger")) as db, db:
        db.execute("UPDATE jobs SET detail = json_remove(detail, '$.ahead', '$.booted') WHERE state = 'in_doubt'")
        db.execute("DELETE FROM facts WHERE name IN ('known_deliveries', 'doubted_attempts')")
        db.execute("INSERT INTO facts VALUES ('witnesses', '[[\"email\",3,[\"d\",1.0],[\"d\",2.0]]]')")
    status, found = reconcile(sandbox, tmp_path)
    by_id = {job["id"]: job for job in found["jobs"]}
    assert status == 1
    assert by_id["job-1"]["status"] == "sent"
    assert "clock" in by_id["job-2"]["because"]
