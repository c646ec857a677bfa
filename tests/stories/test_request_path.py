"""The files that one request runs through, held against the lists in docs/architecture.md."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes
from types import FrameType
from typing import Any

import pytest

from gateway.changes.change_log import Source
from gateway.delivery.request_context import current_request_id
from gateway_dev.database import ImageRow
from tests.conftest import Images, RunningGateway, StartGateway
from tests.waiting import until

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
MOST_CALLS = 32  # of functions of the package, once a warm GET is parsed
MOST_FILES = {"A warm GET": 14, "A cold GET": 30}  # with the policy, which decides about public images, too


@contextmanager
def traced(is_traced: Callable[[str], bool]) -> Iterator[list[str]]:
    """The file of each call of a function of the package, in their order.

    ``is_traced`` gets the name of the file, and says whether the running function counts.
    """
    calls: list[str] = []
    prefix = f"{ROOT / 'gateway'}/"

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(prefix) and is_traced(path.removeprefix(prefix)):
            name = path.removeprefix(prefix)
            if not name.startswith(("cos_emulator/", "dev/")):
                calls.append(name)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def documented(heading: str) -> list[str]:
    """The files of the list under a heading, in order."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition(f"# {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\d+\. `([a-z_/]+\.py)`", section, re.MULTILINE)


async def trace(gateway: RunningGateway, path: str, request_id: str) -> list[str]:
    # Tasks that a request starts inherit its context; background tasks have another one.
    with traced(lambda _: current_request_id.get() == request_id) as calls:
        answer = await gateway.get(path, headers={"X-Request-Id": request_id})
    assert answer.status == 200
    return calls


@pytest.mark.parametrize("heading", MOST_FILES)
async def test_a_get_runs_through_the_documented_files(
    start_gateway: StartGateway, images: Images, heading: str
) -> None:
    gateway = await start_gateway(logging={"access": False})
    await images.add("first")
    await images.add("cat", token_bytes(16))  # header lines of equal bytes of one second are known from any test
    await gateway.get("/i/first")  # so that connections are open
    if heading == "A warm GET":
        await gateway.get("/i/cat")
    calls = await trace(gateway, "/i/cat", "request-path")
    files = list(dict.fromkeys(calls))
    assert files == documented(heading), f"docs/architecture.md, {heading}: {files}"
    assert len(files) <= MOST_FILES[heading]
    assert heading != "A warm GET" or len(calls) <= MOST_CALLS


async def test_a_changed_row_runs_through_the_documented_files(gateway: RunningGateway, images: Images) -> None:
    await images.add("cat")
    await gateway.get("/i/cat")
    rooms = ("catalog/", "changes/", "urls/", "purge/", "redis_entries/url_entries.py")

    def is_traced(name: str) -> bool:
        task = asyncio.current_task()
        is_feed = task is not None and task.get_name() == "change-feed"
        return name == "catalog/change_feed.py" or (is_feed and name.startswith(rooms))

    log = gateway.changes
    heartbeat = log.heartbeats[Source.ROWS]
    last = heartbeat.proven_at
    await until(lambda: heartbeat.proven_at > last, what="a heartbeat: the next one comes in two seconds")
    with traced(is_traced) as calls:
        before = log.number
        await images.add_row(ImageRow("cat", None, "cat.png", public=False))
        await until(lambda: log.changed_since("cat", before))
        await until(lambda: "redis_entries/url_entries.py" in calls)
    ours = [name for name in documented("The way of a change") if name != "purge/intake.py"]
    assert [name for name in dict.fromkeys(calls) if name != "changes/heartbeat.py"] == ours, calls
