"""Findings on the configuration: placeholders, credentials, the fallback picture, the signature, open files, hosts."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

from gateway.catalog.server_addresses import ServerAddresses, system_addresses
from gateway.concurrency.time_limits import loop_timeout
from gateway.delivery.fallback_picture import FallbackPicture, UnusablePicture
from gateway.findings.finding import Finding, well
from gateway.presign.credentials.rotation import RotatingCredentials
from gateway.presign.hosts import Hosts
from gateway.settings import CosSettings, FallbackSettings, PostgresSettings, RedisSettings

# The values in config/gateway.yaml of the keys that have no default.
PLACEHOLDERS = {
    "postgres.dsn": "postgresql://USER:PASSWORD@postgres.example:5432/DATABASE",
    "cos.secret_id": "YOUR-SECRET-ID",
    "cos.secret_key": "YOUR-SECRET-KEY",
    "cos.bucket": "your-bucket-1250000000",
}


def diagnose_placeholders(postgres: PostgresSettings, cos: CosSettings) -> Finding:
    """Return a finding that names the keys whose values are still placeholders."""
    secrets = {"postgres.dsn": postgres.dsn, "cos.secret_id": cos.secret_id, "cos.secret_key": cos.secret_key}
    values = {key: secret.get_secret_value() for key, secret in secrets.items() if secret is not None}
    values["cos.bucket"] = cos.bucket
    unset = [key for key, placeholder in PLACEHOLDERS.items() if values.get(key) == placeholder]
    if not unset:
        return well("configuration", "every key is known, and none is missing")
    return Finding.of("placeholders", "configuration", keys=", ".join(unset))


async def diagnose_credentials(credentials: RotatingCredentials, buckets: Sequence[str] = ()) -> Finding:
    """Return a finding on the source and the life of its credentials, after a refresh. ``buckets``: in its name."""
    is_refreshed = await credentials.refresh()
    left = credentials.seconds_left
    name = " ".join(["credentials", *buckets])
    what = f"source {credentials.name}: " + ("they never end" if left is None else f"{left:.0f} s are left")
    if not is_refreshed:
        what += f"; refresh failed: {credentials.reason}"
        if left == 0:  # a source that is down may give credentials before long, and a start waits for none
            return Finding.of("credentials_ended", name, what, stops_start=not credentials.is_down)
        return Finding.of("credentials_not_refreshed", name, what)
    return Finding.of("credentials_end", name, what) if credentials.is_near_end else well(name, what)


def diagnose_fallback(settings: FallbackSettings) -> Finding:
    """Return whether the fallback picture can be used. Blocks."""
    try:
        FallbackPicture.read(settings.path, settings.statuses)
    except UnusablePicture as error:
        return Finding.of("fallback_unusable", "fallback picture", str(error))
    return well("fallback picture", "can be sent in place of an image")


def diagnose_signature(hosts: Hosts, buckets: Mapping[str, str]) -> Finding:
    """Return whether the gateway signs as Tencent's SDK does. ``buckets`` maps their names to regions. Blocks."""
    from gateway.presign.probe_signer import signs_as_the_sdk  # half a second, and 10 MiB

    sdk = f"Tencent's SDK {version('cos-python-sdk-v5')}"
    different = [bucket for bucket, region in buckets.items() if not signs_as_the_sdk(hosts, bucket, region)]
    if different:
        return Finding.of("signature_differs", "signature", sdk=sdk, buckets=", ".join(different))
    return well("signature", f"that of {sdk}")


def diagnose_open_files(limit: int | None, needed: int) -> Finding:
    """Return whether a process may have as many open files as ``needed``. ``limit`` None: no limit."""
    if limit is None or limit >= needed:
        return well("open files", f"{'no limit' if limit is None else limit}, {needed} are needed")
    what = f"the hard limit is {limit}, and server.max_streams needs {needed}: connections will wait"
    return Finding.of("open_files_short", "open files", what)


async def check_names(
    redis: RedisSettings | None, postgres: PostgresSettings, hosts: Hosts, buckets: Mapping[str, str]
) -> AsyncIterator[Finding]:
    """Yield a finding on the settings of whose hosts none has an address: where DNS is blocked, no gateway can serve.

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
