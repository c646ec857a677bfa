"""Faults: validation, the requests that they apply to, and alterations of an answer."""

import gzip

import pytest
from pydantic import ValidationError

from gateway_dev.cos_emulator.faults import (
    Change,
    Cut,
    Fault,
    Faults,
    Gzip,
    Headers,
    Html,
    NoLength,
    Redirect,
    Refuse,
    Reset,
)
from gateway_dev.cos_emulator.server import CosEmulator

from .conftest import DATA, KEY, Client, RawExchange, add


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": {"kind": "explode"}},
        {"action": {"kind": "cut", "at": -1}},
        {"action": {"kind": "cut"}, "times": 0},
        {"action": {"kind": "cut"}, "unknown": 1},
        {"action": {"kind": "refuse", "status": 200}},
        {},
    ],
)
def test_invalid_faults_are_rejected(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate(wrong)


def fired(faults: Faults, method: str, key: str) -> bool:
    return faults.fire(method, key).delivery is not None


def test_times_and_skip_count_matching_requests() -> None:
    faults = Faults()
    armed = faults.add(Fault(action=Reset(), key="a/*.png", method="GET", times=2, skip=1))
    assert not any(fired(faults, *other) for other in (("HEAD", "a/b.png"), ("GET", "b.png"), ("GET", "A/b.png")))
    assert [fired(faults, "GET", "a/b/c.png") for _ in range(5)] == [False, True, True, False, False]
    assert (armed.matched, armed.fired) == (5, 2)
    faults.add(Fault(action=Reset(), times=None))
    assert all(fired(faults, "GET", "k") for _ in range(5))
    faults.clear()
    assert not fired(faults, "GET", "k")


@pytest.mark.usefixtures("large_object")
async def test_alterations_change_the_next_answer_alone(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse(headers={"Retry-After": "7"}))
    refused = await client.get(KEY)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "7")
    assert b"<Code>SlowDown</Code>" in refused.body
    for ask in (client.get, client.head):
        add(cos, Html())
        page = await ask(KEY)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    add(cos, Redirect(location="http://169.254.169.254/latest?a=%2F"))
    redirect = await client.get(KEY)
    assert (redirect.status, redirect.headers["Location"]) == (302, "http://169.254.169.254/latest?a=%2F")
    add(cos, Gzip())
    zipped = await client.get(KEY)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert int(zipped.headers["Content-Length"]) == len(zipped.body) < len(DATA)
    assert gzip.decompress(zipped.body) == DATA
    added = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Accel-Redirect", "/etc"), ("ETag", '"second"')]
    add(cos, Headers(remove=["Content-Type", "X-Unknown"], add=added))
    headers = (await client.get(KEY)).headers
    assert headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert (headers["X-Accel-Redirect"], len(headers.getall("ETag"))) == ("/etc", 2)
    unaltered = await client.get(KEY)
    assert (unaltered.status, unaltered.body) == (200, DATA)


@pytest.mark.usefixtures("large_object")
async def test_an_object_changes_between_two_requests(client: Client, cos: CosEmulator) -> None:
    """A resumed transfer must not mix bytes of two versions."""
    cos.faults.add(Fault(action=Cut(at=500), key=KEY))
    cos.faults.add(Fault(action=Change(data=b"new"), key=KEY, skip=1))
    url = client.presign(KEY)
    async with await client.open(url) as response:
        etag = response.headers["ETag"]
    resumed = await client.fetch(url, headers={"Range": "bytes=500-", "If-Match": etag})
    assert resumed.status == 412
    answer = await client.get(KEY)
    assert (answer.body, answer.headers["x-cos-meta-a"]) == (b"new", "1")
    assert answer.headers["ETag"] != etag


@pytest.mark.usefixtures("large_object")
async def test_all_alterations_and_the_first_delivery_apply(
    client: Client, cos: CosEmulator, exchange: RawExchange
) -> None:
    """``NoLength`` was added before ``Cut``, so ``Cut`` does not apply."""
    add(cos, NoLength(cut_at=1))
    add(cos, Html(body="<p>"))
    add(cos, Headers(add=[("Set-Cookie", "a=1")]))
    add(cos, Cut(at=0))
    raw = await exchange(client.presign(KEY).removeprefix(cos.url))
    assert b"\r\nSet-Cookie: a=1\r\n" in raw
    assert raw.endswith(b"\r\n\r\n<")
    assert [armed.fired for armed in cos.faults.armed] == [1, 1, 1, 1]
