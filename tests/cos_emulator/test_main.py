"""The emulator as a command."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner
from qcloud_cos import CosConfig, CosS3Client
from yarl import URL

from gateway_dev.cos_emulator.__main__ import main
from tests.limits import LIMIT

from .conftest import BUCKET, SECRET_ID, SECRET_KEY

CREDENTIALS = ["--secret-id", SECRET_ID, "--secret-key", SECRET_KEY]


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the command; yield the process and the emulator's URL."""
    program = [sys.executable, "-m", "gateway_dev.cos_emulator", "--port", "0", *CREDENTIALS, *options]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT):
            line = (await process.stdout.readline()).decode()
        yield process, line.removeprefix("COS emulator: ").strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_command_serves_a_folder_until_sigterm(tmp_path: Path) -> None:
    (tmp_path / "图.png").write_bytes(b"data")
    async with running("--bucket", f"{BUCKET}={tmp_path}", "--token", "T", "--token-life", "600") as (process, url):
        domain = url.removeprefix("http://")
        config = CosConfig(
            Region="ap-guangzhou", Scheme="http", Domain=domain, SecretId=SECRET_ID, SecretKey=SECRET_KEY
        )
        presigned = CosS3Client(config).get_presigned_url(
            Bucket=BUCKET, Key="图.png", Method="GET", Params={"x-cos-security-token": "T"}
        )
        async with ClientSession() as session:
            async with session.get(URL(presigned, encoded=True)) as response:
                assert (response.status, await response.read()) == (200, b"data")
            async with session.get(f"{url}/.emulator/journal") as response:
                assert len((await response.json())["requests"]) == 1
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT):
            assert await process.wait() == 0


async def test_the_command_also_serves_credentials_and_purges(tmp_path: Path) -> None:
    options = ("--credentials-port", "0", "--role", "images", "--purge-port", "0", "--cdn-domain", "img.example.com")
    async with running("--bucket", f"{BUCKET}={tmp_path}", *options) as (process, _), ClientSession() as session:
        assert process.stdout is not None
        for name, path, answered in (
            ("metadata and STS services", "/latest/meta-data/cam/security-credentials/", "images"),
            ("Tencent CDN and EdgeOne", "/.emulator/purges", '{"purges": [], "calls": 0}'),
        ):
            printed, _, address = (await process.stdout.readline()).decode().partition(": ")
            assert printed == name
            async with session.get(address.strip() + path) as answer:
                assert await answer.text() == answered


@pytest.mark.parametrize("bucket", ["name", "name=", "=folder", "name=/no/such/folder"])
def test_an_invalid_bucket_option_is_a_usage_error(bucket: str) -> None:
    result = CliRunner().invoke(main, [*CREDENTIALS, "--bucket", bucket])
    assert result.exit_code == 2
    assert "Invalid value for '--bucket'" in result.output
