"""Objects that change during a request, in the cache, or in a shared transfer: no client gets the old version."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.changes.change_log import Source
from gateway_dev.cos_emulator.content import SyntheticContent
from gateway_dev.cos_emulator.faults import Action, Change, Cut, Fault, Headers, Refuse
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, Answer, Images, RunningGateway, StartGateway
from tests.limits import LIMIT
from tests.stories.content import KEY, LARGE, SMALL, add_large
from tests.valve import Valve

ALWAYS_ASK = {"memory_cache": {"ttl": 0}}
FAILS = Refuse(status=500, code="InternalError")


@pytest.fixture
async def valve(cos: CosEmulator) -> AsyncIterator[Valve]:
    """On the way to COS."""
    async with Valve.before(cos.port) as found:
        yield found


class TestDuringTheChange:
    """The answer to a request from before the change arrives after it."""

    @pytest.fixture
    async def gateway(self, start_gateway: StartGateway, valve: Valve) -> RunningGateway:
        return await start_gateway(cos={"domain": f"127.0.0.1:{valve.port}"})

    async def held(self, gateway: RunningGateway, valve: Valve, method: str, **headers: str) -> "asyncio.Task[Answer]":
        """A request whose answer COS has given, and the gateway not got."""
        valve.close()
        asking = asyncio.create_task(gateway.request(method, "/i/a", headers=headers), name="held")
        await valve.holds.wait()
        return asking

    async def change(self, gateway: RunningGateway, images: Images) -> None:
        """Store another version and invalidate it, as the trigger in Postgres does."""
        await add_large(images, SyntheticContent(LARGE.size + 1))
        gateway.forget("a")

    @pytest.mark.parametrize(
        ("method", "headers"), [("HEAD", {}), ("GET", {"Range": "bytes=0-9"})], ids=["head", "part"]
    )
    async def test_it_teaches_nothing(
        self, gateway: RunningGateway, valve: Valve, images: Images, method: str, headers: dict[str, str]
    ) -> None:
        await add_large(images)
        old = (await gateway.request("HEAD", "/i/a")).headers["ETag"]
        gateway.forget("a")
        asking = await self.held(gateway, valve, method, **headers)
        await self.change(gateway, images)
        valve.open()
        await asking
        answer = await gateway.get("/i/a", headers={"If-None-Match": old})
        assert answer.status == 200, "a cache that asks now would keep the old image for max-age"

    async def test_who_asks_after_it_does_not_wait_for_it(
        self, gateway: RunningGateway, valve: Valve, images: Images
    ) -> None:
        await add_large(images)
        before = await self.held(gateway, valve, "HEAD")
        await self.change(gateway, images)
        after = asyncio.create_task(gateway.request("HEAD", "/i/a"), name="after")
        async with asyncio.timeout(LIMIT):
            while gateway.sample("inflight_requests") < 2:
                await asyncio.sleep(0.01)
        valve.open()
        await before
        assert (await after).headers["Content-Length"] == str(LARGE.size + 1)


async def test_every_image_of_an_object_can_drop_it(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("a", SMALL, key="one.png")
    await images.add("b", SMALL, key="one.png")
    assert (await gateway.get("/i/a")).body == (await gateway.get("/i/b")).body == SMALL
    cos.store.put(BUCKET, "one.png", b"another version")
    gateway.forget("b")
    assert (await gateway.get("/i/b")).body == b"another version"


class TestTheRowDuringTheRequestToCos:
    """The row changes while COS is awaited, and nothing was sent yet."""

    def change(self, gateway: RunningGateway, images: Images, sql: str) -> Change:
        """Let the application change the row, and the gateway hear of it, before COS answers."""

        def run(*_: str) -> None:
            images.table.execute(sql)
            gateway.forget("a")

        return Change(run=run)

    @pytest.mark.parametrize(
        ("size", "before", "request_", "also"),
        [
            (10_000, [], ("GET", {}), []),
            (10_000, [], ("HEAD", {}), []),
            (10_000, [], ("GET", {"Range": "bytes=0-9"}), []),
            (10_000, [Cut(at=10)], ("GET", {}), []),
            (200_000, [Cut(at=0)], ("GET", {}), []),
            (10_000, [], ("GET", {}), [FAILS]),
        ],
        ids=["whole", "head", "part", "rest of a small body", "first bytes", "stale if COS fails"],
    )
    async def test_an_image_that_is_withdrawn_meanwhile_is_not_sent(
        self,
        start_gateway: StartGateway,
        images: Images,
        size: int,
        before: list[Action],
        request_: tuple[str, dict[str, str]],
        also: list[Action],
    ) -> None:
        gateway = await start_gateway(image_proxy={**ALWAYS_ASK, "retry_count": 1 if before else 0})
        await images.add("a", bytes(size))
        if also:
            await gateway.get("/i/a")
        withdrawn = self.change(gateway, images, "UPDATE images SET is_public = false")
        for action in [*before, *also]:
            images.cos.faults.add(Fault(action=action))
        images.cos.faults.add(Fault(action=withdrawn, skip=len(before)))
        method, headers = request_
        answer = await gateway.request(method, "/i/a", headers=headers)
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")

    async def test_its_later_row_is_sent(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", SMALL)
        images.cos.store.put(BUCKET, "later.png", b"the later version")
        later = self.change(gateway, images, "UPDATE images SET cos_key = 'later.png'")
        images.cos.faults.add(Fault(action=later))
        assert (await gateway.get("/i/a")).body == b"the later version"

    async def test_an_image_that_always_changes_is_an_error(self, gateway: RunningGateway, images: Images) -> None:
        await images.add("a", SMALL)
        asked = images.cos.faults.add(Fault(action=Change(run=lambda *_: gateway.forget("a")), times=None))
        assert (await gateway.get("/i/a")).status == 502
        assert asked.fired == 3

    @pytest.mark.parametrize(
        ("size", "before"),
        [(10_000, []), (10_000, [Cut(at=10)]), (200_000, [Cut(at=0)])],
        ids=["head", "small", "large"],
    )
    async def test_no_cache_keeps_what_may_have_changed_unheard(
        self, start_gateway: StartGateway, images: Images, size: int, before: list[Action]
    ) -> None:
        gateway = await start_gateway(image_proxy={"retry_count": 1})
        await images.add("a", bytes(size))
        log, now = gateway.changes, gateway.local.now
        for action in before:
            images.cos.faults.add(Fault(action=action))
        missed = Change(run=lambda *_: log.missed(Source.ROWS, now()))
        images.cos.faults.add(Fault(action=missed, skip=len(before)))
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (200, bytes(size), "public, max-age=5")
        assert (answer.headers["X-Accel-Expires"], answer.headers["Cache-Status"][-15:]) == ("0", "; detail=unread")


class TestAnotherType:
    """COS's entity tag is of the bytes: an object of which only the type was corrected has the same."""

    async def test_a_type_that_was_mended_is_taken_up(self, start_gateway: StartGateway, images: Images) -> None:
        gateway = await start_gateway(image_proxy=ALWAYS_ASK)
        await images.add("a", SMALL, content_type="text/plain")
        assert (await gateway.get("/i/a")).status == 502
        images.cos.store.put(BUCKET, KEY, SMALL, content_type="image/png")
        assert (await gateway.get("/i/a")).status == 200

    async def test_a_type_that_changed_is_taken_up(self, start_gateway: StartGateway, images: Images) -> None:
        gateway = await start_gateway(image_proxy=ALWAYS_ASK)
        await images.add("a", SMALL, content_type="image/jpeg")
        assert (await gateway.get("/i/a")).headers["Content-Type"] == "image/jpeg"
        images.cos.store.put(BUCKET, KEY, SMALL, content_type="image/webp")
        for _ in range(2):
            assert (await gateway.get("/i/a")).headers["Content-Type"] == "image/webp"

    async def test_a_304_that_tells_no_type_confirms_the_one_there_was(
        self, start_gateway: StartGateway, images: Images, cos: CosEmulator
    ) -> None:
        gateway = await start_gateway(image_proxy=ALWAYS_ASK)
        await images.add("a", SMALL)
        await gateway.get("/i/a")
        cos.faults.add(Fault(action=Headers(remove=["Content-Type"])))
        answer = await gateway.get("/i/a")
        assert (answer.body, answer.headers["Cache-Status"]) == (SMALL, "image-gateway; fwd=stale; fwd-status=304")
        assert len(cos.request_log.requests) == 2


async def test_empty_objects_are_kept_too(gateway: RunningGateway, images: Images, cos: CosEmulator) -> None:
    await images.add("a", b"")
    for _ in range(3):
        answer = await gateway.get("/i/a")
        assert (answer.status, answer.body) == (200, b"")
    assert len(cos.request_log.requests) == 1


async def test_a_row_that_is_gone_takes_no_other_row_of_the_same_object_along(
    start_gateway: StartGateway, images: Images, cos: CosEmulator
) -> None:
    """Two requests share a transfer; the row of the first was deleted, and COS refuses its URL."""
    gateway = await start_gateway(postgres={"listen": False}, image_proxy={"memory_cache": {"max_bytes": 0}})
    await images.add("gone", SMALL, key=KEY)
    await images.add("there", SMALL, key=KEY)
    for image_id in ("gone", "there"):
        assert (await gateway.get(f"/i/{image_id}")).status == 200
    await images.execute("DELETE FROM images WHERE id = 'gone'")
    for _ in range(100):
        cos.faults.add(Fault(action=Refuse(status=403, code="AccessDenied", message="Request has expired")))
        gone, there = await asyncio.gather(gateway.get("/i/gone"), gateway.get("/i/there"))
        assert (there.status, there.body) == (200, SMALL)
        if gone.status != 200:  # else the other request came first, and its URL was renewed
            break
    assert gone.status == 404
