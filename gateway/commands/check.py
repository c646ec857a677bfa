"""``gateway check``: what is wrong with the configuration and the dependencies, and what to do about it."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click

from gateway.api import app_keys
from gateway.app import opened_components
from gateway.catalog.record import ImageRecord
from gateway.commands.shared import FAILED, OutputConsole, config_option, settings_from
from gateway.delivery.fallback_picture import FallbackPicture, UnusablePicture
from gateway.errors import CredentialsExpired
from gateway.ops.diagnostics import Finding, diagnose
from gateway.ops.placeholders import diagnose_placeholders
from gateway.settings import FallbackSettings, Settings


@click.command()
@config_option
def check(config: Path | None) -> None:
    """Validate the configuration, then try Redis, Postgres and COS one by one."""
    settings = settings_from(config)
    logging.getLogger("gateway.redis_store").addHandler(logging.NullHandler())  # the finding reports the outage
    if not asyncio.run(_print_findings(settings)):
        sys.exit(FAILED)


async def _print_findings(settings: Settings) -> bool:
    """Whether every dependency works."""
    all_well = True
    console = OutputConsole(highlight=False, soft_wrap=True)
    async for finding in _findings(settings):
        all_well &= finding.is_well
        verdict = "[red]fail[/] "
        if finding.is_well:
            verdict = "[yellow]warn[/] " if finding.is_warning else "[green]ok[/]   "
        console.print(verdict, f"{finding.name}:", finding.what)
        if finding.advice:
            console.print("      ", finding.advice, style="yellow")
    return all_well


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    yield diagnose_placeholders(settings.postgres, settings.cos)
    if settings.image_proxy.fallback is not None:
        yield await asyncio.to_thread(_diagnose_fallback, settings.image_proxy.fallback)
    async with opened_components(settings) as app:

        def presign(image: ImageRecord) -> str:
            presigned = app[app_keys.SIGNER].sign(image)
            if not app[app_keys.LIFETIME].is_usable(presigned, app[app_keys.CLOCK].now()):
                raise CredentialsExpired("cos.token_expires_at is past, or too near for any URL to be usable")
            return presigned.url

        async for finding in diagnose(
            app.get(app_keys.REDIS),
            app[app_keys.CATALOG],
            app[app_keys.ORIGIN],
            presign=presign,
            bucket=settings.cos.bucket,
            region=settings.cos.region,
            signs_links=app_keys.SIGNED_LINKS in app,
        ):
            yield finding


def _diagnose_fallback(settings: FallbackSettings) -> Finding:
    """Return whether the fallback picture can be used; blocks."""
    try:
        FallbackPicture.read(settings.path, settings.statuses)
    except UnusablePicture as error:
        return Finding("fallback picture", False, str(error), "serve does not start without it")
    return Finding("fallback picture", True, "can be sent in place of an image")
