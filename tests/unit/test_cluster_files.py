"""The files in cluster/: against their schemas, and against what we promise of them; no cloud, no Docker."""

import json
import os
import re
from collections.abc import Iterator
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support.kuberay_fields import RAYCLUSTER, RAYJOB
from zorba_ray.experiment.tracking.ray_metrics import SERIES, exported_name

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHER = ("onprem.yaml", "aws.yaml")
KUBERAY = {"kuberay/raycluster.yaml": RAYCLUSTER, "kuberay/rayjob.yaml": RAYJOB}
SECRET = re.compile(r"(AKIA[0-9A-Z]{16}|hf_[A-Za-z0-9]{20,}|\b[0-9a-f]{40,}\b|-----BEGIN)")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))


def constraint(package: str) -> str:
    """Version of a package in constraints.txt."""
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert found
    return found[1]


@pytest.mark.parametrize("name", LAUNCHER)
def test_launcher_files_fit_the_schema_in_rays_wheel(name: str):
    schema = json.loads((files("ray") / "autoscaler" / "ray-schema.json").read_text())
    config = read(name)
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "max_worker": 2}, schema)


@pytest.mark.parametrize("name", LAUNCHER)
def test_launcher_files_have_token_auth_and_a_dashboard_on_loopback(name: str):
    config = read(name)
    head = " ".join(config["head_start_ray_commands"])
    workers = " ".join(config["worker_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert any(mount.endswith(".ray/auth_token") for mount in config["file_mounts"])
    in_image = "RAY_AUTH_MODE=token" in (CLUSTER / "Dockerfile").read_text() and "docker" in config
    assert in_image or ("RAY_AUTH_MODE=token" in head and "RAY_AUTH_MODE=token" in workers)
    assert config["head_node_type"] in config["available_node_types"]


@pytest.mark.parametrize(("name", "schema"), KUBERAY.items())
def test_kuberay_manifests_fit_our_table_of_fields(name: str, schema: dict[str, Any]):
    """The table is strict: a misspelt field and a wrong type are refused."""
    manifest = read(name)
    jsonschema.validate(manifest, schema)
    for wrong in ({"rayVerison": "2.60.0"}, {"backoffLimit": "two"}, {"authOptions": {"mode": "disabled"}}):
        broken = deepcopy(manifest)
        broken["spec"].update(wrong)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


@pytest.mark.parametrize(("name", "plural"), [("raycluster", "rayclusters"), ("rayjob", "rayjobs")])
def test_kuberay_manifests_fit_the_whole_crds(name: str, plural: str):
    """ZORBA_KUBERAY_CRDS names KubeRay's ray-operator/config/crd/bases; unknown fields are refused there too."""
    folder = os.environ.get("ZORBA_KUBERAY_CRDS")
    if not folder:
        pytest.skip("ZORBA_KUBERAY_CRDS is not set")
    crd = yaml.load(
        (Path(folder) / f"ray.io_{plural}.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    version = next(version for version in crd["spec"]["versions"] if version["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object"}
    _make_strict(schema)
    jsonschema.validate(read(f"kuberay/{name}.yaml"), schema)
    broken = read(f"kuberay/{name}.yaml")
    broken["spec"]["rayVerison"] = "2.60.0"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def _make_strict(node: Any) -> None:
    """Kubernetes' dialect in JSON Schema's words; unknown fields are refused, as `kubectl --validate=strict` does."""
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object" and "x-kubernetes-preserve-unknown-fields" not in node:
            node.setdefault("additionalProperties", False)
        if node.pop("x-kubernetes-int-or-string", False):
            node.pop("anyOf", None)
            node["type"] = ["integer", "string"]
        for child in node.values():
            _make_strict(child)
    elif isinstance(node, list):
        for child in node:
            _make_strict(child)


def pods(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Pod templates of a RayCluster or RayJob."""
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield group["template"]


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_pods_are_bounded_private_and_keep_their_runs(name: str):
    """Requests equal limits, token auth, no public service, not root, and the run directories on the claimed volume."""
    manifest = read(name)
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["rayVersion"] == constraint("ray")
    policy, claim = read("kuberay/networkpolicy.yaml"), read("kuberay/storage.yaml")["metadata"]["name"]
    for pod in pods(manifest):
        assert pod["metadata"]["labels"].items() >= policy["spec"]["podSelector"]["matchLabels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        [container] = pod["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        home = next(entry["value"] for entry in container["env"] if entry["name"] == "ZORBA_HOME")
        volume = next(mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == home)
        [found] = [entry for entry in pod["spec"]["volumes"] if entry["name"] == volume]
        assert found["persistentVolumeClaim"]["claimName"] == claim


def test_no_public_service_and_no_secret_in_any_file():
    for path in CLUSTER.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text(encoding="utf-8")
            assert not SECRET.search(text), path
            assert "LoadBalancer" not in text or path.suffix == ".md", path
            assert "NodePort" not in text or path.suffix == ".md", path


def test_the_dockerfile_is_pinned_and_copies_what_exists():
    lines = (CLUSTER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    [base] = [rest for word, rest in instructions if word == "FROM"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    admitted = (CLUSTER / "Dockerfile.dockerignore").read_text().split()
    for word, rest in instructions:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.removeprefix('./')}" in admitted, f"{source} is ignored"
    [user] = [rest for word, rest in instructions if word == "USER"]
    assert user != "root"
    assert [word for word, _ in instructions].index("USER") < [word for word, _ in instructions].index("CMD")
    install = next(rest for word, rest in instructions if word == "RUN" and "pip install" in rest)
    assert "-c constraints.txt" in install


def _expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_grafana_dashboard_shows_every_metric_and_no_other():
    """Names in PromQL are exactly those that a run exports; every expression is filtered by the chosen runs."""
    dashboard = json.loads((CLUSTER / "grafana_dashboard.json").read_text())
    assert dashboard["schemaVersion"] >= 39
    [variable] = [entry for entry in dashboard["templating"]["list"] if entry["name"] == "run"]
    assert "label_values(ray_zorba_round, run)" in json.dumps(variable)
    expressions = _expressions(dashboard)
    used = {name for expression in expressions for name in re.findall(r"ray_zorba_\w+", expression)}
    assert used == {exported_name(name) for name in SERIES}
    for expression in expressions:
        assert all('{run=~"$run"' in part for part in re.findall(r"ray_zorba_\w+(.{12})", expression)), expression
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                names = {name for name in SERIES if exported_name(name) in target["expr"]}
                assert all(label in ("run", *SERIES[name].tags) for name in names), (panel["title"], label)
    places = [tuple(panel["gridPos"][key] for key in "xywh") for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
