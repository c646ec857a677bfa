"""One range of bytes (RFC 9110 section 14): the same for every state of the caches."""

from email.utils import formatdate

import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from tests.conftest import Images, RunningGateway, StartGateway
from tests.stories.content import LARGE, SMALL, add_large

pytestmark = [
    pytest.mark.parametrize("size", [len(SMALL), LARGE.size], ids=["small", "large"]),
    pytest.mark.parametrize("is_known", [False, True], ids=["cold", "known"]),
    pytest.mark.parametrize("max_bytes", [0, 1 << 20], ids=["no-memory", "memory"]),
]


@pytest.fixture
async def gateway(
    start_gateway: StartGateway, images: Images, size: int, is_known: bool, max_bytes: int
) -> RunningGateway:
    """A gateway with the image, cached or not."""
    gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": max_bytes}})
    await add_large(images, SyntheticContent(size))
    if is_known:
        await gateway.get("/i/a")
    return gateway


@pytest.mark.parametrize(
    ("asked_for", "first", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=9000-", 9000, None),
        ("bytes=-500", -500, None),
        ("bytes=-99999999", 0, None),
        ("bytes=5-99999999", 5, None),
    ],
)
async def test_a_satisfiable_range_is_answered_with_206(
    gateway: RunningGateway, size: int, asked_for: str, first: int, stop: int | None
) -> None:
    whole = SyntheticContent(size).read(0, size)
    answer = await gateway.get("/i/a", headers={"Range": asked_for})
    expected = whole[first:stop]
    start = first if first >= 0 else size + first
    assert (answer.status, answer.body) == (206, expected)
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
    assert answer.headers["Content-Length"] == str(len(expected))


@pytest.mark.parametrize("asked_for", ["bytes={size}-", "bytes=99999999-", "bytes=-0"])
async def test_a_range_beyond_the_end_is_answered_with_416_and_the_size(
    gateway: RunningGateway, size: int, asked_for: str
) -> None:
    answer = await gateway.get("/i/a", headers={"Range": asked_for.format(size=size)})
    assert (answer.status, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("ignored", ["bytes=0-1,5-6", "items=0-1", "bytes=5-2", "bytes=-", "bytes=a-b", "nonsense"])
async def test_a_range_header_that_is_not_one_range_is_ignored(
    gateway: RunningGateway, size: int, ignored: str
) -> None:
    answer = await gateway.get("/i/a", headers={"Range": ignored})
    assert (answer.status, len(answer.body)) == (200, size)


async def test_if_range_decides_whether_the_range_applies(gateway: RunningGateway, size: int) -> None:
    head = await gateway.request("HEAD", "/i/a")
    ranged = {"Range": "bytes=5-9"}
    for applies, validator in [
        (True, head.headers["ETag"]),
        (True, head.headers["Last-Modified"]),
        (False, '"another"'),
        (False, f"W/{head.headers['ETag']}"),  # section 13.1.5: a strong comparison
        (False, formatdate(0, usegmt=True)),
        (False, "nonsense"),
    ]:
        answer = await gateway.get("/i/a", headers={**ranged, "If-Range": validator})
        assert (answer.status, len(answer.body)) == ((206, 5) if applies else (200, size)), validator


async def test_if_range_is_evaluated_before_a_range_beyond_the_end(gateway: RunningGateway, size: int) -> None:
    answer = await gateway.get("/i/a", headers={"Range": "bytes=99999999-", "If-Range": '"another"'})
    assert (answer.status, len(answer.body)) == (200, size)


async def test_head_ignores_ranges(gateway: RunningGateway, size: int) -> None:
    """RFC 9110 section 14.2: Range is defined for GET alone."""
    answer = await gateway.request("HEAD", "/i/a", headers={"Range": "bytes=0-5"})
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(size))
