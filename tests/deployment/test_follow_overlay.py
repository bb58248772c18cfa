"""The Deployment that takes reporting webhooks: valid, started with options that there are, and holding together."""

from __future__ import annotations

import argparse
from typing import Any

import kubernetes_validate
import pytest

from sender.cli import follow
from sender.config.load import load
from sender.config.settings import SETTINGS, variable_of
from tests.deployment.manifests import CONFIG, PRODUCTION, built, container, only, pod
from tests.deployment.test_kubernetes import VERSIONS

FOLLOW = CONFIG / "kubernetes" / "overlays" / "follow"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim"])
def test_it_is_valid(kind: str, version: str) -> None:
    kubernetes_validate.validate(only(kind, FOLLOW), version, strict=True)


def test_it_starts_with_options_that_there_are() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    follow.add_arguments(parser)
    command, *rest = container(FOLLOW)["args"]
    assert command == "follow"
    given = vars(parser.parse_args(rest))
    variables = {one["name"]: one["value"] for one in container(FOLLOW)["env"]}
    settings = load({**given, "config": str(CONFIG / "kubernetes" / "base" / "sender.toml")}, variables)
    assert set(variables) <= {variable_of(name) for name in SETTINGS}
    assert (settings.listen, settings.health_port) == ("8443", 8080)
    mounted = [one["mountPath"] for one in container(FOLLOW)["volumeMounts"]]
    for path in (settings.tls_cert, settings.tls_key, settings.deliveries, settings.state_file,
                 settings.webhook_key_file, given["config"]):
        assert any(path.startswith(f"{mount}/") for mount in mounted), path


def test_ports_labels_and_volumes_hold_together() -> None:
    spec: dict[str, Any] = only("Deployment", FOLLOW)["spec"]
    label = {"app.kubernetes.io/name": "sender-follow"}
    assert spec["selector"]["matchLabels"] == label
    assert label.items() <= spec["template"]["metadata"]["labels"].items()
    assert only("Service", FOLLOW)["spec"]["selector"] == label
    assert only("NetworkPolicy", FOLLOW)["spec"]["podSelector"]["matchLabels"] == label
    assert only("Deployment")["spec"]["selector"]["matchLabels"] != label, "the fleet's own pods are others"
    names = {one["name"] for one in container(FOLLOW)["ports"]}
    assert {one["targetPort"] for one in only("Service", FOLLOW)["spec"]["ports"]} <= names
    assert {one["name"] for one in pod(FOLLOW)["volumes"]} == {
        one["name"] for one in container(FOLLOW)["volumeMounts"]}
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate"), "one holds the deliveries file"
    (claim,) = (one["persistentVolumeClaim"]["claimName"] for one in pod(FOLLOW)["volumes"]
                if "persistentVolumeClaim" in one)
    assert claim == only("PersistentVolumeClaim", FOLLOW)["metadata"]["name"]


def test_it_is_as_locked_up_as_the_fleet() -> None:
    assert pod(FOLLOW)["securityContext"] == pod(PRODUCTION)["securityContext"]
    assert container(FOLLOW)["securityContext"] == container(PRODUCTION)["securityContext"]
    assert container(FOLLOW)["image"] == container(PRODUCTION)["image"]
    assert {one["metadata"]["namespace"] for one in built(FOLLOW)} == {"sender"}
