"""A move to other shards, and to a Cluster, as docs/scaling.md shows: its commands are run."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
import yaml

from gateway_dev.redis_server import find_redis
from tests.cluster import Cluster
from tests.conftest import Images, RunningGateway, StartGateway
from tests.processes import run_gateway, run_program
from tests.tier import IN_CLUSTER
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("forked_commands")

IDS = [f"id-{number}" for number in range(30)]
DOCUMENT = Path(__file__).parents[2] / "docs/scaling.md"


@pytest.fixture(params=["shards", pytest.param("cluster", marks=IN_CLUSTER)])
def changed(request: pytest.FixtureRequest) -> Iterator[dict[str, object]]:
    """What changes in the section ``redis``."""
    if request.param == "shards":
        yield {"prefix": "image4:", "shards": 4}
        return
    cluster: Cluster = request.getfixturevalue("six_nodes")
    cluster.flush()
    yield {"url": cluster.url}
    cluster.flush()


@pytest.fixture
def old(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``redis-cli`` on the PATH, which reaches the old Redis without an option."""
    server, parts = find_redis(), urlsplit(redis_url)
    program = server.with_name(server.name.replace("-server", "-cli"))
    wrapper = tmp_path / "redis-cli"
    wrapper.write_text(f'#!/bin/sh\nexec {program} -h {parts.hostname} -p {parts.port} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("REDISCLI_AUTH", parts.password or "")


async def are_cached(gateway: RunningGateway) -> set[bool]:
    """Ask for each URL, and return whether they are from the cache."""
    answers = [await gateway.get(f"/api/v1/images/{image_id}/url") for image_id in IDS]
    return {answer.json()["data"]["from_cache"] for answer in answers}


@pytest.mark.usefixtures("old")
async def test_the_documented_move_keeps_the_used_images_cached_and_leaves_nothing(
    changed: dict[str, object],
    start_gateway: StartGateway,
    images: Images,
    redis_client: "redis.Redis",
    tmp_path: Path,
) -> None:
    for image_id in IDS:
        await images.add(image_id)
    before = await start_gateway()
    assert await are_cached(before) == {False}
    await until(lambda: redis_client.zcard("image:index:hits") == len(IDS), what="the counts")
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(before.sections))
    sections = before.sections | {"redis": before.sections["redis"] | changed}
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(sections))

    [warm] = re.findall(r"`image-gateway (warm --top \d+ --used-in [^`]*)`", DOCUMENT.read_text(encoding="utf-8"))
    words = [str(tmp_path / word) if word.endswith(".yaml") else word for word in warm.split()]
    code, output = await run_gateway(*words)
    assert (code, output.splitlines()[-1]) == (0, f"{len(IDS)} cached")
    after = await start_gateway(redis=changed)
    assert await are_cached(after) == {True}
    assert await are_cached(before) == {True}

    await before.close()
    [remove] = re.findall(r"```sh\n +(for keys in .*)\n", DOCUMENT.read_text(encoding="utf-8"))
    await run_program("sh", "-c", remove)
    assert not [key for key in redis_client.scan_iter("image:*") if redis_client.ttl(key) == -1]
    assert await are_cached(after) == {True}
    await after.close()
    redis_client.flushdb()
