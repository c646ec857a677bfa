"""A reload of a running process: SIGHUP and POST, under load, with mistakes, and with secrets."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.conftest import ADMIN_TOKEN, Images, token_for
from tests.processes import GatewayProcess, gateway_process
from tests.waiting import until, until_ready

pytestmark = pytest.mark.usefixtures("forked_commands")

_CLIENTS = 8
_RELOADS = 50

Write = Callable[..., None]


@pytest.fixture
def config(raw_settings: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    """The configuration file of the process."""
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(raw_settings))
    return file


@pytest.fixture
def write(raw_settings: dict[str, dict[str, Any]], config: Path) -> Write:
    """Replaces the file, as an editor does; keyword arguments change sections."""

    def replace(**changes: Mapping[str, Any]) -> None:
        sections = {name: {**raw_settings.get(name, {}), **changes.get(name, {})} for name in raw_settings | changes}
        new = config.with_suffix(".new")
        new.write_text(yaml.safe_dump(sections, sort_keys=False))
        new.replace(config)

    return replace


async def hang_up(running: GatewayProcess, *, then: str = "configuration reloaded: changed=") -> str:
    """Send SIGHUP and wait for a further line with the text ``then``; return its event."""
    before = len(running.lines)
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: any(then in line for line in running.lines[before:]), what=then)
    return str(json.loads(next(line for line in running.lines[before:] if then in line))["event"])


async def post(running: GatewayProcess, token: str | None) -> tuple[int, dict[str, Any]]:
    """POST to the address of reloads; the status and the body."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    url = running.admin + "/api/v1/config/reload"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url) as answer:
        return answer.status, await answer.json()


async def get(running: GatewayProcess, path: str, **headers: str) -> int:
    """The status of a GET."""
    async with aiohttp.ClientSession() as session, session.get(running.public + path, headers=headers) as answer:
        await answer.read()
        return answer.status


@asynccontextmanager
async def load(running: GatewayProcess, paths: list[str]) -> AsyncIterator[list[int | str]]:
    """Ask for the paths in turn from several clients; yields the list of statuses, and of errors by name."""
    outcomes: list[int | str] = []
    is_over = False

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        number = first
        while not is_over:
            number += 1
            try:
                async with session.get(running.public + paths[number % len(paths)]) as answer:
                    await answer.read()
                    outcomes.append(answer.status)
            except aiohttp.ClientError as error:
                outcomes.append(type(error).__name__)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
        for first in range(_CLIENTS):
            clients.create_task(client(session, first), name=f"client-{first}")
        yield outcomes
        is_over = True


def has_more_than(outcomes: list[int | str], number: int) -> bool:
    """Whether so many requests ended, and another one."""
    return len(outcomes) > number


async def test_no_request_fails_in_fifty_reloads_under_load(config: Path, write: Write, images: Images) -> None:
    for number in range(20):
        await images.add(f"a{number}", b"x" * 20_000)
    paths = [f"/i/a{number}{query}" for number in range(20) for query in ("", "?download=a.png")]
    async with gateway_process("serve", "--config", str(config)) as running, load(running, paths) as outcomes:
        for number in range(_RELOADS):
            write(
                image_proxy={"max_age": 100 + number, "memory_cache": {"max_bytes": 0 if number % 5 == 0 else 300_000}},
                image_styles={f"style{number}": "imageMogr2/thumbnail/10x10"},
                url_cache={"local_ttl": number % 3, "default_ttl": 3600 - number},
                access={"jwt": {"secret": f"a-secret-of-at-least-thirty-two-bytes-{number}"}},
                admin={"token": f"the-admin-token-{number}"},
                cos={"token_expires_at": None, "secret_key": "the-secret-key-of-the-emulator"},
            )
            if number % 2:
                assert "image_proxy.max_age" in await hang_up(running)
            else:
                token = f"the-admin-token-{number - 1}" if number else ADMIN_TOKEN
                assert (await post(running, token))[0] == 200
            await until(partial(has_more_than, outcomes, len(outcomes)), what="a request between two reloads")
    assert len(outcomes) > _RELOADS
    assert set(outcomes) == {200}
    assert "Traceback" not in "".join(running.lines)


async def test_a_wrong_file_is_refused_whole_and_the_line_names_the_key_and_no_value(
    config: Path, write: Write, images: Images
) -> None:
    await images.add("a")
    async with gateway_process("serve", "--config", str(config)) as running:
        write(image_proxy={"max_age": 5, "timeout": "no-number"}, access={"jwt": {"secret": "short-secret"}})
        refused = "the configuration is refused, the old one stays: "
        event = await hang_up(running, then=refused)
        status, body = await post(running, ADMIN_TOKEN)
        assert (status, body["code"]) == (400, "configuration_refused")
        for key in ("image_proxy.timeout", "access.jwt"):
            assert any(refused + key in line for line in running.lines)
            assert key in body["message"]
        said = "".join(running.lines) + json.dumps(body)
        assert "no-number" not in said
        assert "short-secret" not in said
        assert json.loads(next(line for line in running.lines if event in line))["level"] == "error"
        async with aiohttp.ClientSession() as session:
            async with session.get(running.public + "/i/a") as answer:
                assert "max-age=3600," in answer.headers["Cache-Control"]
            async with session.get(running.admin + "/metrics") as answer:
                metrics = await answer.text()
            async with session.get(running.admin + "/api/v1/monitoring/console") as answer:
                symptoms = [symptom["name"] for symptom in (await answer.json())["data"]["symptoms"]]
        assert "reload_refused" in symptoms
        assert "image_gateway_config_last_reload_successful 0.0" in metrics
        assert re.search(r"image_gateway_config_last_reload_success_timestamp_seconds 1\.\d+e\+09", metrics)
        config.unlink()
        assert "gateway.yaml" in await hang_up(running, then="gateway.yaml")
        write()
        assert await hang_up(running) == "configuration reloaded: changed=nothing"


async def test_the_level_changes_and_what_needs_a_restart_is_named(config: Path, write: Write, images: Images) -> None:
    await images.add("a")
    async with gateway_process("serve", "--config", str(config)) as running:
        port = running.public.rpartition(":")[2]
        for token in (None, "wrong"):
            status, body = await post(running, token)
            assert (status, body["code"]) == (401, "unauthorized")
        assert not any("reloaded" in line for line in running.lines)
        write(logging={"level": "debug"}, server={"port": 1, "host": "127.0.0.1"}, redis={"timeout": 0.4})
        status, body = await post(running, ADMIN_TOKEN)
        assert (status, body["data"]["changed"]) == (200, ["logging.level"])
        assert sorted(body["data"]["needs_restart"]) == ["redis.timeout", "server.port"]
        line = json.loads(await running.line_with("need a restart"))
        assert line["level"] == "warning"
        assert "server.port" in line["event"]
        assert await get(running, "/i/a", Authorization="Bearer wrong") == 200
        assert await get(running, "/i/none", Authorization="Bearer wrong") == 401
        assert json.loads(await running.line_with("request refused"))["level"] == "debug"
        assert running.public.endswith(port)


async def test_a_file_of_the_secrets_directory_is_read_anew(
    raw_settings: dict[str, dict[str, Any]], config: Path, write: Write, images: Images, tmp_path: Path
) -> None:
    await images.add("mine", owner="alice", public=False)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "access__jwt__secret").write_text("the-first-secret-of-thirty-two-bytes")
    write(access={"jwt": None})
    environment = {"GATEWAY_SECRETS_DIR": str(secrets)}
    async with gateway_process("serve", "--config", str(config), environment=environment) as running:
        new = "the-second-secret-of-thirty-two-bytes"
        by_new = {"Authorization": f"Bearer {token_for('alice', secret=new)}"}
        assert await get(running, "/i/mine", **by_new) == 401
        (secrets / "access__jwt__secret").write_text(new)
        assert await hang_up(running) == "configuration reloaded: changed=access.jwt"
        assert await get(running, "/i/mine", **by_new) == 200
        assert new not in "".join(running.lines)


async def test_under_nohup_sighup_reloads_too_and_a_stop_follows_as_ever(config: Path) -> None:
    nohup = ("nohup", sys.executable, "-m", "gateway")
    async with gateway_process("serve", "--config", str(config), program=nohup) as running:
        await hang_up(running)
        await until_ready(running.public)
        running.terminate()
        await running.line_with("draining")
        assert await running.exit_code() == 0
    assert "Traceback" not in "".join(running.lines)
