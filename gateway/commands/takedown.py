"""``gateway takedown``: kill an image's links, purge it, and ask every layer until none has it."""

import asyncio
import logging
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import click

from gateway.access.canary_mark import CanaryMark
from gateway.access.signed_links import short_address
from gateway.canary.client import FrontClient, open_front_client
from gateway.canary.rules import Seen as FrontAnswer
from gateway.catalog.image_id import parse_image_id
from gateway.catalog.record import InspectedRow
from gateway.checks.nginx import upstreams
from gateway.commands.config_option import FAILED, NGINX, config_option
from gateway.commands.dependencies import Answers, Dependencies, ask_gateways, run_or_explain
from gateway.commands.output import print_verdict
from gateway.errors import CatalogUnavailable, DependencyDown
from gateway.net.bounded_http import BoundedHttp
from gateway.presign.style_variants import ImageVariant
from gateway.process.audit import AuditLog, operating_user
from gateway.purge.intake import PurgeIntake
from gateway.purge.target import Addresses
from gateway.service.access import signed_links
from gateway.service.purges import make_purge_intake
from gateway.service.stores import RedisStores, shared_secret
from gateway.service.urls import Urls

NOT_KNOWN: Final = 3  # the exit code for an id of which there is no trace
_GONE: Final = frozenset({401, 403, 404, 410})
_PAUSE: Final = 0.25  # seconds between two looks
_ANSWERS: Final = 2.0  # seconds for the answers of gateways
_AT_ONCE: Final = 32  # requests to a front
_LEAST_ANSWERS: Final = 3  # of each address, however long they take
_LINK_LIFE: Final = 600  # seconds
_ADMIN_PORTS: Final = "image_gateway_admin"  # the upstream in nginx's files


class Seen(NamedTuple):
    """The answer of a cache (Redis, nginx, a CDN) after a takedown: whether the image is gone, and what was seen.

    ``is_gone`` is None while every answer so far says so, and further ones are needed.
    """

    is_gone: bool | None
    what: str


# What a layer says: by its name, or by the names of its members.
Look = Callable[[], Awaitable[Mapping[str, Seen]]]


@dataclass(slots=True)
class Turn:
    """Once through every server behind a front: for so long, every answer must be that the image is gone.

    settle: seconds of a turn, as a balancer sends each request to another server.
    """

    settle: float
    answers: int = 0
    was_seen: bool = False  # an answer had the image, or did not say that it is gone
    _began: float | None = None

    def note(self, *, all_gone: bool, answers: int, asked_at: float, now: float) -> bool:
        """Note an answer of each address to questions of ``asked_at``. An answer with the image starts the turn again.

        Return whether the turn is over.
        """
        if not all_gone:
            self.answers, self._began, self.was_seen = 0, None, True
            return False
        self.answers += answers
        self._began = asked_at if self._began is None else self._began
        return self.answers >= _LEAST_ANSWERS * answers and now - self._began >= self.settle


@click.command(short_help="Kill an image's links, purge it, and see that no layer has it.")
@click.argument("image_id", metavar="ID")
@click.option("--via", multiple=True, metavar="URL", help="An nginx or a CDN to ask, repeatable; default: canary.via.")
@click.option("--admin", multiple=True, metavar="URL", help="The admin port of a gateway to ask, too; repeatable.")
@click.option(
    "--nginx",
    type=click.Path(file_okay=False, path_type=Path),
    default=NGINX,
    show_default=True,
    help="The folder of nginx's configuration, whose upstream image_gateway_admin names gateways to ask.",
)
@click.option(
    "--settle",
    type=click.FloatRange(1, 600),
    default=15,
    show_default=True,
    help="Seconds for which every answer of a front must be without the image.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1, 3600),
    default=60,
    show_default=True,
    help="Seconds until what still has the image is a failure.",
)
@config_option
def takedown(
    image_id: str,
    via: tuple[str, ...],
    admin: tuple[str, ...],
    nginx: Path,
    settle: float,
    timeout: float,
    config: Path | None,
) -> None:
    """Take an image down, after its row was blocked or deleted.

    Says what the row says, kills all links, purges the image, then asks gateways, Redis, the queue of purges, nginx and
    the CDN until none has it. The exit code is 0 only if every layer was seen without it, and every gateway that is
    named was asked; 3 if nothing knows an image of this id; else 1.
    """
    logging.getLogger("gateway").addHandler(logging.NullHandler())  # the lines say it

    async def run(opened: Dependencies) -> int:
        parsed, outcome, settings = parse_image_id(image_id), "not seen gone", opened.live.value
        fronts = [url.rstrip("/") for url in via] or list(settings.canary.via if settings.canary is not None else ())
        named = [*admin, *await asyncio.to_thread(_named_by, nginx)]
        ports = tuple(dict.fromkeys(url.rstrip("/") for url in named))
        purges = make_purge_intake(settings, opened.metrics.purge, opened.stores)
        try:
            async with (
                open_front_client(CanaryMark(opened.live.map(shared_secret)).make) as client,
                BoundedHttp(_ANSWERS) as http,
                opened.open_urls(purges) as urls,
            ):
                ask = partial(ask_gateways, opened, http, ports, _ANSWERS, parsed)
                taking_down = _Takedown(parsed, opened, urls, purges, ask, client, fronts, names_ports=bool(ports))
                code = await taking_down.run(timeout, settle)
            outcome = {0: "gone", NOT_KNOWN: "not known"}.get(code, outcome)
        finally:
            audit = AuditLog(opened.live.map(lambda settings: settings.logging))
            await audit.note("takedown", operating_user(), image_id=parsed, outcome=outcome)
        return code

    if code := run_or_explain(config, run):
        sys.exit(code)


def _named_by(nginx: Path) -> list[str]:
    """Return the admin ports that nginx asks for changes, by its files. A name that leads nowhere is one. It blocks."""
    found: list[str] = []
    for server in upstreams(nginx).get(_ADMIN_PORTS, ()):
        host, _, port = server.rpartition(":")
        try:
            entries = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError:
            found.append(f"http://{server}")
        else:
            hosts = [str(entry[4][0]) for entry in entries]
            found += [f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts]
    return found


@dataclass(slots=True)
class _Takedown:
    """Kills the links of one image, purges it, and asks each cache until none has it, for ``gateway takedown``."""

    image_id: str
    opened: Dependencies
    urls: Urls
    purges: PurgeIntake | None
    ask_gateways: Callable[[], Awaitable[Answers]]
    client: FrontClient
    fronts: Sequence[str]
    _: KW_ONLY
    names_ports: bool

    async def run(self, timeout: float, settle: float) -> int:
        """Return the exit code: 0 if every layer was seen without the image."""
        row, is_read = await self._read_row()
        is_served = row is not None and row.reason is None
        leaves_trace = row is not None or not is_read or await self._is_known()
        old_link, are_killed = await self._kill_links(row) if leaves_trace else (None, True)
        started = time.monotonic()
        heard_by = await self.urls.invalidation.drop([self.image_id])
        heard = "all processes that listen" if heard_by is None else f"{heard_by} processes"
        print_verdict("fail" if heard_by == 0 else "ok", "purge", f"sent to {heard}")
        looks: list[Look] = [self._in_gateways]
        if (redis := self.opened.stores.redis) is not None:
            looks.append(partial(self._in_redis, redis))
        if self.purges is not None:
            looks.append(partial(self._in_purge_queue, self.purges))
        turns = {front: Turn(settle) for front in self.fronts}
        alias = row.record.alias if row is not None and row.record is not None else None
        paths = Addresses([""], self.opened.signing.renditions).of(self.image_id, [alias] if alias is not None else [])
        paths += [old_link] if old_link is not None else []
        if not is_served:  # else a question would fill the caches again
            looks += [self._look_through(front, paths, turn) for front, turn in turns.items()]
        # While the row serves the image, layers have it again after the next request.
        found = await _until_gone(looks, started, started if is_served else started + timeout)
        if is_served or not self.fronts:
            why = "the row still serves the image" if is_served else "there is no canary.via, and no --via"
            print_verdict("fail", "nginx and CDN", f"not asked: {why}")
        self._print_unseen()
        if not (found and is_read and not is_served and are_killed and self.fronts):
            return FAILED
        return 0 if leaves_trace or any(turn.was_seen for turn in turns.values()) else NOT_KNOWN

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

    async def _is_known(self) -> bool:
        """Return whether anything but a row knows the image. Print that nothing does, or that this is not known."""
        catalog, redis = self.opened.stores.catalog, self.opened.stores.redis
        variants = [ImageVariant(self.image_id, name) for name in (None, *self.opened.signing.renditions.value.names)]
        try:
            if signed_links(self.opened.live) is not None and await catalog.links_killed(self.image_id):
                return True
            if redis is not None:
                usage = await redis.usage.read(variants)
                entries = await redis.entries.find(variants)
                if len(usage) < len(variants) or any(used.last_access is not None for used in usage.values()):
                    return True
                if any(entry.expires_at is not None for entry in entries.values()):
                    return True
        except (CatalogUnavailable, DependencyDown):
            return True  # maybe
        answers = await self.ask_gateways()
        if _missing(answers) or any(answer.holds for answer in answers.given.values()):
            return True
        what = "there is no trace of this id: is it right? (No trace is left of a row that was deleted a month ago.)"
        print_verdict("fail", "image", what)
        return False

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

    async def _in_gateways(self) -> Mapping[str, Seen]:
        answers = await self.ask_gateways()
        seen = {f"gateway {name}": Seen(False, why) for name, why in _missing(answers).items()}
        for name, answer in answers.given.items():
            seen[f"gateway {name}"] = Seen(not answer.holds, f"has {'a URL' if answer.holds else 'none'} of it")
        if not answers.is_listed and self.opened.stores.redis is not None:
            seen["gateways"] = Seen(False, "Redis lists none: no gateway runs, or they use another Redis")
        elif not seen:
            what = "not asked: url_cache.enabled is off, so there is no Redis to ask them through"
            seen["gateways"] = Seen(False, f"{what}: name them with --admin URL")
        return dict(sorted(seen.items()))

    async def _in_redis(self, redis: RedisStores) -> Mapping[str, Seen]:
        variants = [ImageVariant(self.image_id, name) for name in (None, *self.opened.signing.renditions.value.names)]
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
            item = ImageVariant(self.image_id)
            due, dead = await purges.queue.due_at(item), await purges.queue.dead_entry(item)
        except DependencyDown as error:
            return {name: Seen(False, f"not known: Redis does not answer: {error}")}
        if dead is not None:
            return {name: Seen(False, f"given up: {dead.reason}")}
        return {name: Seen(due is None, "sent" if due is None else "waits in the queue")}

    def _look_through(self, front: str, paths: Sequence[str], turn: Turn) -> Look:
        """Return what asks a front at ``paths``, those at which it may still answer with the image."""
        urls = [front + path for path in paths]

        async def look() -> Mapping[str, Seen]:
            # In another order each time: with a fixed one, a balancer could send an address to the same server always.
            asked_at, asked = time.monotonic(), random.sample(urls, len(urls))
            answers: dict[str, FrontAnswer] = {}
            for start in range(0, len(asked), _AT_ONCE):
                batch = asked[start : start + _AT_ONCE]
                given = await asyncio.gather(*(self.client.ask(url) for url in batch))
                answers.update(zip(batch, given, strict=True))
                if any(seen.status is None for seen in given):
                    break  # the others could take the time of an answer each, and the other layers wait
            others = [(url, seen) for url, seen in answers.items() if seen.status not in _GONE]
            is_over = turn.note(all_gone=not others, answers=len(urls), asked_at=asked_at, now=time.monotonic())
            if not others:
                what = f"has it at none of {len(urls)} addresses, in {turn.answers} answers"
                return {front: Seen(is_over or None, what)}
            url, seen = min(others)
            path, said = url.removeprefix(front).partition("?")[0], seen.status or seen.problem
            return {front: Seen(False, f"{len(others)} of {len(answers)} addresses: {path}: {said}")}

        return look

    def _print_unseen(self) -> None:
        """Say what no command sees, and for how long it may keep the image."""
        settings = self.opened.live.value
        longest = settings.image_proxy.max_age + settings.image_proxy.stale_while_revalidate
        what = f"those that have shown it may show it for up to {longest} s, at addresses with v= for a year: not seen"
        print_verdict("note", "browsers", what)
        what = f"URLs that clients got open the object for up to {settings.url_cache.default_ttl} s: "
        print_verdict("note", "COS", f"{what}delete it, or deny it by a policy of the bucket")
        if not self.names_ports:
            what = "that Redis does not list: not asked, as no file of nginx here names them: use --admin URL"
            print_verdict("note", "gateways", what)
        if self.fronts:
            what = "of a CDN and of several nginx behind one name: those were asked that the name led to"
            print_verdict("note", "other nodes", what)


def _missing(answers: Answers) -> dict[str, str]:
    """Return the gateways that gave no answer, with the reason."""
    silent = dict.fromkeys(answers.silent, "does not answer")
    if answers.redis_problem is not None:
        silent["that Redis lists"] = f"Redis does not answer: {answers.redis_problem}"
    return silent | {f"at {url}": why for url, why in answers.unasked.items()}


async def _until_gone(looks: Sequence[Look], started: float, deadline: float) -> bool:
    """Look until no layer has the image, at least once. Print a line for each layer. Return whether all were seen.

    After the deadline, only layers are asked further whose answers were all right so far.
    """
    left, are_all_gone = list(looks), True
    told: set[str] = set()
    while True:
        found = await asyncio.gather(*(look() for look in left))
        seconds, is_over = time.monotonic() - started, time.monotonic() >= deadline
        for seen in found:
            for name, said in seen.items():
                if name not in told and (said.is_gone or (is_over and said.is_gone is False)):
                    told.add(name)
                    print_verdict("ok" if said.is_gone else "fail", name, f"{said.what} ({seconds:.1f} s)")
        undecided = []
        for look, seen in zip(left, found, strict=True):
            states = {said.is_gone for said in seen.values()}
            if states == {True}:
                continue
            if is_over and False in states:
                are_all_gone = False
            else:
                undecided.append(look)
        left = undecided
        if not left:
            return are_all_gone
        await asyncio.sleep(_PAUSE)
