"""One bucket of two that fails, asked of a real server: the other one works."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.catalog.record import ImageRecord
from gateway.checks.cos import CosCheck
from gateway.checks.finding import Finding
from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.faults import Fault, Refuse
from gateway.cos_emulator.server import CosEmulator
from gateway.cos_emulator.store import ObjectStore
from gateway.metrics.collectors import Metrics
from gateway.origin.session import open_origin
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import Signer
from gateway.settings import CosSettings, ImageProxySettings
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY

OTHER = "other-1250000000"


class Here(AbstractResolver):
    """Finds every host at 127.0.0.1."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        """Return the one address."""
        del family
        address = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET}
        return [ResolveResult(**address, proto=0, flags=socket.AI_NUMERICHOST)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def checking(port: int) -> AsyncIterator[CosCheck]:
    """A check of buckets at this port."""
    settings = CosSettings.model_validate(
        {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"{{bucket}}.cos.test.myqcloud.com:{port}",
        }
    )
    hosts, metrics = Hosts(settings), Metrics()
    signer = Signer(Credentials(SECRET_ID, SECRET_KEY), hosts, ttl=600, window=1, metrics=metrics)
    opening = open_origin(ImageProxySettings(timeout=2), max_connections=2, metrics=metrics, resolver=Here())
    async with opening as origin:
        yield CosCheck(
            origin,
            lambda image, method: signer.sign(image, method=method).url,
            lambda image: hosts.origin_of(image.bucket, image.region).host,
            time.time,
        )


@pytest.fixture
async def store() -> AsyncIterator[CosEmulator]:
    """An emulator with two buckets, an object in each."""
    objects = ObjectStore()
    for bucket in (BUCKET, OTHER):
        objects.create_bucket(bucket)
        objects.put(bucket, f"{bucket}.png", b"an image", content_type="image/png")
    async with CosEmulator(objects, {SECRET_ID: Credential(SECRET_KEY)}) as emulator:
        yield emulator


async def findings(port: int, *buckets: str) -> list[Finding]:
    """Return a finding for each bucket."""
    async with checking(port) as check:
        images = [ImageRecord(f"in-{one}", None, True, one, "ap-guangzhou", f"{one}.png", None) for one in buckets]
        return [await check.bucket(image) for image in images]


async def test_both_buckets_work(store: CosEmulator) -> None:
    for finding, bucket in zip(await findings(store.port, BUCKET, OTHER), (BUCKET, OTHER), strict=True):
        place = f"{bucket}.cos.test.myqcloud.com"
        assert (finding.is_well, finding.name) == (True, f"cos {bucket}")
        assert finding.what == f"GET 206 and HEAD 200 at {place}, row in-{bucket}"


@pytest.mark.parametrize(
    ("status", "code", "advice"), [(403, "AccessDenied", "GetObject"), (404, "NoSuchBucket", "cos.bucket")]
)
async def test_one_bucket_that_refuses_is_named(store: CosEmulator, status: int, code: str, advice: str) -> None:
    store.faults.add(Fault(action=Refuse(status=status, code=code), key=f"{OTHER}.png", times=None))
    works, fails = await findings(store.port, BUCKET, OTHER)
    assert works.is_well
    assert not fails.is_well
    assert fails.name == f"cos {OTHER}"
    assert f"COS answered {status} {code}" in fails.what
    assert advice in fails.advice


async def test_a_bucket_that_does_not_exist_is_named(store: CosEmulator) -> None:
    works, fails = await findings(store.port, BUCKET, "third-1250000000")
    assert works.is_well
    assert "404 NoSuchBucket" in fails.what


async def test_a_refused_connection_names_the_host(store: CosEmulator) -> None:
    del store
    (fails,) = await findings(1, BUCKET)
    assert f"no answer at {BUCKET}.cos.test.myqcloud.com" in fails.what
    assert "cos.region" in fails.advice
