"""``gateway takedown``: kill an image's links, purge it, and ask every layer until none has it."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import click
from rich.text import Text

from gateway.access.signed_links import short_address
from gateway.canary.client import FrontClient
from gateway.canary.mark import CanaryMark
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import InspectedRow
from gateway.commands.output_console import OutputConsole
from gateway.commands.shared import FAILED, config_option, run_or_explain, settings_from
from gateway.errors import CatalogUnavailable, DependencyDown
from gateway.net.printable import printable
from gateway.presign.signed_image import ImageVariant
from gateway.process.audit import AuditLog, operating_user
from gateway.purge.addresses import Addresses
from gateway.service.access import signed_links
from gateway.service.canary import shared_secret
from gateway.service.changes import make_changes
from gateway.service.metrics import Metrics
from gateway.service.purges import PurgeQueueing, purge_queueing
from gateway.service.signing import Signing, open_signing
from gateway.service.stores import RedisStores, Stores, open_stores
from gateway.service.urls import Urls, open_urls
from gateway.settings import Live, Settings

_GONE: Final = frozenset({401, 403, 404, 410})
_PAUSE: Final = 0.25  # seconds between two looks
_ANSWERS: Final = 2.0  # seconds for the answers of replicas
_LINK_LIFE: Final = 600  # seconds


class Seen(NamedTuple):
    """Whether a layer has the image no longer, and what it said."""

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
    settings = settings_from(config)
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the lines say it
    fronts = [url.rstrip("/") for url in via] or list(settings.canary.via if settings.canary is not None else ())
    is_gone = False

    async def run() -> None:
        nonlocal is_gone
        parsed = parse_image_id(image_id)
        async with _open(settings, fronts) as work:
            try:
                is_gone = await work.run(parsed, timeout)
            finally:
                outcome = "gone" if is_gone else "not seen gone"
                await AuditLog(Live(settings.logging)).note(
                    "takedown", operating_user(), image_id=parsed, outcome=outcome
                )

    run_or_explain(run())
    if not is_gone:
        sys.exit(FAILED)


@asynccontextmanager
async def _open(settings: Settings, fronts: Sequence[str]) -> AsyncIterator["_Takedown"]:
    live, metrics = Live(settings), Metrics()
    async with (
        open_signing(live, metrics.presign) as signing,
        open_stores(live, metrics, signing) as stores,
        FrontClient(connections=32) as client,
    ):
        purges = purge_queueing(settings, metrics.purge, stores)
        async with open_urls(live, metrics.urls, signing, stores, purges, make_changes(live)) as urls:
            yield _Takedown(settings, signing, stores, urls, purges, client, fronts)


@dataclass(frozen=True, slots=True)
class _Takedown:
    settings: Settings
    signing: Signing
    stores: Stores
    urls: Urls
    purges: PurgeQueueing | None
    client: FrontClient
    fronts: Sequence[str]

    async def run(self, image_id: str, timeout: float) -> bool:
        """Return whether every layer was seen without the image."""
        row, is_known = None, True
        try:
            row = await self.stores.catalog.inspect(image_id)
        except CatalogUnavailable as error:  # what can be done without it is done
            is_known = False
            _print("fail", "row", f"not known: {error}")
        is_served = row is not None and row.reason is None
        if is_known:
            _print("fail" if is_served else "ok", "row", _of_row(row))
        old_link, are_killed = await self._kill_links(image_id, row)
        started = time.monotonic()
        heard_by = await self.urls.invalidation.drop([image_id])
        heard = "all processes that listen" if heard_by is None else f"{heard_by} processes"
        _print("fail" if heard_by == 0 else "ok", "purge", f"sent to {heard}")
        looks: list[Look] = []
        redis = self.stores.redis
        if redis is not None:
            looks += [lambda: self._in_replicas(redis, image_id), lambda: self._in_redis(image_id)]
        else:
            _print("fail", "replicas", "not asked: url_cache.enabled is off, so there is no Redis to ask them through")
        if self.purges is not None:
            purges = self.purges
            looks.append(lambda: self._in_purge_queue(purges, image_id))
        if not is_served:  # else a question would fill the caches again
            looks += [self._look_through(front, image_id, old_link) for front in self.fronts]
        # While the row serves the image, layers have it again after the next request.
        found = await _until_gone(looks, started, started if is_served else started + timeout)
        if is_served or not self.fronts:
            why = "the row still serves the image" if is_served else "there is no canary.via, and no --via"
            _print("fail", "nginx and CDN", f"not asked: {why}")
        self._print_unseen()
        is_done = is_known and not is_served and are_killed
        return found and is_done and bool(self.fronts) and redis is not None

    async def _kill_links(self, image_id: str, row: InspectedRow | None) -> tuple[str | None, bool]:
        """Kill all links. Return the address of a link that was valid until then, and whether no link is valid now.

        The address is None without links.
        """
        links = signed_links(Live(self.settings))
        if links is None:
            _print("ok", "links", "access.signed_links is not configured, so there are none")
            return None, True
        before = row.record.links_killed if row is not None and row.record is not None else None
        address, _ = links.make(short_address(image_id), expires_in=_LINK_LIFE, links_killed=before)
        try:
            killed = await self.stores.catalog.kill_links(image_id)
        except CatalogUnavailable as error:
            _print("fail", "links", f"not killed: {error}")
            return address, False
        _print("ok", "links", f"all links are invalid; links of this image were killed {killed} times")
        return address, True

    async def _in_replicas(self, redis: RedisStores, image_id: str) -> Mapping[str, Seen]:
        try:
            listed = {point.name for point in await redis.replicas.read(self.signing.clock.now())}
            question = await redis.questions.ask(image_id)
            deadline = time.monotonic() + _ANSWERS
            while True:
                answers = {answer.name: answer for answer in await redis.questions.answers(question)}
                if listed <= answers.keys() or time.monotonic() > deadline:
                    break
                await asyncio.sleep(0.05)
        except DependencyDown as error:
            return {"replicas": Seen(False, f"not asked: Redis does not answer: {error}")}
        if not listed | answers.keys():
            return {"replicas": Seen(False, "Redis lists none: no gateway runs, or they use another Redis")}
        return {
            f"replica {name}": Seen(False, "does not answer")
            if name not in answers
            else Seen(not answers[name].holds, "has a URL of it" if answers[name].holds else "has none of it")
            for name in sorted(listed | answers.keys())
        }

    async def _in_redis(self, image_id: str) -> Mapping[str, Seen]:
        if self.urls.shared is None:
            return {}
        variants = [ImageVariant(image_id, rendition) for rendition in (None, *self.signing.renditions.names)]
        try:
            found = await self.urls.shared.entries.find(variants)
        except DependencyDown as error:
            return {"redis": Seen(False, f"does not answer: {error}")}
        held = sum(entry.image is not None for entry in found.values())
        return {"redis": Seen(not held, f"has {held} of its URLs" if held else "has none of it")}

    async def _in_purge_queue(self, purges: PurgeQueueing, image_id: str) -> Mapping[str, Seen]:
        try:
            await purges.intake.flush()
            due, dead = await purges.queue.due_at(image_id), await purges.queue.dead_entry(image_id)
        except DependencyDown as error:
            return {"purge of the CDN": Seen(False, f"not known: Redis does not answer: {error}")}
        if dead is not None:
            return {"purge of the CDN": Seen(False, f"given up: {dead.reason}")}
        return {"purge of the CDN": Seen(due is None, "sent" if due is None else "waits in the queue")}

    def _look_through(self, front: str, image_id: str, old_link: str | None) -> Look:
        """Return what asks a front at every address of the image that it may still answer with the image."""
        left = Addresses([front], self.signing.renditions).of(image_id) + ([front + old_link] if old_link else [])
        asked = len(left)
        mark = CanaryMark(Live(shared_secret(self.settings)))

        async def look() -> Mapping[str, Seen]:
            answers = await asyncio.gather(*(self.client.ask(url, mark.make()) for url in left))
            others = [(url, seen) for url, seen in zip(left, answers, strict=True) if seen.status not in _GONE]
            left[:] = [url for url, _ in others]
            if not others:
                return {front: Seen(True, f"has it at none of {asked} addresses")}
            url, seen = others[0]
            said = seen.problem if seen.status is None else f"{seen.status}"
            path = url.removeprefix(front).partition("?")[0]
            return {front: Seen(False, f"{len(left)} of {asked} addresses: {path}: {said}")}

        return look

    def _print_unseen(self) -> None:
        """Say what no command sees, and for how long it may keep the image."""
        image_proxy = self.settings.image_proxy
        longest = image_proxy.max_age + image_proxy.stale_while_revalidate
        _print(
            "note",
            "browsers",
            f"those that have shown it may show it for up to {longest} s, at addresses with v= for a year: not seen",
        )
        _print(
            "note",
            "COS",
            f"URLs that clients got open the object for up to {self.settings.url_cache.default_ttl} s: delete it, or "
            "deny it by a policy of the bucket",
        )
        if self.fronts:
            _print("note", "other nodes", "of a CDN and of several nginx behind one name: one of them was asked")


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
                    _print("ok" if said.is_gone else "fail", name, f"{said.what} ({seconds:.1f} s)")
        left = [look for look, seen in zip(left, found, strict=True) if not all(said.is_gone for said in seen.values())]
        if not left or is_over:
            return not left
        await asyncio.sleep(_PAUSE)


def _of_row(row: InspectedRow | None) -> str:
    if row is None:
        return "there is none: the image is 404"
    if row.reason is not None:
        return f"not served: {row.reason}"
    whom = "everybody" if row.record is not None and row.record.public else "its owner, and to holders of new links"
    return f"it still serves the image to {whom}: block or delete the row first, then run this again"


def _print(verdict: str, name: str, what: str) -> None:
    color = {"ok": "green", "fail": "red", "note": "yellow"}[verdict]
    console = OutputConsole(highlight=False, soft_wrap=True)
    console.print(Text(f"{verdict:5}", style=color), Text(printable(f"{name}: {what}")))
