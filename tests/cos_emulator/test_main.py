"""The emulator as a command."""

import asyncio
import json
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


async def test_the_command_also_serves_credentials(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"data")
    options = ("--credentials-port", "0", "--role", "images", "--issued-life", "600")
    async with running("--bucket", f"{BUCKET}={tmp_path}", *options) as (process, url):
        assert process.stdout is not None
        services = (await process.stdout.readline()).decode().partition(": ")[2].strip()
        async with ClientSession() as session:
            async with session.get(f"{services}/latest/meta-data/cam/security-credentials/images") as response:
                found = json.loads(await response.read())
            config = CosConfig(
                Region="ap-guangzhou",
                Scheme="http",
                Domain=url.removeprefix("http://"),
                SecretId=found["TmpSecretId"],
                SecretKey=found["TmpSecretKey"],
            )
            presigned = CosS3Client(config).get_presigned_url(
                Bucket=BUCKET, Key="a.png", Method="GET", Params={"x-cos-security-token": found["Token"]}
            )
            async with session.get(URL(presigned, encoded=True)) as response:
                assert (response.status, await response.read()) == (200, b"data")


async def test_the_command_also_serves_tencent_cdn_and_edgeone(tmp_path: Path) -> None:
    options = ("--purge-port", "0", "--cdn-domain", "img.example.com")
    async with running("--bucket", f"{BUCKET}={tmp_path}", *options) as (process, _):
        assert process.stdout is not None
        name, _, services = (await process.stdout.readline()).decode().partition(": ")
        assert name == "Tencent CDN and EdgeOne"
        async with ClientSession() as session, session.get(f"{services.strip()}/.emulator/purges") as response:
            assert await response.json() == {"purges": [], "calls": 0}


@pytest.mark.parametrize("bucket", ["name", "name=", "=folder", "name=/no/such/folder"])
def test_an_invalid_bucket_option_is_a_usage_error(bucket: str) -> None:
    result = CliRunner().invoke(main, [*CREDENTIALS, "--bucket", bucket])
    assert result.exit_code == 2
    assert "Invalid value for '--bucket'" in result.output
