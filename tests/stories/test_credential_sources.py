"""A gateway whose credentials come from a source that rotates them, fails, or answers wrongly."""

import json
import time
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any, cast

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import CredentialFault, CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.waiting import until, until_answered, until_ready

ENTRY_KEY = "the-key-of-entries-with-32-bytes-or-more"
ROLE_ARN = "qcs::cam::uin/100000000001:roleName/images"


def services_of(cos: CosEmulator, *, life: int = 3600, ahead: float = 0) -> CredentialServices:
    """Return metadata and STS services whose credentials the emulated COS knows, ``ahead`` seconds ahead of us."""
    known = cast("MutableMapping[str, Credential]", cos.credentials)
    issuer = TokenIssuer(known, life=life, now=lambda: time.time() + ahead)
    return CredentialServices(issuer, roles={ROLE_ARN: None}, web_identities={"pod-token": "provider"})


@pytest.fixture
async def services(cos: CosEmulator) -> AsyncIterator[CredentialServices]:
    """Services that give credentials of an hour."""
    async with services_of(cos) as services:
        yield services


def cvm_role(services: CredentialServices) -> dict[str, dict[str, Any]]:
    """Return the sections of a gateway on an instance with a role."""
    credentials = {"source": "cvm_role", "metadata_url": services.url}
    return {
        "cos": {"secret_id": None, "secret_key": None, "credentials": credentials},
        "redis": {"entry_key": ENTRY_KEY},
    }


@pytest.fixture
def sources(
    services: CredentialServices, cos: CosEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, Any]]:
    """Every source, ready to be used."""
    issued = services.issuer.issue()
    values = {
        "secret_id": issued.secret_id,
        "secret_key": issued.secret_key,
        "token": issued.token,
        "expires_at": issued.expires_at,
    }
    (tmp_path / "cos.json").write_text(json.dumps(values))
    (tmp_path / "pod-token").write_text("pod-token")
    for name, value in {
        "TENCENTCLOUD_SECRET_ID": issued.secret_id,
        "TENCENTCLOUD_SECRET_KEY": issued.secret_key,
        "TENCENTCLOUD_TOKEN": issued.token,
        "TKE_REGION": "ap-guangzhou",
        "TKE_PROVIDER_ID": "provider",
        "TKE_ROLE_ARN": ROLE_ARN,
        "TKE_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "pod-token"),
    }.items():
        monkeypatch.setenv(name, value)
    role = {"source": "cvm_role", "metadata_url": services.url}
    assumed = {"source": "assume_role", "role_arn": ROLE_ARN, "sts_url": services.url}
    return {
        "static": {"source": "static"},
        "environment": {"source": "environment"},
        "file": {"source": "file", "path": str(tmp_path / "cos.json")},
        "cvm_role": role,
        "tke_oidc": {"source": "tke_oidc", "sts_url": services.url},
        "assume_role by static keys": assumed,
        "assume_role by the instance": assumed | {"base": role},
        "assume_role by a file": assumed | {"base": {"source": "file", "path": str(tmp_path / "cos.json")}},
    }


@pytest.mark.parametrize(
    "name",
    [
        "static",
        "environment",
        "file",
        "cvm_role",
        "tke_oidc",
        "assume_role by static keys",
        "assume_role by the instance",
        "assume_role by a file",
    ],
)
async def test_images_are_served_with_the_credentials_of_each_source(
    start_gateway: StartGateway, images: Images, sources: dict[str, dict[str, Any]], name: str
) -> None:
    gateway = await start_gateway(cos={"credentials": sources[name]}, redis={"entry_key": ENTRY_KEY})
    await images.add("a", b"body")
    assert (await gateway.get("/i/a")).body == b"body"
    await until_ready(gateway.ports.public)


async def test_revoked_credentials_are_replaced_as_soon_as_cos_refuses_them(
    start_gateway: StartGateway, images: Images, services: CredentialServices
) -> None:
    gateway = await start_gateway(**cvm_role(services))
    await images.add("a", b"body")
    services.revoke()
    await until_answered(gateway, "/i/a", 200)
    assert gateway.sample("origin_errors_total", bucket=BUCKET, code="InvalidAccessKeyId") > 0
    assert services.calls["metadata"] == 2
    assert gateway.sample("credentials_refresh_total", result="refreshed") == 2


async def _is_served(gateway: RunningGateway, path: str) -> bool:
    return (await gateway.get(path)).status == 200


async def test_a_gateway_starts_without_credentials_and_serves_once_there_are_some(
    start_gateway: StartGateway, images: Images, services: CredentialServices
) -> None:
    await images.add("a", b"body")
    services.faults.add(CredentialFault(kind="hang", times=None))
    began = time.monotonic()
    gateway = await start_gateway(**cvm_role(services))
    assert time.monotonic() - began < LIMIT
    answer = await gateway.get("/i/a")
    assert (answer.status, answer.json()["code"]) == (503, "credentials_expired")
    assert (await gateway.get("/readyz")).json()["status"] == "not_ready", "no signature was ever accepted"
    services.faults.clear()
    await until(lambda: _is_served(gateway, "/i/a"))
