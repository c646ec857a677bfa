"""Responses that are serialized once: sent as aiohttp would send them."""

import pytest

from gateway.delivery.prepared_response import fields
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.raw_client import connect
from tests.waiting import until

SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 2000
# A redirect has a URL for each method.
OF_ONE_ANSWER = {"date", "server-timing", "x-request-id", "cache-status", "age", "location"}


def names(answer: Answer) -> set[str]:
    """Its fields, in lower case."""
    return {name.lower() for name in answer.headers}


def lasting(answer: Answer) -> dict[str, str]:
    """The fields that are the same in every answer to the same request, for a GET and for a HEAD."""
    sent_fields = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in sent_fields.items() if name not in OF_ONE_ANSWER}


async def test_a_prepared_response_has_the_fields_of_every_other_response(
    gateway: RunningGateway, images: Images
) -> None:
    for image_id, data in {"small": SMALL, "large": LARGE}.items():
        await images.add(image_id, data)
        for query in ("", "?download=a.png", "?redirect=true"):
            path = f"/i/{image_id}{query}"
            gateway.forget(image_id)
            head = await gateway.request("HEAD", path)  # by aiohttp's own hand
            from_cos, from_memory = await gateway.get(path), await gateway.get(path)
            for answer in (from_cos, from_memory):
                assert answer.status == head.status
                assert lasting(answer) == lasting(head)
                assert names(answer) - {"age"} >= names(head) - {"age"}
                assert answer.body == (b"" if answer.status == 302 else data)


async def test_a_connection_is_kept_or_closed_as_the_client_of_each_version_wants(
    gateway: RunningGateway, images: Images
) -> None:
    for image_id, data in {"small": SMALL, "large": LARGE}.items():
        await images.add(image_id, data)
        await gateway.get(f"/i/{image_id}")
        async with connect(gateway.ports.public) as connection:
            await connection.send(f"GET /i/{image_id} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n".encode())
            head = await connection.read_head()
            assert head.headers["connection"] == "close"
            assert await connection.read_rest() == data
    for query in ("", "?redirect=true"):
        async with connect(gateway.ports.public) as connection:
            await connection.send(f"GET /i/small{query} HTTP/1.0\r\nHost: g\r\n\r\n".encode())
            answer = await connection.read_rest()
        assert answer.startswith(b"HTTP/1.0 ")
        assert b"\r\nConnection:" not in answer
    async with connect(gateway.ports.public) as connection:
        for _ in range(2):
            await connection.send(b"GET /i/small HTTP/1.0\r\nHost: g\r\nConnection: keep-alive\r\n\r\n")
            head = await connection.read_head()
            assert head.headers["connection"] == "keep-alive"
            assert await connection.read_body(head) == SMALL


async def test_many_answers_follow_one_another_on_one_connection(gateway: RunningGateway, images: Images) -> None:
    for image_id, data in {"a": SMALL, "b": LARGE, "c": b""}.items():
        await images.add(image_id, data)
        await gateway.get(f"/i/{image_id}")
    async with connect(gateway.ports.public) as connection:
        for image_id in "abca":
            await connection.get(f"/i/{image_id}")
        for data in (SMALL, LARGE, b"", SMALL):
            head = await connection.read_head()
            assert "connection" not in head.headers
            assert await connection.read_body(head) == data


async def test_a_client_that_disconnects_from_a_prepared_response_is_not_a_failure(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway()
    await images.add("cat", b"x" * 1_900_000)
    await gateway.get("/i/cat")
    async with connect(gateway.ports.public, receive_buffer=4096) as connection:
        await connection.get("/i/cat")
        await connection.read_head()
    await until(lambda: gateway.sample("inflight_requests") == 0)
    assert gateway.sample("requests_total", route="short", delivery="stream", status="500") == 0


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
def test_a_field_that_would_end_its_line_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        fields({"X": "fine", "ETag": value})
