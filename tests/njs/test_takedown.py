"""``check --running`` and ``takedown`` with nginx and njs: its list answers, and its cache loses the image."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Images, StartGateway
from tests.njs.conftest import StartNjs
from tests.njs.test_withdrawal import in_front, until_cached
from tests.processes import run_gateway
from tests.waiting import until_listening_to_changes


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
    _, output = await run_gateway("check", "--running", "--nginx", str(nginx.folder), "--config", str(config))
    assert "ok    nginx list: nginx heard of changes " in output
    assert "ok    nginx list: nginx asks its own list where it answers: 127.0.0.1:" in output
    await images.execute("UPDATE images SET storage_status = 'blocked' WHERE id = 'a'")
    code, output = await run_gateway("takedown", "a", "--via", nginx.url, "--config", str(config))
    assert code == 0, output
    assert f"ok    {nginx.url}: has it at none of 2 addresses" in output
    assert (await nginx.get("/i/a")).status == 404
