"""Requests to API 3.0 are those of Tencent's own SDK; its answers, among them the error inside a 200."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.http.request import RequestInternal
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.net.tencent_api import ApiError, ApiKey, TencentApi, authorization
from tests.answering import Service

KEY = ApiKey("AKIDEXAMPLE", "the-secret-key", "the-token")
KEY_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
WORD = st.from_regex(r"[A-Z][A-Za-z0-9]{0,30}", fullmatch=True)
VALUE = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=3)
HOST = st.from_regex(r"[a-z]{1,10}\.tencentcloudapi\.com(:[1-9][0-9]{3})?", fullmatch=True)


async def call(service: Service) -> object:
    """Return the response to an action."""
    async with BoundedHttp() as http:
        api = TencentApi(http, service.url, service="sts", version="2018-08-13", now=lambda: 1_700_000_000)
        return await api.call("GetCallerIdentity", {"A": 1}, KEY)


async def test_the_response_of_an_action_is_returned(service: Service) -> None:
    service.body = b'{"Response": {"UserId": "1", "RequestId": "r"}}'
    assert await call(service) == {"UserId": "1", "RequestId": "r"}
    ((request, body),) = service.seen
    assert json.loads(body) == {"A": 1}
    assert request.headers["X-TC-Action"] == "GetCallerIdentity"
    assert request.headers["X-TC-Token"] == "the-token"
    assert request.headers["Host"] == service.url.removeprefix("http://")
    assert "the-secret-key" not in str(request.headers)


@pytest.mark.parametrize(
    ("code", "named"),
    [("AuthFailure.SecretIdNotFound", "AuthFailure.SecretIdNotFound"), ("<b>the-token", "unknown"), (7, "unknown")],
)
async def test_an_error_inside_a_200_is_named_by_its_code_alone(service: Service, code: object, named: str) -> None:
    service.body = json.dumps({"Response": {"Error": {"Code": code, "Message": "AKIDEXAMPLE"}}}).encode()
    with pytest.raises(ApiError) as refused:
        await call(service)
    assert (refused.value.code, str(refused.value)) == (named, f"error {named}")


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "after another caller"])
async def test_a_signature_of_a_wrong_time_is_corrected_and_asked_for_again(service: Service, is_first: bool) -> None:
    service.body = b'{"Response": {"Error": {"Code": "AuthFailure.SignatureExpire"}}}'
    times = [1_700_000_000]

    def correct(_: float | None) -> bool:
        service.body = b'{"Response": {"RequestId": "r"}}'
        times.append(1_700_000_600)
        return is_first

    async with BoundedHttp() as http:
        told = {"service": "sts", "version": "2018-08-13"}
        api = TencentApi(http, service.url, **told, now=lambda: times[-1], correct=correct)
        assert await api.call("GetCallerIdentity", {}, KEY) == {"RequestId": "r"}
    assert [request.headers["X-TC-Timestamp"] for request, _ in service.seen] == [str(at) for at in times]


async def test_garbage_is_a_failure(service: Service) -> None:
    bodies = (b"", b"<html>", b"[]", b"7", b"{}", b'{"Response": 7}', b'{"Response": {"Error": 7}}', b"\xff")
    for service.body in (*bodies, b'{"Response": {"Error": {}}}', b"[" * 60_000):
        with pytest.raises(ServiceUnavailable, match=r"not one of API 3\.0"):
            await call(service)


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
