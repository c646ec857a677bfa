"""Development stack: Redis and PostgreSQL from Python wheels, the COS emulator, and images to serve."""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import psycopg2
import yaml

from gateway.access.signed_links import SignedLinks, short_address
from gateway.settings import Live, Settings, SignedLinksSettings
from gateway.settings.sources import load_settings
from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore
from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.folder import LeftOut, scan_images
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.processes import ServerError, claim_port, load_link_key, locked_data_dir, write_privately
from gateway_dev.redis_server import RedisServer
from gateway_dev.samples import sample_images
from gateway_dev.styles import STYLES

# Public credentials: they only open the COS emulator on this machine.
BUCKET = "dev-1250000000"
SECRET_ID = "AKIDdevelopment"
SECRET_KEY = "development"
JWT_SECRET = "development-secret-of-32-bytes-or-more"
ADMIN_TOKEN = "development-only"

PUBLIC_PORT, ADMIN_PORT, COS_PORT = 8080, 9090, 9000  # the usual ones

REDIS_URL = "GATEWAY_REDIS__URL"
POSTGRES_DSN = "GATEWAY_POSTGRES__DSN"
LIFETIME = 24 * 3600  # seconds, of links and tokens


@dataclass(frozen=True)
class DevStack:
    """Settings for the gateway, the COS emulator to run with it, and the images it serves.

    config: the file that the settings were read from. The other commands can use it.
    id_list: the path for the list of all images.
    links: maps image ids to signed links without scheme and host. There is a link for each private image, or for the
    first image if all are public. The mapping is empty if there are no images or if links are turned off.
    left_out: names the files that are not served, by the reason.
    moved: maps each usual port that was taken to the port used instead.
    """

    settings: Settings
    config: Path
    id_list: Path
    cos: CosEmulator
    rows: list[ImageRow]
    links: Mapping[str, str]
    left_out: LeftOut
    moved: dict[int, int]


@contextmanager
def dev_stack(data_dir: Path, images: Path | None) -> Iterator[DevStack]:
    """Start the servers and fill the tables; stop the servers at the end.

    Data is kept below ``data_dir`` for the next start. Each folder of ``images`` has its own data. None means the
    samples. Servers named in the environment are used as they are, and not written to the configuration file, because
    their addresses may contain passwords. Raises ``ServerError`` if a server does not start or cannot be used, or if
    another stack uses the same data. Raises ``SettingsError`` and ``OSError``, too.
    """
    label = "samples" if images is None else hashlib.sha256(os.fsencode(images.resolve())).hexdigest()[:12]
    with ExitStack() as stack:
        folder = stack.enter_context(locked_data_dir(data_dir / label))
        sections: dict[str, Any] = {}
        if not os.environ.get(REDIS_URL):
            sections["redis"] = {"url": stack.enter_context(RedisServer(folder / "redis")).url}
        if not os.environ.get(POSTGRES_DSN):
            sections["postgres"] = {"dsn": stack.enter_context(PostgresServer(folder / "postgres")).dsn}
        ports = {usual: claim_port(usual, stack) for usual in (PUBLIC_PORT, ADMIN_PORT, COS_PORT)}
        sections |= _sections(ports, load_link_key(folder / "link-key"))
        config = folder / "gateway.yaml"
        write_privately(config, yaml.safe_dump(sections, sort_keys=False))
        settings = load_settings(config)

        store, left_out = ObjectStore(), LeftOut(list)
        rows = list(_sample_rows(store) if images is None else _folder_rows(store, images, left_out))
        dsn = settings.postgres.dsn.get_secret_value()
        # Compared with the settings, because a file in the secrets directory may name another database, too.
        table = _filled_table(ImagesTable(dsn), rows, is_ours=dsn == sections.get("postgres", {}).get("dsn"))
        cos = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, port=ports[COS_PORT], default_bucket=BUCKET)
        links = _example_links(settings.access.signed_links, table, rows)
        used = {settings.server.port, settings.admin.port, ports[COS_PORT]}  # the environment may set other ports
        moved = {usual: port for usual, port in ports.items() if port != usual and port in used}
        yield DevStack(settings, config, folder / "images.tsv", cos, rows, links, left_out, moved=moved)


def _sections(ports: Mapping[int, int], link_key: str) -> dict[str, Any]:
    return {
        "server": {"host": "127.0.0.1", "port": ports[PUBLIC_PORT], "shutdown_grace": 5},
        "admin": {"port": ports[ADMIN_PORT], "token": ADMIN_TOKEN},
        "cos": {
            "secret_id": SECRET_ID,
            "secret_key": SECRET_KEY,
            "bucket": BUCKET,
            "scheme": "http",
            "domain": f"127.0.0.1:{ports[COS_PORT]}",
        },
        # COS is on this machine: a longer wait would only delay the recovery from the faults of the playground.
        "image_proxy": {"timeout": 5},
        "image_styles": STYLES,
        "image_variants": {"negotiate": "accept"},
        "access": {"jwt": {"secret": JWT_SECRET}, "signed_links": {"keys": {"dev": link_key}}},
        "logging": {"format": "console"},
    }


def _filled_table(table: ImagesTable, rows: Sequence[ImageRow], *, is_ours: bool) -> ImagesTable:
    """Write the rows and return the table. Raises ``ServerError`` with a line, also for a table of another program."""
    try:
        if not is_ours and (name := table.foreign_relation()):
            raise ServerError(
                f"the database of postgres.dsn ({POSTGRES_DSN}) has a table {name} that dev did not create and would "
                "overwrite: name an empty database, or none"
            )
        table.create()
        table.create_links()
        table.put(rows)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        raise ServerError(f"the database of postgres.dsn ({POSTGRES_DSN}) cannot be used: {reason}") from error
    return table


def _example_links(
    settings: SignedLinksSettings | None, table: ImagesTable, rows: Sequence[ImageRow]
) -> dict[str, str]:
    """Return signed links by image id: to each private image, or to the first image if all are public."""
    if settings is None:
        return {}
    links = SignedLinks(Live(settings))
    image_ids = [row.image_id for row in rows if not row.public] or [row.image_id for row in rows[:1]]
    return {
        image_id: links.make(short_address(image_id), expires_in=LIFETIME, links_killed=table.links_killed(image_id))[0]
        for image_id in image_ids
    }


def _sample_rows(store: ObjectStore) -> Iterator[ImageRow]:
    for row, data in sample_images():
        store.put(BUCKET, row.key, data)
        yield row


def _folder_rows(store: ObjectStore, images: Path, left_out: LeftOut) -> Iterator[ImageRow]:
    store.mount(BUCKET, images)
    for image in scan_images(images, left_out):
        yield ImageRow(image.image_id, "alice", image.key, content_type=image.content_type, public=True)


def token_for(user: str) -> str:
    """Return a bearer token for the user, signed with the development secret and valid for a day."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + LIFETIME}, JWT_SECRET, algorithm="HS256")
