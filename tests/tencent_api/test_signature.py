"""Our requests to API 3.0 are those of Tencent's own SDK, over generated keys, actions and parameters."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from gateway.tencent_api.bounded_http import BoundedHttp
from gateway.tencent_api.client import TencentApi
from gateway.tencent_api.signature import ApiKey, authorization

KEY_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
WORD = st.from_regex(r"[A-Z][A-Za-z0-9]{0,30}", fullmatch=True)
VALUE = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)
HOST = st.from_regex(r"[a-z]{1,10}\.tencentcloudapi\.com(:[1-9][0-9]{3})?", fullmatch=True)


def request_of_the_sdk(
    key: ApiKey | None, host: str, service: str, region: str, action: str, parameters: dict[str, Any]
) -> RequestInternal:
    """Return the request that the SDK would send."""
    credential = Credential(*(key or ("unused", "unused")))
    profile = ClientProfile(httpProfile=HttpProfile(endpoint=host))
    client = CommonClient(credential=credential, region=region, version="2018-08-13", service=service, profile=profile)
    request = RequestInternal(host, "POST", "/", {})
    client._build_req_inter(action, parameters, request, {"SkipSign": key is None})
    return request


# The SDK reads the clock by a function that Python 3.12 deprecates.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
@settings(max_examples=50)
@given(
    key=st.none() | st.builds(ApiKey, KEY_TEXT, KEY_TEXT, st.none() | KEY_TEXT),
    host=HOST,
    service=st.sampled_from(["sts", "cdn", "teo"]),
    region=st.sampled_from(["ap-guangzhou", "ap-beijing"]),
    action=WORD,
    parameters=st.dictionaries(WORD, VALUE, max_size=5),
)
def test_a_request_is_that_of_the_sdk(
    key: ApiKey | None, host: str, service: str, region: str, action: str, parameters: dict[str, Any]
) -> None:
    theirs = request_of_the_sdk(key, host, service, region, action, parameters)
    at = int(theirs.header["X-TC-Timestamp"])
    api = TencentApi(
        BoundedHttp(), f"https://{host}", service=service, version="2018-08-13", region=region, now=lambda: at
    )
    headers, body = api.request(action, parameters, key)
    assert body == theirs.data.encode()
    assert headers == {
        name: value
        for name, value in theirs.header.items()
        if name not in {"X-TC-RequestClient", "X-TC-Language"}  # neither signed nor needed
    }


def test_the_documented_example_has_its_documented_parts() -> None:
    """Document 1312/48206: the scope names the day in UTC, the service and the protocol."""
    made = authorization(ApiKey("AKID", "key"), service="sts", host="h", body=b"{}", timestamp=1_551_113_065)
    assert made.startswith(
        "TC3-HMAC-SHA256 Credential=AKID/2019-02-25/sts/tc3_request, SignedHeaders=content-type;host, Signature="
    )
    assert made != authorization(ApiKey("AKID", "key"), service="sts", host="h", body=b"{ }", timestamp=1_551_113_065)
