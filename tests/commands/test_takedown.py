"""``gateway takedown`` in a separate process, against gateways that have the image in memory."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.commands.takedown import Turn
from tests.answering import answering
from tests.commands.conftest import WriteConfig, said
from tests.conftest import Images, RunningGateway, StartGateway
from tests.paintings import POSTGRES, hang, paintings_table
from tests.waiting import until, until_answered

SHORT = ("--settle", "1", "--nginx", "/no/nginx/here")
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
    output = await said(0, "takedown", "a", *SHORT, "--config", config)
    names = sorted(gateway.replica_name for gateway in replicas)
    expected = {
        "ok    row",
        "ok    links",
        "ok    purge",
        "ok    redis",
        "note  browsers",
        "note  COS",
        "note  gateways",
        "note  other nodes",
    }
    assert set(lines_of(output)) == expected | {f"ok    gateway {name}" for name in names} | {
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
        config = write_config(**changes)
        output = await said(1, "takedown", "a", *options, *SHORT, "--timeout", "4", "--config", config)
        assert ("ok    links: access.signed_links is not configured" in output) == ("access" not in changes)
        [failure] = [line for line in output.splitlines() if line.startswith("fail")]
        return failure

    gone = ("--via", replicas[0].ports.public)
    webhook = {"target": "webhook", "url": "http://127.0.0.1:1/"}
    assert (await only_failure()).startswith("fail  nginx and CDN: not asked: there is no canary.via, and no --via")
    async with answering() as front:
        failure = await only_failure("--via", front.url, access=LINKS)
    assert failure.startswith(f"fail  {front.url}: 3 of 3 addresses: /")
    assert ": 200 (" in failure
    # A front that does not answer is asked no further: each of its many addresses would take five seconds.
    styles = {f"s{number}": "imageMogr2/strip" for number in range(20)}
    failure = await only_failure("--via", "http://127.0.0.1:1", image_styles=styles)
    assert failure.startswith("fail  http://127.0.0.1:1: 32 of 32 addresses: /")
    assert (await only_failure(*gone, purge=webhook)).startswith("fail  purge of the CDN: waits in the queue")
    replicas[1].redis.channel.on_question = lambda _: None
    assert (await only_failure(*gone)).startswith(f"fail  gateway {replicas[1].replica_name}: does not answer")


async def test_the_address_by_alias_is_looked_at_too(
    images: Images, links_table: object, postgres_dsn: str, write_config: WriteConfig
) -> None:
    del links_table
    async with paintings_table(images, postgres_dsn), answering() as front:
        await hang(images, "b", "front-page")
        await images.execute("UPDATE paintings SET storage_status = 'blocked' WHERE id = 'b'")
        options = ("--via", front.url, *SHORT, "--timeout", "1", "--config", write_config(postgres=POSTGRES))
        assert f"fail  {front.url}: 3 of 3 addresses: /a/front-page: 200" in await said(1, "takedown", "b", *options)


async def test_without_postgres_the_image_is_purged_all_the_same(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    config = write_config(access=LINKS, postgres={"dsn": "postgresql://app@127.0.0.1:1/app", "timeout": 2})
    options = ("--via", replicas[0].ports.public, "--timeout", "5", "--config", str(config))
    output = await said(1, "takedown", "a", *SHORT, *options)
    assert "fail  row: not known: " in output
    assert "fail  links: not killed: " in output
    assert (await replicas[1].get("/i/a")).status == 404


async def test_an_id_that_no_image_can_have_is_refused_in_a_line(config_file: Path) -> None:
    output = await said(1, "takedown", "a/b", "--config", config_file)
    assert len(output.splitlines()) == 1


async def test_of_an_id_without_a_trace_no_links_are_killed_however_often_it_is_tried(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig
) -> None:
    options = ("--via", replicas[0].ports.public, *SHORT, "--config", write_config(access=LINKS))
    for _ in range(2):
        output = await said(3, "takedown", "mistyped", *options)
        assert "fail  image: there is no trace of this id: is it right?" in output
        assert "links" not in output
    await images.execute("DELETE FROM images WHERE id = 'a'")
    for _ in range(2):
        await said(0, "takedown", "a", *options)


async def test_a_gateway_that_an_option_or_nginx_names_is_asked_and_named_if_it_does_not_answer(
    replicas: list[RunningGateway], images: Images, write_config: WriteConfig, tmp_path: Path
) -> None:
    await images.execute("DELETE FROM images WHERE id = 'a'")
    nginx = tmp_path / "nginx"
    nginx.mkdir()
    asked, deaf = replicas
    servers = f"server {asked.ports.admin.removeprefix('http://')} max_fails=0; server 127.0.0.1:1;"
    (nginx / "nginx.conf").write_text(f"upstream image_gateway_admin {{ {servers} }}\n")
    deaf.redis.channel.on_question = lambda _: None  # so it answers at its admin port alone
    via = ("--via", asked.ports.public, "--settle", "1", "--timeout", "6", "--config", write_config())
    output = await said(1, "takedown", "a", *via, "--admin", deaf.ports.admin, "--nginx", nginx)
    [failure] = [line for line in output.splitlines() if line.startswith("fail")]
    assert failure.startswith("fail  gateway at http://127.0.0.1:1: no answer: ")
    assert [f"ok    gateway {each.replica_name}: has none of it" in output for each in replicas] == [True, True]


class TestATurnOfABalancer:
    def test_lasts_from_its_first_question_for_as_long_as_every_answer_is_without_the_image(self) -> None:
        turn = Turn(15)
        assert not turn.note(all_gone=True, answers=3, asked_at=10, now=12)
        assert not turn.note(all_gone=True, answers=3, asked_at=13, now=24.9)
        assert turn.note(all_gone=True, answers=3, asked_at=24.9, now=25)
        assert (turn.answers, turn.was_seen) == (9, False)

    def test_asks_at_each_address_three_times_however_long_each_look_takes(self) -> None:
        """A balancer may have sent each question of the first look to a server that is not deaf."""
        turn = Turn(15)
        assert not turn.note(all_gone=True, answers=960, asked_at=0, now=16)
        assert not turn.note(all_gone=True, answers=960, asked_at=16, now=32)
        assert turn.note(all_gone=True, answers=960, asked_at=32, now=48)

    def test_begins_again_with_an_answer_that_has_the_image(self) -> None:
        turn = Turn(15)
        assert not turn.note(all_gone=True, answers=3, asked_at=10, now=12)
        assert not turn.note(all_gone=False, answers=3, asked_at=20, now=30)
        assert not turn.note(all_gone=True, answers=3, asked_at=31, now=44)
        assert not turn.note(all_gone=True, answers=3, asked_at=44, now=45)
        assert turn.note(all_gone=True, answers=3, asked_at=45, now=46)
        assert (turn.answers, turn.was_seen) == (9, True)
