"""What the tools themselves say of manifests and alerts: kubectl renders them, promtool checks and tries the rules."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.deployment.manifests import BASE, PRODUCTION, built, only
from tests.support.servers import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPONENTS = BASE.parent / "components"


def render(folder: Path) -> list[dict[str, Any]]:
    (kubectl,) = require("kubectl")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def by_name(resources: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in resources}


@pytest.mark.parametrize("folder", [BASE, PRODUCTION], ids=lambda folder: folder.name)
def test_kubectl_renders_what_the_other_tests_look_at(folder: Path) -> None:
    assert by_name(render(folder)) == by_name(built(folder))


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[Any]:
    """The base with one component."""

    def rendered(component: str) -> dict[tuple[str, str], dict[str, Any]]:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [os.path.relpath(BASE, tmp_path)],
            "components": [os.path.relpath(COMPONENTS / component, tmp_path)],
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return by_name(render(tmp_path))

    return rendered


def test_no_component_is_forgotten() -> None:
    names = {path.name for path in COMPONENTS.iterdir()}
    assert names == {
        "kube-prometheus-stack", "nodelocal-dns", "openshift", "queue-kafka", "queue-postgres", "second-stream",
    }
    readme = (BASE.parent / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in names)


@pytest.mark.parametrize(("component", "scaler", "port"), [
    ("queue-kafka", "apache-kafka", 9092), ("queue-postgres", "postgresql", 5432),
])
def test_a_queue_has_its_scaler_and_a_way_out(overlay: Any, component: str, scaler: str, port: int) -> None:
    found = overlay(component)
    assert [one["type"] for one in found["ScaledObject", "sender"]["spec"]["triggers"]] == [scaler]
    ways = found["NetworkPolicy", "sender"]["spec"]["egress"]
    assert port in {one["port"] for way in ways for one in way["ports"]}


def test_of_two_streams_both_scale(overlay: Any) -> None:
    """By what waits and by what is in hand, each: one stream's backlog is no reason to see none in the other."""
    triggers = [one["metadata"] for one in overlay("second-stream")["ScaledObject", "sender"]["spec"]["triggers"]]
    assert {one["consumerGroup"] for one in triggers} == {"senders"}
    seen = [(one["stream"], name) for one in triggers for name in ("lagCount", "pendingEntriesCount") if name in one]
    assert seen == [
        (stream, name) for stream in ("jobs", "jobs-urgent") for name in ("lagCount", "pendingEntriesCount")
    ]
    assert all(("lagCount" in one) == ("activationLagCount" in one) for one in triggers), "KEDA below 2.17"


def test_kube_prometheus_stack_finds_both(overlay: Any) -> None:
    found = overlay("kube-prometheus-stack")
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found[kind, "sender"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_nodelocal_dns_is_let_out_beside_the_cluster_s_own(overlay: Any) -> None:
    names = overlay("nodelocal-dns")["NetworkPolicy", "sender"]["spec"]["egress"][0]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in names["to"]
    assert len(names["to"]) == 2
    assert {port["port"] for port in names["ports"]} == {53}


def test_openshift_gives_the_user_and_has_its_own_names(overlay: Any) -> None:
    found = overlay("openshift")
    context = found["Deployment", "sender"]["spec"]["template"]["spec"]["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
    assert context["runAsNonRoot"] is True
    policy = found["NetworkPolicy", "sender"]["spec"]
    assert {port["port"] for port in policy["egress"][-1]["ports"]} == {5353}
    labels = policy["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "openshift-user-workload-monitoring"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    (program,) = require("promtool")
    return subprocess.run([program, *arguments], capture_output=True, check=False)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(only("PrometheusRule")["spec"]))
    return path


def test_promtool_takes_the_alerts(rules: Path) -> None:
    number = len(only("PrometheusRule")["spec"]["groups"][0]["rules"])
    checked = promtool("check", "rules", str(rules))
    assert checked.returncode == 0, checked.stderr.decode()
    assert f"{number} rules found" in checked.stdout.decode()


def test_a_breaker_that_is_tried_by_turns_is_an_api_that_fails(rules: Path, tmp_path: Path) -> None:
    """Open and trying change places at every probe: an alert for "open" alone began anew each time."""
    lane = 'namespace="n",job="sender",workspace="default",lane="send"'
    series = [
        {"series": f'sender_breaker_state{{{lane},state="closed"}}', "values": "1 0x20"},
        {"series": f'sender_breaker_state{{{lane},state="open"}}', "values": "0 " + "1 0 " * 10},
        {"series": f'sender_breaker_state{{{lane},state="trying"}}', "values": "0 " + "0 1 " * 10},
    ]
    labels = {"namespace": "n", "job": "sender", "workspace": "default", "lane": "send", "severity": "critical"}
    (rule,) = (
        one for one in only("PrometheusRule")["spec"]["groups"][0]["rules"] if one["alert"] == "SenderBreakerOpen"
    )
    texts = {**rule["annotations"], "summary": rule["annotations"]["summary"].replace("{{ $labels.lane }}", "send")}
    fires = {"exp_labels": labels, "exp_annotations": texts}
    trial = {
        "rule_files": [rules.name], "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m", "input_series": series,
            "alert_rule_test": [
                {"eval_time": "3m", "alertname": "SenderBreakerOpen", "exp_alerts": []},
                {"eval_time": "10m", "alertname": "SenderBreakerOpen", "exp_alerts": [fires]},
            ],
        }],
    }
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(trial))
    tried = promtool("test", "rules", str(tmp_path / "trial.yaml"))
    assert tried.returncode == 0, tried.stdout.decode() + tried.stderr.decode()


def test_the_image_is_made_of_what_is_pinned() -> None:
    """Its base by digest, and every package by hash, those that build the wheel too."""
    root = BASE.parents[2]
    dockerfile = (root / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE=python:3\.\d+-slim@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${BASE}"}
    for line in re.findall(r"pip (?:install|wheel) .*", dockerfile):
        assert "--require-hashes" in line or "--no-deps" in line, line
    pinned = re.findall(r"^([a-z-]+)==(\S+)", (root / "requirements-build.lock").read_text(), re.MULTILINE)
    others = dict(re.findall(r"^([a-z-]+)==(\S+)", (root / "requirements-dev.lock").read_text(), re.MULTILINE))
    assert "hatchling" in dict(pinned)
    assert {name: others[name] for name, _ in pinned} == dict(pinned)
