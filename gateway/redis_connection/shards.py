"""Shards: an image id belongs to a shard by its hash, and a shard has keys of its own.

With one shard, the keys have no hash tag. With more, the tag of the shard puts all keys of the shard into one slot of a
Cluster, so that a script may name all of them there as on a server.
"""

import binascii
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from gateway.catalog.image_id import PATTERN as IMAGE_ID
from gateway.presign.style_variants import RENDITION_NAME, ImageVariant
from gateway.redis_connection.cluster import ClusterServers, Redirect
from gateway.redis_connection.guarded_client import CacheUnavailable, Command, GuardedRedis, in_parallel

logger = logging.getLogger(__name__)


class Named(Protocol):
    """Any object that has an image's id, which decides its shard (a share of the ids, with its own keys in Redis)."""

    @property
    def image_id(self) -> str: ...


N = TypeVar("N", bound=Named)

SLOTS: Final = 16384
_HASH_TAG: Final = re.compile(r"\{(.+?)\}")

# By the end of its name, the type of each key that is not about one image, for as long as gateways run.
_TYPES: Final = {
    **dict.fromkeys(("index:used", "index:expiry", "index:hits", "index:refreshes"), b"zset"),
    **dict.fromkeys(("refresh:queue", "purge:queue", "replicas"), b"zset"),
    **dict.fromkeys(("refresh:attempts", "refresh:dead", "purge:attempts", "purge:dead"), b"hash"),
    "purge:pace": b"string",
}
_SEPARATOR: Final = "|"  # occurs neither in an id nor in the name of a rendition
_WORD: Final = re.compile(rf"({IMAGE_ID})(?:[{_SEPARATOR}]({RENDITION_NAME}))?")
# An id may be another id, a colon and the name of a rendition. Then the key of its original ends with the separator.
_SPELLS_A_VARIANT: Final = re.compile(rf".+:{RENDITION_NAME}")


class Shard:
    """A share of the image ids, with its own keys in Redis. ``slot``: the slot of these keys in a Cluster.

    used, expiry, hits, refreshes: sorted sets by variant: last access, end of the URL, numbers of uses and of renewals.
    queue, attempts, dead: the queue of renewals.
    """

    __slots__ = ("attempts", "dead", "expiry", "hits", "prefix", "queue", "refreshes", "slot", "used")

    def __init__(self, prefix: str, slot: int) -> None:
        self.prefix = prefix
        self.slot = slot
        self.used, self.expiry, self.hits, self.refreshes = (
            self.key("index", name) for name in ("used", "expiry", "hits", "refreshes")
        )
        self.queue, self.attempts, self.dead = (self.key("refresh", name) for name in ("queue", "attempts", "dead"))

    def key(self, *parts: str) -> str:
        """``image:url:a`` for ``key("url", "a")`` if there is one shard, else ``image:{s07}:url:a``."""
        return self.prefix + ":".join(parts)

    def entry(self, variant: ImageVariant) -> str:
        """Return the key of the cached URL of a variant. No two variants have the same key."""
        image_id, rendition = variant
        key = f"{self.prefix}url:{image_id}"
        if rendition is not None:
            return f"{key}:{rendition}"
        return key + _SEPARATOR if ":" in image_id and _SPELLS_A_VARIANT.fullmatch(image_id) else key

    def metadata(self, image_id: str) -> str:
        """Return the key of the metadata of an image."""
        return self.key("description", image_id)


@dataclass(frozen=True, slots=True)
class OneServer:
    """The client of a single server of Redis (or of the master behind Sentinel), used like ``ClusterServers``."""

    server: GuardedRedis

    @property
    def all(self) -> Sequence[GuardedRedis]:
        return (self.server,)

    def of(self, slot: int) -> GuardedRedis:  # noqa: ARG002 - as in a Cluster
        return self.server

    async def follow(self, redirect: Redirect, _command: Command, _server: GuardedRedis) -> Any:
        """Return the redirect: only nodes of a Cluster are followed."""
        return redirect


Servers: TypeAlias = OneServer | ClusterServers


@dataclass(frozen=True, slots=True)
class Answers:
    """Redis's answers to commands, by shard (share of the image ids). ``failed``: why the other shards gave none."""

    by_shard: Mapping[Shard, list[Any]]
    failed: Mapping[Shard, CacheUnavailable] = field(default_factory=dict)

    def complete(self) -> Mapping[Shard, list[Any]]:
        """Return the answers of all shards. Raises ``CacheUnavailable`` if any of them failed."""
        for error in self.failed.values():
            raise error
        return self.by_shard

    def available(self) -> Mapping[Shard, list[Any]]:
        """Return the answers of the shards that answered. Raises ``CacheUnavailable`` if none did."""
        return self.by_shard or self.complete()


class Shards:
    """All shards (shares of the image ids), and their servers. The ``first`` also has what belongs to no image."""

    def __init__(self, servers: Servers, prefix: str, count: int = 1) -> None:
        self.servers = servers
        self.prefix = prefix
        prefixes = [f"{prefix}{{s{number:02}}}:" for number in range(count)] if count > 1 else [prefix]
        self.all = tuple(Shard(prefix, slot_of(prefix)) for prefix in prefixes)
        self.first = self.all[0]
        self._mask = count - 1

    def of(self, image_id: str) -> Shard:
        """Return the shard of an image: the last bits of the CRC-32 of its id."""
        return self.all[zlib.crc32(image_id.encode()) & self._mask] if self._mask else self.first

    def split(self, items: Iterable[N]) -> dict[Shard, list[N]]:
        """Return the items by shard. All variants of an image are in one shard."""
        if not self._mask:
            alone = list(items)
            return {self.first: alone} if alone else {}
        groups: dict[Shard, list[N]] = {}
        for item in items:
            groups.setdefault(self.of(item.image_id), []).append(item)
        return groups

    def address_of(self, image_id: str) -> str:
        """Return the address of the node that has the image, or "" outside of a Cluster, or if no node is known."""
        try:
            return self.servers.of(self.of(image_id).slot).address
        except CacheUnavailable:
            return ""

    def by_server(
        self, shards: Iterable[Shard] | None = None, failed: dict[Shard, CacheUnavailable] | None = None
    ) -> dict[GuardedRedis, list[Shard]]:
        """Return the shards (default: all) by server. Shards whose server is not known are added to ``failed``."""
        found: dict[GuardedRedis, list[Shard]] = {}
        for shard in self.all if shards is None else shards:
            try:
                found.setdefault(self.servers.of(shard.slot), []).append(shard)
            except CacheUnavailable as error:
                if failed is not None:
                    failed[shard] = error
        return found

    def in_turn(self, turn: int) -> list[Shard]:
        """Return a shard of each server: another one at each turn. So looking costs a command for each server."""
        return [shards[turn % len(shards)] for shards in self.by_server().values()]

    async def run_on(self, shard: Shard, *commands: Command) -> list[Any]:
        """Return the answers to the commands, which are sent together. Raises ``CacheUnavailable``."""
        return self.servers.of(shard.slot).accepted(await self.try_on(shard, *commands))

    async def try_on(self, shard: Shard, *commands: Command) -> list[Any]:
        """Return the answer to each command, or the error that it was answered with."""
        server = self.servers.of(shard.slot)
        return await self._follow(server, commands, await server.send(commands))

    async def _follow(self, server: GuardedRedis, commands: Sequence[Command], answers: list[Any]) -> list[Any]:
        """Return the answers, with those that led to another server replaced."""
        for number, answer in enumerate(answers):
            if isinstance(answer, Redirect):
                answers[number] = await self.servers.follow(answer, commands[number], server)
        return answers

    async def run(self, commands: Mapping[Shard, Sequence[Command]]) -> Answers:
        """Send the commands of each shard, to all servers in parallel and to each in one pipeline."""
        answers: dict[Shard, list[Any]] = {}
        failed: dict[Shard, CacheUnavailable] = {}
        by_server = self.by_server(commands, failed)

        async def run_at(server: GuardedRedis, shards: Sequence[Shard]) -> None:
            try:
                results = iter(await server.send([command for shard in shards for command in commands[shard]]))
            except CacheUnavailable as error:
                failed.update(dict.fromkeys(shards, error))
                return
            for shard in shards:
                own = [next(results) for _ in commands[shard]]
                try:
                    answers[shard] = server.accepted(await self._follow(server, commands[shard], own))
                except CacheUnavailable as error:
                    failed[shard] = error

        await in_parallel(run_at(server, shards) for server, shards in by_server.items())
        return Answers(answers, failed)

    async def run_split(self, items: Iterable[N], commands: Callable[[Shard, list[N]], Sequence[Command]]) -> Answers:
        """Send the commands of each shard about its items."""
        return await self.run({shard: commands(shard, own) for shard, own in self.split(items).items()})

    async def values(
        self, items: Iterable[N], commands: Callable[[Shard, list[N]], Sequence[Command]]
    ) -> dict[N, tuple[Any, ...]]:
        """Return the values of each item: each command about items of a shard is answered by a list of one for each.

        The items of servers that do not answer are left out. Raises ``CacheUnavailable`` if none answers.
        """
        groups = self.split(items)
        answers = await self.run({shard: commands(shard, own) for shard, own in groups.items()})
        return {
            item: values
            for shard, lists in answers.available().items()
            for item, values in zip(groups[shard], zip(*lists, strict=True), strict=True)
        }

    def met_wrong_type(self) -> bool:
        """Return whether any command met a value of the wrong type since the last call of this method."""
        try:
            return sum(server.met_wrong_type() for server in self.servers.all) > 0  # of each: it forgets what it met
        except CacheUnavailable:
            return False

    async def repair(self) -> None:
        """Delete each value of another type than ``_TYPES`` says: it blocks what belongs there."""
        commands = {shard: [("TYPE", shard.prefix + name) for name in _TYPES] for shard in self.all}
        for shard, found in (await self.run(commands)).available().items():
            for (name, kind), type_ in zip(_TYPES.items(), found, strict=True):
                if type_ not in (kind, b"none"):
                    key = shard.prefix + name
                    logger.warning("redis key removed: key=%s type=%s expected=%s", key, type_.decode(), kind.decode())
                    await self.run_on(shard, ("DEL", key))


def encode_variant(variant: ImageVariant) -> str:
    """Return the word for the variant in sorted sets and hashes."""
    return variant.image_id if variant.rendition is None else f"{variant.image_id}{_SEPARATOR}{variant.rendition}"


def decode_variant(word: bytes) -> ImageVariant:
    """Return the variant that ``encode_variant`` wrote. Raises ``ValueError`` for any other word.

    Other programs can write to Redis: a NUL in an id would make the query of a whole batch fail.
    """
    found = _WORD.fullmatch(word.decode("ascii"))
    if found is None:
        raise ValueError("not an image and a rendition")
    return ImageVariant(found[1], found[2])


def slot_of(key: str) -> int:
    """Return the slot of a key, by the hash tag in it if there is one: CRC-16 (Redis Cluster specification)."""
    tag = _HASH_TAG.search(key)
    return binascii.crc_hqx((tag[1] if tag else key).encode(), 0) % SLOTS
