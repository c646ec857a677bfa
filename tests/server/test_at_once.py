"""Requests that need nothing but memory are answered while they are received, as a task would answer them."""

import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from types import FrameType
from typing import Any

import pytest

from gateway.delivery.nginx_files import ACCEL_CONF
from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, COOKIE, link_query, token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.cos_emulator.pictures import gradient
from tests.raw_client import RawConnection, ResponseHead, connect

PICTURE = gradient(40, 20)
OWN = {"server-timing", "date"}  # of each response
Counts = dict[tuple[str, tuple[str, ...]], float]
STYLES = {"card": {"widths": [10], "formats": ["webp"]}}
REQUESTS = 80  # of each delivery
# Fields that select what of an image is sent. The placeholder is its entity tag.
FIELDS = (
    "",
    "",
    "Range: bytes=2-5\r\n",
    "Range: bytes=-3\r\n",
    "Range: bytes=99999-\r\n",
    "If-None-Match: {etag}\r\n",
    "If-None-Match: *\r\nRange: bytes=0-1\r\n",
    'If-None-Match: "other"\r\n',
    'If-Match: "other"\r\n',
    "If-Range: {etag}\r\nRange: bytes=0-1\r\n",
    "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
)
QUERIES = ("", "", "style=card&w=10&format=webp", "v={version}", "v=older", "download=a.png", "redirect=true", "w=1")
CREDENTIALS: dict[str, Callable[[str], tuple[str, str]]] = {  # a path -> header fields, and parameters of its query
    "nothing": lambda _: ("", ""),
    "a token": lambda _: (f"Authorization: Bearer {token()}\r\n", ""),
    "a cookie": lambda _: (f"Cookie: theme=dark; {COOKIE}={token()}\r\n", ""),
    "a link": lambda path: ("", link_query(path)),
    "another user's token": lambda _: (f"Authorization: Bearer {token(sub='bob')}\r\n", ""),
}


@contextmanager
def tasks_of_requests() -> Iterator[list[str]]:
    """Collect the paths of requests that aiohttp passes to the dispatch in a task."""
    found: list[str] = []
    known: set[FrameType] = set()  # a coroutine is called each time that it goes on

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_handle_request" and frame not in known:
            known.add(frame)
            path = frame.f_locals["request"].path_qs
            if not path.startswith("/objects/"):  # of COS
                found.append(path)

    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)


async def read(connection: RawConnection, method: str = "GET") -> tuple[ResponseHead, bytes]:
    """Read a response."""
    head = await connection.read_head()
    has_body = method != "HEAD" and head.status != 304
    return head, await connection.read_body(head) if has_body else b""


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


def new_lines(gateway: RunningGateway, lines: io.StringIO) -> list[dict[str, Any]]:
    """Return the access lines since the last call, without what differs between two equal requests."""
    gateway.service.requests.request_log.flush()
    written = [json.loads(line) for line in lines.getvalue().splitlines()]
    lines.seek(0)
    lines.truncate()
    for line in written:
        line["cache"] = line.get("cache", "").partition("ttl=")[0]
    differing = {"timestamp", "seconds", "first_byte"}
    return [{name: value for name, value in line.items() if name not in differing} for line in written]


@pytest.fixture
async def pictures(images: Images) -> None:
    """A public image, a private image, and an image that is too large to be sent at once."""
    await images.add("a", PICTURE)
    await images.add("mine", PICTURE, owner="alice", public=False)
    await images.add("large", PICTURE + bytes(200_000))


def generated(version: str, etag: str) -> list[tuple[str, str, str]]:
    """Return requests: method, address and header fields."""
    every = product(
        ("GET", "GET", "HEAD"), ("/i/{}", "/api/v1/images/{}/proxy"), ("a", "mine"), QUERIES, CREDENTIALS, FIELDS
    )
    requests = []
    chance = random.Random(7)  # noqa: S311 - the same requests each time
    for method, address, image_id, query, credential, chosen in chance.sample(list(every), REQUESTS):
        path = address.format(image_id)
        shown, parameters = CREDENTIALS[credential](path)
        joined = "&".join(filter(None, (query.format(version=version), parameters)))
        requests.append((method, f"{path}?{joined}" if joined else path, shown + chosen.format(etag=etag)))
    return requests


@pytest.mark.parametrize("delivery", ["stream", "redirect", "accel"])
async def test_the_response_its_counts_and_its_line_are_those_of_the_dispatch(
    access_lines: io.StringIO,
    start_gateway: StartGateway,
    links_table: ImagesTable,
    pictures: None,
    delivery: str,
) -> None:
    del links_table
    kept = {"memory_cache": {"ttl": 3600}}  # on a busy machine this takes longer than a minute
    gateway = await start_gateway(
        image_proxy={"delivery": delivery, **kept},
        url_cache={"local_ttl": 3600},
        image_styles=STYLES,
        access=ACCESS,
    )
    version = (await gateway.get("/api/v1/images/a/meta")).json()["data"]["version"]
    etag = (await gateway.get("/i/a", headers={"X-Accel-Failed": "1"})).headers.get("ETag", "*")
    statuses: set[int] = set()
    async with connect(gateway.ports.public) as connection:
        for method, path, fields in generated(version, etag):
            through = f"X-Gateway-Config-Version: {ACCEL_CONF}\r\n" if delivery == "accel" else ""
            line = f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nX-Request-Id: the-request\r\n"
            request = f"{line}{through}{fields}\r\n".encode()
            for _ in range(2):  # fills memory
                await connection.send(request)
                await read(connection, method)
            with tasks_of_requests() as in_a_task:
                before, _ = counts(gateway), new_lines(gateway, access_lines)
                await connection.send(request)
                head, body = await read(connection, method)
                between, lines = counts(gateway), new_lines(gateway, access_lines)
                is_at_once = in_a_task == []
                # Two requests in one packet are answered by the task, in turn.
                await connection.send(request * 2)
                (expected, expected_body), _ = [await read(connection, method) for _ in range(2)]
                after, others = counts(gateway), new_lines(gateway, access_lines)
            assert len(in_a_task) == (2 if is_at_once else 3)
            assert is_at_once == (expected.status < 400), (request, expected)
            assert (head.status, body) == (expected.status, expected_body), request
            assert [*head.headers] == [*expected.headers]
            assert without(head, OWN) == without(expected, OWN)
            assert added(before, between, times=2) == added(between, after), request
            assert lines * 2 == others
            statuses.add(head.status)
    assert (
        statuses
        >= {"stream": {200, 206, 302, 304, 404, 412, 416}, "redirect": {302, 404}, "accel": {200, 304}}[delivery]
    )


def without(head: ResponseHead, names: set[str]) -> dict[str, str]:
    """Return the other fields, with an Age and a remaining lifetime that are the same within the second."""
    varying = names | {"age", "cache-control", "x-decision-for"}
    fields = {name: value for name, value in head.headers.items() if name not in varying}
    return {name: value.partition("ttl=")[0] for name, value in fields.items()}


NOT_AT_ONCE = (
    ("GET /i/a HTTP/1.0", "Connection: keep-alive\r\n", 200),
    ("GET /i/a HTTP/1.1", "Connection: close\r\n", 200),
    ("GET /i/a HTTP/1.1", "Content-Length: 1\r\n\r\n!", 200),
    ("GET /i/a HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n0\r\n", 200),
    ("GET /i/a HTTP/1.1", "X-Gateway-Config-Version: gateway.conf 0\r\n", 200),
    ("GET /i/a?style=card&w=10&format=auto HTTP/1.1", "", 400),
    ("GET /i/a#b HTTP/1.1", "", 400),
    ("GET /i/%61 HTTP/1.1", "", 200),
    ("GET /i/mine HTTP/1.1", "", 404),
    ("GET /i/large HTTP/1.1", "", 200),
    ("GET /i/none HTTP/1.1", "", 404),
)


async def test_any_other_request_gets_a_task(gateway: RunningGateway, pictures: None) -> None:
    for path in ("/i/a", "/i/mine", "/i/large", "/i/none", "/i/a"):
        await gateway.get(path)
    for request_line, fields, status in NOT_AT_ONCE:
        async with connect(gateway.ports.public) as connection:
            with tasks_of_requests() as in_a_task:
                await connection.send(f"{request_line}\r\nHost: gateway\r\n{fields}\r\n".encode())
                assert (await connection.read_head()).status == status, request_line
            assert in_a_task, (request_line, fields)


async def test_a_connection_is_closed_when_it_is_idle_after_an_answer(
    start_gateway: StartGateway, pictures: None
) -> None:
    gateway = await start_gateway(server={"keepalive_timeout": 3})
    async with connect(gateway.ports.public) as connection:
        for _ in range(3):
            await connection.get("/i/a")
            await read(connection)
        assert await connection.read_rest() == b""
