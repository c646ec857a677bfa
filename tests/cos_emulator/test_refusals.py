"""Errors about objects, ranges, preconditions and methods."""

import pytest

from .conftest import Client, RawExchange, error_of

pytestmark = pytest.mark.usefixtures("objects")


@pytest.mark.parametrize(
    ("key", "headers", "status", "code", "message"),
    [
        ("missing\1.png", {}, 404, "NoSuchKey", "The specified key does not exist."),
        ("a b.png", {"Host": "other-125.cos.ap-guangzhou.myqcloud.com"}, 404, "NoSuchBucket", "bucket"),
        ("archived.png", {}, 403, "InvalidObjectState", "storage class"),
        ("a b.png", {"Range": "bytes=4-"}, 416, "InvalidRange", "range"),
        ("a b.png", {"If-Match": '"other"'}, 412, "PreconditionFailed", "Precondition not match."),
    ],
)
async def test_an_error_has_its_status_code_and_message_and_to_head_no_body(
    client: Client, key: str, headers: dict[str, str], status: int, code: str, message: str
) -> None:
    answer = await client.get(key, headers=headers)
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"]) == (status, code)
    assert message in nodes["Message"]
    head = await client.head(key, headers=headers)
    assert (head.status, head.body) == (status, b"")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_allowed(client: Client, exchange: RawExchange, method: str) -> None:
    answer = await client.fetch(client.presign("a b.png", method=method), method=method)
    assert (answer.status, error_of(answer)["Code"]) == (405, "MethodNotAllowed")
    assert (await exchange("*", method="OPTIONS")).startswith(b"HTTP/1.1 405 ")
