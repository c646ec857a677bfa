"""Credentials of a file, of the role of an instance, and of roles that STS gives; every way in which a source fails."""

import asyncio
import json
import logging
import os
import time
from pathlib import Path

import pytest

from gateway.net.bounded_http import BoundedHttp
from gateway.presign.credentials import Credentials, CredentialsUnavailable, Fetch, SourceDown
from gateway.presign.credentials.sources import (
    AssumeRoleSource,
    FileSource,
    InstanceRoleSource,
    TkeOidcSource,
)
from gateway.presign.url_lifetime import CosClock
from gateway.settings import AssumeRoleCredentialsSettings, TkeOidcCredentialsSettings
from gateway_dev.cos_emulator.credential_services import CredentialFault, CredentialServices
from tests.answering import Service
from tests.limits import LIMIT
from tests.presign.credentials.conftest import BASE_ID, BASE_KEY, POD_TOKEN, PROVIDER, ROLE_ARN
from tests.tier import Clock
from tests.waiting import until

ONE = {"secret_id": "AKID1", "secret_key": "key1", "token": "token1", "expires_at": 1_800_000_000}


def fixed(credentials: Credentials) -> Fetch:
    """Return the source of a base that never changes."""

    async def fetch() -> Credentials:
        return credentials

    return fetch


BASE = fixed(Credentials(BASE_ID, BASE_KEY))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one set of credentials."""
    path = tmp_path / "cos.json"
    path.write_text(json.dumps(ONE))
    return path


async def test_the_credentials_are_those_of_the_file(file: Path) -> None:
    assert await FileSource(file).fetch() == Credentials("AKID1", "key1", "token1", 1_800_000_000)
    file.write_text('{"secret_id": "AKID", "secret_key": "key"}')
    assert await FileSource(file).fetch() == Credentials("AKID", "key")


async def test_a_replaced_file_is_read_even_with_the_same_time_and_size(file: Path, tmp_path: Path) -> None:
    source = FileSource(file)
    first = await source.fetch()
    seen = file.stat()
    other = tmp_path / "new.json"
    other.write_text(json.dumps(ONE | {"secret_id": "AKID2"}))
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.rename(file)
    assert file.stat().st_size == seen.st_size
    assert (await source.fetch()).secret_id == "AKID2" != first.secret_id


async def test_a_file_that_is_written_in_place_is_read_again_until_it_is_whole(file: Path) -> None:
    source = FileSource(file)
    await source.fetch()
    file.write_text('{"secret_id": "AKID2"')
    with pytest.raises(CredentialsUnavailable, match="not JSON"):
        await source.fetch()
    with file.open("a") as opened:
        opened.write(', "secret_key": "key2"}')
    assert await source.fetch() == Credentials("AKID2", "key2")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        "[" * 60_000,
        "{}",
        '{"secret_id": "a"}',
        '{"secret_id": "a", "secret_key": ""}',
        '{"secret_id": "a", "secret_key": "b c"}',
        '{"secret_id": "a\\n", "secret_key": "b"}',
        '{"secret_id": 1, "secret_key": "b"}',
        '{"secret_id": "a", "secret_key": "b", "token": ""}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": "2026-01-01"}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": true}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": NaN}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": 1e300}',
        '{"secret_id": "a", "secret_key": "b", "expiry": 1}',
        '{"secret_id": "a", "secret_key": "b"}' + " " * 64 * 1024,
    ],
)
async def test_garbage_is_no_credentials_and_is_not_quoted(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(CredentialsUnavailable) as unavailable:
        await FileSource(file).fetch()
    assert "b c" not in str(unavailable.value)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnavailable, match=r"nowhere\.json cannot be read: No such file"):
        await FileSource(tmp_path / "nowhere.json").fetch()


async def test_a_file_that_hangs_leaves_threads_to_others_and_is_read_again_once_it_answers(tmp_path: Path) -> None:
    """A pipe hangs as a network file system does. Name look-ups run in the same threads."""
    path = tmp_path / "cos.json"
    os.mkfifo(path)
    source = FileSource(path)
    for _ in range(50):
        with pytest.raises((TimeoutError, SourceDown)):
            async with asyncio.timeout(0.02):
                await source.fetch()
    try:
        assert await asyncio.wait_for(asyncio.to_thread(int), LIMIT) == 0
    finally:
        path.open("w").close()  # the read ends: there is nothing in it

    async def is_read() -> bool:
        path.unlink(missing_ok=True)
        path.write_text('{"secret_id": "AKID", "secret_key": "key"}')
        try:
            return (await source.fetch()).secret_id == "AKID"
        except CredentialsUnavailable:
            return False

    await until(is_read, what="the credentials")


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
        with pytest.raises(CredentialsUnavailable, match="metadata service") as unavailable:
            await InstanceRoleSource(http, services.url, role).fetch()
        assert isinstance(unavailable.value, SourceDown) == (kind in {"hang", "internal_error"})
        assert time.monotonic() - began < 30
        services.faults.clear()


async def test_another_role_is_no_substitute_for_a_configured_one(
    services: CredentialServices, http: BoundedHttp
) -> None:
    source = InstanceRoleSource(http, services.url, "image-gateway")
    await source.fetch()
    services.faults.add(CredentialFault(kind="another_role", times=None))
    with pytest.raises(CredentialsUnavailable, match="status 404") as unavailable:
        await source.fetch()
    assert not isinstance(unavailable.value, SourceDown)


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
    base = InstanceRoleSource(http, services.url, None).fetch
    found = await AssumeRoleSource(http, assume_role(services), base).fetch()
    assert found.secret_id in services.issuer.credentials
    assert (services.calls["metadata"], services.calls["AssumeRole"]) == (1, 1)


async def test_the_last_base_is_used_while_its_own_source_fails(
    services: CredentialServices, http: BoundedHttp
) -> None:
    source = AssumeRoleSource(http, assume_role(services), InstanceRoleSource(http, services.url, None).fetch)
    await source.fetch()
    services.faults.add(CredentialFault(kind="garbage", service="metadata", times=None))
    await source.fetch()
    assert services.calls["AssumeRole"] == 2


async def test_a_base_that_has_ended_is_not_used(services: CredentialServices, http: BoundedHttp) -> None:
    clock = Clock(services.issuer.now())
    services.issuer.now = clock
    source = AssumeRoleSource(
        http, assume_role(services), InstanceRoleSource(http, services.url, None).fetch, CosClock(clock)
    )
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
    with pytest.raises(CredentialsUnavailable, match=f"^STS: error {code}$") as unavailable:
        await AssumeRoleSource(http, assume_role(services), fixed(base)).fetch()
    assert not isinstance(unavailable.value, SourceDown)


@pytest.mark.parametrize("kind", ["hang", "garbage", "error", "internal_error"])
async def test_a_fault_of_sts_is_no_credentials_and_says_nothing_of_the_configuration(
    services: CredentialServices, http: BoundedHttp, kind: str
) -> None:
    services.faults.add(CredentialFault.model_validate({"kind": kind}))
    with pytest.raises(SourceDown, match=r"^STS: "):
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
async def test_an_incomplete_answer_of_sts_is_no_credentials(
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
    with pytest.raises(CredentialsUnavailable, match=r"does not hold a token|has more than"):
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
