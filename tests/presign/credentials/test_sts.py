"""Roles that are assumed by other credentials, and by the token of a pod."""

import json
import logging
from pathlib import Path

import pytest

from gateway.presign.credentials import Credentials, CredentialsUnavailable
from gateway.presign.credentials.by_bucket import FixedSource
from gateway.presign.credentials.instance_role import InstanceRoleSource
from gateway.presign.credentials.sts import AssumeRoleSource, TkeOidcSource
from gateway.settings import AssumeRoleCredentialsSettings, TkeOidcCredentialsSettings
from gateway.tencent_api.bounded_http import BoundedHttp
from gateway_dev.cos_emulator.credential_services import CredentialFault, CredentialServices
from tests.answering import Service
from tests.presign.credentials.conftest import BASE_ID, BASE_KEY, POD_TOKEN, PROVIDER, ROLE_ARN
from tests.tier import Clock

BASE = FixedSource("static", Credentials(BASE_ID, BASE_KEY))


def assume_role(services: CredentialServices, **changes: object) -> AssumeRoleCredentialsSettings:
    """Return the settings of a role that STS lets the base assume."""
    values = {"source": "assume_role", "role_arn": ROLE_ARN, "sts_url": services.url, "duration": 900}
    return AssumeRoleCredentialsSettings.model_validate(values | changes)


async def test_a_role_is_assumed_for_the_configured_time(services: CredentialServices, http: BoundedHttp) -> None:
    found = await AssumeRoleSource(http, assume_role(services), BASE).fetch()
    issued = services.issuer.credentials[found.secret_id]
    assert (found.secret_key, found.token, found.expires_at) == (issued.secret_key, issued.token, issued.expires_at)
    assert found.expires_at is not None
    assert 890 <= found.expires_at - services.issuer.now() <= 900


async def test_the_base_may_be_the_role_of_the_instance(services: CredentialServices, http: BoundedHttp) -> None:
    base = InstanceRoleSource(http, services.url, None)
    found = await AssumeRoleSource(http, assume_role(services), base).fetch()
    assert found.secret_id in services.issuer.credentials
    assert (services.calls["metadata"], services.calls["AssumeRole"]) == (1, 1)


async def test_the_last_base_is_used_while_its_own_source_fails(
    services: CredentialServices, http: BoundedHttp
) -> None:
    source = AssumeRoleSource(http, assume_role(services), InstanceRoleSource(http, services.url, None))
    await source.fetch()
    services.faults.add(CredentialFault(kind="garbage", service="metadata", times=None))
    await source.fetch()
    assert services.calls["AssumeRole"] == 2


async def test_a_base_that_has_ended_is_not_used(services: CredentialServices, http: BoundedHttp) -> None:
    clock = Clock(services.issuer.now())
    services.issuer.now = clock
    source = AssumeRoleSource(http, assume_role(services), InstanceRoleSource(http, services.url, None), now=clock)
    await source.fetch()
    services.faults.add(CredentialFault(kind="garbage", service="metadata", times=None))
    clock.now += 3600
    with pytest.raises(CredentialsUnavailable, match="metadata service"):
        await source.fetch()


@pytest.mark.parametrize("external_id", [None, "right", "wrong"])
async def test_the_external_id_is_sent(
    services: CredentialServices, http: BoundedHttp, external_id: str | None
) -> None:
    services.roles = {ROLE_ARN: "right"}
    source = AssumeRoleSource(http, assume_role(services, external_id=external_id), BASE)
    if external_id == "right":
        await source.fetch()
        return
    with pytest.raises(CredentialsUnavailable, match=r"^STS: error UnauthorizedOperation$"):
        await source.fetch()


@pytest.mark.parametrize(
    ("base", "code"),
    [
        (Credentials("AKIDOTHER", BASE_KEY), "AuthFailure.SecretIdNotFound"),
        (Credentials(BASE_ID, "wrong"), "AuthFailure.SignatureFailure"),
    ],
)
async def test_a_refusal_of_sts_is_named_by_its_code(
    services: CredentialServices, http: BoundedHttp, base: Credentials, code: str
) -> None:
    with pytest.raises(CredentialsUnavailable, match=f"^STS: error {code}$"):
        await AssumeRoleSource(http, assume_role(services), FixedSource("static", base)).fetch()


@pytest.mark.parametrize("kind", ["hang", "garbage", "error", "internal_error"])
async def test_a_fault_of_sts_is_no_credentials(services: CredentialServices, http: BoundedHttp, kind: str) -> None:
    services.faults.add(CredentialFault.model_validate({"kind": kind}))
    with pytest.raises(CredentialsUnavailable, match=r"^STS: "):
        await AssumeRoleSource(http, assume_role(services), BASE).fetch()


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"Credentials": 7, "ExpiredTime": 1_900_000_000},
        {"Credentials": {"TmpSecretId": "a", "TmpSecretKey": "b"}, "ExpiredTime": 1_900_000_000},
        {"Credentials": {"TmpSecretId": "a", "TmpSecretKey": "b", "Token": "c"}},
    ],
)
async def test_an_incomplete_answer_is_no_credentials(
    service: Service, services: CredentialServices, http: BoundedHttp, response: object
) -> None:
    service.body = json.dumps({"Response": response}).encode()
    with pytest.raises(CredentialsUnavailable, match="no credentials"):
        await AssumeRoleSource(http, assume_role(services, sts_url=service.url), BASE).fetch()


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The variables that TKE gives to a pod; return the file with its token."""
    file = tmp_path / "token"
    file.write_text(f"{POD_TOKEN}\n")
    for name, value in {
        "TKE_REGION": "ap-guangzhou",
        "TKE_PROVIDER_ID": PROVIDER,
        "TKE_ROLE_ARN": ROLE_ARN,
        "TKE_WEB_IDENTITY_TOKEN_FILE": str(file),
    }.items():
        monkeypatch.setenv(name, value)
    return file


def tke(services: CredentialServices) -> TkeOidcCredentialsSettings:
    """Return the settings of a pod."""
    return TkeOidcCredentialsSettings.model_validate({"source": "tke_oidc", "sts_url": services.url})


async def test_a_pod_gets_the_credentials_of_its_role(
    services: CredentialServices, http: BoundedHttp, pod: Path
) -> None:
    assert pod.exists()
    found = await TkeOidcSource(http, tke(services)).fetch()
    assert services.issuer.credentials[found.secret_id].token == found.token


async def test_the_token_of_the_pod_is_read_for_each_request(
    services: CredentialServices, http: BoundedHttp, pod: Path
) -> None:
    source = TkeOidcSource(http, tke(services))
    services.web_identities = {"the.next": PROVIDER}
    with pytest.raises(CredentialsUnavailable, match="WebIdentityTokenError"):
        await source.fetch()
    pod.write_text("the.next")
    await source.fetch()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"a" * 64 * 1024 + b"b"])
async def test_a_file_without_a_token_is_named(
    services: CredentialServices, http: BoundedHttp, pod: Path, content: bytes
) -> None:
    pod.write_bytes(content)
    with pytest.raises(CredentialsUnavailable, match="does not hold a token"):
        await TkeOidcSource(http, tke(services)).fetch()
    pod.unlink()
    with pytest.raises(CredentialsUnavailable, match="cannot be read"):
        await TkeOidcSource(http, tke(services)).fetch()
    assert services.calls["AssumeRoleWithWebIdentity"] == 0


async def test_no_secret_is_logged(
    services: CredentialServices, http: BoundedHttp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found = await AssumeRoleSource(http, assume_role(services), BASE).fetch()
    assert found.token is not None
    assert not any(secret in caplog.text + repr(found) for secret in (BASE_KEY, found.secret_key, found.token))
