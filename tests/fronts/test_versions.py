"""HTTP/2 and HTTP/3 between browsers and the fronts, with the lines of the page's table."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import Images, RunningGateway
from tests.fronts.conftest import PAGE, SITE, recipe_of, running_front
from tests.fronts.front import Front

BODIES = [bytes([number]) * 300_000 for number in range(20)]
_ROWS = re.findall(r"^\| (\w+) \| `([^`]+)` \| (`.*`) \| ([23](?: and 3)?) \|$", PAGE.read_text(), re.MULTILINE)
CASES = [(row, version) for row in _ROWS for version in row[3].split(" and ")]


def test_the_table_has_rows() -> None:
    assert {name for name, *_ in _ROWS} == {"nginx", "HAProxy", "Caddy", "Apache", "Traefik"}


@pytest.fixture
async def front(request: pytest.FixtureRequest, gateway: RunningGateway) -> AsyncIterator[Front]:
    """A front with the lines of its row in place of those of its recipe."""
    name, old, lines, _ = request.param
    (found,) = re.findall(rf"^(\s*){re.escape(old)}", recipe_of(name.lower()), re.MULTILINE)
    new = f"\n{found}".join(re.findall(r"`([^`]+)`", lines))
    async with running_front(name.lower(), gateway, {old: new}, has_tls=True) as front:
        yield front


@pytest.mark.parametrize(
    ("front", "version"), CASES, ids=[f"{row[0]}-{version}" for row, version in CASES], indirect=["front"]
)
async def test_images_arrive_whole_and_ranges_conditions_and_errors_too(
    front: Front, version: str, images: Images, tmp_path: Path
) -> None:
    port = front.url.rsplit(":", 1)[1]

    async def ask(*arguments: str, paths: tuple[str, ...] = ("/i/a0",)) -> list[tuple[str, bytes]]:
        """Return the status and the body of each; all go over one connection."""
        flags = ("--http3-only" if version == "3" else "--http2", "--silent", "--insecure", "--parallel")
        curl = ("curl", *flags, "--resolve", f"{SITE}:{port}:127.0.0.1", *arguments)
        files = [tmp_path / str(number) for number in range(len(paths))]
        urls = [f"https://{SITE}:{port}{path}" for path in paths]
        outputs = [word for url, file in zip(urls, files, strict=True) for word in (url, "--output", str(file))]
        written = "%{filename_effective} %{http_version} %{http_code}\\n"
        process = await asyncio.create_subprocess_exec(
            *curl, "--write-out", written, *outputs, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        lines = [line.split() for line in printed.decode().splitlines()]
        assert {used for _, used, _ in lines} == {version}
        statuses = {file: status for file, _, status in lines}
        bodies = [file.read_bytes() if file.exists() else b"" for file in files]
        for file in files:
            file.unlink(missing_ok=True)
        return [(statuses[str(file)], body) for file, body in zip(files, bodies, strict=True)]

    for number, body in enumerate(BODIES):
        await images.add(f"a{number}", body)
    for _ in range(2):
        paths = tuple(f"/i/a{number}" for number in range(len(BODIES)))
        assert await ask(paths=paths) == [("200", body) for body in BODIES]
        assert await ask("--range", "10-19") == [("206", BODIES[0][10:20])]
        ((status, _),) = await ask("--head")
        assert status == "200"
        etag = (await front.get("/i/a0")).headers["ETag"]
        assert await ask("--header", f"If-None-Match: {etag}") == [("304", b"")]
        ((status, _),) = await ask(paths=("/i/missing",))
        assert status == "404"
