"""The readiness probe of COS: every configured bucket at once, each with its own time limit and metric."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.errors import OriginUnavailable
from gateway.metrics.collectors import Metrics

_TIMEOUT: Final = 1.5  # seconds; less than a probe of the health may take, so that the failing bucket can be named


class BucketsProbe:
    """Probes the servers of the buckets; ``addresses`` maps each bucket to its address, the default bucket first.

    ``probe`` returns COS's time (Unix seconds, None without one) or raises ``OriginUnavailable``; ``observe`` is given
    the time of the default bucket. With several buckets, each has the metric of the dependency ``cos:<bucket>``.
    """

    def __init__(
        self,
        probe: Callable[[str], Awaitable[float | None]],
        addresses: Mapping[str, str],
        metrics: Metrics,
        observe: Callable[[float | None], None],
        *,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._probe = probe
        self._addresses = addresses
        self._metrics = metrics
        self._observe = observe
        self._timeout = timeout

    async def probe(self) -> None:
        """Return if every bucket answers; raises ``OriginUnavailable`` with those that do not, and why."""
        results = await asyncio.gather(*map(self._try, self._addresses.values()))
        failed = {}
        for bucket, result in zip(self._addresses, results, strict=True):
            is_down = isinstance(result, str)
            if is_down:
                failed[bucket] = result
            if len(self._addresses) > 1:
                self._metrics.dependency_up.labels(dependency=f"cos:{bucket}").set(not is_down)
        default = results[0]
        if not isinstance(default, str):
            self._observe(default)
        if failed:
            raise OriginUnavailable("; ".join(f"bucket {bucket}: {reason}" for bucket, reason in failed.items()))

    async def _try(self, address: str) -> float | str | None:
        """Return COS's time, or why the server does not answer."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._probe(address)
        except TimeoutError:
            return f"no answer within {self._timeout:g} s"
        except OriginUnavailable as error:
            return str(error)
