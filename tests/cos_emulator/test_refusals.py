"""Errors about objects, ranges, preconditions and methods."""

import pytest

from .conftest import Client, RawExchange, error_of

pytestmark = pytest.mark.usefixtures("objects")


async def test_a_missing_object_is_no_such_key(client: Client) -> None:
    answer = await client.get("missing\1.png")
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"]) == (404, "NoSuchKey")
    assert nodes["Message"] == "The specified key does not exist."
    head = await client.head("missing.png")
    assert (head.status, head.body) == (404, b"")


async def test_a_missing_bucket_is_no_such_bucket(client: Client) -> None:
    answer = await client.fetch(client.presign("a b.png"), headers={"Host": "other-125.cos.ap-guangzhou.myqcloud.com"})
    assert (answer.status, error_of(answer)["Code"]) == (404, "NoSuchBucket")


async def test_an_archived_object_is_invalid_object_state(client: Client) -> None:
    answer = await client.get("archived.png")
    assert (answer.status, error_of(answer)["Code"]) == (403, "InvalidObjectState")


async def test_a_range_beyond_the_end_is_invalid_range(client: Client) -> None:
    answer = await client.get("a b.png", headers={"Range": "bytes=4-"})
    assert (answer.status, error_of(answer)["Code"]) == (416, "InvalidRange")


async def test_a_failed_precondition_is_answered_with_412(client: Client) -> None:
    answer = await client.get("a b.png", headers={"If-Match": '"other"'})
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"], nodes["Message"]) == (412, "PreconditionFailed", "Precondition not match.")
    head = await client.head("a b.png", headers={"If-Match": '"other"'})
    assert (head.status, head.body) == (412, b"")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_not_allowed(client: Client, method: str) -> None:
    answer = await client.fetch(client.presign("a b.png", method=method), method=method)
    assert (answer.status, error_of(answer)["Code"]) == (405, "MethodNotAllowed")


async def test_an_asterisk_target_is_not_allowed(exchange: RawExchange) -> None:
    assert (await exchange("*", method="OPTIONS")).startswith(b"HTTP/1.1 405 ")
