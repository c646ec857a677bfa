"""``GET /api/v1/images/{id}/access``: 200, 401 or 403, the verdict on a request for the image itself."""

import asyncio
import io
import json
import time
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from gateway.api.access_check import AccessCheck
from gateway.delivery.parameters import VariantRequests
from gateway.server.request_log import RequestLog
from gateway.service.metrics import Metrics
from gateway.settings import ImageProxySettings, Live, LoggingSettings
from gateway_dev.database import ImagesTable
from tests.access.callers import ACCEPTED, BAD_CREDENTIALS, PATHS, STRANGERS, Sent, cookie, header, link
from tests.access.credentials import ACCESS, USER_HEADER, bearer, forged, link_query, token
from tests.access.deliveries import BODY
from tests.conftest import Answer, Images, RunningGateway, StartGateway, token_for
from tests.cos_emulator.pictures import gradient
from tests.raw_client import connect
from tests.serving import dispatched, serving

METHODS = ("GET", "HEAD")
CHECK = "/api/v1/images/{}/access"
KEPT_FOR = "X-Decision-For"


@pytest.fixture
async def gateway(start_gateway: StartGateway, links_table: ImagesTable) -> RunningGateway:
    """A gateway that knows tokens, cookies, forwarded users and links."""
    return await start_gateway(access=ACCESS)


async def check(
    gateway: RunningGateway, image_id: str, headers: Any = (), *, method: str = "GET", query: str = ""
) -> Answer:
    """Ask, and make sure of everything that all answers have in common."""
    answer = await gateway.request(method, CHECK.format(image_id) + query, headers=list(headers))
    assert answer.status in (200, 401, 403)
    assert (answer.body, answer.headers["Cache-Control"]) == (b"", "no-store")
    assert answer.headers.get("Content-Length") in ("0", None)
    assert ("WWW-Authenticate" in answer.headers) is (answer.status == 401)
    assert "Location" not in answer.headers
    assert ("Server-Timing" in answer.headers) is (answer.status == 200)
    return answer


def passed_on(sent: Sent, path: str) -> list[tuple[str, str]]:
    """Return the header fields of a proxy that got a request for ``path`` with these credentials."""
    query = sent.query(path)
    return [*sent.headers, ("X-Original-URI", f"{path}?{query}" if query else path)]


async def test_the_verdict_is_that_of_the_image(gateway: RunningGateway, images: Images) -> None:
    """Where a request for the image is delivered, 404 or 401, the check is 200, 403 or 401."""
    await images.add("mine", BODY, owner="alice", public=False)
    await images.add("open", BODY)

    async def agree(name: str, sent: Sent, of_image: int, status: int) -> None:
        for path in PATHS:
            query = sent.query(path)
            image = await gateway.request("GET", f"{path}?{query}" if query else path, headers=list(sent.headers))
            assert image.status == of_image, name
            for method in METHODS:
                assert (await check(gateway, "mine", passed_on(sent, path), method=method)).status == status, name
        for image_id in ("never-there", "-malformed"):
            assert (await check(gateway, image_id, passed_on(sent, f"/i/{image_id}"))).status in (401, 403), name
        assert (await check(gateway, "open", passed_on(sent, "/i/open"))).status == 200, name

    kinds = ((ACCEPTED, 200, 200), (STRANGERS, 404, 403), (BAD_CREDENTIALS, 401, 401))
    # At the same time, because a denial is held for 25 ms at least.
    await asyncio.gather(*(agree(name, sent, *statuses) for kind, *statuses in kinds for name, sent in kind.items()))


def soon(sent: Callable[[int], Sent]) -> list[tuple[str, str]]:
    """Return the fields of a proxy for credentials that end in eight seconds."""
    return passed_on(sent(int(time.time()) + 8), "/i/mine")


async def test_nginx_may_keep_the_answer_until_the_right_ends(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", BODY, owner="alice", public=False)
    await images.add("open", BODY)

    async def kept_for(fields: Any, status: int = 200, image_id: str = "mine") -> int:
        answer = await check(gateway, image_id, fields)
        assert answer.status == status
        return int(answer.headers.get(KEPT_FOR, "0"))

    assert await kept_for([], image_id="open") == 10
    assert await kept_for(passed_on(ACCEPTED["token"], "/i/mine")) == 10
    assert 1 <= await kept_for(soon(lambda end: header(bearer(token(exp=end))))) <= 8
    assert 1 <= await kept_for(soon(lambda end: cookie(token(exp=end)))) <= 8
    assert 1 <= await kept_for(soon(lambda end: link(exp=end))) <= 8
    both = [*bearer(token()).items(), *soon(lambda end: link(exp=end))]
    assert 1 <= await kept_for(both) <= 8
    expired = header(bearer(token(exp=int(time.time()) - 5)))
    assert await kept_for(passed_on(expired, "/i/mine")) == 0, "it is accepted for the difference of clocks alone"
    assert await kept_for([], status=403) == 0, "a new right works at once"
    assert await kept_for(bearer(forged({}, {})).items(), status=401) == 0


async def test_a_decision_about_a_forwarded_user_is_kept_if_nginx_knows_the_user(
    gateway: RunningGateway, images: Images
) -> None:
    """Otherwise nginx would use it for every user."""
    await images.add("mine", BODY, owner="alice", public=False)
    forwarded = {"header": USER_HEADER, "groups_header": "X-User-Groups", "trusted_proxies": ["127.0.0.1"]}
    await gateway.reload(access={"forwarded_user": forwarded})
    named = {USER_HEADER: "alice", "X-Decision-User": "alice"}
    for fields, kept_for in (
        (named, "10"),
        ({**named, "X-User-Groups": "t1", "X-Decision-Groups": "t1"}, "10"),
        ({**named, "X-User-Groups": "t1"}, None),
        ({**named, "X-User-Groups": "t1", "X-Decision-Groups": "t2"}, None),
        ({USER_HEADER: "alice"}, None),
        ({USER_HEADER: "alice", "X-Decision-User": "bob"}, None),
        ({USER_HEADER: "bob"}, None),
        ({"X-Decision-User": "alice"}, None),
        ({USER_HEADER: "a" * 300, "X-Decision-User": "a" * 300}, None),
    ):
        answer = await check(gateway, "mine", fields.items())
        assert answer.headers.get(KEPT_FOR) == kept_for, fields


async def test_a_link_opens_its_image_alone_until_it_is_killed(gateway: RunningGateway, images: Images) -> None:
    """Mallory owns an image, has links to it, and controls every header field that she can."""
    for image_id in ("mine", "hers"):
        await images.add(image_id, owner="alice" if image_id == "mine" else "mallory", public=False)
    query = f"?{link_query('/i/mine')}&download=a.png"  # CDNs send the query of the original request on
    assert (await check(gateway, "mine", query=query)).status == 200
    assert (await check(gateway, "hers", query=query)).status == 401
    assert (await check(gateway, "mine", query=f"?{link_query(CHECK.format('mine'))}")).status == 401
    for uri in (
        f"/i/hers?{link_query('/i/hers')}",
        f"/i/mine?{link_query('/i/hers')}",
        f"/i/hers/../mine?{link_query('/i/hers')}",
        f"/api/v1/images/hers/access?{link_query('/api/v1/images/hers/access')}",
    ):
        assert (await check(gateway, "mine", [("X-Original-URI", uri)])).status in (401, 403), uri
    assert (await check(gateway, "hers", [("X-Original-URI", f"/i/hers?{link_query('/i/hers')}")])).status == 200
    twice = [("X-Original-URI", f"/i/mine?{link_query('/i/mine')}")] * 2
    assert (await check(gateway, "mine", twice)).status == 401
    alice = bearer(token())
    await gateway.request("DELETE", "/api/v1/images/mine/links", headers=alice)
    assert (await check(gateway, "mine", alice.items())).status == 200
    assert (await check(gateway, "mine", query=query)).status == 401, "it takes effect at once"


async def test_the_verdict_is_that_of_the_style_that_is_asked_for(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable
) -> None:
    """A public style is for everybody, an original may be for its owner alone."""
    styles: dict[str, Any] = {
        "card": {"widths": [10, 20]},
        "teaser": {"widths": [5], "public": True},
        "fixed": "imageMogr2/thumbnail/4x",
    }
    gateway = await start_gateway(
        access=ACCESS, image_styles=styles, image_variants={"originals": "owner", "formats": ["webp"]}
    )
    picture = gradient(40, 20)
    await images.add("mine", picture, owner="alice", public=False)
    await images.add("open", picture, owner="alice")
    link = link_query("/i/mine", exp=int(time.time()) + 3600)
    alice, bob = (bearer(token(sub=user, exp=int(time.time()) + 3600)) for user in ("alice", "bob"))
    verdicts = {200: 200, 404: 403, 401: 401, 400: 403}
    queries = (
        *("", "style=card", "style=card&w=10&format=webp", "style=teaser", "style=fixed", link),
        *(f"{link}&style=card", "style=huge", "style=card&w=x", "w=10", "format=webp", "style=card&format=gif"),
        "st%79le=teaser",
    )

    async def verdict(image_id: str, headers: dict[str, str], query: str) -> tuple[str, int, str]:
        path = f"/i/{image_id}?{query}"
        image = await gateway.get(path, headers=headers)
        expected = verdicts[image.status]
        passed = [*headers.items(), ("X-Original-URI", path)]
        assert (await check(gateway, image_id, passed)).status == expected, (path, headers)
        assert (await check(gateway, image_id, headers.items(), query=f"?{query}")).status == expected
        return image_id, expected, query

    seen: set[tuple[str, int, str]] = set()
    for image_id in ("mine", "open", "never"):
        for headers in (alice, bob, {}, bearer("rubbish")):
            seen.update(await asyncio.gather(*(verdict(image_id, headers, query) for query in queries)))
    assert {("mine", 200, "style=teaser"), ("mine", 403, ""), ("open", 403, ""), ("open", 200, "style=card")} <= seen


async def test_an_answer_from_memory_needs_no_store(
    start_gateway: StartGateway, images: Images, links_table: ImagesTable
) -> None:
    """Caches ask on every hit."""
    # With notifications of changes, rows would be read again at some time after the start.
    gateway = await start_gateway(access=ACCESS, postgres={"listen": False})
    await images.add("mine", owner="alice", public=False)
    alice = [*bearer(token()).items()]

    def queries() -> float:
        return gateway.sample("catalog_queries_total", result="found")

    assert (await check(gateway, "mine", alice)).status == 200
    before = queries()
    for _ in range(10):
        assert (await check(gateway, "mine", alice)).status == 200
        assert (await check(gateway, "mine")).status == 403
    assert queries() == before
    assert gateway.sample("access_checks_total", result="allowed") == 11
    assert gateway.sample("access_checks_total", result="forbidden") == 10


async def test_while_the_stores_are_down_access_is_denied_and_counted(
    access_lines: io.StringIO, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(
        access={**ACCESS, "signed_links": None},
        redis={"url": "redis://127.0.0.1:1/0"},
        postgres={"dsn": "host=127.0.0.1 port=1 dbname=none"},
    )
    asked = [(headers, method) for headers in ({}, bearer(token()), bearer("rubbish")) for method in METHODS]
    for headers, method in asked:
        assert (await check(gateway, "a", headers.items(), method=method)).status == 403
    assert gateway.sample("access_checks_total", result="unavailable") == len(asked)
    gateway.flush_request_log()
    for line in map(json.loads, access_lines.getvalue().splitlines()[-len(asked) :]):
        assert (line["level"], line["status"], line["code"]) == ("error", 403, "catalog_unavailable")


async def test_expired_cos_credentials_do_not_matter(start_gateway: StartGateway, images: Images) -> None:
    """A copy in a cache is viewed without COS."""
    gateway = await start_gateway(
        cos={"token": "a-token", "token_expires_at": int(time.time()) - 10},
        url_cache={"local_ttl": 0},
        image_variants={"originals": "owner"},
    )
    await images.add("mine", BODY, owner="alice", public=False)
    await images.add("open", BODY, owner="alice")
    assert (await check(gateway, "open")).status == 403  # its original is for alice
    alice = [*bearer(token_for("alice")).items()]
    assert (await gateway.get("/i/mine", headers=dict(alice))).status == 503
    assert (await check(gateway, "mine", alice)).status == 200
    assert (await check(gateway, "mine")).status == 403
    assert (await check(gateway, "never", alice)).status == 403


MALFORMED = (
    "-bad",
    "",
    "a%2Fb",
    "a/b",
    "//",
    "%00",
    "%0A",
    "a%0Db",
    "%ff",
    "a%20b",
    "x" * 129,
    "..",
    "%2e%2e",
    "{",
    "%",
)
FIELDS = (
    "Expect: 100-continue",
    "Expect: something-else",
    "Expect: \xff",
    "Range: bytes=0-0",
    "If-Match: *",
    "If-None-Match: *",
    "Content-Length: 0",
    "Upgrade: websocket\r\nConnection: upgrade",
    "Accept: text/html",
    "X-Original-URI: \xff",
    "X-Accel-Failed: 1",
)


async def test_neither_a_malformed_id_nor_a_field_of_the_original_request_gets_another_status(
    gateway: RunningGateway, images: Images
) -> None:
    """``auth_request`` passes nearly all fields on."""
    await images.add("open")

    async def answers(status: int, image_id: str, field: str = "Accept: */*", method: str = "GET") -> None:
        async with connect(gateway.ports.public) as connection:
            head = f"{method} {CHECK.format(image_id)} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"
            await connection.send(head.encode())
            assert (await connection.read_head()).status == status, (image_id, field)

    await asyncio.gather(
        *(answers(403, image_id, method=method) for image_id in MALFORMED for method in METHODS),
        *(answers(status, image_id, field) for image_id, status in (("open", 200), ("never", 403)) for field in FIELDS),
    )
    for method in ("POST", "PUT", "DELETE"):
        answer = await gateway.request(method, CHECK.format("a"))
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,OPTIONS")


class Broken:
    """Requests for variants with a defect."""

    def variant(self, *_: object) -> None:
        """Raise an unexpected exception."""
        raise ZeroDivisionError


async def test_a_defect_denies_access_and_is_logged(gateway: RunningGateway) -> None:
    metrics, lines = Metrics(), io.StringIO()
    log = RequestLog(lines, Live(LoggingSettings()))
    app = web.Application()
    images = gateway.service.images
    broken = cast("VariantRequests", Broken())
    check = AccessCheck(
        images.lookup,
        broken,
        images.decisions,
        metrics.access.access_checks,
        None,
        Live(ImageProxySettings()),
    )
    app.router.add_get(CHECK.format("{image_id}"), check.access)
    async with serving(app, dispatched(metrics, request_log=log)) as address, aiohttp.ClientSession() as session:
        async with session.get(address + CHECK.format("a")) as answer:
            assert (answer.status, await answer.read()) == (403, b"")
            assert KEPT_FOR not in answer.headers, "the caller may have the right"
    log.flush()
    line = json.loads(lines.getvalue())
    assert (line["level"], line["status"]) == ("error", 403)
    assert "ZeroDivisionError" in line["exception"]
    assert metrics.registry.get_sample_value("image_gateway_access_checks_total", {"result": "unavailable"}) == 1
