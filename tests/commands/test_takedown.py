"""``gateway takedown`` in a separate process, against gateways that have the image in memory."""

import json
from pathlib import Path

import pytest
import redis

from tests.answering import answering
from tests.commands.conftest import WriteConfig
from tests.conftest import Images, RunningGateway, StartGateway
from tests.processes import run_gateway
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
    code, output = await run_gateway("takedown", "a", "--config", str(config))
    assert code == 0, output
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
    code, output = await run_gateway("takedown", "a", "--config", str(config))
    assert code == 1
    assert output.splitlines()[0].startswith("fail  row: it still serves the image to everybody")
    assert "fail  nginx and CDN: not asked: the row still serves the image" in output


async def test_a_front_that_keeps_the_image_is_a_failure(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    async with answering() as front:
        code, output = await run_gateway(
            "takedown", "a", "--via", front.url, "--timeout", "1", "--config", str(write_config(access=LINKS))
        )
    assert code == 1
    assert f"fail  {front.url}: 3 of 3 addresses: /i/a: 200" in output
    del replicas


async def test_without_a_front_to_ask_it_is_not_seen_gone(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    code, output = await run_gateway("takedown", "a", "--config", str(write_config()))
    assert code == 1
    assert "fail  nginx and CDN: not asked: there is no canary.via, and no --via" in output
    assert "ok    links: access.signed_links is not configured" in output
    del replicas


async def test_a_purge_that_waits_is_not_gone(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    """No gateway here has `purge`, so nobody sends it."""
    await images.execute("DELETE FROM images WHERE id = 'a'")
    config = write_config(purge={"target": "webhook", "url": "http://127.0.0.1:1/"})
    code, output = await run_gateway(
        "takedown", "a", "--via", replicas[0].ports.public, "--timeout", "1", "--config", str(config)
    )
    assert code == 1
    assert "fail  purge of the CDN: waits in the queue" in output


async def test_a_replica_that_does_not_answer_is_named(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    replicas[1].redis.channel.on_question = lambda _: None  # as an earlier release
    code, output = await run_gateway(
        "takedown", "a", "--via", replicas[0].ports.public, "--timeout", "1", "--config", str(write_config())
    )
    assert code == 1
    assert f"fail  replica {replicas[1].replica_name}: does not answer" in output


async def test_without_postgres_the_image_is_purged_all_the_same(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    config = write_config(access=LINKS, postgres={"dsn": "postgresql://app@127.0.0.1:1/app", "timeout": 2})
    options = ("--via", replicas[0].ports.public, "--timeout", "5", "--config", str(config))
    code, output = await run_gateway("takedown", "a", *options)
    assert code == 1
    assert "fail  row: not known: " in output
    assert "fail  links: not killed: " in output
    assert (await replicas[1].get("/i/a")).status == 404


async def test_an_id_that_no_image_can_have_is_refused_in_a_line(config_file: Path) -> None:
    code, output = await run_gateway("takedown", "a/b", "--config", str(config_file))
    assert code == 1
    assert "Traceback" not in output
    assert len(output.splitlines()) == 1
