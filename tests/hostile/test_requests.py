"""Malformed and odd requests: a 4xx or a closed connection, and no part is parsed as a second request."""

import asyncio
import itertools
import logging
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Images, RunningGateway
from tests.raw_client import exchange, statuses

HOST = b"Host: gateway\r\n"
POST = b"POST /api/v1/images/urls HTTP/1.1\r\n" + HOST
SECOND = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"  # must not be parsed as a separate request

MALFORMED: dict[str, bytes] = {
    # the request line (RFC 9112 section 3)
    "no-http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "garbage": b"\x00\xff\xfe garbage\r\n\r\n",
    "no-version": b"GET /i/a\r\n" + HOST + b"\r\n",
    "http-0.9": b"GET /i/a HTTP/0.9\r\n" + HOST + b"\r\n",
    "http-2.0": b"GET /i/a HTTP/2.0\r\n" + HOST + b"\r\n",
    "http-0.9-without-host": b"GET /healthz HTTP/0.9\r\n\r\n",
    "http-2.0-of-a-known-route": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "http-2-preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http-3": b"GET /i/a HTTP/3.0\r\n" + HOST + b"\r\n",
    "version-in-words": b"GET /i/a HTTP/one.one\r\n" + HOST + b"\r\n",
    "lower-case-http": b"GET /i/a http/1.1\r\n" + HOST + b"\r\n",
    "tab-between": b"GET\t/i/a\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "space-in-the-path": b"GET /i/a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "nul-in-the-path": b"GET /i/a\x00b HTTP/1.1\r\n" + HOST + b"\r\n",
    "lf-in-the-path": b"GET /i/a\nX: b HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown-method": b"FROBNICATE /i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "method-of-control-letters": b"G\x07T /i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower-case-method": b"get /i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "path-of-9000-bytes": b"GET /i/" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "line-of-a-megabyte": b"GET /i/" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "method-without-end": b"G" * 100_000,
    # headers (RFC 9112 section 5)
    "obs-fold": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: 1\r\n folded\r\n\r\n",
    "fold-first": b"GET /i/a HTTP/1.1\r\n folded: 1\r\n" + HOST + b"\r\n",
    "space-before-colon": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A : 1\r\n\r\n",
    "no-colon": b"GET /i/a HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n",
    "empty-name": b"GET /i/a HTTP/1.1\r\n" + HOST + b": 1\r\n\r\n",
    "nul-in-a-value": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: a\x00b\r\n\r\n",
    "nul-in-a-name": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-\x00A: b\r\n\r\n",
    "bare-cr-in-a-value": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: a\rX-User-Id: alice\r\n\r\n",
    "letters-beyond-ascii-in-a-name": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-\xc3\xa9: b\r\n\r\n",
    "header-of-9000-bytes": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 9000 + b"\r\n\r\n",
    "a-thousand-headers": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 1000 + b"\r\n",
    "headers-without-end": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: b\r\n" * 100_000,
    "headers-of-a-megabyte": b"GET /healthz HTTP/1.1\r\n" + HOST
    + (b"If-None-Match: " + b'"",' * 2700 + b"\r\n") * 125 + b"\r\n",
    # where the request ends (RFC 9112 section 6.3)
    "cl-and-te": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    "te-and-cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    "two-lengths": POST + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}",
    "one-length-twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length-list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length-negative": POST + b"Content-Length: -1\r\n\r\n{}",
    "length-signed": POST + b"Content-Length: +2\r\n\r\n{}",
    "length-in-hex": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "length-beyond-64-bits": POST + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "length-with-a-space": POST + b"Content-Length: 2 0\r\n\r\n{}",
    "length-before-colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "te-identity": POST + b"Transfer-Encoding: identity\r\n\r\n{}",
    "te-chunked-first": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "te-twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "te-almost-chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te-with-a-control-letter": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "te-in-http-1.0": b"POST /api/v1/images/urls HTTP/1.0\r\n" + HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunk-size-in-words": POST + b"Transfer-Encoding: chunked\r\n\r\nten\r\n{}\r\n0\r\n\r\n",
    "chunk-size-signed": POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "chunk-size-prefixed": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "chunk-size-beyond-64-bits": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk-longer-than-told": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX\r\n0\r\n\r\n",
    "chunk-ended-by-lf": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "lf-alone": b"GET /i/a HTTP/1.1\nHost: gateway\n\n",
    "cr-alone": b"GET /i/a HTTP/1.1\rHost: gateway\r\r",
    "lf-before-the-end": b"GET /i/a HTTP/1.1\r\n" + HOST + b"X-A: b\n\r\n",
}  # fmt: skip


async def received_by(gateway: RunningGateway, requests: Mapping[str, bytes], then: bytes = b"") -> dict[str, bytes]:
    """Send the requests to the public port, ten at a time. Return what the client of each receives."""
    received: dict[str, bytes] = {}
    for first in range(0, len(requests), 10):
        names = list(requests)[first : first + 10]
        answers = await asyncio.gather(*(exchange(gateway.ports.public, requests[name] + then) for name in names))
        received |= zip(names, answers, strict=True)
    return received


async def test_a_malformed_request_is_a_4xx_and_closes_its_connection(impatient: RunningGateway) -> None:
    for name, received in (await received_by(impatient, MALFORMED, then=SECOND)).items():
        answered = statuses(received)
        assert len(answered) <= 1, (name, answered)
        assert all(400 <= status < 500 for status in answered), (name, answered)
        for echoed in (b"folded", b"smuggled", b"nonsense", b"FROBNICATE", b"alice", b"Traceback", b"aiohttp"):
            assert echoed not in received, name
        assert received == b"" or received.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), name
        if answered:
            assert b'"status": "error"' in received, name
            assert b"X-Content-Type-Options: nosniff" in received, name
    assert impatient.sample("requests_total", route="healthz", delivery="none", status="200") == 0
    assert (await impatient.get("/healthz")).status == 200


async def test_another_version_is_a_400_in_http_1_1(gateway: RunningGateway) -> None:
    for version in (b"2.0", b"0.9"):
        received = await exchange(gateway.ports.public, b"GET /healthz HTTP/%s\r\n" % version + HOST + b"\r\n")
        assert received.startswith(b"HTTP/1.1 400 ")
        assert b"the version must be HTTP/1.1 or HTTP/1.0" in received
    assert gateway.sample("requests_total", route="unmatched", delivery="none", status="400") == 2


FRAGMENTS = (b"/i/a#", b"/i/a#b", b"/i/a?style=x#&style=y", b"/#/i/a", b"/healthz#", b"http://gateway/healthz#b", b"#")


async def test_an_address_with_a_fragment_is_a_400_on_both_ports(gateway: RunningGateway, images: Images) -> None:
    """A cache in front may regard the fragment as a part of the address (RFC 9112 section 3.2 has none)."""
    await images.add("a")
    for address, port in itertools.product(FRAGMENTS, (gateway.ports.public, gateway.ports.admin)):
        received = await exchange(port, b"GET %s HTTP/1.1\r\n" % address + HOST + b"Connection: close\r\n\r\n")
        assert statuses(received) == [400], address
        assert b'"code": "invalid_request"' in received


CODINGS = (b"gzip, chunked", b"gzip,chunked", b",chunked", b", chunked", b"identity, chunked", b"deflate,gzip,chunked")


async def test_another_transfer_coding_is_a_501_as_of_nginx(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 9112 section 6.1. The connection ends: a proxy may see the end of the body elsewhere."""
    for coding, method in itertools.product(CODINGS, (b"POST /api/v1/images/urls", b"GET /i/a")):
        body = b"Transfer-Encoding: " + coding + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        for port in (gateway.ports.public, gateway.ports.admin):
            received = await exchange(port, method + b" HTTP/1.1\r\n" + HOST + body + SECOND)
            assert statuses(received) == [501], coding
            assert b'"code": "unknown_transfer_coding"' in received
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_chunked_body_is_read(gateway: RunningGateway) -> None:
    for coding in (b"chunked", b"Chunked", b"chunked "):
        body = b"Transfer-Encoding: " + coding + b'\r\n\r\n13\r\n{"image_ids":["a"]}\r\n0\r\n\r\n'
        assert statuses(await exchange(gateway.ports.public, POST + b"Connection: close\r\n" + body)) == [200]


ODD: dict[str, bytes] = {
    "two-spaces": b"GET  /i/- HTTP/1.1\r\n" + HOST + b"\r\n",
    "no-host": b"GET /i/a HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET /i/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "host-of-nonsense": b"GET /i/a HTTP/1.1\r\nHost: @:/\\?#[\r\n\r\n",
    "absolute-form": b"GET http://evil.example/i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute-form-of-nonsense": b"GET http://[::1/i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute-form-with-a-port-of-nonsense": b"GET http://a:99999999/i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "authority-form": b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "asterisk-get": b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    "two-slashes": b"GET //i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "only-slashes": b"GET /////// HTTP/1.1\r\n" + HOST + b"\r\n",
    "dots": b"GET /i/../../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "query-of-nonsense": b"GET /i/-?%00=%ff&=&&;;[]{}|^%zz&a[b]=c HTTP/1.1\r\n" + HOST + b"\r\n",
    "query-no-utf8": b"GET /i/-?style=\xff\xfe&kid=\xff&exp=\xff&sig=\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "path-no-utf8": b"GET /i/\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a-thousand-parameters": b"GET /i/-?" + b"a=b&" * 1500 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "trace": b"TRACE /i/a HTTP/1.1\r\n" + HOST + b"X-Secret: alice\r\n\r\n",
    "delete": b"DELETE /i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "purge": b"PURGE /i/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "upgrade": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "upgrade-h2c": b"GET /i/- HTTP/1.1\r\n" + HOST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "expect-nonsense": POST + b"Expect: wonders\r\nContent-Length: 2\r\n\r\n{}",
    "expect-no-utf8": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Expect: \xff\r\n\r\n",
    "expect-and-nothing": POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    "body-of-a-get": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    "body-that-never-comes": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n",
    "body-too-large": POST + b"Content-Length: 70000\r\n\r\n" + b"x" * 70_000,
    "body-said-to-be-gzip": POST + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\nnot gzip!!",
    "body-cut-short": POST + b"Content-Length: 99\r\n\r\n{",
    "content-type-of-nonsense": b"POST /api/v1/monitoring/beacons HTTP/1.1\r\n" + HOST
    + b"Content-Type: text/plain;x*\r\nContent-Length: 2\r\n\r\n{}",
    "cookie-of-nonsense": b"GET /i/- HTTP/1.1\r\n" + HOST + b'Cookie: =;;;"\\;session;=session="\xff";,\r\n\r\n',
    "authorization-of-nonsense": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Authorization: Bearer \xff\xfe..\xff\r\n\r\n",
    "a-token-of-8000-bytes": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + b"e" * 8000 + b"\r\n\r\n",
    "request-id-of-nonsense": b"GET /i/- HTTP/1.1\r\n" + HOST + b"X-Request-Id: \xff{}%0d%0a\r\n\r\n",
    "connection-names-a-header": b"GET /i/- HTTP/1.1\r\n" + HOST + b"Connection: close, Authorization\r\n\r\n",
}  # fmt: skip


async def test_an_odd_request_is_a_4xx(impatient: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name, received in (await received_by(impatient, ODD)).items():
        answered = [status for status in statuses(received) if status != 100]
        assert len(answered) <= 1, name
        assert all(400 <= status < 500 for status in answered), (name, answered)
    for name in ("upgrade", "upgrade-h2c"):
        received = await exchange(impatient.ports.public, ODD[name] + SECOND)
        assert len(statuses(received)) == 2 or b"\r\nConnection: close\r\n" in received, "the second one is lost"
        alone = await exchange(impatient.ports.public, ODD[name])
        assert b"\r\nConnection: close\r\n" not in alone, "some clients ask for it with each request"
    assert not [record for record in caplog.records if record.exc_info and record.name != "aiohttp.server"]


EXPECTATIONS = (b"\xff", b"wonders", b"100-continue, wonders")


async def test_an_unknown_expectation_is_the_same_400_at_each_address(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture
) -> None:
    lines = (
        *(b"GET /i/a", b"HEAD /i/a", b"GET /i/%61", b"GET /healthz", b"GET /nowhere", b"POST /api/v1/cache/purge"),
        *(b"GET /api/v1/images/access", b"POST /api/v1/images/a/access", b"POST /api/v1/images/urls", b"OPTIONS /i/a"),
    )
    ports = (gateway.ports.public, gateway.ports.admin)
    for port, expectation, line in itertools.product(ports, EXPECTATIONS, lines):
        head = line + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\nExpect: " + expectation + b"\r\n\r\n"
        received = await exchange(port, head)
        assert statuses(received) == [400], line
        assert b"the only expectation is 100-continue" in received or line.startswith(b"HEAD")
    assert not [record for record in caplog.records if record.exc_info]


UNUSABLE = (
    b"Range: bytes=" + b"9" * 4000 + b"-\r\n",
    b"Range: bytes=" + b"0-0," * 1900 + b"1-1\r\n",
    b"Range: bytes=5-2\r\n",
    b"Range: bytes=-0\r\n",
    b"Range: bytes=\xd9\xa3-\r\n",
    b"Range: lines=1-2\r\n",
    b"Range: \xff\r\n",
    b"If-Modified-Since: Mon, 00 Foo -001 99:99:99 GMT\r\n",
    b"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 +9999\r\n",
    b"If-Unmodified-Since: " + b"9" * 4000 + b"\r\n",
    b"If-Modified-Since: \xff\r\n",
    b"If-None-Match: " + b'"a",' * 2000 + b"\r\n",
    b'If-None-Match: "\r\n',
    b"If-None-Match: \xff\r\n",
    b'If-Match: W/"a", W/\r\n',
    b"If-Range: \xff\r\nRange: bytes=0-1\r\n",
    b"Accept: " + b"a/b;q=0." * 900 + b"\r\n",
    b"Accept-Encoding: \xff\r\n",
)


async def test_an_unusable_range_or_condition_is_ignored_or_a_4xx(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", b"body")
    for fields in UNUSABLE:
        request = b"GET /i/a HTTP/1.1\r\n" + HOST + fields + b"Connection: close\r\n\r\n"
        received = await exchange(gateway.ports.public, request)
        (status,) = statuses(received)
        assert status in (200, 206, 304, 412, 416, 400), fields
        assert status != 200 or received.endswith(b"\r\n\r\nbody")


FIELDS = [b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Range: bytes=0-", b"Expect: 100-continue", b"X: \xff"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    method=st.sampled_from([b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS"]),
    path=st.sampled_from([b"/i/", b"/api/v1/images/urls", b"/api/v1/images/a/", b"/", b"/healthz"]),
    rest=st.binary(max_size=60),
    fields=st.lists(
        st.sampled_from(FIELDS) | st.binary(max_size=30),
        max_size=4,
    ),
    body=st.sampled_from([b"", b"{}", b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"]) | st.binary(max_size=40),
)
async def test_no_request_bytes_cause_a_5xx_or_a_hang(
    impatient: RunningGateway, method: bytes, path: bytes, rest: bytes, fields: list[bytes], body: bytes
) -> None:
    head = b"%s %s%s HTTP/1.1\r\nHost: gateway\r\n" % (method, path, rest)
    data = head + b"".join(field + b"\r\n" for field in fields) + b"Connection: close\r\n\r\n" + body
    assert all(status < 500 for status in statuses(await exchange(impatient.ports.public, data)))
