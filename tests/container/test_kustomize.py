"""The Kubernetes manifests as kustomize renders them."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.config.files import CONFIG
from tests.config.test_kubernetes_files import VERSIONS


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


def test_selectors_find_the_pods(folder: Path) -> None:
    manifests = rendered(folder / "example")
    labels = manifests["Deployment/image-gateway"]["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        manifests["Deployment/image-gateway"]["spec"]["selector"]["matchLabels"],
        manifests["PodDisruptionBudget/image-gateway"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy/image-gateway"]["spec"]["podSelector"]["matchLabels"],
        manifests["Service/image-gateway"]["spec"]["selector"],
        manifests["Service/image-gateway-admin"]["spec"]["selector"],
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
