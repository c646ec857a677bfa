"""The log in a pipe: every line arrives whole, whatever interrupts the writer and whoever else writes."""

import asyncio
import fcntl
import io
import json
import os
import sys
import threading
from collections import Counter

import pytest

from gateway.api.access_log import AccessLog
from gateway.process.log_stream import WholeLines, standard_error

_PAGE = 4096  # the smallest pipe, so that whoever writes has to wait

INTERRUPTED = """
import asyncio, logging, signal
from gateway.api.access_log import AccessLog, stream_of_log
from gateway.process.logs import configure_logging
from gateway.settings import LoggingSettings

async def serve():
    configure_logging(LoggingSettings())
    requests = AccessLog(stream_of_log(), format="json", now=lambda: 0)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    for _ in range(60):
        for _ in range(400):
            requests.add({"status": 200, "bytes": 1234567})
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
    log.write(f"{sys.argv[1]}\\n" * 400)
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


async def test_lines_are_whole_though_signals_interrupt_the_writer() -> None:
    lines = await lines_of((INTERRUPTED,))
    (request, times), *_ = lines.most_common(1)
    assert (json.loads(request)["bytes"], times) == (1234567, 60 * 400)
    del lines[request]
    assert all(line.startswith('{"event": "between"') for line in lines)
    assert lines.total() == 60


async def test_lines_of_several_processes_do_not_mix() -> None:
    words = ["a" * 50, "b" * 150, "c" * 250]
    assert await lines_of(*((SHARING, word) for word in words)) == dict.fromkeys(words, 30 * 400)


def test_a_pipe_that_does_not_block_gets_every_line_too() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    text = "".join(f"line {number}\n" for number in range(20_000)) + "x" * 10_000 + "\nthe end\n"

    def write() -> None:
        io.TextIOWrapper(WholeLines(theirs), "utf-8", write_through=True).write(text)
        os.close(theirs)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(ours) as pipe:
        assert pipe.read() == text
    writer.join()


async def test_a_full_disk_of_the_log_does_not_fail_requests() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    stream = io.TextIOWrapper(WholeLines(full), "utf-8", write_through=True)
    with pytest.raises(OSError, match="No space left"):
        stream.write("a line\n")
    log = AccessLog(stream, format="json")
    for _ in range(600):  # some are written at once, the others soon
        log.add({"status": 200})
    log.flush()
    os.close(full)


def test_a_standard_error_that_is_no_file_is_taken_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    stream = standard_error()
    assert stream is sys.stderr
    stream.write("said\n")
    assert capsys.readouterr().err == "said\n"
