"""``check --running`` and ``takedown`` with nginx and njs: its list answers, and its cache loses the image."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from psycopg2.extensions import make_dsn, parse_dsn

from tests.conftest import Images, StartGateway
from tests.njs.conftest import StartNjs
from tests.njs.test_withdrawal import in_front, until_cached
from tests.processes import run_gateway
from tests.valve import Valve
from tests.waiting import until, until_answered, until_listening_to_changes


@pytest.mark.usefixtures("forked_commands")
async def test_nginx_that_had_the_image_is_seen_without_it(
    start_gateway: StartGateway,
    start_njs: StartNjs,
    images: Images,
    raw_settings: dict[str, dict[str, Any]],
    tmp_path: Path,
) -> None:
    await images.add("a")
    gateway = await start_gateway()
    await gateway.publish_replica()
    await until_listening_to_changes(gateway.ports.admin)
    nginx = await start_njs(in_front([gateway]))
    await until_cached([nginx], "/i/a")
    config = tmp_path / "gateway.yaml"
    config.write_text(yaml.safe_dump(raw_settings))
    # nginx's files name the address of its list.

    async def is_heard() -> bool:
        _, output = await run_gateway("check", "--running", "--nginx", str(nginx.folder), "--config", str(config))
        told = "nginx asks its own list where it answers: 127.0.0.1:", "nginx heard of changes "
        return all(f"ok    nginx list: {words}" in output for words in told)

    await until(is_heard, what="that nginx hears")
    await images.execute("UPDATE images SET storage_status = 'blocked' WHERE id = 'a'")
    files = ("--nginx", str(nginx.folder), "--settle", "2", "--config", str(config))
    code, output = await run_gateway("takedown", "a", "--via", nginx.url, *files)
    assert code == 0, output
    assert f"ok    {nginx.url}: has it at none of 2 addresses" in output
    assert "note  gateways" not in output, "nginx's upstream names the one gateway that runs"
    assert (await nginx.get("/i/a")).status == 404


@pytest.mark.usefixtures("forked_commands")
@pytest.mark.parametrize("file", ["gateway.conf", "gateway-cache.conf"])
async def test_an_image_is_not_seen_gone_while_nginx_reaches_a_gateway_that_is_cut_off_from_postgres_and_redis(
    start_gateway: StartGateway,
    start_njs: StartNjs,
    images: Images,
    raw_settings: dict[str, dict[str, Any]],
    tmp_path: Path,
    file: str,
) -> None:
    await images.add("a")
    postgres, redis = raw_settings["postgres"]["dsn"], raw_settings["redis"]["url"]
    redis_port = urlsplit(redis).port or 6379
    async with Valve.before(int(parse_dsn(postgres)["port"])) as to_rows, Valve.before(redis_port) as to_redis:
        cut_off = await start_gateway(
            postgres={"dsn": make_dsn(postgres, host="127.0.0.1", port=to_rows.port), "timeout": 0.5},
            redis={"url": f"redis://127.0.0.1:{to_redis.port}/0", "timeout": 1},
        )
        other = await start_gateway()
        for gateway in (cut_off, other):
            await until_listening_to_changes(gateway.ports.admin)
            await until_answered(gateway, "/i/a", 200)
            await gateway.publish_replica()
        nginx = await start_njs(in_front([cut_off, other], file))
        config = tmp_path / "gateway.yaml"
        config.write_text(yaml.safe_dump(raw_settings))
        to_rows.close()
        to_redis.close()
        await images.execute("UPDATE images SET storage_status = 'blocked' WHERE id = 'a'")
        options = ("--timeout", "2", "--settle", "4", "--nginx", str(nginx.folder), "--config", str(config))
        code, output = await run_gateway("takedown", "a", "--via", nginx.url, *options)
        assert code == 1, output
        assert f"fail  {nginx.url}: " in output
        assert f"fail  gateway {cut_off.replica_name}: " in output
        assert f"ok    gateway {other.replica_name}: has none of it" in output
