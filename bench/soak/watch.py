"""Memory, descriptors and logs of the gateways during the soak."""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp
import redis

from bench.soak.stack import (
    ADMIN_TOKEN,
    JWT_SECRET,
    LINK_KEY,
    MIN_REMAINING,
    SECRET_KEY,
    THRESHOLD,
    Replica,
    Stack,
)

_INTERVAL = 2.0  # seconds
_MOST_LISTED = 5
# Presigned URLs, signed links, tokens (JWTs begin so) and the secrets themselves.
_SECRET = re.compile(
    "|".join(
        [r"q-signature=\w", r"[?&]sig=[\w-]{20}", r"eyJ[\w-]{20}"]
        + [re.escape(secret) for secret in (SECRET_KEY, JWT_SECRET, LINK_KEY, ADMIN_TOKEN)]
    )
)


@dataclass
class Watch:
    """Samples of one replica that is never killed: (seconds, resident bytes, open files)."""

    replica: Replica
    samples: list[tuple[float, int, int]] = field(default_factory=list)

    async def run(self) -> None:
        """Take samples until cancelled."""
        began = time.monotonic()
        while True:
            self.samples.append((time.monotonic() - began, self.replica.memory(), self.replica.descriptors()))
            await asyncio.sleep(_INTERVAL)

    def growth(self) -> float:
        """Return resident bytes in the last fifth of the time over those in the second fifth."""
        fifth = len(self.samples) // 5
        early = statistics.median(memory for _, memory, _ in self.samples[fifth : 2 * fifth])
        return statistics.median(memory for _, memory, _ in self.samples[-fifth:]) / early

    def most_memory(self) -> int:
        """Return the most resident bytes of any sample."""
        return max(memory for _, memory, _ in self.samples)

    def most_descriptors(self) -> int:
        """Return the most open files of any sample."""
        return max(files for _, _, files in self.samples)


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
    metrics = dict(re.findall(r"^image_gateway_refresh_(dead|lag_seconds) (\S+)$", text, flags=re.MULTILINE))
    if float(metrics["dead"]):
        found.append(f"{metrics['dead']} dead entries")
    if float(metrics["lag_seconds"]) > THRESHOLD / 2:
        found.append(f"renewal lags by {metrics['lag_seconds']} s")
    with redis.Redis.from_url(stack.redis.url) as client:
        lives = {key.decode(): client.pttl(key) / 1000 for key in client.scan_iter("image:url:*", count=1000)}
        # A tombstone is not an entry: it has its own, short life.
        ending = {key: life for key, life in lives.items() if 0 < life < MIN_REMAINING and ":changing-" not in key}
        for key, life in list(ending.items())[:_MOST_LISTED]:
            due = client.zscore("image:refresh:queue", key.removeprefix("image:url:"))
            when = "never" if due is None else f"in {float(due) - time.time():.0f} s"
            found.append(f"{key} ends in {life:.0f} s and is due {when}")
    if ending or not lives:
        found.append(f"{len(ending)} of {len(lives)} entries end within {MIN_REMAINING} s")
    return found
