"""Output of `gateway dev`: every address and command in it works, and it names taken ports and left out files."""

import csv
import os
import re
import shlex
from io import StringIO
from pathlib import Path

import aiohttp
import pytest
import yarl

from tests.processes import GatewayProcess, gateway_process

pytestmark = [
    pytest.mark.xdist_group("dev"),  # dev prefers fixed ports
    pytest.mark.usefixtures("forked_commands"),
]

ODD_NAME = "照片/tab\tin [name].gif"


@pytest.fixture
def servers(servers: dict[str, str]) -> dict[str, str]:
    """Environment of a dev on any ports: others may take the usual ones meanwhile."""
    return {**servers, "GATEWAY_SERVER__PORT": "0", "GATEWAY_ADMIN__PORT": "0"}


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
    """Arguments of dev, with that folder."""
    return ["dev", "--images", str(pictures), "--state", str(tmp_path / "state")]


async def status_of(session: aiohttp.ClientSession, address: str, token: str | None = None) -> int:
    """Return the status of a GET of the address without normalization, with the bearer token unless it is None."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with session.get(yarl.URL(address, encoded=True), headers=headers) as answer:
        await answer.read()
        return answer.status


async def output_of(running: GatewayProcess) -> str:
    """Wait for the last line, stop dev, and return all its output."""
    await running.line_with("Ctrl-C stops everything")
    running.terminate()
    assert await running.exit_code() == 0
    return "".join(running.lines)


async def test_the_printed_redirect_and_renewal_lead_to_the_image(
    arguments: list[str], servers: dict[str, str]
) -> None:
    async with gateway_process(*arguments, environment=servers) as running, aiohttp.ClientSession() as session:
        command, *options, url = shlex.split(await running.line_with("redirect=true"))
        method = "HEAD" if "-I" in options else "GET"
        answer = await session.request(method, url, allow_redirects=False)
        assert (command, answer.status) == ("curl", 302)
        image = await session.get(answer.headers["Location"])
        assert (image.status, await image.read()) == (200, b"GIF89a")
        *_, header, url = shlex.split(await running.line_with("url/refresh"))
        renewal = await session.post(url, headers=dict([header.split(": ")]))
        image = await session.get((await renewal.json())["data"]["url"])
        assert (image.status, await image.read()) == (200, b"GIF89a")


async def test_every_line_of_output_in_the_readme_is_printed(servers: dict[str, str], tmp_path: Path) -> None:
    """Ports and tokens are left out of the comparison."""

    def without_ports_and_tokens(text: str) -> str:
        return re.sub(r"(127\.0\.0\.1:|TOKEN=)[\w.…-]+", r"\1", text)

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    expected = without_ports_and_tokens(readme.partition("$ make run\n")[2].partition("```")[0]).splitlines()
    state = ("--state", str(tmp_path / "state"))
    async with gateway_process("dev", *state, environment=servers) as running:
        printed = without_ports_and_tokens(await output_of(running)).splitlines()
    assert len(expected) > 10
    assert [line for line in expected if line.strip("… ") and "──" not in line and line not in printed] == []


async def test_the_id_list_has_the_file_and_the_address_of_every_image(
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
        output = await output_of(running)
    assert f"/i/{rows[0]['id']}   {rows[0]['file']}\n" in output
    assert (
        "left out: 1 (hidden file): .directory; "
        "2 (name without an image's suffix): a-png-without-a-suffix, readme.txt; "
        "1 (link that leads out of the folder): leak.gif; "
        "4 (not a regular file): pipe0.gif, pipe1.gif, pipe2.gif, ...\n"
    ) in output


async def test_every_private_sample_opens_with_the_printed_token_and_link(
    servers: dict[str, str], tmp_path: Path
) -> None:
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
            (link,) = (line for line in lines if line.startswith(f"{address}?kid="))
            assert await status_of(session, link) == 200
        for row in rows:
            if row["for"] == "everyone":
                assert await status_of(session, row["address"]) == 200
        styled = [line.split()[0] for line in lines if "?style=" in line and line.startswith("http")]
        assert len(styled) == 6
        for address in styled:
            assert await status_of(session, address) == 200, address


async def test_names_are_escaped_do_not_widen_the_list_and_styles_are_shown_of_pictures(
    tmp_path: Path, servers: dict[str, str]
) -> None:
    """No shell expands the tilde in ``make run IMAGES=~/x``."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.svg", "b.gif", f"{'c' * 120}.gif", "d [red]\x1b[31m山.gif"):
        (folder / name).write_bytes(b"GIF89a")
    arguments = ("dev", "--images", "~/pictures", "--state", str(tmp_path / "state"))
    environment = servers | {"HOME": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    async with gateway_process(*arguments, environment=environment) as running:
        output = await output_of(running)
    assert "d [red]?[31m\\u5c71.gif" in output
    (short,) = re.findall(r"^  http://\S+/i/\S+ +b\.gif$", output, flags=re.MULTILINE)
    assert len(short) < 80
    (styled, *_) = re.findall(r"^  (\S+)\?style=\S+$", output, flags=re.MULTILINE)
    assert styled in short
