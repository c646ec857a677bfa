"""Verification of requests to API 3.0, with requests that Tencent's SDK signs."""

import time
from collections.abc import Callable

import pytest
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential as SdkCredential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.tc3 import ApiRefusal, verify

# The SDK reads the clock by a function that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")

Headers = dict[str, str]


def request(key: tuple[str, str] = ("AKID", "key"), token: str | None = None) -> tuple[Headers, bytes]:
    """Return the header fields and the body of a request by the SDK."""
    profile = ClientProfile(httpProfile=HttpProfile(endpoint="127.0.0.1:9001"))
    credential = SdkCredential(*key, token)
    client = CommonClient("sts", "2018-08-13", credential, "ap-guangzhou", profile)
    made = RequestInternal("127.0.0.1:9001", "POST", "/", {})
    client._build_req_inter("AssumeRole", {"RoleArn": "角色"}, made)
    return dict(made.header), made.data.encode()


KNOWN = {
    "AKID": Credential("key"),
    "AKIDTEMP": Credential("key", "token", time.time() + 86_400),
    "AKIDENDED": Credential("key", "token", time.time() - 1),
}


@pytest.mark.parametrize(("secret_id", "token"), [("AKID", None), ("AKIDTEMP", "token")])
def test_a_request_of_the_sdk_is_accepted(secret_id: str, token: str | None) -> None:
    headers, body = request((secret_id, "key"), token)
    assert verify(headers, body, KNOWN, service="sts", now=time.time()) == secret_id


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda headers, body: (headers, body + b" "), "SignatureFailure"),
        (lambda headers, body: (headers | {"Host": "other"}, body), "SignatureFailure"),
        (lambda headers, body: (headers | {"Authorization": "SKIP"}, body), "SignatureFailure"),
        (lambda headers, body: ({**headers, "Authorization": ""}, body), "SignatureFailure"),
        (lambda headers, body: (headers | {"X-TC-Timestamp": "soon"}, body), "SignatureExpire"),
        (lambda headers, body: (headers | {"X-TC-Timestamp": str(int(time.time()) - 301)}, body), "SignatureExpire"),
        (lambda *_: request(("AKIDOTHER", "key")), "SecretIdNotFound"),
        (lambda *_: request(("AKID", "wrong")), "SignatureFailure"),
        (lambda *_: request(("AKIDTEMP", "key")), "TokenFailure"),
        (lambda *_: request(("AKIDTEMP", "key"), "other"), "TokenFailure"),
        (lambda *_: request(("AKIDENDED", "key"), "token"), "TokenFailure"),
    ],
)
def test_any_other_request_is_refused(change: Callable[[Headers, bytes], tuple[Headers, bytes]], code: str) -> None:
    headers, body = change(*request())
    with pytest.raises(ApiRefusal) as refused:
        verify(headers, body, KNOWN, service="sts", now=time.time())
    assert refused.value.code == f"AuthFailure.{code}"


def test_a_signature_for_another_service_is_refused() -> None:
    headers, body = request()
    with pytest.raises(ApiRefusal):
        verify(headers, body, KNOWN, service="cdn", now=time.time())
