"""``gateway queue`` in a separate process."""

import json
import math
import socket
import time
from pathlib import Path

import pytest
import redis

from tests.commands.conftest import WriteConfig, said
from tests.processes import run_gateway


async def test_the_queue_is_listed_and_dead_entries_are_requeued(
    config_file: Path, redis_client: "redis.Redis"
) -> None:
    redis_client.zadd("image:refresh:queue", {"waiting": time.time() + 500, "styled|thumb": time.time() + 900})
    entry = {"reason": "no such key", "at": 1_700_000_000, "attempts": 5}
    redis_client.hset("image:refresh:dead", "broken", json.dumps(entry))
    for arguments in ([], ["list"]):
        output = await said(0, "queue", "--config", config_file, *arguments)
        assert "2 queued, 0 due, 1 dead" in output
        assert "waiting" in output
        assert "thumb" in output
    code, output = await run_gateway("queue", "list", "--most", "1", "--config", str(config_file))
    assert (code, "styled" in output) == (0, False), output
    output = await said(0, "queue", "dead", "--config", config_file)
    for text in ("broken", "no such key", "2023-11-14 22:13:20"):
        assert text in output
    named = ["--config", str(config_file)]
    for arguments, number in ((["requeue", *named], 1), ([*named, "requeue"], 0)):
        code, output = await run_gateway("queue", *arguments)
        assert (code, output.strip()) == (0, f"{number} requeued")
    assert redis_client.zscore("image:refresh:queue", "broken") is not None


@pytest.mark.usefixtures("redis_client")
async def test_an_empty_queue_is_shown_by_numbers_alone(config_file: Path) -> None:
    for arguments, expected in (([], "0 queued, 0 due, 0 dead"), (["dead"], "0 dead")):
        code, output = await run_gateway("queue", "--config", str(config_file), *arguments)
        assert (code, output.strip()) == (0, expected)


async def test_markup_and_control_characters_in_a_reason_are_printed_as_text(
    config_file: Path, redis_client: "redis.Redis"
) -> None:
    entry = {"reason": "[/red] \x1b[31m", "at": math.inf, "attempts": 1}
    redis_client.hset("image:refresh:dead", mapping={"broken": json.dumps(entry), b"a\0b": "x"})
    output = await said(0, "queue", "dead", "--config", config_file)
    assert "[/red] ?[31m" in output


async def test_the_queue_of_purges_is_listed_and_requeued(
    write_config: WriteConfig, redis_client: "redis.Redis"
) -> None:
    config = str(write_config(purge={"target": "webhook", "url": "https://purge.example.com/"}))
    redis_client.zadd("image:purge:queue", {"waiting": time.time() + 500})
    entry = {"reason": "error InvalidParameter.CdnParamError", "at": 1_700_000_000, "attempts": 5}
    redis_client.hset("image:purge:dead", "broken", json.dumps(entry))
    redis_client.hset("image:refresh:dead", "another", json.dumps(entry))
    for arguments in (["--purges"], ["list", "--purges"]):
        output = await said(0, "queue", "--config", config, *arguments)
        assert "1 queued, 0 due, 1 dead" in output
        assert "waiting" in output
    output = await said(0, "queue", "dead", "--purges", "--config", config)
    assert "broken" in output
    assert "CdnParamError" in output.replace("\n", "")
    assert "another" not in output
    code, output = await run_gateway("queue", "requeue", "--purges", "--config", config)
    assert (code, output.strip()) == (0, "1 requeued")
    assert redis_client.zscore("image:purge:queue", "broken") is not None
    assert redis_client.hlen("image:refresh:dead") == 1


@pytest.mark.parametrize(
    ("code", "arguments", "message"),
    [
        (1, ("--purges",), "purge is not configured, so there is no queue of purges"),
        (2, ("list", "--most", "0"), "0 is not in the range x>=1"),  # Redis would take 0 for all
    ],
)
async def test_what_cannot_be_listed_is_refused(
    config_file: Path, code: int, arguments: tuple[str, ...], message: str
) -> None:
    assert message in await said(code, "queue", *arguments, "--config", config_file)


async def test_a_redis_that_hangs_is_one_line(config_file: Path) -> None:
    """Without the line of the log that the gateway goes on without Redis: the command ends."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "GATEWAY_REDIS__URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0",
            "GATEWAY_REDIS__TIMEOUT": "0.5",
        }
        code, output = await run_gateway("queue", "--config", str(config_file), environment=environment)
    assert (code, output) == (1, "Error: redis: no answer within 0.5 s\n")
