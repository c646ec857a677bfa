"""Private images: neither a condition nor a row that becomes private during a request lets anything out."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Action, Change, Cut, Fault, Html, Refuse
from gateway_dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.content import KEY, LARGE, SMALL, add_large, read_interrupted
from tests.stories.test_variants import photo

EXPIRED = Refuse(status=403, code="AccessDenied", message="Request has expired")
NOT_MADE, FAILING = Refuse(status=400, code="InvalidArgument"), Refuse(status=500, code="InternalError")
PART, PAST_THE_END, UNCHANGED = {"Range": "bytes=0-9"}, {"Range": "bytes=99999999-"}, {"If-None-Match": '"version-1"'}
STYLED, CUT = "?style=card&w=160", Cut(at=100)
REVEALING = {"Content-Range", "ETag", "Last-Modified", "X-Accel-Redirect", "X-Origin-URL", "X-Origin-Length"}


@dataclass(frozen=True)
class Exit:
    """A request during which COS refuses a URL, and the row becomes private.

    ``is_warm``: an earlier request has filled the memory. ``first`` changes COS's answer before the one that refuses
    the URL, ``then`` all answers after it.
    """

    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    data: bytes | SyntheticContent = SMALL
    is_warm: bool = False
    first: Action | None = None
    then: Action | None = None

    def arm(self, images: Images, key: str, private: ImageRow) -> None:
        """Let COS refuse the URL of the next request, or of the one after it if ``first`` applies to the next."""

        def make_private(_bucket: str, _key: str) -> None:
            images.table.put([private])

        before = 0 if self.first is None else 1
        if self.first is not None:
            images.cos.faults.add(Fault(key=key, action=self.first))
        for action in (Change(run=make_private), EXPIRED):
            images.cos.faults.add(Fault(key=key, action=action, skip=before))
        if self.then is not None:
            images.cos.faults.add(Fault(key=key, action=self.then, skip=before + 1, times=None))


EXITS = {
    "whole": Exit(),
    "whole, streamed": Exit(data=LARGE),
    "head": Exit("HEAD"),
    "head, not modified": Exit("HEAD", UNCHANGED),
    "range": Exit(headers=PART),
    "range, streamed": Exit(headers={"Range": "bytes=0-999999"}, data=LARGE),
    "range past the end": Exit(headers=PAST_THE_END),
    "range past the end, of a large object": Exit(headers=PAST_THE_END, data=LARGE),
    "range of another version": Exit(headers=PART | {"If-Range": '"version-0"'}),
    "not modified, by tag": Exit(headers=UNCHANGED),
    "not modified, by date": Exit(headers={"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    "precondition failed": Exit(headers={"If-Match": '"version-0"'}),
    "memory": Exit(is_warm=True),
    "memory, head": Exit("HEAD", is_warm=True),
    "memory, range": Exit(headers=PART, is_warm=True),
    "memory, range past the end": Exit(headers=PAST_THE_END, is_warm=True),
    "memory, not modified": Exit(headers=UNCHANGED, is_warm=True),
    "memory, of another version": Exit(is_warm=True, then=Change(data=b"version 2")),
    "memory, while COS fails": Exit(is_warm=True, then=FAILING),
    "variant": Exit(query=STYLED),
    "variant, head": Exit("HEAD", query=STYLED),
    "variant, range": Exit(headers=PART, query=STYLED),
    "variant, range past the end": Exit(headers=PAST_THE_END, query=STYLED),
    "variant, not modified": Exit(headers={"If-None-Match": "*"}, query=STYLED),
    "variant, revalidated": Exit(query=STYLED, is_warm=True),
    "variant, while COS fails": Exit(query=STYLED, is_warm=True, then=FAILING),
    "substitute of another format": Exit(query=f"{STYLED}&format=webp", first=NOT_MADE),
    "substitute, the original": Exit(query=STYLED, first=Refuse(status=400, code="ImageTooLarge")),
    "variant that is not made": Exit(query=STYLED, then=NOT_MADE),
    "blocked": Exit(then=Refuse(status=451, code="UnavailableForLegalReasons")),
    "failing": Exit(then=FAILING),
    "not an image": Exit(then=Html()),
    "resumed before the first byte": Exit(first=CUT),
    "range, resumed before the first byte": Exit(headers={"Range": "bytes=0-999"}, first=CUT),
}


async def walk(gateway: RunningGateway, images: Images, exits: Mapping[str, Exit]) -> dict[str, object]:
    """Return what got out at those exits that let anything out."""
    leaks: dict[str, object] = {}
    await LARGE.digests()
    for name, way_out in exits.items():
        image_id, key = re.sub("[^a-z]+", "-", name), f"{name}.jpeg"
        data = photo(300, 300) if way_out.query else way_out.data
        images.cos.store.put(BUCKET, key, data, etag="version-1", last_modified=1_700_000_000)
        await images.add_row(ImageRow(image_id, "alice", key, public=True))
        path = f"/i/{image_id}{way_out.query}"
        if way_out.is_warm:
            assert (await gateway.get(path)).status == 200
        way_out.arm(images, key, ImageRow(image_id, "alice", key, public=False))
        sent = gateway.sample("response_bytes_total")
        answer = await gateway.request(way_out.method, path, headers=way_out.headers)
        code = answer.json()["code"] if answer.body.startswith(b"{") else None
        revealed = REVEALING & set(answer.headers)
        if (answer.status, code) != (404, None if way_out.method == "HEAD" else "image_not_found") or revealed:
            leaks[name] = answer.status, code, revealed
        if gateway.sample("response_bytes_total") != sent:
            leaks[f"{name}, bytes"] = gateway.sample("response_bytes_total") - sent
        if not way_out.query and (later := await gateway.get(f"{path}?redirect=true")).status != 404:
            leaks[f"{name}, redirect"] = later.headers.get("Location")
        images.cos.faults.clear()
    return leaks


async def test_a_row_that_becomes_private_while_its_url_is_renewed_lets_nothing_out(
    start_gateway: StartGateway, images: Images
) -> None:
    """Only the renewal tells the gateway that the row has changed."""
    gateway = await start_gateway(
        image_proxy={"retry_count": 1, "memory_cache": {"ttl": 0}},
        image_styles={"card": {"widths": [160], "formats": ["webp"]}},
        postgres={"listen": False},
    )
    assert await walk(gateway, images, EXITS) == {}


async def test_nginx_gets_no_url_of_a_row_that_becomes_private_while_its_url_is_renewed(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(
        image_proxy={"delivery": "accel", "memory_cache": {"ttl": 0}}, postgres={"listen": False}
    )
    exits = {name: way_out for name, way_out in EXITS.items() if not (way_out.query or way_out.first or way_out.then)}
    assert await walk(gateway, images, exits) == {}


async def test_a_shared_transfer_goes_on_for_the_owner_of_a_row_that_becomes_private(
    start_gateway: StartGateway, images: Images
) -> None:
    gateway = await start_gateway(postgres={"listen": False})
    await images.add("cat", SMALL, key="cat.png", owner="alice")
    Exit().arm(images, "cat.png", ImageRow("cat", "alice", "cat.png", public=False))
    stranger, owner = await asyncio.gather(gateway.get("/i/cat"), gateway.get("/i/cat", user="alice"))
    assert (stranger.status, stranger.json()["code"]) == (404, "image_not_found")
    assert (owner.status, owner.body) == (200, SMALL)
    assert owner.headers["Cache-Control"].startswith("private")
    denials = gateway.sample("requests_total", route="short", delivery="none", status="404")
    assert denials == 1, "a denial takes as long as the denial of an unknown image"


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_lost_transfer_is_not_resumed_once_the_row_has_become_private(
    start_gateway: StartGateway, images: Images, is_public: bool
) -> None:
    """A change that does not concern access does not end it."""
    gateway = await start_gateway(postgres={"listen": False})
    await add_large(images)
    changed = ImageRow("a", None if is_public else "alice", KEY, content_type="image/webp", public=is_public)
    Exit(first=Cut(at=1_000_000)).arm(images, KEY, changed)
    if is_public:
        assert (await gateway.get("/i/a")).body == LARGE.read(0, LARGE.size)
    else:
        assert len(await read_interrupted(gateway)) <= 1_000_000
        assert [seen.status for seen in images.cos.request_log.of(KEY)] == [200, 403]
