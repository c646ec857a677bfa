"""The whole gateway on one machine with nothing installed: real servers from wheels, a COS emulator, images to show."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from gateway.access.signed_links import SignedLinks
from gateway.api.link_handlers import address_of
from gateway.cos_emulator.access import Credential
from gateway.cos_emulator.server import CosEmulator
from gateway.cos_emulator.store import ObjectStore
from gateway.dev.data_dir import held, kept_link_key, write_privately
from gateway.dev.database import ImageRow, ImagesTable
from gateway.dev.folder import LeftOut, scan_images
from gateway.dev.ports import claim_port
from gateway.dev.postgres_server import PostgresServer
from gateway.dev.processes import ServerError
from gateway.dev.redis_server import RedisServer
from gateway.dev.samples import sample_images
from gateway.settings import Settings, SignedLinksSettings
from gateway.settings.sources import load_settings

# Known to everybody, and of use to nobody: they open the emulator on this machine only.
BUCKET = "dev-1250000000"
SECRET_ID = "AKIDdevelopment"
SECRET_KEY = "development"
JWT_SECRET = "development-secret-of-32-bytes-or-more"
ADMIN_TOKEN = "development"

PUBLIC_PORT, ADMIN_PORT, COS_PORT = 8080, 9090, 9000  # the usual ones

REDIS_URL = "GATEWAY_REDIS__URL"
POSTGRES_DSN = "GATEWAY_POSTGRES__DSN"


# So that a link shown at the start is still good when somebody comes back to it.
LINK_LIFE = 24 * 3600


@dataclass(frozen=True)
class DevStack:
    """Settings for the gateway, the emulator to enter beside it, and the images there are.

    ``config`` is the file that the settings were read from: the other commands can be run with it. ``listing`` is
    where a list of all images may be written. ``links`` maps ids to signed links without scheme and host: of each
    private image, or of the first image if all are public; it is empty where there are no images, or links are turned
    off. ``left_out``: files that are no images of it, and why.
    ``moved``: the ports that somebody else had, and what was taken instead.
    """

    settings: Settings
    config: Path
    listing: Path
    cos: CosEmulator
    rows: list[ImageRow]
    links: Mapping[str, str]
    left_out: LeftOut
    moved: dict[int, int]


@contextmanager
def dev_stack(state: Path, images: Path | None) -> Iterator[DevStack]:
    """Start the servers, fill the tables, and stop what was started at the end.

    Data is kept below ``state`` and found again the next time; a folder of ``images`` has data of its own. Servers
    named in the environment are used as they are, and not written down: they may have passwords. Raises
    ``ServerError`` when one does not start or cannot be used, or another stack has the same data, ``SettingsError``,
    and ``OSError``.
    """
    label = "samples" if images is None else hashlib.sha256(os.fsencode(images.resolve())).hexdigest()[:12]
    with ExitStack() as stack:
        folder = stack.enter_context(held(state / label))
        sections: dict[str, Any] = {}
        if not os.environ.get(REDIS_URL):
            sections["redis"] = {"url": stack.enter_context(RedisServer(folder / "redis")).url}
        if not os.environ.get(POSTGRES_DSN):
            sections["postgres"] = {"dsn": stack.enter_context(PostgresServer(folder / "postgres")).dsn}
        ports = {usual: claim_port(usual, stack) for usual in (PUBLIC_PORT, ADMIN_PORT, COS_PORT)}
        sections |= _sections(ports, kept_link_key(folder / "link-key"))
        config = folder / "gateway.yaml"
        write_privately(config, yaml.safe_dump(sections, sort_keys=False))
        settings = load_settings(config)

        store, left_out = ObjectStore(), LeftOut(list)
        rows = list(_samples(store) if images is None else _found(store, images, left_out))
        dsn = settings.postgres.dsn.get_secret_value()
        # Not only the variable names another: so may a file in the secrets directory.
        table = _filled(ImagesTable(dsn), rows, is_ours=dsn == sections.get("postgres", {}).get("dsn"))
        cos = CosEmulator(store, {SECRET_ID: Credential(SECRET_KEY)}, port=ports[COS_PORT], default_bucket=BUCKET)
        links = _links_to_show(settings.access.signed_links, table, rows)
        used = {settings.server.port, settings.admin.port, ports[COS_PORT]}  # the environment may say otherwise
        moved = {usual: port for usual, port in ports.items() if port != usual and port in used}
        yield DevStack(settings, config, folder / "images.tsv", cos, rows, links, left_out, moved)


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
        "access": {"jwt": {"secret": JWT_SECRET}, "signed_links": {"keys": {"dev": link_key}}},
        "logging": {"format": "console"},
    }


def _filled(table: ImagesTable, rows: Sequence[ImageRow], *, is_ours: bool) -> ImagesTable:
    """The table with the rows in it. Raises ``ServerError`` with one line, and writes nothing into others' tables."""
    try:
        if not is_ours and (name := table.foreign()):
            raise ServerError(
                f"the database of postgres.dsn ({POSTGRES_DSN}) has a table {name} that dev did not make, and would "
                "write over: name an empty database, or none"
            )
        table.create()
        table.create_links()
        table.put(rows)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split())
        raise ServerError(f"the database of postgres.dsn ({POSTGRES_DSN}) cannot be used: {reason}") from error
    return table


def _links_to_show(
    settings: SignedLinksSettings | None, table: ImagesTable, rows: Sequence[ImageRow]
) -> dict[str, str]:
    """Signed links by image id: to each private image, else to the first public one."""
    if settings is None:
        return {}
    links = SignedLinks(settings)
    shown = [row.image_id for row in rows if not row.public] or [row.image_id for row in rows[:1]]
    return {
        image_id: links.make(address_of(image_id), expires_in=LINK_LIFE, links_killed=table.links_killed(image_id))[0]
        for image_id in shown
    }


def _samples(store: ObjectStore) -> Iterator[ImageRow]:
    for sample in sample_images():
        store.put(BUCKET, sample.key, sample.data, content_type=sample.content_type)
        yield ImageRow(
            sample.image_id, sample.owner, sample.key, content_type=sample.content_type, public=sample.public
        )


def _found(store: ObjectStore, images: Path, left_out: LeftOut) -> Iterator[ImageRow]:
    store.mount(BUCKET, images)
    for image in scan_images(images, left_out):
        yield ImageRow(image.image_id, "alice", image.key, content_type=image.content_type, public=True)
