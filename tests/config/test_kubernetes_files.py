"""The Kubernetes manifests are valid, and agree with the settings, the routes and the image.

`test_kustomize.py` renders them with kustomize and validates the result; these tests need no kustomize.
"""

import importlib
import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.service.metrics import Metrics
from gateway.settings import AdminSettings, ServerSettings
from gateway.settings.sources import load_settings
from tests.config.files import CONFIG, read, write_secrets
from tests.settings_keys import key_at

FOLDER = CONFIG / "kubernetes"
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
# The first version whose pods may sleep before they stop, and the newest one that the validator knows.
VERSIONS = ("1.30", "1.34")


def manifests() -> Iterator[dict[str, Any]]:
    """Every document of every file that a kustomization names."""
    for kustomization in KUSTOMIZATIONS:
        for resource in yaml.safe_load(kustomization.read_text()).get("resources", []):
            path = kustomization.parent / resource
            if path.is_file():
                yield from yaml.safe_load_all(path.read_text())


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = (manifest for manifest in manifests() if manifest["kind"] == kind)
    return found


def pod() -> dict[str, Any]:
    spec = of_kind("Deployment")["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def test_an_init_container_checks_what_the_gateway_would_start_with() -> None:
    (check,), gateway = pod()["initContainers"], container()
    assert check["args"] == ["check", "--config", "/etc/image-gateway/gateway.yaml", "--before-start"]
    for key in ("image", "env", "securityContext", "volumeMounts"):
        assert check[key] == gateway[key]


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


def test_every_manifest_is_named_by_a_kustomization_and_exists() -> None:
    named = set(KUSTOMIZATIONS)
    for kustomization in KUSTOMIZATIONS:
        content = yaml.safe_load(kustomization.read_text())
        generators = content.get("configMapGenerator", [])
        paths = (
            content.get("resources", []) + content.get("components", []) + [f for g in generators for f in g["files"]]
        )
        paths += re.findall(r"^  #- (\S+)", kustomization.read_text(), flags=re.MULTILINE)  # offered as comments
        for path in paths:
            assert (kustomization.parent / path).exists(), path
            named.add((kustomization.parent / path).resolve())
    assert set(FOLDER.rglob("*.yaml")) <= named


@pytest.fixture(scope="module")
def kubernetes_validate() -> Any:
    """The validator. Its import takes most of a second, and each process of the run imports this module."""
    return importlib.import_module("kubernetes_validate")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid(kubernetes_validate: Any, version: str) -> None:
    kinds = set()
    for manifest in manifests():
        if manifest["apiVersion"].startswith("monitoring.coreos.com/"):  # a resource of the Prometheus operator
            continue
        kubernetes_validate.validate(manifest, version, strict=True)
        kinds.add(manifest["kind"])
    assert kinds == {
        *("Deployment", "HorizontalPodAutoscaler", "Ingress", "Namespace"),
        *("NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"),
    }


def test_the_example_replaces_the_configuration_of_the_base_by_one_with_the_same_keys() -> None:
    base, example = (yaml.safe_load((FOLDER / name / "gateway.yaml").read_text()) for name in ("base", "example"))
    assert base == example


def test_the_configuration_and_the_secrets_of_the_example_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (generator,) = yaml.safe_load((FOLDER / "example/kustomization.yaml").read_text())["secretGenerator"]
    folders, names = zip(*(file.split("/") for file in generator["files"]), strict=True)
    assert set(folders) == {"secrets"}
    assert [name for name in names if not key_at(*name.split("__"))] == []
    write_secrets(tmp_path, names)
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    settings = load_settings(FOLDER / "example/gateway.yaml")
    assert settings.admin.token is not None
    assert settings.access.jwt is not None
    assert (FOLDER / "example/secrets/.gitignore").read_text().splitlines()[-2:] == ["*", "!.gitignore"]


def test_the_pod_has_the_user_the_ports_and_the_folders_of_the_image() -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    (command,) = re.findall(r"^CMD \[.*\"(/.*)/gateway.yaml\"\]$", read("Dockerfile"), flags=re.MULTILINE)
    assert mounts["config"] == command
    assert container()["env"] == [{"name": "GATEWAY_SECRETS_DIR", "value": mounts["secrets"]}]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", read("Dockerfile"), flags=re.MULTILINE)
    context = pod()["securityContext"]
    assert [str(context[key]) for key in ("runAsUser", "runAsGroup", "fsGroup")] == [user[0], user[1], user[1]]
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"http": ServerSettings().port, "admin": AdminSettings().port}
    # A service called gateway gives every pod of its namespace GATEWAY_PORT and others.
    assert pod()["enableServiceLinks"] is False


def test_the_pod_satisfies_the_restricted_security_standard() -> None:
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = of_kind("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_pod_has_time_to_leave_its_service_and_to_drain() -> None:
    grace = yaml.safe_load((FOLDER / "base/gateway.yaml").read_text())["server"]["shutdown_grace"]
    sleep = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    readiness = container()["readinessProbe"]
    assert sleep >= readiness["periodSeconds"]
    assert pod()["terminationGracePeriodSeconds"] >= sleep + grace + 5


def test_restarts_follow_healthz_and_traffic_follows_readyz() -> None:
    for name, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container()[name]["httpGet"] == {"path": path, "port": "admin"}


def test_the_autoscaler_follows_a_metric_of_the_gateway_within_its_limit() -> None:
    metric = next(
        metric["pods"] for metric in of_kind("HorizontalPodAutoscaler")["spec"]["metrics"] if "pods" in metric
    )
    names = {family.name for family in Metrics().registry.collect()}
    assert metric["metric"]["name"] in names
    assert int(metric["target"]["averageValue"]) < ServerSettings().max_streams / 2


def test_the_pods_are_spread_over_zones_and_machines() -> None:
    keys = [constraint["topologyKey"] for constraint in pod()["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    for constraint in pod()["topologySpreadConstraints"]:
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_the_pods_may_connect_anywhere_by_tls_alone() -> None:
    rules = of_kind("NetworkPolicy")["spec"]["egress"]
    anywhere = [port["port"] for rule in rules if "to" not in rule for port in rule["ports"]]
    assert anywhere == [443]
    private = next(rule for rule in rules if {"port": 5432} in rule["ports"])
    assert all(ip_network(to["ipBlock"]["cidr"]).is_private for to in private["to"] if "ipBlock" in to)


def test_the_ingress_and_the_route_lead_to_the_public_port() -> None:
    route = yaml.safe_load((FOLDER / "example/http-route.yaml").read_text())
    (rule,) = of_kind("Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    name = path["backend"]["service"]["name"]
    service = next(
        manifest for manifest in manifests() if (manifest["kind"], manifest["metadata"]["name"]) == ("Service", name)
    )
    assert service["metadata"]["labels"] == {"app.kubernetes.io/component": "public"}
    (port,) = service["spec"]["ports"]
    assert path["backend"]["service"]["port"] == {"name": port["name"]}
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]
    assert route["spec"]["hostnames"] == [rule["host"]]


def test_the_ingress_and_the_route_remove_the_headers_by_which_a_proxy_names_the_user() -> None:
    route = yaml.safe_load((FOLDER / "example/http-route.yaml").read_text())
    (removed,) = (rule["requestHeaderModifier"]["remove"] for rule in route["spec"]["rules"][0]["filters"])
    annotations = of_kind("Ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/enable-access-log"] == "false", "a signed link opens its image"
    snippet = annotations["nginx.ingress.kubernetes.io/configuration-snippet"]
    assert snippet.splitlines() == [f'proxy_set_header {name} "";' for name in removed]


def test_the_prometheus_rules_are_those_of_prometheus() -> None:
    rules = [manifest for manifest in manifests() if manifest["kind"] == "PrometheusRule"]
    assert {manifest["metadata"]["name"]: manifest["spec"] for manifest in rules} == {
        f"image-gateway-{name}": yaml.safe_load(read(f"config/prometheus/{name}.yml"))
        for name in ("alerts", "objectives")
    }
