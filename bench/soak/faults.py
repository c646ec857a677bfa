"""Faults that come one at a time: each is a context, active for the time that the soak chose."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from bench.soak.stack import Replica, Stack
from gateway_dev.cos_emulator.credential_services import CredentialFault
from gateway_dev.cos_emulator.faults import Action, Cut, Drip, Fault, Hang, Refuse, Reset
from gateway_dev.redis_server import RedisServer
from tests.cluster import Cluster

# Seconds after a fault in which its effects may still be seen: a circuit breaker's pause, the end of a time-out.
SETTLING = 12.0
_LOOK = 0.2  # seconds between two looks at the machine
_LATE = 0.5  # seconds without processor time for this process
_MOST_LOAD = 4  # processes that want a processor, for each of them: the soak alone stays below 2


@dataclass
class Schedule:
    """When faults were active, on the monotonic clock; an end of None: still active.

    busy: when other processes took so much processor time that no time-out says anything.
    """

    periods: list[tuple[str, float, float | None]] = field(default_factory=list)
    busy: list[tuple[float, float]] = field(default_factory=list)

    def during(self, start: float, end: float) -> bool:
        """Whether a fault or its aftermath was active between two times, or the machine was busy."""
        return self.was_busy(start, end) or any(
            began <= end and (ended is None or start <= ended + SETTLING) for _, began, ended in self.periods
        )

    def was_busy(self, start: float, end: float) -> bool:
        """Whether the machine was busy between two times, or shortly before."""
        return any(began <= end and start <= ended + SETTLING for began, ended in self.busy)

    async def watch_machine(self, load: Callable[[], Sequence[float]] = os.getloadavg) -> None:
        """Record when the machine is busy, until cancelled."""
        most = _MOST_LOAD * len(os.sched_getaffinity(0))
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            if now - before > _LOOK + _LATE or load()[0] > most:
                is_further = self.busy and before - self.busy[-1][1] < _LOOK
                self.busy[-1:] = [(self.busy[-1][0], now)] if is_further else [*self.busy[-1:], (before, now)]

    def said_at(self, when: float) -> str:
        """Return what the last fault was, and when."""
        before = [(name, ended or when) for name, began, ended in self.periods if began <= when]
        return f"{when - before[-1][1]:.0f} s after {before[-1][0]!r}" if before else "before the first fault"

    @asynccontextmanager
    async def active(self, name: str) -> AsyncIterator[None]:
        """Record a fault that is active until the block ends."""
        began = time.monotonic()
        self.periods.append((name, began, None))
        try:
            yield
        finally:
            self.periods[-1] = (name, began, time.monotonic())


FaultMaker = Callable[[Stack, Replica, random.Random], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _replica_killed(_stack: Stack, replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    await replica.kill()
    yield
    await replica.start()


@asynccontextmanager
async def _replica_restarted(_stack: Stack, replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    exit_code = await replica.stop(signal.SIGTERM)
    yield
    await replica.start()
    if exit_code != 0:
        raise AssertionError(f"{replica.name} drained with exit code {exit_code}")


@asynccontextmanager
async def _worker_killed(_stack: Stack, replica: Replica, chance: random.Random) -> AsyncIterator[None]:
    replica.kill_worker(chance.randrange(replica.workers))
    yield


@asynccontextmanager
async def _nginx_killed(stack: Stack, _replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    await stack.nginx.stop(kill=True)
    yield
    await stack.nginx.restart()


@asynccontextmanager
async def _master_killed(stack: Stack, _replica: Replica, chance: random.Random) -> AsyncIterator[None]:
    cluster, place = stack.redis, chance.random()
    master = await asyncio.to_thread(_master, cluster, place)
    replica = await asyncio.to_thread(cluster.replica_of, master)
    with cluster.failover():
        await asyncio.to_thread(master.kill)
        # A node that starts again before that comes back without its keys.
        await asyncio.to_thread(cluster.promote, replica)
        yield
        await asyncio.to_thread(cluster.heal)


@asynccontextmanager
async def _master_paused(stack: Stack, _replica: Replica, chance: random.Random) -> AsyncIterator[None]:
    master = await asyncio.to_thread(_master, stack.redis, chance.random())
    with stack.redis.failover():
        async with _paused(stack, [master]):
            yield


@asynccontextmanager
async def _redis_paused(stack: Stack, _replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    async with _paused(stack, stack.redis.nodes):
        yield


@asynccontextmanager
async def _paused(stack: Stack, nodes: Sequence[RedisServer]) -> AsyncIterator[None]:
    for node in nodes:
        node.pause()
    try:
        yield
    finally:
        for node in nodes:
            node.resume()
    await asyncio.to_thread(stack.redis.heal)


def _master(cluster: Cluster, place: float) -> RedisServer:
    masters = sorted(cluster.masters(), key=lambda node: node.port)
    return masters[int(place * len(masters))]


@asynccontextmanager
async def _metadata_fails(stack: Stack, _replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    stack.credentials.faults.add(CredentialFault(kind="internal_error", times=None))
    try:
        yield
    finally:
        stack.credentials.faults.clear()


@asynccontextmanager
async def _postgres_killed(stack: Stack, _replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    await asyncio.to_thread(stack.postgres.kill)
    yield
    await asyncio.to_thread(stack.postgres.start)


@asynccontextmanager
async def _postgres_paused(stack: Stack, _replica: Replica, _random: random.Random) -> AsyncIterator[None]:
    stack.postgres.pause()
    try:
        yield
    finally:
        stack.postgres.resume()


def _cos(choose: Callable[[random.Random], Action]) -> FaultMaker:
    @asynccontextmanager
    async def fault(stack: Stack, _replica: Replica, chance: random.Random) -> AsyncIterator[None]:
        adding = asyncio.create_task(_add_faults(stack, choose, chance), name="faults-of-cos")
        try:
            yield
        finally:
            adding.cancel()
            stack.cos.faults.clear()

    return fault


async def _add_faults(stack: Stack, choose: Callable[[random.Random], Action], chance: random.Random) -> None:
    """Let every third request or so meet the fault."""
    while True:
        stack.cos.faults.add(Fault(action=choose(chance), skip=chance.randrange(3)))
        if len(stack.cos.faults.armed) > 50:
            stack.cos.faults.clear()
        await asyncio.sleep(0.02)


FAULTS: dict[str, FaultMaker] = {
    "a replica is killed": _replica_killed,
    "a replica is restarted": _replica_restarted,
    "a worker is killed": _worker_killed,
    "nginx is killed": _nginx_killed,
    "a master of Redis is killed": _master_killed,
    "a master of Redis hangs": _master_paused,
    "all of Redis hangs": _redis_paused,
    "no new credentials": _metadata_fails,
    "Postgres is killed": _postgres_killed,
    "Postgres hangs": _postgres_paused,
    "COS throttles": _cos(lambda _: Refuse()),
    "COS refuses": _cos(lambda _: Refuse(status=403, code="AccessDenied", message="Access Denied.")),
    "COS is slow": _cos(lambda _: Drip(size=16_384, every=0.05)),
    "COS cuts transfers": _cos(lambda chance: Cut(at=chance.randrange(4_000), reset=chance.random() < 0.5)),
    "COS resets connections": _cos(lambda _: Reset()),
    "COS hangs": _cos(lambda chance: Hang(at=chance.choice([None, 1_000]))),
}
