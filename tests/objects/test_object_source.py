"""The object source: shared bodies, HEAD requests and unusual responses of the origin."""

import asyncio

import pytest
from fastcrc import crc64

from gateway.objects.content import Body
from gateway.objects.transfer_state import Piece
from gateway.presign.signer import AuthorizedImage
from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Drip, Fault, Hang, Headers, NoLength, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.stories.content import add_large
from tests.stories.test_variants import photo
from tests.valve import Valve
from tests.waiting import until, until_asked

KEPT = bytes(range(256)) * 7_000


async def read_on(body: Body) -> int:
    """Read to the end, close the body, and return how many bytes came."""
    size = 0
    while piece := await body.read():
        size += len(piece)
    body.close()
    return size


async def test_the_bytes_of_a_kept_body_are_in_memory_once(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", KEPT)
    images.cos.faults.add(Fault(action=Drip(size=300_000, every=0.02)))
    source = gateway.source
    image = AuthorizedImage((await gateway.resolver.look_up("a")).image)
    quick, slow = await asyncio.gather(source.join(image, {}), source.join(image, {}))
    first, second = await asyncio.gather(quick.read_whole(), slow.read_whole())
    kept = source.memory.content(image)
    assert kept is not None
    assert first is second is kept.data
    pieces: list[Piece] = []
    while piece := await slow.read():
        pieces.append(piece)
    assert b"".join(pieces) == KEPT
    assert {piece.obj is kept.data for piece in pieces if isinstance(piece, memoryview)} == {True}
    quick.close()
    slow.close()


async def test_a_revalidation_without_a_client_fetches_nothing_that_memory_does_not_keep(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", b"small")
    await gateway.get("/i/a")
    large = SyntheticContent(30_000_000)
    await large.digests()
    cos.store.put(BUCKET, "objects/a.png", large)
    gateway.source.revalidate(AuthorizedImage((await gateway.resolver.look_up("a")).image))

    def left() -> list[bool]:
        return [seen.client_left for seen in cos.request_log.of("objects/a.png") if "range" not in seen.headers]

    # Another version is asked for again. Probes ask for a range.
    await until(lambda: left() == [False, True, True], what="the end of the transfers")


async def test_a_head_request_whose_client_left_holds_no_connection_to_cos(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    gateway = await start_gateway(image_proxy={"timeout": 30})
    cos.faults.add(Fault(action=Hang(), key="objects/n*", times=None))
    askers = []
    for number in range(3):
        await images.add(f"n{number}")
        askers.append(asyncio.create_task(gateway.request("HEAD", f"/i/n{number}"), name=f"asker-{number}"))
    await cos.request_log.arrived(3)
    for asker in askers:
        asker.cancel()
    await until(
        lambda: all(seen.finished for seen in cos.request_log.requests), what="the end of the abandoned request"
    )
    assert all(seen.client_left for seen in cos.request_log.requests)


async def test_a_shared_head_request_is_answered_after_one_client_left(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    await images.add("a", KEPT)
    async with Valve.before(cos.port) as valve:
        gateway = await start_gateway(cos={"domain": f"127.0.0.1:{valve.port}"})
        valve.close()
        first = asyncio.create_task(gateway.request("HEAD", "/i/a"), name="asker-1")
        await until_asked(cos, "objects/a.png")
        shared = gateway.sample("coalesced_requests_total")
        second = asyncio.create_task(gateway.request("HEAD", "/i/a"), name="asker-2")
        await until(lambda: gateway.sample("coalesced_requests_total") == shared + 1)
        first.cancel()
        await until(lambda: gateway.sample("inflight_requests") == 1)
        valve.open()
        assert (await second).status == 200
    assert len(cos.request_log.requests) == 1


async def test_a_cold_image_comes_however_many_clients_leave_before_cos_answers(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """The request of the first one ends with it: it may hang. That of the second goes on for those who wait."""
    await images.add("a", KEPT)
    async with Valve.before(cos.port) as valve:
        gateway = await start_gateway(cos={"domain": f"127.0.0.1:{valve.port}"})
        valve.close()
        shared = gateway.sample("coalesced_requests_total")
        askers = [asyncio.create_task(gateway.get("/i/a"), name="asker-0")]
        await cos.request_log.arrived(1)
        askers += [asyncio.create_task(gateway.get("/i/a"), name=f"asker-{number}") for number in range(1, 4)]
        await until(lambda: gateway.sample("coalesced_requests_total") == shared + 3)
        for left, asker in enumerate(askers[:-1], start=1):
            await cos.request_log.arrived(min(left, 2))
            asker.cancel()
            await until(lambda left=left: gateway.sample("inflight_requests") == 4 - left)  # type: ignore[misc]
        valve.open()
        assert (await askers[-1]).body == KEPT
    assert len(cos.request_log.requests) == 2


@pytest.mark.parametrize("data", [b"bytes", b""])
async def test_a_head_is_answered_where_cos_refuses_it_but_not_get(
    gateway: RunningGateway, images: Images, cos: CosEmulator, data: bytes
) -> None:
    """By a GET of the first byte, to which COS answers 416 for an empty object."""
    await images.add("a", data)
    cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied"), method="HEAD", times=None))
    head = await gateway.request("HEAD", "/i/a")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(data)))
    assert (await gateway.get("/i/a")).body == data


@pytest.mark.parametrize("checksum_kind", ["of-the-original", "of-nothing"])
async def test_the_checksum_of_the_original_is_ignored_for_a_style(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, checksum_kind: str
) -> None:
    """Whether COS repeats the original's CRC-64 with a processed image is not documented."""
    gateway = await start_gateway(image_styles={"small": "imageMogr2/interlace/1"})
    await images.add("a", b"bytes that the rule does not change")
    crc = str(crc64.xz(b"another body" if checksum_kind == "of-the-original" else b""))
    changed = Headers(remove=["x-cos-hash-crc64ecma"], add=[("x-cos-hash-crc64ecma", crc)])
    cos.faults.add(Fault(action=changed, times=None))
    answer = await gateway.get("/i/a?style=small")
    assert (answer.status, answer.body) == (200, b"bytes that the rule does not change")
    assert (await gateway.get("/i/a")).status == 502, "of the object itself it is"


async def test_a_style_with_neither_length_nor_chunks_is_refused(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_styles={"small": "imageMogr2/thumbnail/10x10"})
    await images.add("a", photo(), content_type="image/jpeg")
    images.cos.faults.add(Fault(action=NoLength(cut_at=1000), times=None))
    assert (await gateway.get("/i/a?style=small")).status == 502


async def test_readers_of_an_image_that_memory_does_not_keep_share_one_request_however_far_behind_and_late_they_are(
    gateway: RunningGateway, images: Images, cos: CosEmulator
) -> None:
    """It is larger than the window between readers."""
    await add_large(images, SyntheticContent(3_000_000))
    source, image = gateway.source, AuthorizedImage((await gateway.resolver.look_up("a")).image)
    first, *behind = await asyncio.gather(*(source.join(image, {}) for _ in range(50)))
    assert await read_on(first) == 3_000_000
    late = await source.whole(image)
    assert late.body is not None
    assert late.age is not None, "COS has answered before"
    assert [await read_on(reader) for reader in (*behind, late.body)] == [3_000_000] * 50
    assert len(cos.request_log.of("objects/a.png")) == 1
    assert source.shared_prefixes.taken == 0


@pytest.mark.parametrize(("ttl", "joins"), [(0.2, False), (60, True)])
async def test_a_running_transfer_is_joined_within_memory_s_ttl_and_says_its_age(
    start_gateway: StartGateway, images: Images, cos: CosEmulator, ttl: float, joins: bool
) -> None:
    gateway = await start_gateway(image_proxy={"memory_cache": {"ttl": ttl}})
    await images.add("a", KEPT)
    cos.faults.add(Fault(action=Drip(size=300_000, every=0.02)))
    source, image = gateway.source, AuthorizedImage((await gateway.resolver.look_up("a")).image)
    slow = await source.join(image, {})
    await slow.read()
    body = slow.transfer.body
    cos.store.put(BUCKET, "objects/a.png", b"another version")
    await until(lambda: source.memory.now() > body.requested_at + 1.1)
    late = await source.whole(image)
    assert (late.metadata.etag == body.state.head.metadata.etag, late.age is not None) == (joins, joins)
    slow.close()
    if late.body is not None:
        late.body.close()


async def test_as_many_renditions_are_read_at_once_as_there_is_room_for_if_all_are_asked_for_in_one_turn_of_the_loop(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    kept = {"max_object_bytes": 8 * 1024 * 1024}
    style = {"small": "imageMogr2/thumbnail/10x10"}
    gateway = await start_gateway(image_styles=style, image_proxy={"memory_cache": kept})
    cos.faults.add(Fault(action=Hang(), times=None))
    asked = []
    for number in range(24):
        await images.add(f"n{number}")
        asked.append(AuthorizedImage((await gateway.resolver.look_up(f"n{number}", "small")).image))
    fetches = [asyncio.create_task(gateway.source._variants.fetch(image), name="fetch") for image in asked]
    await cos.request_log.arrived(16)
    assert [fetch.result() for fetch in fetches if fetch.done()] == [None] * 8
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
