"""The manifests, alerts and dashboard hold together, and fit what they are sent to.

* Kinds of Kubernetes itself: validated strictly by kubernetes-validate against the schemas of two versions.
* ScaledObject, TriggerAuthentication (KEDA), ServiceMonitor, PrometheusRule (Prometheus operator): checked against the
  part of their published CRD schemas that is used here, written down below from KEDA's of August 2026 and the
  operator's 0.93; an unknown field fails. KEDA's own reading of a trigger's metadata is checked by its names.
* What kustomize would make of it: `kustomize.py` beside this file; no kustomize and no cluster has seen it here.
* PromQL: names and labels are looked up in what a run really exposes; the grammar itself is not checked.
"""

from __future__ import annotations

import argparse
import json
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from sender import __version__
from sender.cli.main import COMMANDS
from sender.config.load import load
from sender.config.settings import SETTINGS, options_of, variable_of
from sender.engine.breaker import Breaker
from sender.engine.pacing.pacer import Pacer
from sender.runtime.metrics.gauges import FLAGS
from sender.runtime.metrics.replica_metrics import ReplicaMetrics
from tests.deployment.manifests import BASE, CONFIG, PRODUCTION, built, container, only, pod
from tests.support.lanes import lane
from tests.support.traffic import Letters, Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import Metric

VERSIONS = ("1.31", kubernetes_validate.latest_version())

DURATION = {"type": "string", "pattern": r"^(0|(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def several(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
POLICY = closed(
    ("periodSeconds", "type", "value"), periodSeconds=COUNT, type={"enum": ["Pods", "Percent"]}, value=COUNT
)
RULES = closed((), stabilizationWindowSeconds=COUNT, policies=several(POLICY), selectPolicy=TEXT)
REDIS_STREAMS = {
    "address", "host", "port", "databaseIndex", "stream", "consumerGroup", "lagCount", "activationLagCount",
    "pendingEntriesCount", "streamLength", "enableTLS", "unsafeSsl", "usernameFromEnv", "passwordFromEnv",
}
SPECS = {
    ("keda.sh/v1alpha1", "ScaledObject"): closed(
        ("scaleTargetRef", "triggers"),
        scaleTargetRef=closed(("name",), apiVersion=TEXT, kind=TEXT, name=TEXT, envSourceContainerName=TEXT),
        minReplicaCount=COUNT,
        maxReplicaCount={"type": "integer", "minimum": 1},
        pollingInterval={"type": "integer", "minimum": 1},
        cooldownPeriod=COUNT,
        fallback=closed(("failureThreshold", "replicas"), failureThreshold=COUNT, replicas=COUNT),
        advanced=closed(
            (),
            restoreToOriginalReplicaCount={"type": "boolean"},
            horizontalPodAutoscalerConfig=closed(
                (), name=TEXT, behavior=closed((), scaleDown=RULES, scaleUp=RULES)
            ),
        ),
        triggers=several(
            closed(
                ("metadata", "type"), type=TEXT, name=TEXT, metadata=TEXTS, metricType=TEXT,
                authenticationRef=closed(("name",), name=TEXT, kind=TEXT),
            )
        ),
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication"): closed(
        (), secretTargetRef=several(closed(("key", "name", "parameter"), key=TEXT, name=TEXT, parameter=TEXT))
    ),
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        ("endpoints", "selector"),
        selector=closed((), matchLabels=TEXTS),
        endpoints=several(closed((), port=TEXT, path=TEXT, interval=DURATION, scrapeTimeout=DURATION)),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): closed(
        (),
        groups=several(
            closed(
                ("name",),
                name=TEXT,
                interval=DURATION,
                rules=several(
                    closed(("expr",), alert=TEXT, expr=TEXT, labels=TEXTS, annotations=TEXTS, **{"for": DURATION})
                ),
            )
        ),
    ),
}


def all_resources() -> list[Any]:
    return [
        pytest.param(one, id=f"{folder.name}-{one['kind']}-{one['metadata']['name']}")
        for folder in (BASE, PRODUCTION)
        for one in built(folder)
    ]


@pytest.mark.parametrize("resource", all_resources())
def test_every_resource_fits_its_schema(resource: dict[str, Any]) -> None:
    spec = SPECS.get((resource["apiVersion"], resource["kind"]))
    if spec is not None:
        assert resource.keys() == {"apiVersion", "kind", "metadata", "spec"}
        jsonschema.Draft202012Validator(spec).validate(resource["spec"])
        return
    for version in VERSIONS:
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_validation_can_fail() -> None:
    broken = json.loads(json.dumps(only("Deployment")))
    broken["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)
    scaled = json.loads(json.dumps(only("ScaledObject")["spec"]))
    scaled["minReplicas"] = 2
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SPECS["keda.sh/v1alpha1", "ScaledObject"]).validate(scaled)


@pytest.mark.parametrize("folder", [BASE, PRODUCTION], ids=lambda folder: folder.name)
def test_no_file_is_forgotten(folder: Path) -> None:
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    named = {*plan["resources"], *(patch["path"] for patch in plan.get("patches", ()) if "path" in patch)}
    assert {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"} == {n for n in named if "/" not in n}


def test_names_are_unique_and_all_but_the_cluster_s_stand_in_the_namespace() -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in built(PRODUCTION)]
    assert len(names) == len(set(names))
    namespace = only("Namespace")["metadata"]["name"]
    for one in built(PRODUCTION):
        assert one["metadata"].get("namespace") == (
            None if one["kind"] in ("Namespace", "PriorityClass") else namespace
        )


def test_selectors_find_the_pods_and_the_service() -> None:
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only("Deployment")["spec"]["selector"]["matchLabels"],
        only("Service")["spec"]["selector"],
        only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in pod()["topologySpreadConstraints"]),
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    monitored = only("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= only("Service")["metadata"]["labels"].items()


def test_ports_are_one() -> None:
    (port,) = container()["ports"]
    assert f"--health-port={port['containerPort']}" in container()["args"]
    (service_port,) = only("Service")["spec"]["ports"]
    assert service_port["targetPort"] == port["name"]
    assert only("ServiceMonitor")["spec"]["endpoints"][0]["port"] == service_port["name"]
    assert only("NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": port["name"]}]
    probes = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert [probe["path"] for probe in probes.values()] == ["/livez", "/livez", "/readyz"]


def test_references_name_what_exists() -> None:
    secrets = {"sender-secrets"}  # made by hand, or by an operator: see config/kubernetes/README.md
    config_maps = {one["metadata"]["name"] for one in built(PRODUCTION) if one["kind"] == "ConfigMap"}
    volumes = {one["name"]: one for one in pod()["volumes"]}
    assert volumes["config"]["configMap"]["name"] in config_maps
    assert volumes["secrets"]["secret"]["secretName"] in secrets
    assert {one["name"] for one in container()["volumeMounts"]} == volumes.keys()
    assert pod()["serviceAccountName"] == only("ServiceAccount")["metadata"]["name"]
    assert pod()["priorityClassName"] == only("PriorityClass")["metadata"]["name"]
    target = only("ScaledObject")["spec"]["scaleTargetRef"]
    deployment = only("Deployment")
    assert (target["kind"], target["apiVersion"], target["name"]) == (
        "Deployment", deployment["apiVersion"], deployment["metadata"]["name"],
    )
    for trigger in only("ScaledObject")["spec"]["triggers"]:
        assert trigger["authenticationRef"]["name"] == only("TriggerAuthentication")["metadata"]["name"]
    assert {one["name"] for one in only("TriggerAuthentication")["spec"]["secretTargetRef"]} <= secrets


def test_the_readme_makes_every_key_of_the_secret() -> None:
    text = (CONFIG / "kubernetes" / "README.md").read_text()
    mount = next(one["mountPath"] for one in container()["volumeMounts"] if one["name"] == "secrets")
    keys = {one["value"].removeprefix(f"{mount}/") for one in container()["env"] if one["name"].endswith("_FILE")}
    keys |= {one["key"] for one in only("TriggerAuthentication")["spec"]["secretTargetRef"]}
    assert "sender-secrets" in text
    for key in keys:
        assert f"--from-file={key}" in text or f"--from-literal={key}" in text, key


def test_the_pod_may_do_nothing_that_it_need_not() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert only("ServiceAccount")["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False
    uid = re.search(r"--uid (\d+)", (CONFIG.parent / "Dockerfile").read_text())
    assert uid is not None
    assert pod()["securityContext"]["runAsUser"] == int(uid[1])
    written = {one["mountPath"] for one in container()["volumeMounts"] if not one.get("readOnly")}
    assert written == {"/data", "/tmp"}
    assert "limits" in container()["resources"]
    assert "cpu" not in container()["resources"]["limits"]


def test_secrets_are_files_and_never_arguments() -> None:
    mounts = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
    for one in container()["env"]:
        assert one["name"] in {variable_of(name) for name in SETTINGS}
        assert one["value"].startswith(mounts["secrets"] + "/")
    assert not any(one.get("subPath") for one in container()["volumeMounts"]), "a subPath is never renewed"
    assert not [argument for argument in container()["args"] if "://" in argument]


def test_the_config_map_is_a_configuration_and_the_grace_fits_into_the_pod_s(tmp_path: Path) -> None:
    path = tmp_path / "sender.toml"
    path.write_text(only("ConfigMap")["data"]["sender.toml"])
    settings = load({"config": str(path)}, {})
    assert settings.in_doubt == "hold"
    assert settings.log_format == "json"
    assert settings.grace + 15 <= pod()["terminationGracePeriodSeconds"]


def test_the_arguments_are_those_of_consume() -> None:
    command, *arguments = container()["args"]
    assert command == "consume"
    options = {"--config", *(option for name in SETTINGS for option in options_of(name))}
    assert {argument.partition("=")[0] for argument in arguments} <= options
    assert "consume" in COMMANDS
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    import_module("sender.cli.consume").add_arguments(parser)
    parser.parse_args(arguments)


def test_the_image_is_this_version() -> None:
    assert container()["image"] == f"registry.example.com/sender:{__version__}"


def test_scaling_leaves_two_and_knows_what_keda_reads() -> None:
    spec = only("ScaledObject")["spec"]
    assert 2 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    assert spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
    assert "replicas" not in only("Deployment")["spec"]
    unread, in_hand = (trigger["metadata"] for trigger in spec["triggers"])
    for trigger in spec["triggers"]:
        assert trigger["type"] == "redis-streams"
        assert trigger["metadata"].keys() <= REDIS_STREAMS
        assert trigger["metadata"].keys() >= {"address", "stream", "consumerGroup"}
    assert "lagCount" in unread
    assert "pendingEntriesCount" in in_hand, "parked jobs are in no lag"
    assert "lagCount" not in in_hand, "KEDA reads one of them, and that would be the lag"
    assert [unread[name] for name in ("address", "stream")] == [in_hand[name] for name in ("address", "stream")]


def test_the_network_lets_out_names_the_broker_and_the_api() -> None:
    policy = only("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    ports = [{(port["protocol"], port["port"]) for port in rule["ports"]} for rule in policy["egress"]]
    assert ports == [{("UDP", 53), ("TCP", 53)}, {("TCP", 6379)}, {("TCP", 443)}]
    assert "169.254.0.0/16" in policy["egress"][2]["to"][0]["ipBlock"]["except"], "cloud metadata"


# Alerts and dashboard over what is really exposed.

TARGET_LABELS = {"namespace", "job", "pod", "instance", "service"}
"""What Prometheus adds to every sample of a ServiceMonitor's target."""


@pytest.fixture
async def exposed() -> dict[str, set[str]]:
    """Name and labels of every sample of a run that has all parts."""
    metrics = ReplicaMetrics()
    metrics.state, metrics.conditions, metrics.in_hand = lambda: True, lambda: {"state": True}, lambda: 1
    metrics.watch_queue("jobs", lambda: 1, Traffic())
    metrics.dead_letters = metrics.retries = Letters()
    metrics.oldest, metrics.parked = lambda: 1.0, lambda: (1, 1)
    metrics.of(None).watch_flags(dict.fromkeys(FLAGS, lambda: True))
    default = metrics.of(None)
    default.observe_attempt("send", "email", 200, 0.1)
    default.watch_lane("send", lane(Pacer(100.0), breaker=Breaker(100.0)))
    default.counts = {}
    families: list[Metric] = list(metrics._registry.collect())
    return {sample.name: set(sample.labels) | TARGET_LABELS for family in families for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    return [rule for group in only("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((CONFIG / "grafana" / "sender.json").read_text())
    return board


def queries() -> list[Any]:
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    found += [(panel["title"], target["expr"]) for panel in dashboard()["panels"] for target in panel["targets"]]
    return [pytest.param(expr, id=f"{number}-{name}") for number, (name, expr) in enumerate(found)]


@pytest.mark.parametrize("expr", queries())
def test_every_query_asks_for_what_is_exposed(expr: str, exposed: dict[str, set[str]]) -> None:
    names = re.findall(r"\b(?:sender|process|python)_\w+", expr)
    assert names
    known: set[str] = set()
    for name in names:
        assert name in exposed, f"{name} is not exposed"
        known |= exposed[name]
    for name, selector in re.findall(r"(sender_\w+)\{([^}]*)\}", expr):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert asked <= exposed[name], f"{name} has no label {asked - exposed[name]}"
    for labels in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expr):
        assert {label.strip() for label in labels.split(",")} <= known
    assert expr.count("(") == expr.count(")")
    for name in re.findall(r"(?:rate|increase)\((sender_\w+)", expr):
        assert name.endswith(("_total", "_bucket", "_count", "_sum")), f"{name} is no counter"
    for name in re.findall(r"(?:delta|deriv)\((sender_\w+)", expr):
        assert not name.endswith(("_total", "_bucket", "_count", "_sum")), f"{name} is no gauge"


def test_the_query_check_can_fail(exposed: dict[str, set[str]]) -> None:
    for expr in (
        "sender_nothing",
        'sender_ready{lane="send"}',
        "sum by (lane) (sender_ready)",
        "rate(sender_ready[5m])",
    ):
        with pytest.raises(AssertionError):
            test_every_query_asks_for_what_is_exposed(expr, exposed)


def test_alerts_say_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["for"]
        assert rule["annotations"].keys() == {"summary", "description"}
        assert len(rule["annotations"]["description"].split()) > 8
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert re.search(rf"by \([^)]*\b{label}\b", rule["expr"]), f"{rule['alert']} has no label {label}"


def test_every_family_of_ours_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    text = "\n".join(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed if not name.startswith("sender_process_")}
    assert {name for name in families if name not in text} == set()


def test_panels_stand_beside_each_other_and_explain_themselves() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + 8)}
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"].endswith(".")
        assert [target["refId"] for target in panel["targets"]] == [chr(65 + n) for n in range(len(panel["targets"]))]
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
