"""The files that one request runs through, held against the lists in docs/architecture.md."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from gateway.delivery.request_context import current_request_id
from tests.conftest import Images, RunningGateway

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MOST_FILES = {"A warm GET": 15, "A cold GET": 32}


@contextmanager
def traced(request_id: str) -> Iterator[list[str]]:
    """The files of the package whose functions run for that request, in the order in which they are entered."""
    files: list[str] = []
    prefix = f"{ROOT / 'gateway'}/"

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        path = frame.f_code.co_filename
        # Tasks that a request starts inherit its context; background tasks have another one.
        if event == "call" and path.startswith(prefix) and current_request_id.get() == request_id:
            name = path.removeprefix(prefix)
            if name not in files and not name.startswith(("cos_emulator/", "dev/")):
                files.append(name)

    sys.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)


def documented(heading: str) -> list[str]:
    """The files of the list under a heading, in order."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\d+\. `([a-z_/]+\.py)`", section, re.MULTILINE)


async def trace(gateway: RunningGateway, path: str, request_id: str) -> list[str]:
    with traced(request_id) as files:
        answer = await gateway.get(path, headers={"X-Request-Id": request_id})
    assert answer.status == 200
    return files


@pytest.mark.parametrize("heading", MOST_FILES)
async def test_a_get_runs_through_the_documented_files(gateway: RunningGateway, images: Images, heading: str) -> None:
    await images.add("first")
    await images.add("cat")
    await gateway.get("/i/first")  # so that connections are open
    if heading == "A warm GET":
        await gateway.get("/i/cat")
    files = await trace(gateway, "/i/cat", "request-path")
    assert files == documented(heading), f"docs/architecture.md, {heading}: {files}"
    assert len(files) <= MOST_FILES[heading]
