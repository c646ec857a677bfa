"""``accel.conf`` with njs: nginx sends nothing of COS that is not the object which the gateway named."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.nginx.conftest import Nginx
from tests.nginx.scripted import accel_redirect, answer, scripted
from tests.njs.conftest import StartNjs, site

BODY = "0123456789"
WHOLE = answer(body=BODY, ETag='"v1"')
PART = WHOLE.replace(" 200 ", " 206 ")


class Cos:
    """A gateway that names an object of ten bytes, and COS, which answers with ``response`` to it."""

    def __init__(self) -> None:
        self.response = WHOLE
        self.port = 0

    def answer_gateway(self, head: str) -> str | None:
        """Name the object, or a part of it."""
        named = accel_redirect(f"http://127.0.0.1:{self.port}{head.split()[1]}", '"v1"', 4 if "Range:" in head else 10)
        if "Range:" in head:
            named = named.replace("/_cos/", "/_cos/part/").replace("\r\n\r\n", "\r\nX-Origin-Range: bytes=2-5\r\n\r\n")
        return named

    def answer_cos(self, _head: str) -> str | None:
        """Answer as the test says."""
        return self.response


@pytest.fixture
async def cos() -> AsyncIterator[Cos]:
    """COS, with the object."""
    made = Cos()
    async with scripted(made.answer_cos) as made.port:
        yield made


@pytest.fixture
async def nginx(start_njs: StartNjs, cos: Cos) -> AsyncIterator[Nginx]:
    """nginx with njs in front of such a gateway."""
    async with scripted(cos.answer_gateway) as gateway:
        upstreams = f"upstream cos {{ server 127.0.0.1:{cos.port}; }}\n"
        address = f"127.0.0.1:{gateway}"
        yield await start_njs(upstreams + site("accel.conf", [address], [address]))


OTHERS = {
    "a 206 that was not asked for": PART,
    "a 206 of the whole": PART.replace("ETag", "Content-Range: bytes 0-9/10\r\nETag"),
    "a 204": "HTTP/1.1 204 No Content\r\n\r\n",
    "another version": WHOLE.replace('"v1"', '"v2"'),
    "no version": WHOLE.replace('ETag: "v1"\r\n', ""),
    "another length": answer(body=BODY[:8], ETag='"v1"'),
    "HTTP/0.9": "an answer in HTTP/0.9",
}
OTHER_PARTS = {
    "another range": answer(206, "4567", Content_Range="bytes 4-7/10", ETag='"v1"'),
    "another version": answer(206, "2345", Content_Range="bytes 2-5/10", ETag='"v2"'),
    "the whole": WHOLE,
}


async def test_an_answer_that_is_not_the_named_object_is_refused(nginx: Nginx, cos: Cos) -> None:
    for number, (what, cos.response) in enumerate(OTHERS.items()):
        with pytest.raises(aiohttp.ClientError):
            pytest.fail(f"{what} was sent: {await nginx.get(f'/i/a{number}')}")
        cos.response = WHOLE
        for is_hit in (False, True):
            served = await nginx.get(f"/i/a{number}")
            assert (served.status, served.body) == (200, BODY.encode())
            assert served.headers["Cache-Status"].endswith("nginx; hit") == is_hit


async def test_a_part_is_sent_only_if_it_is_the_named_one(nginx: Nginx, cos: Cos) -> None:
    cos.response = answer(206, "2345", Content_Range="bytes 2-5/10", ETag='"v1"')
    served = await nginx.get("/i/a", Range="bytes=2-5")
    assert (served.status, served.body) == (206, b"2345")
    for what, cos.response in OTHER_PARTS.items():
        with pytest.raises(aiohttp.ClientError):
            pytest.fail(f"{what} was sent: {await nginx.get('/i/a', Range='bytes=2-5')}")


async def test_a_body_of_unknown_length_is_sent_and_not_kept(nginx: Nginx, cos: Cos) -> None:
    chunked = f'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "v1"\r\n\r\na\r\n{BODY}\r\n0\r\n\r\n'
    cos.response = chunked
    served = await nginx.get("/i/a")
    assert (served.status, served.body, served.headers["Cache-Control"]) == (200, BODY.encode(), "no-store")
