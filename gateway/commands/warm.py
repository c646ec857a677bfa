"""``gateway warm``: fills the URL cache."""

import sys
from collections import Counter
from pathlib import Path

import click
from aiohttp import web
from rich.console import Console
from rich.progress import Progress

from gateway.api import keys
from gateway.catalog.image_id import parse_image_id
from gateway.commands.common import CANNOT_START, config_option, opened_parts, run_or_explain, settings_from
from gateway.errors import InvalidImageId
from gateway.urls.warm_up import warm_up


@click.command()
@config_option
@click.option("--top", type=click.IntRange(min=1), help="The most used images.")
@click.option(
    "--ids", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file with one image id a line."
)
def warm(config: Path | None, top: int | None, ids: Path | None) -> None:
    """Fill the URL cache, for the most used images or those of a file."""
    if (top is None) == (ids is None):
        raise click.UsageError("name either --top N or --ids FILE")
    settings = settings_from(config)
    results: Counter[str] = Counter()

    async def fill() -> None:
        async with opened_parts(settings) as app:
            image_ids = _read(ids, results) if ids is not None else await _hottest(app, top or 0)
            with Progress(console=Console(stderr=True)) as progress:
                task = progress.add_task("warming", total=len(image_ids))
                async for batch in warm_up(app[keys.RESOLVER], image_ids):
                    results.update(error.code if error is not None else "cached" for error in batch.values())
                    progress.advance(task, len(batch))

    run_or_explain(fill())
    click.echo(", ".join(f"{count} {result}" for result, count in results.most_common()) or "nothing to warm")
    if set(results) - {"cached", "image_not_found"}:
        sys.exit(CANNOT_START)


def _read(ids: Path, results: "Counter[str]") -> list[str]:
    """The ids of the file, each once; what is no id is counted and left out."""
    valid: dict[str, None] = {}
    for line in ids.read_text(encoding="utf-8", errors="replace").splitlines():
        if not (text := line.strip()):
            continue
        try:
            valid[parse_image_id(text)] = None
        except InvalidImageId as error:
            results[error.code] += 1
    return list(valid)


async def _hottest(app: web.Application, most: int) -> list[str]:
    if keys.REDIS_USAGE not in app:
        raise click.ClickException("url_cache.enabled is off, so nothing is known of what is used")
    return [member.image_id for member in await app[keys.REDIS_USAGE].hottest(most) if member.style is None]
