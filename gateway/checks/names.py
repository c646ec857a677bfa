"""A finding on host names of Redis, Postgres and COS that nobody knows. Where DNS is blocked, no gateway can serve."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlsplit

from gateway.catalog.server_addresses import ServerAddresses, system_addresses
from gateway.concurrency.time_limits import loop_timeout
from gateway.findings.finding import Finding
from gateway.presign.hosts import Hosts
from gateway.settings import PostgresSettings, RedisSettings


async def check_names(
    redis: RedisSettings | None, postgres: PostgresSettings, hosts: Hosts, buckets: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """Yield a finding on the settings of whose hosts none has an address, if there are such settings.

    ``buckets``: with their regions. Waits at most for ``postgres.timeout``. No name is shown: after a mistake, a
    password stands where a host belongs.
    """
    limit, netloc = postgres.timeout, redis.parts().netloc if redis is not None else ""
    of_redis = netloc.rpartition("@")[2].split(",") if netloc else []
    of_cos = [urlsplit(hosts.origin_of(*place).base).netloc for place in buckets.items()]
    problems = await asyncio.gather(
        _of_postgres(postgres.dsn.get_secret_value(), limit),
        _of_hosts("redis.url", of_redis, limit),
        *(_of_hosts("cos", [host], limit) for host in of_cos),
    )
    found = list(dict.fromkeys(problem for problem in problems if problem))
    if found:
        yield Finding.of("names_unknown", "names", "; ".join(found))


async def _of_postgres(dsn: str, limit: float) -> str | None:
    addresses = ServerAddresses(dsn, limit)
    try:
        await addresses.look_up()
    except OSError as error:
        return f"postgres.dsn: {error}"
    finally:
        await addresses.aclose()
    return None


async def _of_hosts(setting: str, places: Sequence[str], limit: float) -> str | None:
    problem = None
    for place in places:
        try:
            async with loop_timeout(limit / len(places)):
                await system_addresses(urlsplit(f"//{place}").hostname or "localhost")
        except OSError as error:
            problem = f"{setting}: no host has an address: {error.strerror or 'the resolver does not answer'}"
        else:
            return None
    return problem
