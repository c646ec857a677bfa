"""Kills, pauses, cuts and reloads of gateways and nginx under load: no old answer while they see each other."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import Images
from tests.limits import LIMIT
from tests.nginx.conftest import Nginx
from tests.nginx.test_rolling_restart import Replica
from tests.njs.conftest import StartNjs, site, until_soon
from tests.njs.test_changes import is_hit
from tests.njs.test_withdrawal import Versions
from tests.ports import reserved_port
from tests.waiting import until, until_listening_to_changes

pytestmark = pytest.mark.usefixtures("forked_commands")

IDS = [f"image-{number}" for number in range(20)]
# GATEWAY_TEST_WITHDRAWALS=120 takes ten minutes, and needs --timeout 0.
WITHDRAWALS = int(os.environ.get("GATEWAY_TEST_WITHDRAWALS", "0"))
EVERY, PAUSE, PAUSES = (5.0, 4.0, 12) if WITHDRAWALS else (0.8, 1.5, 5)  # seconds


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Ports that stay free for the gateways."""
    with ExitStack() as stack:
        yield [stack.enter_context(reserved_port()) for _ in range(4)]


@pytest.fixture
async def replicas(
    raw_settings: dict[str, dict[str, Any]], images: Images, tmp_path: Path, ports: list[int]
) -> AsyncIterator[list[Replica]]:
    """Two gateways, each a process."""
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    replicas = [Replica("127.0.0.1", ports[number], config, admin=ports[number + 2]) for number in range(2)]
    await start(*replicas)
    yield replicas
    for replica in replicas:
        await replica.close()


async def start(*replicas: Replica) -> None:
    """Start gateways, and wait until they hear of changes."""
    for replica in replicas:
        await replica.start()
        await until_listening_to_changes(f"http://{replica.admin}")


@pytest.fixture
async def versions(images: Images) -> Versions:
    """Images whose versions count."""
    versions = Versions(images)
    for image_id in IDS:
        await versions.change(image_id)
    return versions


async def is_current(nginx: Nginx, versions: Versions) -> bool:
    """Return whether nginx answers with the last version of every image."""
    answers = [await nginx.get(f"/i/{image_id}") for image_id in IDS]
    return [answer.body.decode() for answer in answers] == [
        f"{image_id} {len(versions.committed[image_id]) - 1}" for image_id in IDS
    ]


async def change_all(versions: Versions) -> None:
    """Change every image, in some time."""
    for image_id in IDS:
        await versions.change(image_id)
        await asyncio.sleep(0.01)


async def test_no_old_answer_passes_kills_and_cuts(
    start_njs: StartNjs, replicas: list[Replica], versions: Versions, delays: list[float]
) -> None:
    public, admin = ([getattr(replica, name) for replica in replicas] for name in ("address", "admin"))
    nginx = await start_njs(site("gateway-cache.conf", public, admin))
    first, second = replicas
    is_over = asyncio.Event()

    async def reads(seed: int) -> None:
        choose = random.Random(seed)  # noqa: S311 - no secret
        while not is_over.is_set():
            await versions.read(nginx, choose.choice(IDS))
            await asyncio.sleep(0.005)

    async def is_warm() -> bool:
        return all([is_hit(await nginx.get(f"/i/{image_id}")) for image_id in IDS])

    async def is_new() -> bool:
        return await is_current(nginx, versions)

    async with asyncio.TaskGroup() as group:
        for seed in range(3):
            group.create_task(reads(seed))
        await until(is_warm)
        # One gateway is killed, and comes back.
        await first.close()
        await change_all(versions)
        await start(first)
        await change_all(versions)
        await until_soon(is_new, what="the changes during a kill")
        # Both are, and rows change meanwhile: nobody tells nginx, whose copies are old, until a gateway is back.
        await until(is_warm)
        versions.is_measured = False
        await asyncio.gather(first.close(), second.close())
        await change_all(versions)
        assert not await is_new()
        await start(first, second)
        await until_soon(is_new, what="the changes while all gateways were away")
        versions.is_measured = True
        await change_all(versions)
        # nginx is killed.
        versions.is_measured = False
        await nginx.restart(kill=True)
        versions.is_measured = True
        await change_all(versions)
        await until_soon(is_new, what="the changes after a kill of nginx")
        # No answer of a gateway reaches nginx for a while.
        await until(is_warm, seconds=LIMIT)
        versions.is_measured = False
        for replica in replicas:
            replica.send_signal(signal.SIGSTOP)
        await change_all(versions)
        for replica in replicas:
            replica.send_signal(signal.SIGCONT)
        await until_soon(is_new, what="the changes during a cut")
        is_over.set()
    # A gateway, or what Postgres forks for it, may stand still, too: less than the lease of 6 s.
    assert versions.worst < 4 + 2 * delays[0]


async def test_no_withdrawn_image_stays_in_nginx_beside_pauses_reloads_and_wrong_clocks(
    start_njs: StartNjs, replicas: list[Replica], images: Images, delays: list[float]
) -> None:
    """The clock of one nginx is ten seconds behind, and that of the other one ten seconds ahead."""
    public, admin = ([getattr(replica, name) for replica in replicas] for name in ("address", "admin"))
    nginxes = [
        await start_njs(
            site("gateway-cache.conf", public, admin), {"Date.now()": f"(Date.now() + {offset})"}, workers=2
        )
        for offset in (-10_000, 10_000)
    ]
    ids = [f"image-{number}" for number in range(WITHDRAWALS or 20)]
    for image_id in ids:
        await images.add(image_id, image_id.encode())
    withdrawn: dict[str, float] = {}
    copies: set[tuple[str, str]] = set()
    ages = [0.0]
    is_over = asyncio.Event()

    async def read(nginx: Nginx, image_id: str) -> None:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(0.5):
                answer = await nginx.get(f"/i/{image_id}")
        except (TimeoutError, aiohttp.ClientError):
            return  # it was for the gateway that is paused
        if answer.status == 200 and image_id in withdrawn:
            ages.append(begun - withdrawn[image_id])
        elif is_hit(answer):
            copies.add((nginx.url, image_id))

    async def reads(nginx: Nginx) -> None:
        choose = random.Random(nginx.url)  # noqa: S311 - no secret
        while not is_over.is_set():
            next_one = len(withdrawn)
            await read(nginx, choose.choice(ids[max(next_one - 4, 0) : next_one + 4]))
            await asyncio.sleep(0.005)

    async def interrupts() -> None:
        for number in range(PAUSES):
            await asyncio.sleep(len(ids) * EVERY / PAUSES - PAUSE)
            replica = replicas[number % 2]
            replica.send_signal(signal.SIGSTOP)
            for nginx in nginxes:
                nginx.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(PAUSE)
            replica.send_signal(signal.SIGCONT)

    async with asyncio.TaskGroup() as group:
        for nginx in nginxes * 2:
            group.create_task(reads(nginx))
        interruptions = group.create_task(interrupts())
        for image_id in ids:
            await asyncio.sleep(EVERY)
            await images.execute("UPDATE images SET is_public = false WHERE id = %s", image_id)
            withdrawn[image_id] = time.monotonic()
        await interruptions
        is_over.set()

    async def are_gone() -> bool:
        statuses = [(await nginx.get(f"/i/{image_id}")).status for nginx in nginxes for image_id in ids]
        return set(statuses) == {404}

    await until_soon(are_gone, what="the withdrawals", seconds=2)
    assert max(ages) < 4 + 2 * delays[0]
    assert len(copies) > len(ids), "most images were in the cache of each nginx"
