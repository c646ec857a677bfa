"""``gateway explain``: why an image is served or not, step by step."""
# It does not check access: a caller who can read the configuration can read the images without it.

import json
import logging
import sys
from contextlib import aclosing
from pathlib import Path

import click

from gateway.catalog.database_report import tell_gateways
from gateway.catalog.image_id import parse_image_id
from gateway.commands.config_option import FAILED, config_option
from gateway.commands.dependencies import Dependencies, run_or_explain
from gateway.errors import ImageNotFound
from gateway.explain.access import Credentials
from gateway.explain.explanation import Explanation
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.service.access import open_access
from gateway.service.explain import make_explainer
from gateway.service.images import Images, open_cos
from gateway.service.urls import Urls
from gateway.urls.aliases import PATH, alias_in


@click.command()
@click.argument("image_id", metavar="ID")
@click.option("--token", metavar="T", help="Ask with this token; - reads it from standard input.")
@click.option("--link", metavar="URL", help="Ask with this signed link, with or without its host.")
@click.option("--user", metavar="U", help="Ask as this user, without credentials.")
@click.option("--style", metavar="NAME", help="Ask for this style instead of the original.")
@click.option("--width", type=click.IntRange(min=1), metavar="N", help="With --style: the width in pixels.")
@click.option("--format", "image_format", metavar="F", help="With --style: the format.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@config_option
def explain(
    image_id: str,
    token: str | None,
    link: str | None,
    user: str | None,
    style: str | None,
    width: int | None,
    image_format: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Explain why a client gets the image, or does not.

    ID is an id, or an address by alias such as /a/shop/cat.png. The first line is the result; the exit code is 0 if the
    client gets the image, and 1 if not. Without an option the caller is anonymous. No signature, token or secret is
    printed.
    """
    if sum(credential is not None for credential in (token, link, user)) > 1:
        raise click.UsageError("give one of --token, --link and --user")
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the explanation reports outages
    if token == "-":  # noqa: S105 - the name of standard input
        token = sys.stdin.readline().strip()
    given = {"style": style, "w": width, "format": image_format}
    parameters = {name: str(value) for name, value in given.items() if value is not None}

    async def explained(opened: Dependencies) -> Explanation:
        async with (
            open_access(opened.live, opened.metrics.access, verifies_tokens=token is not None) as access,
            opened.open_urls() as urls,
            open_cos(opened.live, opened.metrics.origin, opened.signing) as origin,
            aclosing(Images(opened.live, opened.metrics, access, urls, origin)) as images,
        ):
            watch = TriggerWatch(opened.stores.catalog.triggers, opened.metrics.monitoring)
            explainer = make_explainer(opened.live, access, urls, images, watch, opened.metrics.canary, None)
            if (postgres := opened.live.value.postgres).listen:
                await tell_gateways(postgres)
            named = await _of_alias(urls, image_id) if image_id.startswith(PATH) else parse_image_id(image_id)
            return await explainer.explain(named, Credentials(token, link, user), parameters)

    explanation = run_or_explain(config, explained)
    click.echo(json.dumps(explanation.as_json(), indent=2) if as_json else "\n".join(explanation.as_lines()))
    if not explanation.verdict.is_served:
        sys.exit(FAILED)


async def _of_alias(urls: Urls, path: str) -> str:
    """Return the id of the image whose alias a path has. Raises ``ImageNotFound``."""
    if urls.aliases is None:
        raise ImageNotFound("postgres.columns.alias is not configured")
    return await urls.aliases.image_of(alias_in(path))
