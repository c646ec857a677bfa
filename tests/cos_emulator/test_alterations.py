"""Alterations of an answer: errors, pages, redirects, headers, changed objects."""

import gzip

import pytest

from gateway_dev.cos_emulator.faults import Change, Cut, Fault, Gzip, Headers, Html, NoLength, Redirect, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import DATA, KEY, Client, RawExchange, add

pytestmark = pytest.mark.usefixtures("large_object")


async def whole(client: Client) -> None:
    """Check that the client receives the whole object."""
    answer = await client.get(KEY)
    assert (answer.status, answer.body) == (200, DATA)


async def test_refuse_answers_with_an_error_and_its_headers(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse(headers={"Retry-After": "7"}))
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert b"<Code>SlowDown</Code>" in answer.body
    assert "x-cos-request-id" in answer.headers
    await whole(client)


async def test_refuse_takes_any_error_status(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse(status=451, code="UnavailableForLegalReasons", message="Blocked."))
    head = await client.head(KEY)
    assert (head.status, head.body) == (451, b"")


async def test_html_answers_with_a_page_and_200(client: Client, cos: CosEmulator) -> None:
    add(cos, Html())
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")
    add(cos, Html())
    assert (await client.head(KEY)).headers["Content-Type"] == "text/html; charset=utf-8"


async def test_redirect_answers_with_the_location(client: Client, cos: CosEmulator) -> None:
    add(cos, Redirect(location="http://169.254.169.254/latest?a=%2F"))
    answer = await client.get(KEY)
    assert (answer.status, answer.headers["Location"]) == (302, "http://169.254.169.254/latest?a=%2F")


async def test_gzip_compresses_the_body(client: Client, cos: CosEmulator) -> None:
    add(cos, Gzip())
    answer = await client.get(KEY)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) == len(answer.body) < len(DATA)
    assert gzip.decompress(answer.body) == DATA


async def test_gzip_does_not_change_a_304(client: Client, cos: CosEmulator) -> None:
    add(cos, Gzip())
    answer = await client.get(KEY, headers={"If-None-Match": "*"})
    assert (answer.status, answer.body) == (304, b"")


async def test_headers_removes_and_adds_headers(client: Client, cos: CosEmulator) -> None:
    added = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Accel-Redirect", "/etc"), ("ETag", '"second"')]
    add(cos, Headers(remove=["Content-Type", "X-Unknown"], add=added))
    answer = await client.get(KEY)
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["X-Accel-Redirect"] == "/etc"
    assert len(answer.headers.getall("ETag")) == 2
    assert answer.body == DATA


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


async def test_change_runs_a_callback(client: Client, cos: CosEmulator, store: ObjectStore) -> None:
    add(cos, Change(run=store.delete))
    assert (await client.get(KEY)).status == 404
    add(cos, Change(data=b"born"))
    assert (await client.get(KEY)).body == b"born"


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
    await whole(client)


async def test_faults_apply_to_requests_with_a_wrong_signature(client: Client, cos: CosEmulator) -> None:
    add(cos, Refuse())
    client.secrets["SecretKey"] = "wrong"
    assert (await client.get(KEY)).status == 503
    assert (await client.get(KEY)).status == 403
