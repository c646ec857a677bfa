"""The Kubernetes manifests as kustomize renders them: each selector against the labels that it must match."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.config.files import CONFIG
from tests.config.test_kubernetes_files import VERSIONS

SERVICES = ("image-gateway", "image-gateway-admin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the manifests, with secrets in the example."""
    copied = shutil.copytree(CONFIG / "kubernetes", tmp_path / "kubernetes")
    example = copied / "example"
    (generator,) = yaml.safe_load((example / "kustomization.yaml").read_text())["secretGenerator"]
    for file in generator["files"]:
        (example / file).write_text("0123456789abcdef" * 4)
    return copied


def rendered(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what kustomize makes of a folder: kind and name -> manifest."""
    done = subprocess.run(["kustomize", "build", str(folder)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = list(yaml.safe_load_all(done.stdout))
    return {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in found}


@pytest.mark.parametrize("name", ["base", "example"])
@pytest.mark.parametrize("version", VERSIONS)
def test_every_rendered_manifest_is_valid(folder: Path, name: str, version: str) -> None:
    manifests = rendered(folder / name)
    for manifest in manifests.values():
        if manifest["kind"] not in ("ServiceMonitor", "PrometheusRule"):  # of the Prometheus operator
            kubernetes_validate.validate(manifest, version, strict=True)
    is_example = name == "example"
    assert ("ServiceMonitor/image-gateway" in manifests) == is_example
    assert ("PrometheusRule/image-gateway-alerts" in manifests) == is_example
    assert ("replicas" in manifests["Deployment/image-gateway"]["spec"]) != is_example


def test_the_example_can_be_a_cluster_with_ipv6_alone_and_the_gateway_api(folder: Path) -> None:
    kustomization = folder / "example/kustomization.yaml"
    kustomization.write_text(
        kustomization.read_text()
        .replace("  - ingress.yaml", "  - http-route.yaml")
        .replace("  #- ../components/ipv6", "  - ../components/ipv6")
    )
    manifests = rendered(folder / "example")
    assert "HTTPRoute/image-gateway" in manifests
    (container,) = manifests["Deployment/image-gateway"]["spec"]["template"]["spec"]["containers"]
    hosts = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (hosts["GATEWAY_SERVER__HOST"], hosts["GATEWAY_ADMIN__HOST"]) == ("::", "::")


def test_a_change_of_the_configuration_or_of_a_secret_changes_the_pods(folder: Path) -> None:
    def volumes() -> Any:
        return rendered(folder / "example")["Deployment/image-gateway"]["spec"]["template"]["spec"]["volumes"]

    config, secrets = volumes()
    (folder / "example/gateway.yaml").write_text("logging: {level: debug}\n")
    assert (volumes()[0] != config, volumes()[1] == secrets) == (True, True)
    (folder / "example/secrets/admin__token").write_text("fedcba9876543210" * 4)
    assert volumes()[1] != secrets


@pytest.mark.parametrize("name", ["base", "example"])
def test_every_selector_of_the_gateways_pods_finds_them(folder: Path, name: str) -> None:
    manifests = rendered(folder / name)
    deployment = manifests["Deployment/image-gateway"]["spec"]
    pod = deployment["template"]
    selectors = [
        *(deployment["selector"], manifests["PodDisruptionBudget/image-gateway"]["spec"]["selector"]),
        *(spread["labelSelector"] for spread in pod["spec"]["topologySpreadConstraints"]),
        manifests["NetworkPolicy/image-gateway"]["spec"]["podSelector"],
        *({"matchLabels": manifests[f"Service/{service}"]["spec"]["selector"]} for service in SERVICES),
    ]
    assert all(selector["matchLabels"] and is_match(selector, pod["metadata"]["labels"]) for selector in selectors)


def test_the_service_monitor_finds_the_admin_service_alone(folder: Path) -> None:
    manifests = rendered(folder / "example")
    selector = manifests["ServiceMonitor/image-gateway"]["spec"]["selector"]
    found = [name for name in SERVICES if is_match(selector, manifests[f"Service/{name}"]["metadata"]["labels"])]
    assert found == ["image-gateway-admin"]


@pytest.mark.parametrize("name", ["base", "example"])
@pytest.mark.parametrize(
    ("direction", "namespace", "labels", "port", "is_admitted"),
    [
        ("ingress", "ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}, "http", True),
        ("ingress", "ingress-nginx", {"app.kubernetes.io/name": "ingress-nginx"}, "admin", False),
        ("ingress", "monitoring", {"app.kubernetes.io/name": "prometheus"}, "admin", True),
        ("ingress", "monitoring", {"app.kubernetes.io/name": "prometheus"}, "http", False),
        ("ingress", "elsewhere", {"app.kubernetes.io/name": "image-gateway"}, "admin", False),
        ("egress", "kube-system", {"k8s-app": "kube-dns", "pod-template-hash": "5d78c9869d"}, 53, True),
        ("egress", "kube-system", {"k8s-app": "metrics-server"}, 53, False),
        ("egress", "elsewhere", {"k8s-app": "kube-dns"}, 53, False),
        ("egress", "databases", {"app.kubernetes.io/name": "postgresql"}, 5432, True),
        ("egress", "image-gateway", {"app": "redis"}, 6379, True),
        ("egress", "databases", {"app": "mysql"}, 3306, False),
    ],
)
def test_the_network_policy_admits_the_pods_that_the_gateway_talks_with(
    folder: Path, name: str, direction: str, namespace: str, labels: dict[str, str], port: object, *, is_admitted: bool
) -> None:
    """By the labels alone: some networks match no pod by its address."""
    rules = rendered(folder / name)["NetworkPolicy/image-gateway"]["spec"][direction]
    side = {"ingress": "from", "egress": "to"}[direction]
    pod = (labels, {"kubernetes.io/metadata.name": namespace})
    peers = [peer for rule in rules if port in [at["port"] for at in rule["ports"]] for peer in rule.get(side, [])]
    selected = [peer for peer in peers if "ipBlock" not in peer]
    matches = [
        is_match(peer.get("podSelector", {}), pod[0]) and is_match(peer["namespaceSelector"], pod[1])
        for peer in selected
    ]
    assert any(matches) == is_admitted


def is_match(selector: dict[str, dict[str, str]], labels: dict[str, str]) -> bool:
    """Whether a selector of labels alone matches, as Kubernetes does; an empty selector matches everything."""
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()
