"""`check --deep`: probes of a real bucket, and a report to paste into an issue."""

import click

from gateway.checks.deep_probes import Subject, Verdict, run_probes
from gateway.checks.deep_session import open_deep_session
from gateway.commands.dependencies import open_dependencies
from gateway.commands.output import OutputConsole, print_verdict
from gateway.errors import GatewayError
from gateway.presign.probe_signer import ProbeSigner
from gateway.presign.style_variants import Renditions
from gateway.settings import Settings


async def print_probes(
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
