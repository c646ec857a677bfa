"""Verification of requests to API 3.0, with requests that Tencent's SDK signs."""

import time

import pytest
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential as SdkCredential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.tc3 import verify

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
