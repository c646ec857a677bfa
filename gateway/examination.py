"""What ``gateway check`` opens: the adapters alone, each tried in turn."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway import parts
from gateway.api import keys
from gateway.app import create_app
from gateway.catalog.record import ImageRecord
from gateway.metrics import Metrics
from gateway.ops.doctor import Finding, examine
from gateway.settings import Settings


async def examine_dependencies(settings: Settings) -> AsyncIterator[Finding]:
    """One finding for each dependency, in the order they are tried."""
    app = create_app(settings, Metrics())
    signer, bucket, region = app[keys.SIGNER], settings.cos.bucket, settings.cos.region
    probe = ImageRecord("check", None, public=False, bucket=bucket, region=region, key="check", content_type=None)
    async with AsyncExitStack() as stack:
        for part in (parts.catalog, parts.shared_tier, parts.origin):
            await stack.enter_async_context(asynccontextmanager(part)(app))
        async for finding in examine(
            app.get(keys.REDIS),
            app[keys.CATALOG],
            app[keys.ORIGIN],
            presign=lambda image: signer.sign(image).url,
            probe=probe,
            signs_links=keys.LINKS in app,
        ):
            yield finding
