"""The metadata and STS services, asked by Tencent's own SDK, and the tokens that COS then accepts."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout
from qcloud_cos import CosConfig, CosS3Client
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential as SdkCredential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from yarl import URL

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.credential_services import METADATA_PATH, CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, SECRET_ID, SECRET_KEY

# The SDK reads the clock by a function that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

ROLE = "qcs::cam::uin/1:roleName/images"


@pytest.fixture
async def services() -> AsyncIterator[CredentialServices]:
    """Both services, with one role that may be assumed by name and by a pod's token."""
    issuer = TokenIssuer({SECRET_ID: Credential(SECRET_KEY)}, life=600)
    async with CredentialServices(issuer, roles={ROLE: None}, web_identities={"pod-token": "provider"}) as services:
        yield services


async def metadata(services: CredentialServices, role: str = "image-gateway") -> tuple[int, str]:
    """Return status and body of the metadata service's answer for a role."""
    async with (
        ClientSession(timeout=ClientTimeout(total=0.3)) as session,
        session.get(services.url + METADATA_PATH + role) as response,
    ):
        return response.status, await response.text()


async def call(services: CredentialServices, action: str, parameters: dict[str, Any], **options: Any) -> Any:
    """Return the response to an action, called by the SDK."""
    host = services.url.removeprefix("http://")
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=host, protocol="http", reqTimeout=1))
    client = CommonClient("sts", "2018-08-13", SdkCredential(SECRET_ID, SECRET_KEY), "ap-guangzhou", profile)
    return (await asyncio.to_thread(client.call_json, action, parameters, None, options))["Response"]


async def test_the_metadata_service_serves_one_set_until_half_of_its_life(services: CredentialServices) -> None:
    assert await metadata(services, "") == (200, "image-gateway")
    first, second = await metadata(services), await metadata(services)
    assert first == second
    found = json.loads(first[1])
    assert found["Code"] == "Success"
    known = services.issuer.credentials[found["TmpSecretId"]]
    assert (known.token, known.expires_at) == (found["Token"], found["ExpiredTime"])
    services.issuer.now = lambda: time.time() + 301
    assert (await metadata(services))[1] != first[1]
    assert (await metadata(services, "other"))[0] == 404
    assert services.calls == {"roles": 1, "metadata": 4}


async def test_cos_accepts_an_assumed_role_until_its_end(services: CredentialServices) -> None:
    answer = await call(services, "AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "s", "DurationSeconds": 60})
    found, end = answer["Credentials"], answer["ExpiredTime"]
    assert 55 < end - time.time() <= 60
    clock = {"now": time.time()}
    store = ObjectStore()
    store.put(BUCKET, "a.png", b"data")
    async with (
        CosEmulator(store, services.issuer.credentials, default_bucket=BUCKET, now=lambda: clock["now"]) as cos,
        ClientSession() as session,
    ):
        config = CosConfig(
            Region="ap-guangzhou",
            Scheme="http",
            Domain=cos.url.removeprefix("http://"),
            SecretId=found["TmpSecretId"],
            SecretKey=found["TmpSecretKey"],
        )
        url = CosS3Client(config).get_presigned_url(
            Bucket=BUCKET, Key="a.png", Method="GET", Params={"x-cos-security-token": found["Token"]}
        )
        for passed, status, content in ((0, 200, b"data"), (61, 400, b"ExpiredToken")):
            clock["now"] = time.time() + passed
            async with session.get(URL(url, encoded=True)) as response:
                assert response.status == status
                assert content in await response.read()
        clock["now"] = time.time()
        services.revoke()
        async with session.get(URL(url, encoded=True)) as response:
            assert response.status == 403
            assert b"InvalidAccessKeyId" in await response.read()


async def test_a_pod_s_token_is_exchanged_for_credentials(services: CredentialServices) -> None:
    parameters = {"ProviderId": "provider", "WebIdentityToken": "pod-token", "RoleArn": ROLE, "RoleSessionName": "s"}
    answer = await call(services, "AssumeRoleWithWebIdentity", parameters, SkipSign=True)
    assert answer["Credentials"]["TmpSecretId"] in services.issuer.credentials


def test_issued_credentials_are_known_to_cos_with_their_end_which_is_at_most_that_of_the_issuer() -> None:
    known: dict[str, Credential] = {"AKID": Credential("key")}
    issuer = TokenIssuer(known, life=600, now=lambda: 1_700_000_000.9)
    first, second = issuer.issue(), issuer.issue()
    assert known[first.secret_id] == Credential(first.secret_key, first.token, 1_700_000_600)
    assert (first.expires_at, first.expiration) == (1_700_000_600, "2023-11-14T22:23:20Z")
    assert [issuer.issue(life).expires_at - 1_700_000_000 for life in (60, 900, -60)] == [60, 600, -60]
    assert {"+", "/", "="} <= set(first.token), "a token needs encoding in a URL"
    assert len({first.secret_id, second.secret_id, first.secret_key, second.secret_key, first.token, second.token}) == 6
    assert first.secret_key not in repr(first) + repr(issuer.credentials)
