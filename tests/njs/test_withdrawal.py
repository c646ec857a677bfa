"""Two nginxes with njs in front of two gateways: what the row says takes effect in both within half a second."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import cycle

import aiohttp
import pytest

from gateway.dev.database import ImageRow
from tests.conftest import BUCKET, Images, RunningGateway, StartGateway
from tests.nginx.conftest import Nginx
from tests.njs.conftest import SOON, StartNjs, site, until_soon
from tests.njs.test_changes import is_hit
from tests.waiting import until, until_listening_to_changes

CHANGES = 300
CHANGED_AT_ONCE = 10
IMAGES = 40


@pytest.fixture
async def gateways(start_gateway: StartGateway) -> list[RunningGateway]:
    """Two gateways that hear of changes."""
    started = [await start_gateway() for _ in range(2)]
    for gateway in started:
        await until_listening_to_changes(gateway.ports.admin)
    return started


@pytest.fixture
async def nginxes(start_njs: StartNjs, gateways: list[RunningGateway]) -> list[Nginx]:
    """Two nginxes with ``gateway-cache.conf``."""
    return [await start_njs(in_front(gateways)) for _ in range(2)]


def in_front(gateways: list[RunningGateway], file: str = "gateway-cache.conf") -> str:
    """Return a file of ``config/nginx`` in front of these gateways."""
    public, admin = (
        [address.removeprefix("http://") for address in addresses]
        for addresses in (
            [gateway.ports.public for gateway in gateways],
            [gateway.ports.admin for gateway in gateways],
        )
    )
    return site(file, public, admin)


async def until_cached(nginxes: list[Nginx], path: str) -> None:
    """Return when each nginx answers from its cache."""

    async def are_hits() -> bool:
        return all([is_hit(await nginx.get(path)) for nginx in nginxes])

    await until(are_hits, what=f"copies of {path}")


async def everywhere(nginxes: list[Nginx], path: str, status: int, body: bytes | None = None) -> None:
    """Return when each nginx answers so, which must be soon."""

    async def is_so() -> bool:
        answers = [await nginx.get(path) for nginx in nginxes]
        return all(answer.status == status and (body is None or answer.body == body) for answer in answers)

    await until_soon(is_so, what=f"{status} for {path}")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE images SET is_public = false WHERE id = 'a'",
        "UPDATE images SET storage_status = 'deleted' WHERE id = 'a'",
        "DELETE FROM images WHERE id = 'a'",
    ],
)
async def test_a_row_that_nobody_may_see_any_more_is_gone_from_every_nginx(
    nginxes: list[Nginx], images: Images, change: str
) -> None:
    await images.add("a", b"old", owner="alice")
    await images.add("b", b"other")
    for path in ("/i/a", "/i/a?download=x", "/api/v1/images/a/proxy", "/i/b"):
        await until_cached(nginxes, path)
    await images.execute(change)
    for path in ("/i/a", "/i/a?download=x", "/api/v1/images/a/proxy"):
        await everywhere(nginxes, path, 404)
    await until_cached(nginxes, "/i/b")


class Versions:
    """Images whose rows change, and what nginxes answered in the meantime."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.committed: dict[str, list[float]] = defaultdict(list)
        self.worst = 0.0
        self.hits = 0
        self.answers = 0

    async def change(self, image_id: str) -> None:
        """Let the row name a new object."""
        version = len(self.committed[image_id])
        key = f"objects/{image_id}-{version}"
        self.images.cos.store.put(BUCKET, key, f"{image_id} {version}".encode(), content_type="image/png")
        if version == 0:
            await self.images.add_row(ImageRow(image_id, None, key, content_type="image/png", public=True))
        else:
            await self.images.execute("UPDATE images SET cos_key = %s WHERE id = %s", key, image_id)
        self.committed[image_id].append(time.monotonic())

    async def read(self, nginx: Nginx, image_id: str) -> None:
        """Request the image, and note for how long its content had been old when the request began."""
        begun = time.monotonic()
        with suppress(aiohttp.ClientConnectionError):
            answer = await nginx.get(f"/i/{image_id}")
            if answer.status != 200:
                assert answer.status in (502, 503, 504), answer
                return
            name, _, version = answer.body.decode().partition(" ")
            assert name == image_id
            self.answers += 1
            self.hits += is_hit(answer)
            if int(version) + 1 < len(self.committed[image_id]):
                self.worst = max(self.worst, begun - self.committed[image_id][int(version) + 1])


@pytest.fixture
async def delays() -> AsyncIterator[list[float]]:
    """The longest time in seconds for which this process did not run, which no server can be blamed for."""
    longest = [0.0]

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest[0] = max(longest[0], time.monotonic() - before - 0.005)

    watching = asyncio.create_task(watch())
    yield longest
    watching.cancel()


async def test_no_answer_under_load_is_older_than_half_a_second(
    nginxes: list[Nginx], images: Images, delays: list[float]
) -> None:
    versions = Versions(images)
    ids = [f"image-{number}" for number in range(IMAGES)]
    for image_id in ids:
        await versions.change(image_id)
    is_over = asyncio.Event()

    async def reads(seed: int) -> None:
        choose = random.Random(seed)  # noqa: S311 - no secret
        while not is_over.is_set():
            await versions.read(choose.choice(nginxes), choose.choice(ids))

    async with asyncio.TaskGroup() as group:
        for seed in range(8):
            group.create_task(reads(seed))
        for image_id, _ in zip(cycle(ids), range(CHANGES), strict=False):
            await versions.change(image_id)
            await asyncio.sleep(0.01)
        is_over.set()
    assert versions.hits > versions.answers / 10
    assert versions.worst < SOON + 2 * delays[0]
    for image_id in ids:
        await everywhere(nginxes, f"/i/{image_id}", 200, f"{image_id} {len(versions.committed[image_id]) - 1}".encode())
