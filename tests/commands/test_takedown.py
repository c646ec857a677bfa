"""``gateway takedown`` in a separate process, against gateways that have the image in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.answering import answering
from tests.commands.conftest import WriteConfig, said
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until, until_answered

LINKS = {"signed_links": {"keys": {"k": "x" * 32}}}


@pytest.fixture
async def replicas(
    start_gateway: StartGateway, images: Images, links_table: object, redis_client: "redis.Redis"
) -> list[RunningGateway]:
    """Two gateways that hear nothing from Postgres, with the image in memory, and listed in Redis."""
    del links_table
    await images.add("a")
    made = [await start_gateway(postgres={"listen": False}, access=LINKS) for _ in range(2)]
    for gateway in made:
        await gateway.publish_replica()
        await until_answered(gateway, "/i/a", 200)
    await until(lambda: dict(redis_client.pubsub_numsub("image:changes"))[b"image:changes"] == 2)
    return made


def lines_of(output: str) -> list[str]:
    """The verdict and the name of each line."""
    return [line.partition(": ")[0] for line in output.splitlines()]


async def test_an_image_whose_row_is_blocked_is_seen_gone_in_every_layer(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig, tmp_path: Path
) -> None:
    await images.execute("UPDATE images SET storage_status = 'blocked' WHERE id = 'a'")
    assert (await replicas[1].get("/i/a")).status == 200  # it has not heard of the change
    via = [gateway.ports.public for gateway in replicas]
    audit = tmp_path / "audit.log"
    canary = {"via": via, "public": "b", "private": "c"}
    config = write_config(access=LINKS, canary=canary, logging={"audit": str(audit)})
    output = await said(0, "takedown", "a", "--config", config)
    names = sorted(gateway.replica_name for gateway in replicas)
    expected = {
        "ok    row",
        "ok    links",
        "ok    purge",
        "ok    redis",
        "note  browsers",
        "note  COS",
        "note  other nodes",
    }
    assert set(lines_of(output)) == expected | {f"ok    replica {name}" for name in names} | {
        f"ok    {url}" for url in via
    }
    assert "links of this image were killed 1 times" in output
    [line] = map(json.loads, audit.read_text().splitlines())
    assert (line["action"], line["image_id"], line["outcome"]) == ("takedown", "a", "gone")
    assert line["caller"].startswith("system:")
    assert [(await gateway.get("/i/a")).status for gateway in replicas] == [404, 404]


async def test_a_row_that_still_serves_is_said_first_and_is_a_failure(
    replicas: list[RunningGateway], write_config: WriteConfig
) -> None:
    config = write_config(access=LINKS, canary={"via": [replicas[0].ports.public], "public": "b", "private": "c"})
    output = await said(1, "takedown", "a", "--config", config)
    assert output.splitlines()[0].startswith("fail  row: it still serves the image to everybody")
    assert "fail  nginx and CDN: not asked: the row still serves the image" in output


async def test_a_front_a_purge_or_a_replica_alone_of_which_it_is_not_seen_gone_is_a_failure(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    """The replica is silent as one of an earlier release; nobody sends the purge, as no gateway here has ``purge``."""
    await images.execute("DELETE FROM images WHERE id = 'a'")

    async def only_failure(*options: str, **changes: Any) -> str:
        output = await said(1, "takedown", "a", *options, "--timeout", "1", "--config", write_config(**changes))
        assert ("ok    links: access.signed_links is not configured" in output) == ("access" not in changes)
        [failure] = [line for line in output.splitlines() if line.startswith("fail")]
        return failure

    gone = ("--via", replicas[0].ports.public)
    webhook = {"target": "webhook", "url": "http://127.0.0.1:1/"}
    assert (await only_failure()).startswith("fail  nginx and CDN: not asked: there is no canary.via, and no --via")
    async with answering() as front:
        failure = await only_failure("--via", front.url, access=LINKS)
    assert failure.startswith(f"fail  {front.url}: 3 of 3 addresses: /i/a: 200")
    assert (await only_failure(*gone, purge=webhook)).startswith("fail  purge of the CDN: waits in the queue")
    replicas[1].redis.channel.on_question = lambda _: None
    assert (await only_failure(*gone)).startswith(f"fail  replica {replicas[1].replica_name}: does not answer")


async def test_without_postgres_the_image_is_purged_all_the_same(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    config = write_config(access=LINKS, postgres={"dsn": "postgresql://app@127.0.0.1:1/app", "timeout": 2})
    options = ("--via", replicas[0].ports.public, "--timeout", "5", "--config", str(config))
    output = await said(1, "takedown", "a", *options)
    assert "fail  row: not known: " in output
    assert "fail  links: not killed: " in output
    assert (await replicas[1].get("/i/a")).status == 404


async def test_an_id_that_no_image_can_have_is_refused_in_a_line(config_file: Path) -> None:
    output = await said(1, "takedown", "a/b", "--config", config_file)
    assert len(output.splitlines()) == 1
