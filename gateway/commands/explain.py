"""``gateway explain``: why an image is served or not, step by step.

The command does not check access: a caller who can read the configuration can read the images without it.
"""

import json
import logging
import sys
from functools import partial
from pathlib import Path

import click

from gateway.catalog.image_id import parse_image_id
from gateway.catalog.inspection import inspect_database
from gateway.commands.shared import FAILED, config_option, run_or_explain, settings_from
from gateway.explain.access import Credentials
from gateway.monitoring.trigger_watch import TriggerWatch
from gateway.service.access import open_access
from gateway.service.changes import make_changes
from gateway.service.diagnostics import make_explainer
from gateway.service.metrics import Metrics
from gateway.service.objects import open_cos
from gateway.service.signing import open_signing
from gateway.service.stores import open_stores
from gateway.service.urls import open_urls
from gateway.settings import Live


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

    The first line is the result; the exit code is 0 if the client gets the image, and 1 if not. Without an option the
    caller is anonymous. No signature, token or secret is printed.
    """
    if sum(credential is not None for credential in (token, link, user)) > 1:
        raise click.UsageError("give one of --token, --link and --user")
    settings = settings_from(config)
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the explanation reports outages
    if token == "-":  # noqa: S105 - the name of standard input
        token = sys.stdin.readline().strip()

    given = {"style": style, "w": width, "format": image_format}
    parameters = {name: str(value) for name, value in given.items() if value is not None}
    is_served = False

    async def print_explanation() -> None:
        nonlocal is_served
        live, metrics = Live(settings), Metrics()
        async with (
            open_access(live, metrics.access, verifies_tokens=token is not None) as access,
            open_signing(live, metrics.presign) as signing,
            open_stores(live, metrics, signing) as stores,
            open_urls(live, metrics.urls, signing, stores, None, make_changes(live)) as urls,
            open_cos(live, metrics.origin, signing) as origin,
        ):
            inspect = partial(inspect_database, settings.postgres, with_links=False, tells_gateways=True)
            watch = TriggerWatch(inspect, metrics.monitoring)
            explainer = make_explainer(live, access, signing, stores, urls, origin, watch, None, metrics.canary)
            explanation = await explainer.explain(parse_image_id(image_id), Credentials(token, link, user), parameters)
        if as_json:
            click.echo(json.dumps(explanation.as_json(), indent=2))
        else:
            click.echo("\n".join(explanation.as_lines()))
        is_served = explanation.verdict.is_served

    run_or_explain(print_explanation())
    if not is_served:
        sys.exit(FAILED)
