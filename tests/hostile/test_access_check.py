"""Hostile access checks: for every header that a proxy passes on, the answer is 200, 401 or 403."""

import asyncio
import random
from collections.abc import Iterator
from urllib.parse import quote

import yarl

from gateway_dev.database import ImagesTable
from tests.access.credentials import ACCESS, link_query, token
from tests.conftest import Images, StartGateway

REQUESTS = 400
TOGETHER = 20
FIELDS = ("X-Original-URI", "Authorization", "Cookie", "X-User-Id", "Range")
PIECES = (
    *("open", "mine", "/", "..", "%", "%2F", "%00", "?", "#", "&", "=", "kid", "exp", "sig", "new", ";", "@", ":", " "),
    *("/i/mine", "/i/open", "/api/v1/images/mine/proxy", "access", "\x7f", "\x80", "\xff", "é", "9" * 30, "a" * 200),
    *("Bearer ", "Basic ", "eyJ", ".", ",", '"', "session=", "\t", "{}", "[]", "null", "-1", "1e999"),
)


def texts(seed: int) -> Iterator[str]:
    """Yield texts of pieces, credentials among them, endlessly."""
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    forged = link_query("/i/mine", key="no key of this gateway, but as long as one")
    own = (*PIECES, link_query("/i/open"), forged, token(sub="bob"))
    while True:
        yield "".join(rng.choice(own) for _ in range(rng.randint(0, 4)))


async def test_no_check_has_another_status_and_none_opens_the_image(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable
) -> None:
    gateway = await start_gateway(access=ACCESS)
    await images.add("mine", owner="alice", public=False)
    await images.add("open")
    text = texts(1)

    async def ask(number: int) -> tuple[int, str]:
        image_id = ("mine", "open", quote(next(text), safe="/:@;=,+~!$&'()*"))[number % 3]
        fields = {name: _field(next(text)) for name in FIELDS}
        query = quote(next(text), safe="&=%/?;")
        url = yarl.URL(f"{gateway.ports.public}/api/v1/images/{image_id}/access?{query}", encoded=True)
        async with gateway.session.get(url, headers=fields, allow_redirects=False) as answer:
            assert await answer.read() == b""
            return answer.status, image_id

    seen: list[tuple[int, str]] = []
    for first in range(0, REQUESTS, TOGETHER):
        seen += await asyncio.gather(*(ask(first + number) for number in range(TOGETHER)))
    assert {status for status, _ in seen} == {200, 401, 403}
    assert {status for status, image_id in seen if image_id == "mine"} == {401, 403}
    assert {status for status, image_id in seen if image_id == "open"} == {200}
    assert gateway.sample("access_checks_total", result="unavailable") == 0


def _field(text: str) -> str:
    """Return the text as a field value that a client library sends."""
    return "".join(character for character in text if character.isprintable() or character == "\t").strip()
