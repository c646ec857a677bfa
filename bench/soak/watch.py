"""Memory, descriptors and logs of the gateways during the soak."""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import psutil

from bench.soak.faults import Schedule
from bench.soak.stack import (
    ADMIN_TOKEN,
    ENTRY_KEY,
    LINK_KEY,
    MIN_REMAINING,
    THRESHOLD,
    Replica,
    Stack,
)
from gateway_dev.stack import JWT_SECRET
from tests.cluster import PASSWORD

_INTERVAL = 2.0  # seconds
_MOST_LISTED = 5
# Presigned URLs, signed links, tokens (JWTs begin so) and the secrets themselves.
_SECRET = re.compile(
    "|".join(
        [r"q-signature=\w", r"[?&]sig=[\w-]{20}", r"eyJ[\w-]{20}"]
        + [re.escape(secret) for secret in (JWT_SECRET, LINK_KEY, ENTRY_KEY, ADMIN_TOKEN, PASSWORD)]
    )
)


@dataclass
class Watch:
    """Samples of one replica that is never killed, while no fault is active: (seconds, resident bytes, open files).

    A fault that ends connections, as that of nginx, would make the fewest of its time too few.
    """

    replica: Replica
    schedule: Schedule
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    async def run(self) -> None:
        """Take samples until cancelled."""
        began = time.monotonic()
        while True:
            now = time.monotonic()
            if not self.schedule.during(now, now):
                with suppress(psutil.NoSuchProcess):
                    self.samples.append((now - began, self.replica.memory(), self.replica.descriptors()))
            await asyncio.sleep(_INTERVAL)

    def growth(self) -> tuple[float, float]:
        """Return the growth from the second fifth of the samples to the last: of resident bytes, and of open files.

        Most open files are connections, which come and go. The fewest of a fifth are those that stay. Without samples,
        because the machine was busy throughout, nothing has grown.
        """
        fifth = len(self.samples) // 5
        if not fifth:
            return 1.0, 1.0
        early, late = self.samples[fifth : 2 * fifth], self.samples[-fifth:]
        memory = [statistics.median(memory for _, memory, _ in part) for part in (late, early)]
        files = [min(files for _, _, files in part) for part in (late, early)]
        return memory[0] / memory[1], files[0] / files[1]

    def most_memory(self) -> int:
        """Return the most resident bytes of any sample."""
        return max((memory for _, memory, _ in self.samples), default=0)

    def most_descriptors(self) -> int:
        """Return the most open files of any sample."""
        return max((files for _, _, files in self.samples), default=0)


def suspicious_lines(stack: Stack) -> Iterator[str]:
    """Yield log lines with a secret or with an unhandled error."""
    for replica in stack.replicas:
        with replica.log.open(encoding="utf-8") as lines:
            for line in lines:
                if _SECRET.search(line):
                    yield f"{replica.name} logged a secret: {_SECRET.sub('***', line)[:200]}"
                elif "Traceback" in line or '"level":"critical"' in line.replace(" ", ""):
                    yield f"{replica.name}: {line[:300]}"


async def overdue(stack: Stack) -> list[str]:
    """Return the failures of renewal: entries near their end, dead ones, or a lag; empty if nothing.

    Call it some seconds after the last fault.
    """
    found = []
    async with aiohttp.ClientSession() as session, session.get(stack.replicas[0].admin + "/metrics") as answer:
        text = await answer.text()
    dead, lag = (
        max(map(float, re.findall(rf"^image_gateway_refresh_{name}(?:\{{.*\}})? (\S+)$", text, flags=re.MULTILINE)))
        for name in ("dead", "lag_seconds")  # as each worker says
    )
    if dead:
        found.append(f"{dead:g} dead entries")
    if lag > THRESHOLD / 2:
        found.append(f"renewal lags by {lag:g} s")
    lives: dict[str, float] = {}
    ending: dict[str, float] = {}
    for client in (stack.redis.clients[master] for master in stack.redis.masters()):
        here = {key.decode(): client.pttl(key) / 1000 for key in client.scan_iter("image:*:url:*", count=1000)}
        # A tombstone is not an entry: it has its own, short life.
        late = {key: life for key, life in here.items() if 0 < life < MIN_REMAINING and ":changing-" not in key}
        for key, life in list(late.items())[:_MOST_LISTED]:
            shard, _, member = key.partition("url:")
            due = client.zscore(f"{shard}refresh:queue", member)
            when = "never" if due is None else f"in {float(due) - time.time():.0f} s"
            found.append(f"{key} ends in {life:.0f} s and is due {when}")
        lives, ending = lives | here, ending | late
    if ending or not lives:
        found.append(f"{len(ending)} of {len(lives)} entries end within {MIN_REMAINING} s")
    return found
