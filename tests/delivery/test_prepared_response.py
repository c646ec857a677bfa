"""Prepared responses equal those that aiohttp would send."""

import asyncio

import pytest

from gateway.delivery.headers import fields
from gateway_dev.cos_emulator.faults import Fault, Headers
from tests.conftest import Answer, Images, RunningGateway, StartGateway
from tests.raw_client import connect
from tests.waiting import until, until_answered

SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 2000
HUGE = bytes(range(256)) * 20_000
# A redirect has a URL for each method.
OF_ONE_ANSWER = {"date", "server-timing", "x-request-id", "cache-status", "age", "location"}


def names(answer: Answer) -> set[str]:
    """Its fields, in lower case."""
    return {name.lower() for name in answer.headers}


def lasting(answer: Answer) -> dict[str, str]:
    """The fields that are the same in every answer to the same request, for a GET and for a HEAD."""
    sent_fields = {name.lower(): value for name, value in answer.headers.items()}
    return {name: value for name, value in sent_fields.items() if name not in OF_ONE_ANSWER}


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("path", ["/i/cat", "/i/cat?download=a.png", "/i/cat?redirect=true"])
async def test_a_prepared_response_has_the_fields_of_every_other_response(
    gateway: RunningGateway, images: Images, path: str, data: bytes
) -> None:
    await images.add("cat", data)
    head = await gateway.request("HEAD", path)  # by aiohttp's own hand
    from_cos, from_memory = await gateway.get(path), await gateway.get(path)
    for answer in (from_cos, from_memory):
        assert answer.status == head.status
        assert lasting(answer) == lasting(head)
        assert names(answer) - {"age"} >= names(head)
        assert answer.body == (b"" if answer.status == 302 else data)


@pytest.mark.parametrize("path", ["/i/cat", "/i/cat?redirect=true"])
async def test_an_old_client_gets_an_answer_of_its_version_and_the_end_of_the_connection(
    gateway: RunningGateway, images: Images, path: str
) -> None:
    await images.add("cat", SMALL)
    await gateway.get("/i/cat")
    async with connect(gateway.ports.public) as connection:
        await connection.send(f"GET {path} HTTP/1.0\r\nHost: gateway\r\n\r\n".encode())
        answer = await connection.read_rest()
    assert answer.startswith(b"HTTP/1.0 ")
    assert b"\r\nConnection:" not in answer


async def test_an_old_client_may_ask_to_keep_the_connection(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", SMALL)
    await gateway.get("/i/cat")
    async with connect(gateway.ports.public) as connection:
        for _ in range(2):
            await connection.send(b"GET /i/cat HTTP/1.0\r\nHost: gateway\r\nConnection: keep-alive\r\n\r\n")
            head = await connection.read_head()
            assert head.headers["connection"] == "keep-alive"
            assert await connection.read_body(head) == SMALL


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_connection_is_closed_when_the_client_wants_it(
    gateway: RunningGateway, images: Images, data: bytes
) -> None:
    await images.add("cat", data)
    await gateway.get("/i/cat")
    async with connect(gateway.ports.public) as connection:
        await connection.send(b"GET /i/cat HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        head = await connection.read_head()
        assert head.headers["connection"] == "close"
        assert await connection.read_rest() == data


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


async def test_a_client_that_reads_an_image_from_memory_slowly_gets_it_all(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 0.3, "memory_cache": {"max_object_bytes": 20_000_000}})
    await images.add("cat", HUGE)
    await until_answered(gateway, "/i/cat", 200)  # the time limit is so short that COS may miss it on a busy machine
    async with connect(gateway.ports.public, receive_buffer=65536) as connection:
        await connection.get("/i/cat")
        await connection.read_head()
        received = bytearray()
        while len(received) < len(HUGE):
            received += await connection.reader.readexactly(min(25_000, len(HUGE) - len(received)))
            await asyncio.sleep(0.01)  # 1 MiB takes longer than any pause may
    assert bytes(received) == HUGE


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b"])
def test_a_field_that_would_end_its_line_is_not_sent(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        fields({"X": "fine", "ETag": value})


async def test_an_etag_of_non_ascii_bytes_reaches_the_client(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat", SMALL, key="cat.png")
    odd = Headers(remove=["ETag"], add=[("ETag", '"\u00e9"')])
    images.cos.faults.add(Fault(key="cat.png", action=odd))
    assert (await gateway.get("/i/cat")).headers["ETag"] == '"\u00e9"'
