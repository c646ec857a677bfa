"""One range of bytes (RFC 9110 section 14): the same for every state of the caches."""

from email.utils import formatdate

import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from tests.conftest import Images, StartGateway
from tests.stories.content import LARGE, SMALL, add_large

SATISFIABLE = {
    "bytes=0-0": (0, 1),
    "bytes=100-299": (100, 300),
    "bytes=9000-": (9000, None),
    "bytes=-500": (-500, None),
    "bytes=-99999999": (0, None),
    "bytes=5-99999999": (5, None),
}
BEYOND_THE_END = ("bytes={size}-", "bytes=99999999-", "bytes=-0")
NOT_ONE_RANGE = ("bytes=0-1,5-6", "items=0-1", "bytes=5-2", "bytes=-", "bytes=a-b", "nonsense")


@pytest.mark.parametrize("size", [len(SMALL), LARGE.size], ids=["small", "large"])
@pytest.mark.parametrize("is_known", [False, True], ids=["cold", "known"])
@pytest.mark.parametrize("max_bytes", [0, 1 << 20], ids=["no-memory", "memory"])
async def test_one_range_is_sent_and_anything_else_refused_or_ignored(
    start_gateway: StartGateway, images: Images, size: int, is_known: bool, max_bytes: int
) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"max_bytes": max_bytes}})
    names: list[str] = []

    async def address() -> str:
        """Return the address of another image, which the gateway knows or not."""
        names.append(f"a{len(names)}")
        await add_large(images, SyntheticContent(size), image_id=names[-1])
        if is_known:
            await gateway.get(f"/i/{names[-1]}")
        return f"/i/{names[-1]}"

    whole = SyntheticContent(size).read(0, size)
    for asked_for, (first, stop) in SATISFIABLE.items():
        answer = await gateway.get(await address(), headers={"Range": asked_for})
        expected = whole[first:stop]
        start = first if first >= 0 else size + first
        assert (answer.status, answer.body) == (206, expected), asked_for
        assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
        assert answer.headers["Content-Length"] == str(len(expected))
    for asked_for in BEYOND_THE_END:
        answer = await gateway.get(await address(), headers={"Range": asked_for.format(size=size)})
        assert (answer.status, answer.json()["code"]) == (416, "range_not_satisfiable"), asked_for
        assert answer.headers["Content-Range"] == f"bytes */{size}"
    for ignored in NOT_ONE_RANGE:
        answer = await gateway.get(await address(), headers={"Range": ignored})
        assert (answer.status, len(answer.body)) == (200, size), ignored
    # If-Range is evaluated before a range beyond the end.
    answer = await gateway.get(await address(), headers={"Range": "bytes=99999999-", "If-Range": '"another"'})
    assert (answer.status, len(answer.body)) == (200, size)
    # RFC 9110 section 14.2: Range is defined for GET alone.
    path = await address()
    head = await gateway.request("HEAD", path, headers={"Range": "bytes=0-5"})
    assert (head.status, head.headers["Content-Length"]) == (200, str(size))
    for applies, validator in [
        (True, head.headers["ETag"]),
        (True, head.headers["Last-Modified"]),
        (False, '"another"'),
        (False, f"W/{head.headers['ETag']}"),  # section 13.1.5: a strong comparison
        (False, formatdate(0, usegmt=True)),
        (False, "nonsense"),
    ]:
        answer = await gateway.get(path, headers={"Range": "bytes=5-9", "If-Range": validator})
        assert (answer.status, len(answer.body)) == ((206, 5) if applies else (200, size)), validator
