"""The whole gateway on one machine with nothing installed: real servers from wheels, a COS stand-in, images to show."""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.dev.cos.access import Credential
from gateway.dev.cos.server import CosStandIn
from gateway.dev.cos.store import ObjectStore
from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.postgres_server import PostgresServer
from gateway.dev.redis_server import RedisServer
from gateway.dev.samples import sample_images, scan_images
from gateway.settings import Settings
from gateway.settings.sources import load_settings

# Known to everybody, and of use to nobody: they open the stand-in on this machine only.
BUCKET = "dev-1250000000"
SECRET_ID = "AKIDdevelopment"
SECRET_KEY = "development"
JWT_SECRET = "development-secret-of-32-bytes-or-more"
ADMIN_TOKEN = "development"

REDIS_URL = "GATEWAY_REDIS__URL"
POSTGRES_DSN = "GATEWAY_POSTGRES__DSN"


@dataclass(frozen=True)
class DevStack:
    """Settings for the gateway, the stand-in to enter beside it, and the images there are."""

    settings: Settings
    cos: CosStandIn
    rows: list[ImageRow]


@contextmanager
def dev_stack(state: Path, images: Path | None) -> Iterator[DevStack]:
    """Start the servers, fill the table, and stop what was started at the end.

    Data is kept below ``state`` and found again the next time; a folder of ``images`` has data of its own. Servers
    named in the environment are used as they are. Raises ``ServerError`` when one does not start, ``SettingsError``.
    """
    label = "samples" if images is None else hashlib.sha256(os.fsencode(images.resolve())).hexdigest()[:12]
    folder = state / label
    with ExitStack() as stack:
        redis_url = os.environ.get(REDIS_URL) or stack.enter_context(RedisServer(folder / "redis")).url
        dsn = os.environ.get(POSTGRES_DSN) or stack.enter_context(PostgresServer(folder / "postgres")).dsn
        store = ObjectStore()
        rows = list(_samples(store) if images is None else _found(store, images))
        table = ImagesTable(dsn)
        table.create()
        table.put(rows)
        cos_port = _preferred_port(9000)
        settings = load_settings(None, _defaults(redis_url, dsn, cos_port))
        credentials = {SECRET_ID: Credential(SECRET_KEY)}
        yield DevStack(settings, CosStandIn(store, credentials, port=cos_port, default_bucket=BUCKET), rows)


def _defaults(redis_url: str, dsn: str, cos_port: int) -> dict[str, Any]:
    return {
        "server": {"host": "127.0.0.1", "port": _preferred_port(8080), "shutdown_grace": 5},
        "admin": {"port": _preferred_port(9090), "token": ADMIN_TOKEN},
        "redis": {"url": redis_url},
        "postgres": {"dsn": dsn},
        "cos": {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"127.0.0.1:{cos_port}",
        },
        "access": {"jwt": {"secret": JWT_SECRET}},
        "logging": {"format": "console"},
    }


def _samples(store: ObjectStore) -> Iterator[ImageRow]:
    for sample in sample_images():
        store.put(BUCKET, sample.key, sample.data, content_type=sample.content_type)
        yield ImageRow(
            sample.image_id, sample.owner, sample.key, content_type=sample.content_type, public=sample.public
        )


def _found(store: ObjectStore, images: Path) -> Iterator[ImageRow]:
    store.mount(BUCKET, images)
    for image in scan_images(images):
        yield ImageRow(image.image_id, "alice", image.key, content_type=image.content_type, public=True)


def _preferred_port(port: int) -> int:
    """``port`` if it is free on the loopback, else any that is."""
    for candidate in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise OSError("no free port on 127.0.0.1")
