"""The audit log of requests: who did what, in a stream of its own."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.metrics.loop_counters import LoopCounter
from gateway.process.audit import AuditLog
from gateway.process.logs import LogHandler
from gateway.settings import Live, LoggingSettings
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT

# Notes an act of each number, the second one on a disk with room for 25 bytes more; prints how many lines were lost.
FULL_FOR_A_WHILE = """
import asyncio, os, resource, sys
from gateway.process.audit import AuditLog
from gateway.settings import Live, LoggingSettings

async def note(number):
    lost = []
    settings = Live(LoggingSettings(audit=sys.argv[1]))
    await AuditLog(settings, count_lost=lambda: lost.append(number)).note("purge", "admin", outcome=number)
    print(len(lost))

_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
asyncio.run(note(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(sys.argv[1]) + 25, most))
asyncio.run(note(2))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
asyncio.run(note(3))
asyncio.run(note(4))
"""
LINKS = {"signed_links": {"keys": {"k": "x" * 32}}}
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}", "X-Request-Id": "request-of-the-test"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of the audit log."""
    return tmp_path / "audit.log"


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images, links_table: object, file: Path) -> RunningGateway:
    """A gateway with an audit log."""
    del links_table
    await images.add("a", owner="alice", public=False)
    return await start_gateway(
        logging={"audit": str(file)}, access=LINKS, purge={"target": "webhook", "url": "http://127.0.0.1:1/"}
    )


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def test_each_act_of_the_admin_is_a_line_and_a_look_at_the_console_is_none(
    gateway: RunningGateway, file: Path
) -> None:
    acts: list[tuple[str, str, dict[str, Any], str, dict[str, Any]]] = [
        ("POST", "/api/v1/cache/purge", {"json": {"image_ids": ["a", "b"]}}, "purge", {"image_ids": ["a", "b"]}),
        ("DELETE", "/api/v1/images/a/links", {}, "kill_links", {"image_id": "a"}),
        ("GET", "/api/v1/monitoring/preview/a", {}, "view", {"image_id": "a"}),
        ("GET", "/api/v1/monitoring/explain/a", {}, "view", {"image_id": "a"}),
        ("POST", "/api/v1/images/a/url/refresh", {}, "refresh", {"image_id": "a"}),
        ("POST", "/api/v1/monitoring/queue/requeue", {"json": {}}, "requeue", {}),
        ("POST", "/api/v1/config/reload", {}, "reload", {}),
    ]
    for method, path, options, action, facts in acts:
        answer = await gateway.request(method, path, admin=True, headers=ADMIN, **options)
        [*_, line] = await asyncio.to_thread(lines_of, file)
        expected = {
            "event": "audit",
            "action": action,
            "caller": "admin",
            "client": "127.0.0.1",
            "request_id": "request-of-the-test",
            "outcome": answer.status,
            **facts,
        }
        assert answer.status == 200, answer.body
        assert {name: value for name, value in line.items() if name != "timestamp"} == expected
    assert ADMIN_TOKEN not in file.read_text()
    await gateway.request("GET", "/api/v1/monitoring/console", admin=True)
    assert len(lines_of(file)) == len(acts)


async def test_a_failure_and_an_owner_are_named_and_what_is_refused_is_no_act(
    gateway: RunningGateway, file: Path
) -> None:
    await gateway.request("DELETE", "/api/v1/images/none/links", admin=True, headers=ADMIN)
    assert [(line["action"], line["outcome"]) for line in lines_of(file)] == [("kill_links", 404)]
    await gateway.request("POST", "/api/v1/cache/purge", admin=True, headers={"Authorization": "Bearer a-wrong-token"})
    assert len(lines_of(file)) == 1
    headers = {"Authorization": f"Bearer {token_for('alice')}"}
    assert (await gateway.request("DELETE", "/api/v1/images/a/links", headers=headers)).status == 200
    [_, line] = lines_of(file)
    assert (line["action"], line["caller"], line["image_id"]) == ("kill_links", "user:alice", "a")


async def test_a_file_begins_anew_once_moved_away_and_the_act_goes_on_if_it_cannot_be_written(
    gateway: RunningGateway, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def purge() -> None:
        body = {"image_ids": ["a"]}
        answer = await gateway.request("POST", "/api/v1/cache/purge", admin=True, headers=ADMIN, json=body)
        assert answer.status == 200

    for number in range(2):
        await purge()
        assert len(lines_of(file)) == 1
        assert f"{file.stat().st_mode & 0o777 & ~0o640:o}" == "0", "it is not for everybody"
        file.rename(file.with_suffix(f".{number}"))
    file.mkdir()
    await purge()
    [text] = [record.getMessage() for record in caplog.records if "audit line not written" in record.getMessage()]
    assert '"action": "purge"' in text
    assert gateway.sample("audit_lines_lost_total") == 1


async def test_an_act_waits_two_seconds_for_a_disk_that_hangs_and_the_next_one_does_not(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(file)  # nobody reads it: to open it takes for ever
    counted = LoopCounter("lost", "Lost lines.")
    audit = AuditLog(Live(LoggingSettings(audit=str(file))), count_lost=counted.add)
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(audit.note("purge", "admin", outcome=number) for number in range(50)))
    lost = [
        record.getMessage() for record in caplog.records if "reason=the disk does not answer" in record.getMessage()
    ]
    assert len(lost) == counted.total() == 50
    with file.open() as reader:  # the disk is back
        await asyncio.to_thread(reader.read)
    file.unlink()
    async with asyncio.timeout(LIMIT):
        while not file.exists():
            await audit.note("purge", "admin", outcome=200)
    assert {line["outcome"] for line in lines_of(file)} == {200}


def test_a_line_that_a_full_disk_cuts_off_is_lost_and_spoils_no_other_of_any_process(file: Path) -> None:
    command = (sys.executable, "-c", FULL_FOR_A_WHILE, str(file))
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
    assert ended.stdout.split() == ["0", "1", "0", "0"]
    assert "audit line not written: reason=File too large" in ended.stderr
    first, cut_off, *others = file.read_text().splitlines()
    assert len(cut_off) == 25
    assert [json.loads(line)["outcome"] for line in (first, *others)] == [1, 3, 4]


async def test_a_device_that_is_always_full_is_not_read_to_an_end_that_it_does_not_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await AuditLog(Live(LoggingSettings(audit="/dev/full"))).note("purge", "admin", outcome=200)
    assert "audit line not written: reason=No space left on device" in caplog.text


async def test_standard_error_is_the_stream_of_the_log() -> None:
    text = io.StringIO()
    handler = LogHandler(text, "json", None)
    logging.getLogger().addHandler(handler)
    earlier, logging.getLogger().handlers[:] = logging.getLogger().handlers[:], [handler]
    try:
        await AuditLog(Live(LoggingSettings(audit="-")), worker=2).note("reload", "signal", outcome="reloaded")
    finally:
        logging.getLogger().handlers[:] = [each for each in earlier if each is not handler]
    line = json.loads(text.getvalue())
    assert (line["event"], line["action"], line["caller"], line["worker"]) == ("audit", "reload", "signal", 2)
