"""As much of kustomize as is used: resources, a ConfigMap from files, labels, namespace, images, patches.

Anything else in a kustomization is refused here, so that nothing is passed over in silence.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

KNOWN = {"apiVersion", "kind", "resources", "configMapGenerator", "labels", "namespace", "images", "patches"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}

Resource = dict[str, Any]


def build(folder: Path) -> list[Resource]:
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert plan["kind"] == "Kustomization"
    assert not plan.keys() - KNOWN, plan.keys() - KNOWN
    found = [resource for name in plan["resources"] for resource in _load(folder / name)]
    found += [_config_map(folder, one) for one in plan.get("configMapGenerator", ())]
    for patch in plan.get("patches", ()):
        _apply(folder, patch, found)
    for one in plan.get("images", ()):
        _set_image(found, one)
    for resource in found:
        for entry in plan.get("labels", ()):
            assert entry.keys() == {"pairs", "includeTemplates"}
            _label(resource, entry["pairs"])
        if "namespace" in plan and resource["kind"] not in CLUSTER_WIDE:
            resource["metadata"]["namespace"] = plan["namespace"]
    return found


def _load(path: Path) -> list[Resource]:
    return build(path.resolve()) if path.is_dir() else [one for one in yaml.safe_load_all(path.read_text()) if one]


def _config_map(folder: Path, plan: dict[str, Any]) -> Resource:
    assert plan.keys() == {"name", "files", "options"}
    assert plan["options"] == {"disableNameSuffixHash": True}, "only then the name is the one that others refer to"
    data = {Path(name).name: (folder / name).read_text() for name in plan["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": plan["name"]}, "data": data}


def _label(resource: Resource, pairs: dict[str, str]) -> None:
    resource["metadata"].setdefault("labels", {}).update(pairs)
    if template := resource.get("spec", {}).get("template"):
        template["metadata"]["labels"].update(pairs)


def _set_image(found: list[Resource], plan: dict[str, str]) -> None:
    used = [
        container
        for resource in found
        for container in resource.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
        if container["image"] == plan["name"]
    ]
    assert used, f"no container has the image {plan['name']}"
    for container in used:
        container["image"] = f"{plan['newName']}:{plan['newTag']}"


def _apply(folder: Path, patch: dict[str, Any], found: list[Resource]) -> None:
    if "path" in patch:
        assert patch.keys() == {"path"}
        change = yaml.safe_load((folder / patch["path"]).read_text())
        target = _only(found, change["apiVersion"], change["kind"], change["metadata"]["name"])
        target.update(_merge(target, change))
        return
    target = _only(found, None, patch["target"]["kind"], patch["target"]["name"])
    for step in yaml.safe_load(patch["patch"]):
        assert step["op"] == "replace"
        *way, last = step["path"].strip("/").split("/")
        place: Any = target
        for key in way:
            place = place[int(key) if isinstance(place, list) else key]
        assert last in place, f"{step['path']} replaces nothing"
        place[last] = step["value"]


def _only(found: list[Resource], version: str | None, kind: str, name: str) -> Resource:
    hits = [
        one
        for one in found
        if one["kind"] == kind and one["metadata"]["name"] == name and version in (None, one["apiVersion"])
    ]
    assert len(hits) == 1, f"a patch is for {kind}/{name}, of which there are {len(hits)}"
    return hits[0]


def _merge(base: Any, change: Any) -> Any:
    """Strategic merge: objects by key, lists of named things by name, other lists as a whole."""
    if isinstance(base, dict) and isinstance(change, dict):
        return {key: _merge(base.get(key), change[key]) if key in change else base[key] for key in base | change}
    named = isinstance(change, list) and all(isinstance(one, dict) and "name" in one for one in change)
    if not named or not isinstance(base, list):
        return copy.deepcopy(change)
    assert {one["name"] for one in change} <= {one["name"] for one in base}, "a patch names something new"
    changes = {one["name"]: one for one in change}
    return [_merge(one, changes.get(one["name"], {})) for one in base]
