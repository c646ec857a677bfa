"""``gateway takedown``: kill an image's links, purge it, and ask every layer until none has it."""

import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import click

from gateway.access.signed_links import short_address
from gateway.canary.client import FrontClient, open_front_client
from gateway.canary.request_id import CanaryMark
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import InspectedRow
from gateway.commands.config_option import FAILED, config_option
from gateway.commands.dependencies import Dependencies, ask_replicas, run_or_explain
from gateway.commands.output import print_verdict
from gateway.errors import CatalogUnavailable, DependencyDown
from gateway.presign.style_variants import ImageVariant
from gateway.process.audit import AuditLog, operating_user
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Addresses
from gateway.service.access import signed_links
from gateway.service.canary import shared_secret
from gateway.service.purges import make_purge_intake
from gateway.service.stores import RedisStores
from gateway.service.urls import Urls

_GONE: Final = frozenset({401, 403, 404, 410})
_PAUSE: Final = 0.25  # seconds between two looks
_ANSWERS: Final = 2.0  # seconds for the answers of replicas
_LINK_LIFE: Final = 600  # seconds


class Seen(NamedTuple):
    """The answer of a cache (Redis, nginx, a CDN) after a takedown: whether the image is gone, and what was seen."""

    is_gone: bool
    what: str


# What a layer says: by its name, or by the names of its members.
Look = Callable[[], Awaitable[Mapping[str, Seen]]]


@click.command(short_help="Kill an image's links, purge it, and see that no layer has it.")
@click.argument("image_id", metavar="ID")
@click.option("--via", multiple=True, metavar="URL", help="An nginx or a CDN to ask, repeatable; default: canary.via.")
@click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Seconds until what still has the image is a failure.",
)
@config_option
def takedown(image_id: str, via: tuple[str, ...], timeout: float, config: Path | None) -> None:
    """Take an image down, after its row was blocked or deleted.

    Says what the row says, kills all links, purges the image, then asks replicas, Redis, the queue of purges, nginx and
    the CDN until none has it. The exit code is 0 only if every layer was seen without it.
    """
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the lines say it

    async def run(opened: Dependencies) -> bool:
        parsed, outcome, settings = parse_image_id(image_id), "not seen gone", opened.live.value
        fronts = [url.rstrip("/") for url in via] or list(settings.canary.via if settings.canary is not None else ())
        purges = make_purge_intake(settings, opened.metrics.purge, opened.stores, opened.signing.clock.now)
        async with open_front_client(connections=32) as client, opened.open_urls(purges) as urls:
            try:
                if is_gone := await _Takedown(parsed, opened, urls, purges, client, fronts).run(timeout):
                    outcome = "gone"
            finally:
                audit = AuditLog(opened.live.map(lambda settings: settings.logging))
                await audit.note("takedown", operating_user(), image_id=parsed, outcome=outcome)
        return is_gone

    if not run_or_explain(config, run):
        sys.exit(FAILED)


@dataclass(frozen=True, slots=True)
class _Takedown:
    """Kills the links of one image, purges it, and asks each cache until none has it, for ``gateway takedown``."""

    image_id: str
    opened: Dependencies
    urls: Urls
    purges: PurgeIntake | None
    client: FrontClient
    fronts: Sequence[str]

    async def run(self, timeout: float) -> bool:
        """Return whether every layer was seen without the image."""
        row, is_known = await self._read_row()
        is_served = row is not None and row.reason is None
        old_link, are_killed = await self._kill_links(row)
        started = time.monotonic()
        heard_by = await self.urls.invalidation.drop([self.image_id])
        heard = "all processes that listen" if heard_by is None else f"{heard_by} processes"
        print_verdict("fail" if heard_by == 0 else "ok", "purge", f"sent to {heard}")
        looks: list[Look] = []
        if (redis := self.opened.stores.redis) is not None:
            looks += [partial(self._in_replicas, redis), partial(self._in_redis, redis)]
        else:
            what = "not asked: url_cache.enabled is off, so there is no Redis to ask them through"
            print_verdict("fail", "replicas", what)
        if self.purges is not None:
            looks.append(partial(self._in_purge_queue, self.purges))
        if not is_served:  # else a question would fill the caches again
            looks += [self._look_through(front, old_link) for front in self.fronts]
        # While the row serves the image, layers have it again after the next request.
        found = await _until_gone(looks, started, started if is_served else started + timeout)
        if is_served or not self.fronts:
            why = "the row still serves the image" if is_served else "there is no canary.via, and no --via"
            print_verdict("fail", "nginx and CDN", f"not asked: {why}")
        self._print_unseen()
        return found and is_known and not is_served and are_killed and bool(self.fronts) and redis is not None

    async def _read_row(self) -> tuple[InspectedRow | None, bool]:
        """Print what the row says. Return the row, and whether it is known: what can be done without it is done."""
        try:
            row = await self.opened.stores.catalog.inspect(self.image_id)
        except CatalogUnavailable as error:
            print_verdict("fail", "row", f"not known: {error}")
            return None, False
        if row is None:
            print_verdict("ok", "row", "there is none: the image is 404")
        elif row.reason is not None:
            print_verdict("ok", "row", f"not served: {row.reason}")
        else:
            is_public = row.record is not None and row.record.public
            whom = "everybody" if is_public else "its owner, and to holders of new links"
            what = f"it still serves the image to {whom}: block or delete the row first, then run this again"
            print_verdict("fail", "row", what)
        return row, True

    async def _kill_links(self, row: InspectedRow | None) -> tuple[str | None, bool]:
        """Kill all links. Return an address valid until then, None without links, and whether no link is valid now."""
        links = signed_links(self.opened.live)
        if links is None:
            print_verdict("ok", "links", "access.signed_links is not configured, so there are none")
            return None, True
        before = row.record.links_killed if row is not None and row.record is not None else None
        address, _ = links.make(short_address(self.image_id), expires_in=_LINK_LIFE, links_killed=before)
        try:
            killed = await self.opened.stores.catalog.kill_links(self.image_id)
        except CatalogUnavailable as error:
            print_verdict("fail", "links", f"not killed: {error}")
            return address, False
        print_verdict("ok", "links", f"all links are invalid; links of this image were killed {killed} times")
        return address, True

    async def _in_replicas(self, redis: RedisStores) -> Mapping[str, Seen]:
        try:
            answers, silent = await ask_replicas(redis, self.opened.signing.clock.now(), _ANSWERS, self.image_id)
        except DependencyDown as error:
            return {"replicas": Seen(False, f"not asked: Redis does not answer: {error}")}
        if not answers and not silent:
            return {"replicas": Seen(False, "Redis lists none: no gateway runs, or they use another Redis")}
        seen = {f"replica {name}": Seen(False, "does not answer") for name in silent}
        for name, answer in answers.items():
            seen[f"replica {name}"] = Seen(not answer.holds, f"has {'a URL' if answer.holds else 'none'} of it")
        return dict(sorted(seen.items()))

    async def _in_redis(self, redis: RedisStores) -> Mapping[str, Seen]:
        variants = [ImageVariant(self.image_id, name) for name in (None, *self.opened.signing.renditions.names)]
        try:
            found = await redis.entries.find(variants)
        except DependencyDown as error:
            return {"redis": Seen(False, f"does not answer: {error}")}
        held = sum(entry.image is not None for entry in found.values())
        return {"redis": Seen(not held, f"has {held} of its URLs" if held else "has none of it")}

    async def _in_purge_queue(self, purges: PurgeIntake) -> Mapping[str, Seen]:
        name = "purge of the CDN"
        try:
            await purges.flush()
            due, dead = await purges.queue.due_at(self.image_id), await purges.queue.dead_entry(self.image_id)
        except DependencyDown as error:
            return {name: Seen(False, f"not known: Redis does not answer: {error}")}
        if dead is not None:
            return {name: Seen(False, f"given up: {dead.reason}")}
        return {name: Seen(due is None, "sent" if due is None else "waits in the queue")}

    def _look_through(self, front: str, old_link: str | None) -> Look:
        """Return what asks a front at every address of the image that it may still answer with the image."""
        left = Addresses([front], self.opened.signing.renditions).of(self.image_id)
        left += [front + old_link] if old_link else []
        asked, mark = len(left), CanaryMark(self.opened.live.map(shared_secret))

        async def look() -> Mapping[str, Seen]:
            answers = await asyncio.gather(*(self.client.ask(url, mark.make()) for url in left))
            others = [(url, seen) for url, seen in zip(left, answers, strict=True) if seen.status not in _GONE]
            left[:] = [url for url, _ in others]
            if not others:
                return {front: Seen(True, f"has it at none of {asked} addresses")}
            url, seen = others[0]
            path, said = url.removeprefix(front).partition("?")[0], seen.status or seen.problem
            return {front: Seen(False, f"{len(left)} of {asked} addresses: {path}: {said}")}

        return look

    def _print_unseen(self) -> None:
        """Say what no command sees, and for how long it may keep the image."""
        settings = self.opened.live.value
        longest = settings.image_proxy.max_age + settings.image_proxy.stale_while_revalidate
        what = f"those that have shown it may show it for up to {longest} s, at addresses with v= for a year: not seen"
        print_verdict("note", "browsers", what)
        what = f"URLs that clients got open the object for up to {settings.url_cache.default_ttl} s: "
        print_verdict("note", "COS", f"{what}delete it, or deny it by a policy of the bucket")
        if self.fronts:
            print_verdict("note", "other nodes", "of a CDN and of several nginx behind one name: one of them was asked")


async def _until_gone(looks: Sequence[Look], started: float, deadline: float) -> bool:
    """Look until no layer has the image, at least once. Print a line for each layer. Return whether all were seen."""
    left = list(looks)
    told: set[str] = set()
    while True:
        found = await asyncio.gather(*(look() for look in left))
        seconds, is_over = time.monotonic() - started, time.monotonic() >= deadline
        for seen in found:
            for name, said in seen.items():
                if name not in told and (said.is_gone or is_over):
                    told.add(name)
                    print_verdict("ok" if said.is_gone else "fail", name, f"{said.what} ({seconds:.1f} s)")
        left = [look for look, seen in zip(left, found, strict=True) if not all(said.is_gone for said in seen.values())]
        if not left or is_over:
            return not left
        await asyncio.sleep(_PAUSE)
