"""The time of a denial does not depend on whether the image exists."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping

from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.database import ImageRow
from tests.access.credentials import bearer, token
from tests.conftest import Images, RunningGateway, StartGateway
from tests.valve import Valve
from tests.waiting import until

# Of as many equal times, a chance of order outside of 0.2 to 0.8 is five standard deviations away: one in a million.
GUESSES = 45


def chance_of_order(first: list[float], second: list[float]) -> float:
    """Probability that one of ``first`` exceeds one of ``second`` (Mann-Whitney); 0.5 for equal distributions."""
    wins = sum((this > other) + 0.5 * (this == other) for this in first for other in second)
    return wins / (len(first) * len(second))


async def seconds_of(gateway: RunningGateway, path: str, headers: Mapping[str, str], status: int) -> float:
    """Return the time of a request in seconds, measured by the client; the response has no Server-Timing."""
    started = time.perf_counter()
    answer = await gateway.get(path, headers=headers)
    elapsed = time.perf_counter() - started
    assert answer.status == status
    assert "Server-Timing" not in answer.headers
    return elapsed


CALLERS: dict[str, Callable[[], dict[str, str]]] = {
    "a-stranger": lambda: bearer(token(sub="bob", exp=int(time.time()) + 600)),
    "no-credentials": dict,
    "bad-credentials": lambda: bearer("rubbish"),
}


async def test_private_and_unknown_images_are_denied_in_the_same_time(gateway: RunningGateway, images: Images) -> None:
    """To the fraction of a millisecond: nothing else is asked meanwhile."""
    await compare(gateway, images, "/i/{}", "a-stranger", 404)


async def test_so_they_are_at_every_address_and_to_every_caller(gateway: RunningGateway, images: Images) -> None:
    await asyncio.gather(
        compare(gateway, images, "/i/{}", "bad-credentials", 401),
        compare(gateway, images, "/api/v1/images/{}/url", "no-credentials", 404),
        compare(gateway, images, "/api/v1/images/{}/status", "a-stranger", 404),
        compare(gateway, images, "/api/v1/images/{}/access", "no-credentials", 403),
    )


async def compare(gateway: RunningGateway, images: Images, path: str, caller: str, status: int) -> None:
    """The first round requests uncached ids; the second compares cached private ids with new unknown ids."""
    headers, name = CALLERS[caller](), f"{path.rpartition('/')[2].strip('{}')}-{caller}"
    private = [f"private-{name}-{number}" for number in range(GUESSES)]
    unknown = [f"unknown-{name}-{number}" for number in range(2 * GUESSES)]
    rows = [ImageRow(image_id, "alice", f"{image_id}.png", public=False) for image_id in private]
    await asyncio.to_thread(images.table.put, rows)
    await seconds_of(gateway, path.format("warm-up"), headers, status)
    for is_cold in (True, False):
        absent, unknown = unknown[:GUESSES], unknown[GUESSES:]
        order = [(image_id, image_id in private) for image_id in private + absent]
        random.Random(7).shuffle(order)  # noqa: S311 - an order, no secret
        took: dict[bool, list[float]] = {True: [], False: []}
        for image_id, is_there in order:
            took[is_there].append(await seconds_of(gateway, path.format(image_id), headers, status))
        assert 0.2 < chance_of_order(took[True], took[False]) < 0.8, f"{path} {caller} cold: {is_cold}"


async def test_a_denial_from_memory_takes_as_long_as_the_stores_did_at_the_last_probe(
    start_gateway: StartGateway, images: Images, postgres_dsn: str
) -> None:
    """An unknown id would: without another denial before it, nothing else says how long that is."""
    await images.add("private", owner="alice", public=False)
    async with Valve.before(int(parse_dsn(postgres_dsn)["port"])) as valve:
        dsn = make_dsn(postgres_dsn, host="127.0.0.1", port=valve.port)
        gateway = await start_gateway(postgres={"dsn": dsn, "timeout": 0.5})

        async def is_known() -> bool:
            return (await gateway.get("/i/private", headers=bearer(token(sub="alice")))).status == 200

        await until(is_known)
        valve.close()
        await gateway.get("/readyz")
        assert await seconds_of(gateway, "/i/private", {}, 404) > 0.24


async def test_a_batch_with_errors_has_no_server_timing(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    await images.add("public")
    for image_ids, has_timing in ((["mine"], False), (["unknown"], False), (["public"], True)):
        answer = await gateway.request("POST", "/api/v1/images/urls", json={"image_ids": image_ids})
        assert (answer.status, "Server-Timing" in answer.headers) == (200, has_timing)
