"""The servers behind the measured ones: an origin with files on the client's core, a Redis and a Postgres."""

import base64
import contextlib
import hmac
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt

from bench.databases import BUCKET, Databases, running_databases, write_configuration
from bench.processes import CLIENT_CORE, SERVER_CORE, log_reader, nginx, pinned
from gateway_dev.database import ImageRow
from gateway_dev.processes import free_port

SIZES = {"4k": 4_096, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
COUNTS = {
    "4k": 64,
    "100k": 64,
    "1m": 64,
    "10m": 40,
}  # more than the connections of wrk, so that no two request the same image at once
PRIVATE, OWNER = "private-", "alice"  # how the ids of private images begin, and whose they are
COOKIE = "session"
_SECRET = "the-secret-of-tokens-in-benchmarks"  # noqa: S105 - of a measurement
_MODIFIED = 1_700_000_000  # seconds since 1970, of each file


@dataclass(frozen=True)
class Stack:
    """The running servers: address and process of the origin, Redis and Postgres, and the ids of all images."""

    folder: Path
    origin: str
    origin_pid: int
    databases: Databases
    names: list[str]


@dataclass(frozen=True)
class Gateway:
    """A running gateway: host and port, its admin address, and its process."""

    address: str
    admin: str
    pid: int


def owner_token() -> str:
    """Return a token of the owner of the private images."""
    return jwt.encode({"sub": OWNER, "exp": int(time.time()) + 86_400}, _SECRET)


def link_suffix(image_id: str) -> str:
    """Return the query of a signed link to the short address of a private image."""
    exp = int(time.time()) + 86_400
    signature = hmac.digest(_SECRET.encode(), f"/i/{image_id}\n{exp}".encode(), "sha256")
    return f"?kid=bench&exp={exp}&sig={base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def etag(size: str) -> str:
    """Return the ``ETag`` of the origin's images of this size (nginx: modified at, and length)."""
    return f'"{_MODIFIED:x}-{SIZES[size]:x}"'


def make_images(folder: Path) -> list[str]:
    """Create files of every size; return their names."""
    folder.mkdir()
    names = []
    for size, length in SIZES.items():
        for number in range(COUNTS[size]):
            name = f"{size}-{number}"
            (folder / name).write_bytes(os.urandom(1024) * (length // 1024) + bytes(length % 1024))
            os.utime(folder / name, (_MODIFIED, _MODIFIED))
            names.append(name)
    return names


@contextlib.contextmanager
def running_stack(folder: Path, origin_port: int | None = None) -> Iterator[Stack]:
    """Run the origin, Redis and Postgres with a row for each image.

    The origin serves each file as ``/NAME`` and, for clients that write S3 paths, as ``/BUCKET/NAME``.
    """
    names = make_images(folder / "images")
    folder.chmod(0o755)
    origin = f"http://127.0.0.1:{origin_port or free_port()}"
    files = f"listen {origin[7:]}; root {folder}/images; location /{BUCKET}/ {{ alias {folder}/images/; }}"
    with contextlib.ExitStack() as stack:
        pid = stack.enter_context(nginx(folder, "origin", CLIENT_CORE, f"server {{ {files} }}", f"{origin}/4k-0"))
        rows = [
            ImageRow(f"{prefix}{name}", owner, name, content_type="image/png", public=owner is None)
            for prefix, owner in (("", None), (PRIVATE, OWNER))
            for name in names
        ]
        yield Stack(folder, origin, pid, stack.enter_context(running_databases(folder, rows)), names)


@contextlib.contextmanager
def gateway(
    stack: Stack,
    name: str,
    image_proxy: Mapping[str, object],
    *,
    arguments: Sequence[str] = (),
    core: str = SERVER_CORE,
    ready: str = "/healthz",
    pause: float = 0.05,
    lines: bool = True,
    tree: Path | None = None,
    has_callers: bool = False,
) -> Iterator[Gateway]:
    """Run a gateway on the servers' core; yield it once the address ``ready`` answers.

    arguments: those of ``serve``.
    ready: ``/readyz`` answers when all dependencies do.
    lines: it writes a line for each request into a pipe, as by default.
    tree: the checkout that it is run from. None: this one.
    has_callers: it knows the owner of the private images by ``owner_token``.
    """
    public, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    sections = stack.databases.sections(stack.origin[7:]) | {
        "server": {"host": "127.0.0.1", "port": int(public.rpartition(":")[2])},
        "admin": {"port": int(admin.rpartition(":")[2])},
        "image_proxy": dict(image_proxy),
        "image_styles": {"card": {}},
        "logging": {"access": lines},
    }
    if has_callers:
        sections["access"] = {
            "jwt": {"secret": _SECRET, "cookie": COOKIE},
            "signed_links": {"keys": {"bench": _SECRET}},
        }
    configuration = write_configuration(stack.folder / f"{name}.yaml", sections)
    command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration), *arguments)
    url = f"http://{admin if ready == '/readyz' else public}{ready}"
    with log_reader() as log, pinned(core, *command, ready=url, cwd=tree, pause=pause, log=log) as pid:
        yield Gateway(public, admin, pid)
