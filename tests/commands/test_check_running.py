"""``gateway check --running`` in a separate process, against gateways that run."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.answering import answering
from tests.commands.conftest import WriteConfig, said
from tests.conftest import RunningGateway, StartGateway
from tests.valve import Valve
from tests.waiting import until


async def started(start_gateway: StartGateway, redis_client: "redis.Redis", **changes: object) -> RunningGateway:
    """A gateway that Redis lists, and that listens to questions."""
    before = dict(redis_client.pubsub_numsub("image:changes"))[b"image:changes"]
    gateway = await start_gateway(**changes)
    await gateway.publish_replica()
    await until(lambda: dict(redis_client.pubsub_numsub("image:changes"))[b"image:changes"] > before)
    await until(lambda: gateway.sample("change_feed_connected"))
    return gateway


async def test_gateways_are_a_table_and_nginx_is_asked(
    start_gateway: StartGateway, redis_client: "redis.Redis", config_file: Path, tmp_path: Path
) -> None:
    gateways = [await started(start_gateway, redis_client) for _ in range(2)]
    async with answering() as nginx:
        nginx.body = json.dumps({"heard_ms_ago": 150, "trouble": None, "floor": 1, "version": 3}).encode()
        options = ("--nginx-status", f"{nginx.url}/status", "--nginx", str(tmp_path))
        output = await said(0, "check", "--running", *options, "--config", config_file)
    for gateway in gateways:
        assert gateway.replica_name in output
    assert "ok    differences: 2 processes have the same version, program, settings and key" in output
    assert "ok    changes: every gateway hears of changes" in output
    assert "ok    nginx list: nginx heard of changes 0.1 s ago" in output


async def test_a_gateway_with_other_settings_is_marked_and_what_is_not_asked_is_said(
    start_gateway: StartGateway, redis_client: "redis.Redis", config_file: Path, tmp_path: Path
) -> None:
    for max_age in (3600, 3600, 60):
        await started(start_gateway, redis_client, image_proxy={"max_age": max_age})
    conf = tmp_path / "nginx" / "conf.d"
    conf.mkdir(parents=True)
    (conf / "upstream.conf").write_text("upstream image_gateway_admin {\n    server 127.0.0.1:9099 max_fails=0;\n}\n")
    options = ("--nginx-status", "http://127.0.0.1:1/status", "--nginx", str(conf.parent))
    output = await said(1, "check", "--running", *options, "--config", config_file)
    assert output.count("≠ ") == 1
    assert "fail  differences: the gateways differ in: settings" in output
    assert "warn  nginx list: http://127.0.0.1:1/status was not asked" in output
    assert "warn  nginx ports: image_gateway_admin leads to 127.0.0.1:9099" in output


async def test_an_admin_port_is_asked_too_and_one_that_is_none_is_said(
    start_gateway: StartGateway, redis_client: "redis.Redis", write_config: WriteConfig, tmp_path: Path
) -> None:
    """The command reads another Redis, which lists nobody."""
    gateway = await started(start_gateway, redis_client)
    config = write_config(redis={"prefix": "other:"})
    options = ("--admin", gateway.ports.admin, "--admin", "http://127.0.0.1:1", "--nginx", str(tmp_path))
    output = await said(1, "check", "--running", *options, "--config", config)
    assert gateway.replica_name in output
    assert "fail  admin http://127.0.0.1:1: no answer" in output
    assert "ok    changes: the 1 that answered hear of changes" in output


async def test_while_redis_does_not_answer_nobody_says_that_no_gateway_runs(
    start_gateway: StartGateway, redis_client: "redis.Redis", write_config: WriteConfig, tmp_path: Path
) -> None:
    gateway = await started(start_gateway, redis_client)
    async with Valve.before(urlsplit(gateway.sections["redis"]["url"]).port or 6379) as hanging:
        hanging.close()
        config = write_config(redis={"url": f"redis://127.0.0.1:{hanging.port}", "timeout": 0.5})
        for admin, said_of_changes in ((), False), (("--admin", gateway.ports.admin), True):
            output = await said(1, "check", "--running", *admin, "--nginx", tmp_path, "--config", config)
            assert "fail  redis: no gateways are known" in output
            assert "fail  gateways" not in output
            assert ("ok    changes: the 1 that answered hear of changes" in output) == said_of_changes


@pytest.mark.usefixtures("redis_client", "made_table")
async def test_that_no_gateway_runs_is_a_failure(config_file: Path, tmp_path: Path) -> None:
    output = await said(1, "check", "--running", "--nginx", tmp_path, "--config", config_file)
    assert "fail  gateways: none is listed in Redis" in output


async def test_options_that_do_not_fit_are_refused(config_file: Path) -> None:
    for options in (("--admin", "http://x"), ("--running", "--deep")):
        output = await said(2, "check", *options, "--config", config_file)
        assert "--running" in output
