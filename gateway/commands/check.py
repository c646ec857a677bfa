"""``gateway check``: find problems of the configuration and the dependencies, with their remedies."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from gateway.access.canary_mark import CanaryMark
from gateway.canary.client import open_front_client
from gateway.checks.configuration import (
    check_names,
    diagnose_credentials,
    diagnose_fallback,
    diagnose_open_files,
    diagnose_placeholders,
    diagnose_signature,
)
from gateway.checks.cos import CosCheck, check_variants
from gateway.checks.database import DatabaseCheck
from gateway.checks.deep_probes import Subject, Verdict, run_probes
from gateway.checks.deep_session import open_deep_session
from gateway.checks.fronts import diagnose_canary, diagnose_negotiation, diagnose_purge
from gateway.checks.nginx import check_nginx
from gateway.checks.redis import check_redis
from gateway.commands.check_running import NGINX_STATUS, find_running
from gateway.commands.config_option import FAILED, NGINX, config_option, settings_from
from gateway.commands.dependencies import Dependencies, open_dependencies
from gateway.commands.output import OutputConsole, print_verdict
from gateway.delivery.nginx_files import VERSION
from gateway.errors import GatewayError
from gateway.findings.finding import Finding, well
from gateway.origin.client import OriginClient
from gateway.presign.probe_signer import ProbeSigner
from gateway.presign.style_variants import Renditions
from gateway.server.file_limit import hard_limit, needed_files
from gateway.service.canary import make_canaries
from gateway.service.images import open_cos
from gateway.service.purges import PurgeTarget, open_purge_target
from gateway.service.stores import shared_secret
from gateway.settings import Settings


@click.command(short_help="Test the configuration, Redis, Postgres and COS, and print remedies.")
@config_option
@click.option(
    "--nginx",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"The folder of nginx's configuration with files of this project; default: {NGINX}, if it has any.",
)
@click.option(
    "--before-start",
    is_flag=True,
    help="Exit with 1 only for what stops a start, not for a server that does not answer: for an init container.",
)
@click.option("--deep", is_flag=True, help="Then test on the bucket what the gateway relies on; takes three minutes.")
@click.option("--style", "styles", multiple=True, metavar="NAME", help="With --deep: probe this style; default: all.")
@click.option("--oversized", metavar="KEY", help="With --deep: an object that is too large to be processed.")
@click.option("--not-image", metavar="KEY", help="With --deep: an object that is not an image.")
@click.option("--keys", multiple=True, metavar="KEY", help="With --deep: an object with an awkward key; repeatable.")
@click.option("--probe", "numbers", multiple=True, type=click.IntRange(1, 19), help="With --deep: only this probe.")
@click.option("--running", is_flag=True, help="Ask the running gateways and nginx instead, and print a table.")
@click.option("--admin", multiple=True, metavar="URL", help="With --running: an admin port to ask, too; repeatable.")
@click.option("--nginx-status", metavar="URL", help=f"With --running: nginx's own list; default: {NGINX_STATUS}.")
def check(
    config: Path | None,
    nginx: Path | None,
    *,
    before_start: bool,
    deep: bool,
    running: bool,
    admin: tuple[str, ...],
    nginx_status: str | None,
    **options: Any,
) -> None:
    """Validate the configuration, then try the credentials, Redis, Postgres and COS one by one."""
    if not deep and any(options.values()):
        raise click.UsageError("--style, --oversized, --not-image, --keys and --probe need --deep")
    if not running and (admin or nginx_status):
        raise click.UsageError("--admin and --nginx-status need --running")
    if running and (deep or before_start):
        raise click.UsageError("--running asks the gateways alone: leave out --deep and --before-start")
    settings = settings_from(config)
    for package in ("gateway.redis_connection", "gateway.presign"):
        logging.getLogger(package).addHandler(logging.NullHandler())  # the finding says it

    async def run() -> bool:
        if running:
            found = await find_running(settings, admin, nginx or NGINX, nginx_status)
            are_well = [_print_finding(finding) for finding in found]
            return all(are_well)
        all_well = True
        async for finding in _findings(settings, nginx):
            is_well = _print_finding(finding)
            all_well &= not finding.stops_start if before_start else is_well
        if deep:
            all_well &= await _print_probes(settings, **options)
        return all_well

    if not asyncio.run(run()):
        sys.exit(FAILED)


_VERDICTS: Final = {"ok": "ok", "warning": "warn", "bad": "fail"}


def _print_finding(finding: Finding) -> bool:
    """Print the finding, and return whether it is no failure."""
    kind = "" if finding.name == "well" else f" [{finding.name}]"
    print_verdict(_VERDICTS[finding.level], finding.where, f"{finding.what}{kind}", finding.advice)
    return finding.is_well


async def _findings(settings: Settings, nginx: Path | None) -> AsyncIterator[Finding]:
    yield diagnose_placeholders(settings.postgres, settings.cos)
    for finding in diagnose_negotiation(settings.image_variants, settings.purge):
        yield finding
    if settings.image_proxy.fallback is not None:
        yield await asyncio.to_thread(diagnose_fallback, settings.image_proxy.fallback)
    async with (
        open_dependencies(settings) as opened,
        open_cos(opened.live, opened.metrics.origin, opened.signing) as origin,
        open_purge_target(opened.live, opened.metrics.presign, opened.signing) as purges,
    ):
        yield await asyncio.to_thread(diagnose_signature, opened.signing.hosts, settings.cos.regions)
        redis = settings.redis if settings.url_cache.enabled else None
        about_names = check_names(redis, settings.postgres, opened.signing.hosts, settings.cos.regions)
        of_rows = None  # why rows are not seen
        for findings in (about_names, _of_credentials(opened, purges), _of_services(opened, origin)):
            async for finding in findings:
                of_rows = finding if finding.name in ("rows_hidden", "no_rows") else of_rows
                yield finding
        async for finding in _of_canary(opened, origin, of_rows):
            yield finding
    yield diagnose_open_files(hard_limit(), needed_files(settings.server.max_streams))
    forwarded = settings.access.forwarded_user
    user_headers = [] if forwarded is None else [*filter(None, (forwarded.header, forwarded.groups_header))]
    about_nginx = check_nginx(nginx or NGINX, VERSION, user_headers, is_required=nginx is not None)
    for finding in await asyncio.to_thread(list, about_nginx):
        yield finding


async def _of_credentials(opened: Dependencies, purges: PurgeTarget | None) -> AsyncIterator[Finding]:
    signing, purge = opened.signing, opened.live.value.purge
    sources = signing.credentials.all
    if purges is not None and purges.credentials is not None:
        sources += purges.credentials.all
    for credentials in sources:
        finding = await diagnose_credentials(credentials, credentials.buckets if len(sources) > 1 else ())
        # Purges wait until their credentials are right, and images do not need them.
        yield finding if credentials in signing.credentials.all else replace(finding, stops_start=False)
    if purge is not None and purges is not None:
        yield await diagnose_purge(purges.target, purge.target)


async def _of_services(opened: Dependencies, origin: OriginClient) -> AsyncIterator[Finding]:
    """Yield the findings about Redis, Postgres and COS, and about the variants of an image if COS gives one."""
    settings, signing, redis = opened.live.value, opened.signing, opened.stores.redis
    if redis is None:
        yield well("redis", "turned off by url_cache.enabled")
    else:
        async for finding in check_redis(settings.redis, redis.probe, redis.channel):
            yield finding
    database = DatabaseCheck(opened.stores.catalog, settings.postgres, settings.access.signed_links is not None)
    async for finding in database.findings():
        yield finding
    cos = CosCheck(origin, signing.signer, signing.lifetime, signing.hosts, signing.clock)
    is_read = True
    async for finding in cos.findings(database.images, settings.cos.regions, database.no_image_reason):
        is_read &= finding.is_well or not finding.where.startswith("cos ")
        yield finding
    for image in database.images[:1] if is_read else ():
        async for finding in check_variants(origin, signing.signer, signing.renditions.value, image):
            yield finding


async def _of_canary(opened: Dependencies, origin: OriginClient, of_rows: Finding | None) -> AsyncIterator[Finding]:
    async with open_front_client(CanaryMark(opened.live.map(shared_secret)).make) as client:
        canaries = make_canaries(opened.live, opened.metrics, opened.signing, opened.stores, origin, client)
        for canary in canaries:
            for finding in diagnose_canary(await canary.ask(frozenset()), of_rows):
                yield finding


async def _print_probes(
    settings: Settings,
    *,
    styles: tuple[str, ...],
    oversized: str | None,
    not_image: str | None,
    keys: tuple[str, ...],
    numbers: tuple[int, ...],
) -> bool:
    """Probe the bucket of the table's first image. Return whether no probe failed. No ``styles``, ``numbers``: all."""
    if unknown := set(styles) - settings.image_styles.keys():
        raise click.BadParameter(f"image_styles has no {', '.join(sorted(unknown))}", param_hint="--style")
    async with open_dependencies(settings) as opened:
        try:
            images = await opened.stores.catalog.sample_images()
        except GatewayError as error:
            raise click.ClickException(f"no image to probe, since Postgres failed: {error}") from None
        if not images:
            raise click.ClickException("no image to probe: the table holds no active image that can be served")
        image, signing, renditions = images[0], opened.signing, opened.signing.renditions.value
        rules = {
            name: renditions.get(name).rule(image)
            for style in styles or renditions.styles
            for name in _narrowest(renditions, style)
        }
        try:
            credentials = signing.credentials.of(image.bucket)
        except GatewayError as error:
            raise click.ClickException(str(error)) from None
        signer = ProbeSigner(credentials, signing.hosts, rules)
        all_well, timeout, is_strict = True, settings.image_proxy.timeout, image.bucket in settings.cos.strict_buckets
        async with open_deep_session(timeout) as session:
            subject = Subject(
                image, session, signer, tuple(rules), oversized, not_image, keys, timeout=timeout, is_strict=is_strict
            )
            OutputConsole(highlight=False, soft_wrap=True).print(
                f"probes of {image.bucket} with the image {image.image_id}", markup=False
            )
            async for number, result in run_probes(subject, numbers):
                all_well &= result.verdict is not Verdict.FAIL
                print_verdict(result.verdict, f"{number:2} {result.title}", result.what)
    return all_well


def _narrowest(renditions: Renditions, style: str) -> list[str]:
    """Return the renditions of a style to probe: the narrowest in each format and in each ratio, or the fixed style."""
    widths = renditions.widths(style)
    if not widths:
        return [style]
    formats = [renditions.choose(style, widths[0], image_format) for image_format in renditions.formats(style)]
    return formats + [renditions.choose(style, widths[0], None, ratio) for ratio in renditions.ratios(style)]
