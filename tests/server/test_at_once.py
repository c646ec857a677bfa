"""Images in memory are answered while their request is received, as the dispatch answers them from its task."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from tests.conftest import Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.raw_client import RawConnection, ResponseHead, connect

PICTURE = gradient(40, 20)
OWN = {"x-request-id", "server-timing", "date"}  # of each response
Counts = dict[tuple[str, tuple[str, ...]], float]
STYLES = {"card": {"widths": [10], "formats": ["webp"]}}


@contextmanager
def tasks_of_requests() -> Iterator[list[str]]:
    """Collect the paths of requests that aiohttp passes to the dispatch in a task."""
    found: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_handle_request" and "request" in frame.f_locals:
            found.append(frame.f_locals["request"].path_qs)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def read(connection: RawConnection) -> tuple[ResponseHead, bytes]:
    """Read a response."""
    head = await connection.read_head()
    return head, await connection.read_body(head)


def counts(gateway: RunningGateway) -> Counts:
    """Return the counters of requests, by name and labels. Durations differ."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in gateway.registry.collect()
        if family.name.removeprefix("image_gateway_") in ("requests", "url_cache_lookups", "response_bytes", "variants")
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def added(before: Counts, after: Counts, times: int = 1) -> Counts:
    """Return how much was added, so many times."""
    return {key: times * (value - before.get(key, 0)) for key, value in after.items()}


@pytest.fixture
async def pictures(images: Images) -> None:
    """A public image, a private image, and an image that is too large to be sent at once."""
    await images.add("a", PICTURE)
    await images.add("mine", PICTURE, owner="alice", public=False)
    await images.add("large", PICTURE + bytes(200_000))


@pytest.mark.parametrize(
    ("delivery", "path"),
    [
        ("stream", "/i/a"),
        ("stream", "/api/v1/images/a/proxy"),
        ("stream", "/i/a?style=card&w=10&format=webp"),
        ("stream", "/i/a?style=card&w=10&format=webp&v={version}"),
        ("redirect", "/i/a"),
    ],
)
async def test_the_response_and_its_counts_are_those_of_the_dispatch(
    start_gateway: StartGateway, pictures: None, delivery: str, path: str
) -> None:
    gateway = await start_gateway(image_proxy={"delivery": delivery}, image_styles=STYLES)
    meta = (await gateway.get("/api/v1/images/a/meta")).json()["data"]
    path = path.format(version=meta["version"])
    async with connect(gateway.ports.public) as connection:
        for _ in range(2):  # fills memory
            await connection.get(path)
            await read(connection)
        with tasks_of_requests() as in_a_task:
            before = counts(gateway)
            await connection.get(path)
            head, body = await read(connection)
            between = counts(gateway)
            assert in_a_task == []
            # Two requests in one packet are answered by the task, in turn.
            await connection.send(f"GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode() * 2)
            (expected, expected_body), _ = [await read(connection) for _ in range(2)]
            after = counts(gateway)
    assert in_a_task == [path, path]
    assert (head.status, body) == (expected.status, expected_body)
    assert [*head.headers] == [*expected.headers]
    assert without(head, OWN) == without(expected, OWN)
    assert added(before, between, times=2) == added(between, after)


def without(head: ResponseHead, names: set[str]) -> dict[str, str]:
    """Return the other fields, with an Age and a remaining lifetime that are the same within the second."""
    fields = {name: value for name, value in head.headers.items() if name not in names | {"age", "cache-control"}}
    return {name: value.partition("ttl=")[0] for name, value in fields.items()}


@pytest.mark.parametrize(
    ("request_line", "fields", "status"),
    [
        ("HEAD /i/a HTTP/1.1", "", 200),
        ("GET /i/a HTTP/1.0", "Connection: keep-alive\r\n", 200),
        ("GET /i/a HTTP/1.1", "Connection: close\r\n", 200),
        ("GET /i/a HTTP/1.1", "Range: bytes=0-9\r\n", 206),
        ("GET /i/a HTTP/1.1", "If-None-Match: *\r\n", 304),
        ("GET /i/a HTTP/1.1", "If-Match: *\r\n", 200),
        ("GET /i/a HTTP/1.1", "Content-Length: 1\r\n\r\n!", 200),
        ("GET /i/a HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n0\r\n", 200),
        ("GET /i/a HTTP/1.1", "X-Gateway-Config-Version: gateway.conf 0\r\n", 200),
        ("GET /i/a?download=x HTTP/1.1", "", 200),
        ("GET /i/a?style=card&w=10&format=auto HTTP/1.1", "", 400),
        ("GET /i/a#b HTTP/1.1", "", 400),
        ("GET /i/%61 HTTP/1.1", "", 200),
        ("GET /i/mine HTTP/1.1", "", 404),
        ("GET /i/large HTTP/1.1", "", 200),
        ("GET /i/none HTTP/1.1", "", 404),
    ],
)
async def test_any_other_request_gets_a_task(
    gateway: RunningGateway, pictures: None, request_line: str, fields: str, status: int
) -> None:
    async with connect(gateway.ports.public) as connection:
        for path in ("/i/a", "/i/mine", "/i/large", "/i/none", "/i/a"):
            await connection.get(path)
            await read(connection)
        with tasks_of_requests() as in_a_task:
            await connection.send(f"{request_line}\r\nHost: gateway\r\n{fields}\r\n".encode())
            assert (await connection.read_head()).status == status
        assert in_a_task


async def test_a_connection_is_closed_when_it_is_idle_after_an_answer(
    start_gateway: StartGateway, pictures: None
) -> None:
    gateway = await start_gateway(server={"keepalive_timeout": 0.5})
    async with connect(gateway.ports.public) as connection:
        for _ in range(3):
            await connection.get("/i/a")
            await read(connection)
        assert await connection.read_rest() == b""
