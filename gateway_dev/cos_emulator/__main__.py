"""The ``python -m gateway_dev.cos_emulator`` command: serves folders as buckets until SIGINT or SIGTERM."""

import asyncio
import logging
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import click

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.control import CONTROL_PREFIX
from gateway_dev.cos_emulator.credential_services import CredentialServices, TokenIssuer
from gateway_dev.cos_emulator.http_service import HttpService
from gateway_dev.cos_emulator.purge_services import PurgeServices
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore


def _folders(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    folders = {}
    for value in values:
        bucket, _, folder = value.partition("=")
        if not (bucket and folder):
            raise click.BadParameter(f"{value!r} is not NAME=DIR")
        if not Path(folder).is_dir():
            raise click.BadParameter(f"{folder!r} is not a folder")
        folders[bucket] = Path(folder)
    return folders


@click.command(context_settings={"show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=9000, help="Port to listen on; 0 chooses a free port.")
@click.option("--secret-id", required=True, envvar="COS_SECRET_ID", help="SecretId of the credential that may read.")
@click.option("--secret-key", required=True, envvar="COS_SECRET_KEY", help="SecretKey of the credential.")
@click.option("--token", envvar="COS_TOKEN", help="Token of a temporary credential.  [default: permanent]")
@click.option("--token-life", type=float, help="Seconds until the token expires.  [default: never]")
@click.option(
    "--bucket",
    "buckets",
    metavar="NAME=DIR",
    callback=_folders,
    multiple=True,
    required=True,
    help="Bucket and the folder it serves; may be repeated.",
)
@click.option("--default-bucket", help="Bucket for hosts that name none.  [default: the first bucket]")
@click.option(
    "--force-download",
    is_flag=True,
    help="Send Content-Disposition: attachment, as default domains of buckets made since 2024 do.",
)
@click.option(
    "--credentials-port",
    type=int,
    help="Port of the metadata and STS services; 0 chooses a free port.  [default: neither runs]",
)
@click.option("--role", default="image-gateway", help="Role of the instance that the metadata service names.")
@click.option("--role-arn", "role_arns", multiple=True, help="Role that STS lets others assume; may be repeated.")
@click.option(
    "--purge-port",
    type=int,
    help="Port of Tencent CDN and EdgeOne, which purge caches; 0 chooses a free port.  [default: neither runs]",
)
@click.option("--cdn-domain", "cdn_domains", multiple=True, help="Domain that the account accelerates.  [default: any]")
@click.option("--issued-life", default=7200, help="Longest life in seconds of the credentials that both issue.")
def main(
    host: str,
    port: int,
    secret_id: str,
    secret_key: str,
    token: str | None,
    token_life: float | None,
    buckets: dict[str, Path],
    default_bucket: str | None,
    force_download: bool,
    credentials_port: int | None,
    role: str,
    role_arns: tuple[str, ...],
    issued_life: int,
    purge_port: int | None,
    cdn_domains: tuple[str, ...],
) -> None:
    """Serve folders as private COS buckets: GET and HEAD of objects, signatures verified."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    store = ObjectStore()
    for bucket, directory in buckets.items():
        store.mount(bucket, directory)
    expires_at = None if token_life is None else time.time() + token_life
    credentials = {secret_id: Credential(secret_key, token, expires_at)}
    services: dict[str, HttpService] = {}
    if credentials_port is not None:
        services["metadata and STS services"] = CredentialServices(
            TokenIssuer(credentials, life=issued_life),
            role=role,
            roles=dict.fromkeys(role_arns),
            host=host,
            requested_port=credentials_port,
        )
    if purge_port is not None:
        services["Tencent CDN and EdgeOne"] = PurgeServices(
            credentials, frozenset(cdn_domains) or None, host=host, requested_port=purge_port
        )
    emulator = CosEmulator(
        store,
        credentials,
        port=port,
        default_bucket=default_bucket or next(iter(buckets)),
        force_download=force_download,
    )
    emulator.host = host
    asyncio.run(_serve(emulator, services))


async def _serve(emulator: CosEmulator, services: Mapping[str, HttpService]) -> None:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, interrupted.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(emulator)
        click.echo(f"COS emulator: {emulator.url}")
        for name, service in services.items():
            await stack.enter_async_context(service)
            click.echo(f"{name}: {service.url}")
        click.echo(f"faults and request log: {emulator.url}{CONTROL_PREFIX}faults and {CONTROL_PREFIX}journal")
        await interrupted.wait()


if __name__ == "__main__":
    main()
