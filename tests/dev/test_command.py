"""``gateway dev`` and ``make run``: the gateway on an embedded stack."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway_dev.database import ImagesTable
from gateway_dev.stack import token_for
from tests.limits import LIMIT
from tests.processes import gateway_process, ready, run_gateway, run_program
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("dev")  # they try the same ports first

ROOT = Path(__file__).parents[2]
# A make that runs the tests passes these on to its children; the make under test must not inherit them.
NO_OUTER_MAKE = {"MAKEFLAGS": "", "MAKELEVEL": "0"}


async def test_every_image_of_a_folder_is_served_and_no_process_remains(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "trip one").mkdir(parents=True)
    (folder / "trip one" / "day+1.png").write_bytes(b"first")
    (folder / "plain.jpg").write_bytes(b"second")
    (folder / "notes.txt").write_bytes(b"no image")
    dev = ("dev", "--images", str(folder), "--state", str(tmp_path / "state"))
    async with gateway_process(*dev, environment={"COLUMNS": "200"}) as running:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(running.public + "/i/plain.jpg")
            assert (answer.status, await answer.read()) == (200, b"second")
            url = (await running.line_with("/i/trip-one")).split()[0]
            assert await (await session.get(url)).read() == b"first"
            well = dict.fromkeys(("redis", "postgres", "cos", "changes"), "ok")

            async def is_ready() -> bool:
                return bool((await ready(running.admin))["checks"] == well)

            await until(is_ready)
            answer = await session.get(running.admin + "/api/v1/monitoring/console")
            program, config = (await answer.json())["data"]["commands"]
            # The commands of the console are to be pasted, in any folder.
            explained = await run_program("sh", "-c", f"cd / && {program} explain plain.jpg --config {config}")
            assert explained.startswith("ok    plain.jpg: 200")
        running.process.send_signal(signal.SIGINT)
        assert await running.exit_code() == 0
    assert "everything is stopped" in running.lines[-1]
    assert not [command for command in _command_lines() if str(tmp_path) in command]


async def test_a_signal_to_make_run_stops_everything(tmp_path: Path) -> None:
    """As in ``make run & kill $!``: make passes SIGTERM on to its child alone."""
    (tmp_path / "pictures").mkdir()
    make = (
        *("make", "--silent", "--file", str(ROOT / "Makefile"), "--assume-old", "install"),
        *("--assume-old", "site/index.html", "run"),
        *(f"BIN={Path(sys.executable).parent}", f"IMAGES={tmp_path / 'pictures'}"),
    )
    async with gateway_process(program=make, cwd=tmp_path, environment=NO_OUTER_MAKE) as running:
        running.terminate()
        await running.exit_code()
        await until(lambda: not [command for command in _command_lines() if str(tmp_path) in command])
    assert "everything is stopped" in "".join(running.lines)


async def test_servers_named_in_the_environment_are_used(
    tmp_path: Path, arguments: list[str], servers: dict[str, str]
) -> None:
    async with gateway_process(*arguments, environment=servers) as running:
        async with aiohttp.ClientSession() as session:
            assert (await session.get(running.public + "/i/a.gif")).status == 200
            url = running.admin + "/api/v1/config/reload"
            answer = await session.post(url, headers={"Authorization": "Bearer development-only"})
            assert (await answer.json())["code"] == "reload_impossible"
        running.process.send_signal(signal.SIGHUP)  # as a terminal does that closes
        await running.line_with("draining")
        assert await running.exit_code() == 0
    written = {file.name: file.read_text() for file in (tmp_path / "state").glob("*/*")}
    assert written.keys() == {"gateway.yaml", "link-key", "images.tsv", "lock"}
    for variable in ("GATEWAY_REDIS__URL", "GATEWAY_POSTGRES__DSN"):
        assert servers[variable] not in written["gateway.yaml"]


async def test_links_of_an_earlier_run_are_valid_until_they_are_killed(
    tmp_path: Path, arguments: list[str], servers: dict[str, str], images_table: ImagesTable
) -> None:
    links: list[str] = []
    for _ in range(2):  # a link of the first run is valid in the second
        async with gateway_process(*arguments, environment=servers) as running, aiohttp.ClientSession() as session:
            await asyncio.to_thread(images_table.execute, "UPDATE images SET is_public = false")
            printed_link = await running.line_with("&sig=")
            (config,) = (tmp_path / "state").glob("*/gateway.yaml")
            assert f"link a.gif --config {config}" in await running.line_with("gateway link")
            code, output = await run_gateway("link", "a.gif", "--config", str(config), environment=servers)
            assert code == 0, output
            links += [printed_link.removeprefix(running.public), output.strip()]
            await _until_status(session, running.public + "/i/a.gif", 404)
            for link in links:
                await _until_status(session, running.public + link, 200)
            if len(links) == 4:
                token = {"Authorization": f"Bearer {token_for('alice')}"}
                await session.delete(running.public + "/api/v1/images/a.gif/links", headers=token)
                for link in links:
                    await _until_status(session, running.public + link, 401)
            running.terminate()
            assert await running.exit_code() == 0


async def test_the_playground_restarts_the_gateway_at_its_address(
    arguments: list[str], servers: dict[str, str]
) -> None:
    async with gateway_process(*arguments, environment=servers) as running, aiohttp.ClientSession() as session:
        assert f"playground  {running.public}/" in await running.line_with("playground  http")
        assert (await session.get(running.public + "/")).content_type == "text/html"
        restart = await session.post(
            running.public + "/dev/restart", json={"pause": 0.2}, headers={"Origin": running.public}
        )
        assert restart.status == 200
        await running.line_with("the gateway starts again")
        await until(lambda: sum("listening: " in line for line in running.lines) == 2)
        assert (await session.get(running.public + "/i/a.gif")).status == 200

        async def has_redis() -> bool:
            return bool((await ready(running.admin))["checks"]["redis"] == "ok")

        await until(has_redis)
        await session.post(running.public + "/dev/restart", json={"pause": 15}, headers={"Origin": running.public})
        await until(lambda: sum("the gateway starts again" in line for line in running.lines) == 2)
        running.terminate()
        async with asyncio.timeout(12):  # less than the pause
            assert await running.exit_code() == 0
    assert "everything is stopped" in running.lines[-1]
    assert sum("playground  http" in line for line in running.lines) == 1, "the addresses are printed once"


async def _until_status(session: aiohttp.ClientSession, url: str, status: int) -> None:
    """Wait for an answer of this status: a changed row is invalidated a moment later."""
    async with asyncio.timeout(LIMIT):
        while (answer := await session.get(url)).status != status:
            await asyncio.sleep(0.01)
        await answer.read()


def _command_lines() -> list[str]:
    return [
        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "cmdline").exists()
    ]
