"""What `gateway dev` says: every line can be followed, and what is not as usual is told."""

import csv
import os
import re
import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from io import StringIO
from pathlib import Path

import aiohttp
import pytest
import yarl

from tests.processes import GatewayProcess, gateway_process, run_gateway

pytestmark = pytest.mark.xdist_group("dev")  # they want the same ports first

ODD_NAME = "照片/tab\tin [name].gif"


@pytest.fixture
def servers(redis_url: str, postgres_dsn: str) -> dict[str, str]:
    """The environment of a dev that need not start its own."""
    return {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn, "COLUMNS": "200"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of images."""
    folder = tmp_path / "pictures"
    (folder / "照片").mkdir(parents=True)
    for number in range(20):
        (folder / f"{number:02}.gif").write_bytes(b"GIF89a")
    (folder / ODD_NAME).write_bytes(b"GIF89a, another")
    return folder


@pytest.fixture
def arguments(pictures: Path, tmp_path: Path) -> list[str]:
    """Of dev, with that folder."""
    return ["dev", "--images", str(pictures), "--state", str(tmp_path / "state")]


@pytest.fixture
def held_port() -> Iterator[int]:
    """The usual public port, in use: by this test, if by nobody else."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        yield 8080


async def status_of(session: aiohttp.ClientSession, address: str, token: str | None = None) -> int:
    """The status of a GET of that address as it is written, with that bearer token if there is one."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with session.get(yarl.URL(address, encoded=True), headers=headers) as answer:
        await answer.read()
        return answer.status


async def said_by(running: GatewayProcess) -> str:
    """All of it."""
    await running.line_with("Ctrl-C stops everything")
    running.terminate()
    assert await running.exit_code() == 0
    return "".join(running.lines)


async def test_the_redirect_that_is_shown_leads_to_the_image(arguments: list[str], servers: dict[str, str]) -> None:
    async with gateway_process(*arguments, environment=servers) as running, aiohttp.ClientSession() as session:
        command, *options, url = shlex.split(await running.line_with("redirect=true"))
        method = "HEAD" if "-I" in options else "GET"
        answer = await session.request(method, url, allow_redirects=False)
        assert (command, answer.status) == ("curl", 302)
        image = await session.get(answer.headers["Location"])
        assert (image.status, await image.read()) == (200, b"GIF89a")


async def test_the_readme_shows_lines_that_dev_prints(servers: dict[str, str], tmp_path: Path) -> None:
    """Ports and tokens apart."""

    def without_what_changes(text: str) -> str:
        return re.sub(r"(127\.0\.0\.1:|TOKEN=)[\w.…-]+", r"\1", text)

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = without_what_changes(readme.partition("$ make run\n")[2].partition("```")[0]).splitlines()
    state = ("--state", str(tmp_path / "state"))
    async with gateway_process("dev", *state, environment=servers) as running:
        said = without_what_changes(await said_by(running)).splitlines()
    assert len(shown) > 10
    assert [line for line in shown if line.strip("… ") and "──" not in line and line not in said] == []


async def test_every_image_is_listed_with_its_file_and_its_address(
    arguments: list[str], servers: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.gif").touch()
    (pictures / "leak.gif").symlink_to(tmp_path / "outside.gif")
    for number in range(4):
        os.mkfifo(pictures / f"pipe{number}.gif")
    for name in ("readme.txt", "a-png-without-a-suffix", ".directory"):
        (pictures / name).touch()
    async with gateway_process(*arguments, environment=servers) as running:
        line = await running.line_with("each with its file and its address")
        assert line.startswith("all 21, ")
        listed = StringIO(Path(line.rpartition(": ")[2]).read_text(encoding="utf-8"), newline="")
        rows = list(csv.DictReader(listed, delimiter="\t"))
        assert {row["file"] for row in rows} == {
            *(f"{number:02}.gif" for number in range(20)),
            "照片/tab\tin [name].gif",
        }
        async with aiohttp.ClientSession() as session:
            for row in (rows[0], rows[-1]):
                assert row["address"].endswith("/i/" + row["id"])
                answer = await session.get(row["address"])
                assert await answer.read() == (pictures / row["file"]).read_bytes()
        said = await said_by(running)
    assert f"/i/{rows[0]['id']}   {rows[0]['file']}\n" in said
    assert (
        "left out: 1 (hidden file): .directory; "
        "2 (name without an image's suffix): a-png-without-a-suffix, readme.txt; "
        "1 (link that leads out of the folder): leak.gif; "
        "4 (not a regular file): pipe0.gif, pipe1.gif, pipe2.gif, ...\n"
    ) in said


async def test_every_private_sample_is_marked_and_can_be_seen(servers: dict[str, str], tmp_path: Path) -> None:
    """Each one by the token of its owner that is printed, and by a signed link that is printed."""
    state = ("--state", str(tmp_path / "state"))
    async with gateway_process("dev", *state, environment=servers) as running, aiohttp.ClientSession() as session:
        listed = Path((await running.line_with("each with its file and its address")).rpartition(": ")[2])
        rows = list(csv.DictReader(StringIO(listed.read_text(encoding="utf-8"), newline=""), delimiter="\t"))
        private = {row["address"]: row["for"] for row in rows if row["for"] != "everyone"}
        assert set(private.values()) == {"alice", "bob"}
        await running.line_with("Ctrl-C stops everything")
        lines = [line.strip() for line in running.lines]
        tokens = dict(line.split("=", 1) for line in lines if re.match(r"\w+_TOKEN=", line))
        for address, owner in private.items():
            assert any(re.fullmatch(f"{re.escape(address)} +{owner}'s", line) for line in lines), address
            assert await status_of(session, address) == 404
            assert await status_of(session, address, tokens[f"{owner.upper()}_TOKEN"]) == 200
            (link,) = (line for line in lines if line.startswith(f"{address}?"))
            assert await status_of(session, link) == 200
        for row in rows:
            if row["for"] == "everyone":
                assert await status_of(session, row["address"]) == 200


async def test_a_tilde_is_a_home_also_where_no_shell_has_seen_to_it(
    servers: dict[str, str], pictures: Path, tmp_path: Path
) -> None:
    arguments = ("dev", "--images", f"~/{pictures.name}", "--state", str(tmp_path / "state"))
    async with gateway_process(*arguments, environment=servers | {"HOME": str(pictures.parent)}) as running:
        assert "/i/00.gif" in await said_by(running)


async def test_names_that_the_terminal_cannot_show_stop_nothing(
    arguments: list[str], servers: dict[str, str], pictures: Path
) -> None:
    (pictures / "00 [red]\x1b[31m山.gif").write_bytes(b"GIF89a")
    environment = servers | {"PYTHONIOENCODING": "ascii"}
    async with gateway_process(*arguments, environment=environment) as running:
        said = await said_by(running)
    assert "00 [red]?[31m\\u5c71.gif" in said


async def test_a_port_that_is_taken_is_told(arguments: list[str], servers: dict[str, str], held_port: int) -> None:
    async with gateway_process(*arguments, environment=servers) as running:
        taken_instead = running.public.rpartition(":")[2]
        said = await said_by(running)
    assert f"port {held_port} is not free: {taken_instead} is used instead\n" in said


async def test_a_port_that_was_chosen_is_not_told_to_be_taken(
    arguments: list[str], servers: dict[str, str], held_port: int
) -> None:
    environment = servers | {"GATEWAY_SERVER__PORT": "0"}
    async with gateway_process(*arguments, environment=environment) as running:
        assert f"port {held_port}" not in await said_by(running)


async def test_a_second_one_says_that_the_first_is_running(
    arguments: list[str], servers: dict[str, str], tmp_path: Path
) -> None:
    async with gateway_process(*arguments, environment=servers) as running:
        written = (tmp_path / "state").rglob("gateway.yaml")
        before = [file.read_text() for file in written]
        code, output = await run_gateway(*arguments, environment=servers)
        assert code == 1
        assert "Error: `make run` or `gateway dev` is already running here" in output.splitlines()[-1]
        assert [file.read_text() for file in (tmp_path / "state").rglob("gateway.yaml")] == before
        await said_by(running)


async def test_a_folder_that_cannot_be_written_is_told_in_a_line() -> None:
    code, output = await run_gateway("dev", "--state", "/dev/null/state")
    assert code == 1
    assert output.splitlines()[-1] == (
        "Error: the folder /dev/null/state/samples cannot be written: Not a directory; name another one with --state"
    )


async def test_a_package_that_is_missing_is_named_with_a_way_to_install_it(tmp_path: Path) -> None:
    """image-gateway itself is on no index, so ``pip install 'image-gateway[dev]'`` finds nothing, or a stranger's."""
    (tmp_path / "PIL.py").write_text("raise ModuleNotFoundError(\"No module named 'PIL'\", name='PIL')\n")
    code, output = await run_gateway("dev", environment={"PYTHONPATH": str(tmp_path)})
    assert code == 1
    assert output.startswith("Error: PIL is missing: run `make install` in a clone of image-gateway")
    assert "'image-gateway[" not in output
