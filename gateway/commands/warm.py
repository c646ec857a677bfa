"""``gateway warm``: fills the URL cache."""

import sys
from collections import defaultdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from gateway.catalog.image_id import parse_image_id
from gateway.commands.config_option import FAILED, config_option, settings_from
from gateway.commands.dependencies import Dependencies, run_or_explain
from gateway.errors import ImageNotFound, InvalidImageId
from gateway.redis_connection.client import open_redis
from gateway.redis_entries.usage_store import UsageStore
from gateway.service.stores import Stores
from gateway.settings import Settings
from gateway.urls.maintenance import warm_up

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_CACHED = "cached"
_MOST_NAMED = 5
_MOST_CHARACTERS = 128  # of a line of the file that is not an image id

# Image ids by result: "cached" or an error code.
Results = defaultdict[str, list[str]]


@click.command(short_help="Fill the URL cache for the most used images or those of a file.")
@config_option
@click.option("--top", type=click.IntRange(min=1), help="Warm the most used images, at most this many.")
@click.option("--ids", type=_FILE, help="A file with one image id a line; lines that begin with # are comments.")
@click.option(
    "--used-in",
    type=_FILE,
    help="With --top: a configuration whose Redis knows the uses, such as that before a move to another Redis.",
)
def warm(config: Path | None, top: int | None, ids: Path | None, used_in: Path | None) -> None:
    """Fill the URL cache for the most used images or for those of a file."""
    if (top is None) == (ids is None):
        raise click.UsageError("name either --top N or --ids FILE")
    if used_in is not None and top is None:
        raise click.UsageError("--used-in needs --top N")
    earlier = settings_from(used_in) if used_in is not None else None
    results: Results = defaultdict(list)

    async def fill(opened: Dependencies) -> None:
        async with opened.open_urls() as urls:
            image_ids = _read(ids, results) if ids is not None else await _hottest(opened.stores, earlier, top or 0)
            if top is not None and len(image_ids) < top:
                click.echo(f"--top {top}: only {len(image_ids)} images are known to have been used")
            with Progress(console=Console(stderr=True), disable=not image_ids) as progress:
                task = progress.add_task("warming", total=len(image_ids))
                async for batch in warm_up(urls.resolver, image_ids):
                    for image_id, error in batch.items():
                        results[error.code if error is not None else _CACHED].append(image_id)
                    progress.advance(task, len(batch))
            if top is not None and (redis := opened.stores.redis) is not None:
                await redis.maintenance.remove_usage(results.get(ImageNotFound.code, []))

    run_or_explain(config, fill)
    _report(results)
    if set(results) - {_CACHED, ImageNotFound.code}:
        sys.exit(FAILED)


def _read(ids: Path, results: Results) -> list[str]:
    """Return the distinct image ids of the file. A line that is not an id is added to ``results``."""
    valid: dict[str, None] = {}
    for line in ids.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            valid[parse_image_id(text)] = None
        except InvalidImageId as error:
            results[error.code].append(ascii(text[:_MOST_CHARACTERS]))
    return list(valid)


def _report(results: Results) -> None:
    """Print the first ids of each error, then the number of ids of each result."""
    by_number = sorted(results.items(), key=lambda result: -len(result[1]))
    for result, image_ids in by_number:
        if result != _CACHED:
            more = ", ..." if len(image_ids) > _MOST_NAMED else ""
            click.echo(f"{result}: {', '.join(image_ids[:_MOST_NAMED])}{more}")
    click.echo(", ".join(f"{len(image_ids)} {result}" for result, image_ids in by_number) or "nothing to warm")


async def _hottest(stores: Stores, earlier: Settings | None, most: int) -> list[str]:
    if stores.redis is None:
        raise click.ClickException("url_cache.enabled is off, so no usage is recorded")
    if earlier is None:
        return await stores.redis.usage.hottest(most)
    async with open_redis(earlier.redis) as shards:
        return await UsageStore(shards).hottest(most)
