"""What ``gateway check`` opens: the adapters alone, each tried in turn."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway import components
from gateway.api import app_keys
from gateway.app import create_app
from gateway.catalog.record import ImageRecord
from gateway.errors import CredentialsExpired
from gateway.metrics.collectors import Metrics
from gateway.ops.diagnostics import Finding, examine
from gateway.settings import Settings

# What config/gateway.yaml holds for the keys that have no default.
PLACEHOLDERS = {
    "postgres.dsn": "postgresql://USER:PASSWORD@postgres.example:5432/DATABASE",
    "cos.secret_id": "YOUR-SECRET-ID",
    "cos.secret_key": "YOUR-SECRET-KEY",
    "cos.bucket": "your-bucket-1250000000",
}


async def check_all(settings: Settings, *, now: Callable[[], float] = time.time) -> AsyncIterator[Finding]:
    """A finding on the configuration, and one for each dependency, in the order they are tried."""
    if untouched := list(_untouched(settings)):
        what = f"{', '.join(untouched)}: as config/gateway.yaml has it, for you to fill in"
        yield Finding("configuration", False, what, "set it there, in the environment or in the secrets directory")
    else:
        yield Finding("configuration", True, "every key is known, and none is missing")
    async for finding in _check_dependencies(settings, now):
        yield finding


def _untouched(settings: Settings) -> Iterator[str]:
    """The keys that still hold their placeholders."""
    given = {
        "postgres.dsn": settings.postgres.dsn.get_secret_value(),
        "cos.secret_id": settings.cos.secret_id.get_secret_value(),
        "cos.secret_key": settings.cos.secret_key.get_secret_value(),
        "cos.bucket": settings.cos.bucket,
    }
    yield from (key for key, placeholder in PLACEHOLDERS.items() if given[key] == placeholder)


async def _check_dependencies(settings: Settings, now: Callable[[], float]) -> AsyncIterator[Finding]:
    app = create_app(settings, Metrics())
    signer, bucket, region = app[app_keys.SIGNER], settings.cos.bucket, settings.cos.region
    probe = ImageRecord("check", None, public=False, bucket=bucket, region=region, key="check", content_type=None)

    def presign(image: ImageRecord) -> str:
        presigned = signer.sign(image)
        if not app[app_keys.LIFETIME].is_usable(presigned, app[app_keys.CLOCK].now()):
            raise CredentialsExpired("cos.token_expires_at is past, or so near that no URL could be used")
        return presigned.url

    async with AsyncExitStack() as stack:
        for part in (components.catalog, components.shared_tier, components.origin):
            await stack.enter_async_context(asynccontextmanager(part)(app))
        async for finding in examine(
            app.get(app_keys.REDIS),
            app[app_keys.CATALOG],
            app[app_keys.ORIGIN],
            presign=presign,
            probe=probe,
            signs_links=app_keys.LINKS in app,
            now=now,
        ):
            yield finding
