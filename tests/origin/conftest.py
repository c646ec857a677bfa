"""Fixtures: the origin client alone, against the COS emulator."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from gateway.catalog.record import ImageRecord
from gateway.objects.object_body import ObjectBody, OriginAccess
from gateway.objects.object_cache import ObjectCache
from gateway.objects.transfer_state import ResumptionLimits
from gateway.origin.client import OriginClient, open_origin
from gateway.origin.failures import FailedObjects
from gateway.origin.origin_response import OriginResponse
from gateway.presign.credentials import Credentials
from gateway.presign.hosts import Hosts
from gateway.presign.signer import PresignedUrl, SignedImage, Signer
from gateway.service.metrics import Metrics
from gateway.settings import CosSettings, ImageProxySettings, Live, MemoryCacheSettings
from gateway_dev.cos_emulator.server import CosEmulator
from tests.conftest import BUCKET, SECRET_ID, SECRET_KEY
from tests.heard_changes import quiet_log
from tests.signed_images import signed_image
from tests.url_settings import url_cache

OpenOrigin = Callable[..., Awaitable[OriginClient]]
Presign = Callable[..., str]


@pytest.fixture
async def open_one(metrics: Metrics) -> AsyncIterator[OpenOrigin]:
    """Open clients that end with the test; keyword arguments change ``image_proxy``."""
    async with AsyncExitStack() as stack:

        async def opened(**settings: Any) -> OriginClient:
            made = ImageProxySettings.model_validate({"timeout": 10, "retry_count": 2, **settings})
            return await stack.enter_async_context(open_origin(Live(made), max_connections=100, metrics=metrics.origin))

        yield opened


@pytest.fixture
async def origin(open_one: OpenOrigin) -> OriginClient:
    """Return a client with a time-out of 10 s that tries three times."""
    return await open_one()


@pytest.fixture
def presign(raw_settings: dict[str, dict[str, Any]], metrics: Metrics, cos: CosEmulator) -> Presign:
    """Return the function that presigns the URL of an object."""
    settings = CosSettings.model_validate(raw_settings["cos"])
    hosts = Hosts(settings)
    credentials = Credentials(SECRET_ID, SECRET_KEY)
    signer = Signer(lambda _: credentials, hosts, Live(url_cache(600, window=1)), metrics=metrics.presign)

    def sign(key: str = "cat.png", method: str = "GET") -> str:
        record = ImageRecord("cat", None, True, BUCKET, settings.region, key, None)
        return signer.sign(record, method=method).url

    return sign


async def read_all(body: ObjectBody | OriginResponse) -> bytes:
    """Return all bytes, to the end."""
    return b"".join([piece async for piece in _pieces(body)])


async def _pieces(body: ObjectBody | OriginResponse) -> AsyncIterator[bytes]:
    while piece := await body.read():
        yield piece


@asynccontextmanager
async def object_body(origin: OriginClient, url: str, resumes: int = 0, /, **headers: str) -> AsyncIterator[ObjectBody]:
    """Open the object at ``url``; a lost body is resumed ``resumes`` times, and no URL is renewed."""
    record = ImageRecord("cat", None, True, BUCKET, "ap-guangzhou", "cat.png", None)

    async def renew(refused: SignedImage, cos_time: float | None) -> SignedImage:
        raise AssertionError("COS refused the URL")

    metrics = Metrics().origin
    access = OriginAccess(
        origin,
        FailedObjects(lambda _: float("-inf")),
        ObjectCache(Live(MemoryCacheSettings()), metrics, quiet_log()),
        renew,
        lambda image: image.presigned,
        metrics,
        Live(ResumptionLimits(resumes)),
    )
    body = ObjectBody(access, signed_image(record, PresignedUrl(url, 0, 0)))
    await body.open(headers)
    try:
        yield body
    finally:
        body.close()
