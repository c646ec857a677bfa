"""The role of the instance, and every way in which its metadata service fails."""

import time

import pytest

from gateway.presign.credentials import CredentialsUnavailable
from gateway.presign.credentials.instance_role import InstanceRoleSource
from gateway.tencent_api.bounded_http import BoundedHttp
from gateway_dev.cos_emulator.credential_services import CredentialFault, CredentialServices
from tests.answering import Service


@pytest.mark.parametrize("role", [None, "image-gateway"])
async def test_the_credentials_are_those_of_the_role(
    services: CredentialServices, http: BoundedHttp, role: str | None
) -> None:
    found = await InstanceRoleSource(http, services.url, role).fetch()
    issued = services.issuer.credentials[found.secret_id]
    assert (found.secret_key, found.token, found.expires_at) == (issued.secret_key, issued.token, issued.expires_at)
    assert services.calls["roles"] == (1 if role is None else 0)


@pytest.mark.parametrize("kind", ["hang", "garbage", "error", "internal_error"])
async def test_a_fault_of_the_service_is_no_credentials(
    services: CredentialServices, http: BoundedHttp, kind: str
) -> None:
    for role in (None, "image-gateway"):
        services.faults.add(CredentialFault.model_validate({"kind": kind, "times": 2}))
        began = time.monotonic()
        with pytest.raises(CredentialsUnavailable, match="metadata service"):
            await InstanceRoleSource(http, services.url, role).fetch()
        assert time.monotonic() - began < 30
        services.faults.clear()


async def test_another_role_is_no_substitute_for_a_configured_one(
    services: CredentialServices, http: BoundedHttp
) -> None:
    source = InstanceRoleSource(http, services.url, "image-gateway")
    await source.fetch()
    services.faults.add(CredentialFault(kind="another_role", times=None))
    with pytest.raises(CredentialsUnavailable, match="status 404"):
        await source.fetch()


async def test_another_role_of_the_instance_is_used_with_one_warning(
    services: CredentialServices, http: BoundedHttp, caplog: pytest.LogCaptureFixture
) -> None:
    source = InstanceRoleSource(http, services.url, None)
    await source.fetch()
    services.faults.add(CredentialFault(kind="another_role", times=None))
    for _ in range(3):
        await source.fetch()
    assert [record.getMessage() for record in caplog.records] == [
        "the instance has another role: role=other before=image-gateway"
    ]


@pytest.mark.parametrize(
    "listed",
    [b"", b"\n", b"a/b", b"..", b"../user-data", b"a b", b"a%2Fb", b"<html>", b"\xff", b"a" * 129, b"a?b", b"a\x00"],
)
async def test_a_name_that_no_role_can_have_is_not_asked_for(
    service: Service, http: BoundedHttp, listed: bytes
) -> None:
    service.body = listed
    with pytest.raises(CredentialsUnavailable, match="names no role"):
        await InstanceRoleSource(http, service.url, None).fetch()
    assert len(service.seen) == 1


async def test_the_first_of_several_roles_is_used(service: Service, http: BoundedHttp) -> None:
    service.body = b"one\r\ntwo\r\n"
    with pytest.raises(CredentialsUnavailable):
        await InstanceRoleSource(http, service.url, None).fetch()
    assert service.seen[1][0].path.endswith("/security-credentials/one")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"Code": "Failed"}',
        b'{"Code": "Success"}',
        b'{"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b", "ExpiredTime": 1900000000}',
        b'{"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b", "Token": "c"}',
        b'{"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b", "Token": "c", "ExpiredTime": "soon"}',
        b'{"Code": "Success", "TmpSecretId": "a", "TmpSecretKey": "b", "Token": "c d", "ExpiredTime": 1900000000}',
    ],
)
async def test_an_incomplete_answer_is_no_credentials(service: Service, http: BoundedHttp, body: bytes) -> None:
    service.body = body
    with pytest.raises(CredentialsUnavailable):
        await InstanceRoleSource(http, service.url, "role").fetch()
