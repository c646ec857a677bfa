"""The nodes of a Redis Cluster: which node has which slot, and commands that follow a slot to its node.

redis-py's client of a Cluster is not used. It reads the map of slots while commands wait, and waits for each node in
turn, so that a node that does not answer holds up the commands to all other nodes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import AskError, MovedError, RedisError, TryAgainError

from gateway.concurrency.time_limits import loop_timeout
from gateway.redis_connection.guarded_client import (
    REDIS_ERRORS,
    CacheUnavailable,
    CircuitBreaker,
    Command,
    GuardedRedis,
    in_parallel,
    message_of,
)

logger = logging.getLogger(__name__)

# The answers of a node that lead elsewhere. ``MovedError`` is an ``AskError``.
Redirect: TypeAlias = AskError | TryAgainError

_MOST_REDIRECTS: Final = 5
_TRY_AGAIN_AFTER: Final = 0.05  # seconds, while the keys of a script are on their way to another node
_LOOK_EVERY: Final = 1.0  # seconds, while a node does not answer
_LEAST_PAUSE: Final = 0.1  # seconds between two looks
_MAP_OF_SLOTS: Final = (("CLUSTER INFO",), ("CLUSTER SLOTS",))


class Address(NamedTuple):
    """The host and the port at which a node of a Redis Cluster listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class _View:
    """A Redis Cluster as one node reports it. ``slots``: first and last slots in order, and nodes, primary first."""

    is_ok: bool
    epoch: int
    slots: Sequence[tuple[int, int, Sequence[Address]]]


# Opens the client of a node. The function that it gets is to be called when the node did not answer.
OpenNode = Callable[[Address, Callable[[], None]], GuardedRedis]


class ClusterServers:
    """The clients of the primaries of a Redis Cluster, each with its own circuit breaker.

    The map of slots is read at the start (``look``), and again by the background task ``watch``: after a MOVED, and
    every second while a node does not answer. No request waits for it.
    """

    def __init__(self, seeds: Sequence[Address], open_node: OpenNode, timeout: float) -> None:
        self._seeds = tuple(seeds)
        self._open_node = open_node
        self._timeout = timeout
        self._nodes: dict[Address, GuardedRedis] = {}
        self._view: _View | None = None
        self._owners: dict[int, GuardedRedis] = {}
        self._problem = "no node of the Cluster has been asked"
        self._breaker = CircuitBreaker()  # of the map of slots: only its log is used
        self._is_stale = asyncio.Event()  # lets ``watch`` read the map of slots again

    @property
    def all(self) -> Sequence[GuardedRedis]:
        """Every primary. Raises ``CacheUnavailable`` while the Cluster is not known."""
        if self._view is None or not self._view.slots:
            raise CacheUnavailable(self._problem)
        return [self.node(address) for address in dict.fromkeys(nodes[0] for _, _, nodes in self._view.slots)]

    def of(self, slot: int) -> GuardedRedis:
        """Return the primary of the slot. Raises ``CacheUnavailable`` if none is known."""
        if (owner := self._owners.get(slot)) is not None:
            return owner
        if self._view is None:
            raise CacheUnavailable(self._problem)
        for first, last, nodes in self._view.slots:
            if first <= slot <= last:
                self._owners[slot] = owner = self.node(nodes[0])
                return owner
        self._is_stale.set()
        raise CacheUnavailable(f"CLUSTERDOWN slot {slot} has no node")

    def node(self, address: Address) -> GuardedRedis:
        if (node := self._nodes.get(address)) is None:
            node = self._nodes[address] = self._open_node(address, self._is_stale.set)
        return node

    async def watch(self) -> None:
        """Read the map of slots whenever it may have changed, until cancelled."""
        while True:
            await self._is_stale.wait()
            self._is_stale.clear()
            try:
                is_well = await self.look() and not any(node.is_away for node in self.all)
            except Exception:  # else the map of slots would not be read again until a restart
                logger.exception("reading the map of slots failed")
                is_well = False
            await asyncio.sleep(_LEAST_PAUSE if is_well else _LOOK_EVERY)
            if not is_well:
                self._is_stale.set()

    async def look(self) -> bool:
        """Take the newest map of slots of all nodes. Nodes that answer are used again. Return whether any answered."""
        views: list[_View] = []
        problems: list[str] = []

        async def ask(address: Address) -> None:
            node = self.node(address)
            try:
                async with loop_timeout(self._timeout):
                    views.append(_view_in(await node.exchange(_MAP_OF_SLOTS), address))
                node.answered()
            except (*REDIS_ERRORS, ValueError) as error:
                problems.append(f"{address} {message_of(error) or 'does not answer'}")

        await in_parallel([ask(address) for address in dict.fromkeys((*self._seeds, *self._nodes))])
        if not views:
            self._problem = "; ".join(sorted(problems))
            self._breaker.failed(self._problem, at_once=True)
            self._is_stale.set()
            return False
        self._breaker.answered()
        view = max(views, key=lambda view: (view.is_ok, view.epoch))
        self._view, self._owners = view, {}
        if not view.slots:
            self._problem = "CLUSTERDOWN no node has any slot"
            self._is_stale.set()
            return False
        known = {address for _, _, nodes in view.slots for address in nodes}
        await self._close(self._nodes.keys() - known - set(self._seeds))
        return True

    async def follow(self, redirect: Redirect, command: Command, server: GuardedRedis) -> Any:
        """Send the command where ``redirect`` leads, up to five times, and return the last answer.

        A node that a redirect leads to has its own time limit and breaker, so that ``server`` is not held responsible
        for it.
        """
        target, is_asking = server, False
        for _ in range(_MOST_REDIRECTS):
            if isinstance(redirect, AskError):
                asked_host = target.address.rpartition(":")[0].strip("[]")
                target = self.node(_reached_at(redirect.host, redirect.port, asked_host))
                is_asking = not isinstance(redirect, MovedError)
                if not is_asking:  # for all later commands of the slot
                    self._owners[redirect.slot_id] = target
                    self._is_stale.set()
            else:
                await asyncio.sleep(_TRY_AGAIN_AFTER)
            # Without ASKING, a node that the slot moves to says that the slot is not there yet.
            [*_, answer] = await target.send([("ASKING",), command] if is_asking else [command])
            if not isinstance(answer, Redirect):
                return answer
            redirect = answer
        return redirect

    async def _close(self, addresses: Iterable[Address]) -> None:
        await in_parallel([self._nodes.pop(address).aclose() for address in addresses])

    async def aclose(self) -> None:
        await self._close(list(self._nodes))


def _view_in(answers: Sequence[Any], asked: Address) -> _View:
    """Return the view in the answers to CLUSTER INFO and CLUSTER SLOTS of a node. Raises an answer that is an error."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    info, slots = answers
    return _View(
        info.get("cluster_state") == "ok",
        int(info.get("cluster_current_epoch", 0)),
        sorted((int(first), int(last), [_address(node, asked) for node in nodes]) for first, last, *nodes in slots),
    )


def _address(node: Sequence[Any], asked: Address) -> Address:
    """Return the address of a node. If it prefers a host name and has none (``?``), Redis 7's metadata has its IP."""
    endpoint, port, *more = node
    host = _text(endpoint or "")
    if host == "?" and len(more) > 1:
        words = [_text(word) for word in more[1]]
        host = dict(zip(words[::2], words[1::2], strict=False)).get("ip", "")
    return _reached_at(host, int(port), asked.host)


def _reached_at(host: str, port: int, asked_host: str) -> Address:
    """Return the address of a node. A node without a host is reached where another was asked (CLUSTER SLOTS, Redis)."""
    return Address(asked_host if host in ("", "?") else host, port)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
