"""The log in a pipe: each line arrives whole, whatever interrupts its writer and whoever else writes, or is counted."""

import asyncio
import fcntl
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.process.log_stream import LogStream, standard_error

_PAGE = 4096  # the smallest pipe, so that whoever writes has to wait

INTERRUPTED = """
import asyncio, logging, signal
from gateway.delivery.request_context import RequestContext
from gateway.server.request_log import RequestLog, stream_of_log
from gateway.process import logs
from gateway.process.logs import configure_logging
from gateway.settings import Live, LoggingSettings

logs._CLOSE_TIMEOUT = 60

async def serve():
    configure_logging(LoggingSettings())
    requests = RequestLog(stream_of_log(), Live(LoggingSettings()))
    context = RequestContext("request-id")
    context.outcome, context.size = "200", 1234567
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for _ in range(60):
        for _ in range(40):
            requests.add(context)
        requests.flush()
        logging.getLogger("gateway").info("between")
    signal.setitimer(signal.ITIMER_REAL, 0)

asyncio.run(serve())
"""
SHARING = """
import sys
from gateway.process.log_stream import standard_error
log = standard_error()
for _ in range(30):
    log.write(f"{sys.argv[1]}\\n" * 100)
log.close(60)
"""
FULL_FOR_A_WHILE = """
import os, resource, sys, time
from gateway.process.log_stream import LogStream
log = LogStream(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, most))
log.write("fits\\n" + 99 * "b" + "\\n")
while log.dropped != 1:
    time.sleep(0.001)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
log.write("fits again\\n")
log.close(60)
"""


async def lines_of(*commands: tuple[str, ...]) -> Counter[str]:
    """Run Python programs whose standard error is one small pipe; return how often each line came."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PAGE)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", *command, stdin=asyncio.subprocess.DEVNULL, stderr=theirs, env=environment
        )
        for command in commands
    ]
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        text = await asyncio.to_thread(pipe.read)
    assert [await process.wait() for process in processes] == [0] * len(processes), text[-2000:]
    return Counter(text.decode().splitlines())


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a small pipe."""
    ours, theirs = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PAGE)
    yield ours, theirs
    os.close(ours)


async def test_lines_are_whole_though_signals_interrupt_the_writer_and_its_process_ends() -> None:
    lines = await lines_of((INTERRUPTED,))
    (request, times), *_ = lines.most_common(1)
    assert (json.loads(request)["bytes"], times) == (1234567, 60 * 40)
    del lines[request]
    assert all(line.startswith('{"event": "between"') for line in lines)
    assert lines.total() == 60


async def test_lines_of_several_processes_do_not_mix() -> None:
    words = ["a" * 50, "b" * 150, "c" * 250]
    assert await lines_of(*((SHARING, word) for word in words)) == dict.fromkeys(words, 30 * 100)


def test_a_pipe_that_does_not_block_gets_every_line_too(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    os.set_blocking(theirs, False)
    text = "".join(f"line {number}\n" for number in range(20_000)) + "x" * 10_000 + "\nthe end\n"
    stream = LogStream(theirs)
    stream.write(text)
    assert read(ours, len(text)) == text
    stream.close(60)
    os.close(theirs)


def read(descriptor: int, size: int) -> str:
    """Return so many bytes."""
    text = b""
    while len(text) < size:
        text += os.read(descriptor, size)
    return text.decode()


def test_a_reader_that_sleeps_delays_nobody_and_lines_that_do_not_fit_are_counted(pipe: tuple[int, int]) -> None:
    ours, theirs = pipe
    stream, lines = LogStream(theirs, most_waiting=20_000), [f"line {number:04}\n" for number in range(10_000)]
    for line in lines:
        stream.write(line)
    assert 5000 < stream.dropped < 10_000
    began = time.monotonic()
    stream.close(0.05)
    assert time.monotonic() - began < 30, "it does not wait for the reader"
    received = read(ours, 10 * (10_000 - stream.dropped)).splitlines(keepends=True)
    assert set(received) <= set(lines)
    assert received == sorted(received)
    os.close(theirs)


def test_lines_that_a_full_disk_does_not_take_are_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stream = LogStream(full)
    stream.write("a line\n" * 600)
    stream.close(60)
    os.close(full)
    assert stream.dropped == 600


async def test_a_line_that_a_full_disk_cuts_off_spoils_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert await lines_of((FULL_FOR_A_WHILE, str(log))) == Counter()
    assert log.read_text() == "fits\n" + 20 * "b" + "\nfits again\n"


def test_a_standard_error_that_is_no_file_is_taken_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    stream = standard_error()
    assert stream is sys.stderr
    stream.write("said\n")
    assert capsys.readouterr().err == "said\n"
