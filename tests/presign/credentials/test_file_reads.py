"""Reads of a file that hangs."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway.presign.credentials import CredentialsUnavailable
from gateway.presign.credentials.file import FileSource
from gateway.presign.credentials.file_reads import FileReads
from tests.limits import LIMIT
from tests.waiting import until


async def test_a_file_that_hangs_leaves_threads_to_others_and_is_read_again_once_it_answers(tmp_path: Path) -> None:
    """A pipe hangs as a network file system does. Name look-ups run in the same threads."""
    path = tmp_path / "cos.json"
    os.mkfifo(path)
    source = FileSource(path)
    for _ in range(50):
        with pytest.raises((TimeoutError, CredentialsUnavailable)):
            async with asyncio.timeout(0.02):
                await source.fetch()
    try:
        assert await asyncio.wait_for(asyncio.to_thread(int), LIMIT) == 0
    finally:
        path.open("w").close()  # the read ends: there is nothing in it

    async def is_read() -> bool:
        path.unlink(missing_ok=True)
        path.write_text('{"secret_id": "AKID", "secret_key": "key"}')
        try:
            return (await source.fetch()).secret_id == "AKID"
        except CredentialsUnavailable:
            return False

    await until(is_read, what="the credentials")


async def test_what_a_read_raises_is_raised() -> None:
    reads = FileReads()

    def fail() -> None:
        raise CredentialsUnavailable("no such file")

    for _ in range(2):
        with pytest.raises(CredentialsUnavailable, match="no such file"):
            await reads.run(fail)
    assert await reads.run(lambda: 1) == 1
