"""The manifests as kustomize would make them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from tests.deployment.kustomize import build

CONFIG = Path(__file__).parents[2] / "config"
BASE = CONFIG / "kubernetes" / "base"
PRODUCTION = CONFIG / "kubernetes" / "overlays" / "production"


@cache
def built(folder: Path) -> list[dict[str, Any]]:
    return build(folder)


def only(kind: str, folder: Path = PRODUCTION) -> dict[str, Any]:
    (found,) = (one for one in built(folder) if one["kind"] == kind)
    return found


def pod(folder: Path = PRODUCTION) -> dict[str, Any]:
    spec: dict[str, Any] = only("Deployment", folder)["spec"]["template"]["spec"]
    return spec


def container(folder: Path = PRODUCTION) -> dict[str, Any]:
    (one,) = pod(folder)["containers"]
    return dict(one)
