"""Answers of API 3.0, among them the error inside a 200."""

import json

import pytest

from gateway.tencent_api.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.tencent_api.client import ApiError, TencentApi
from gateway.tencent_api.signature import ApiKey
from tests.answering import Service

KEY = ApiKey("AKIDEXAMPLE", "the-secret-key", "the-token")


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


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"{}",
        b'{"Response": 7}',
        b'{"Response": {"Error": 7}}',
        b'{"Response": {"Error": {}}}',
        b"\xff",
        b"[" * 60_000,
    ],
)
async def test_garbage_is_a_failure(service: Service, body: bytes) -> None:
    service.body = body
    with pytest.raises(ServiceUnavailable, match=r"not one of API 3\.0"):
        await call(service)
