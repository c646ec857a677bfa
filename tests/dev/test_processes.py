"""Child processes end with their parent; ports, processes, locks and private files of the development servers."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway_dev.processes import (
    Account,
    Child,
    ServerError,
    claim_port,
    load_link_key,
    locked_data_dir,
    wait_until,
)

SLEEP = ("/bin/sleep", "60")


def has_ended(pid: int) -> bool:
    """Return whether the process has ended, reaped or not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # it has ended, and its parent has not reaped it yet


def test_the_error_names_a_program_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="/no/such/program could not be started"):
        Child(["/no/such/program"], log=tmp_path / "log")


def test_a_child_survives_the_thread_that_started_it(tmp_path: Path) -> None:
    """Linux sends the death signal when the starting thread ends, which may be a thread of a pool."""
    children: list[Child] = []
    thread = threading.Thread(target=lambda: children.append(Child(SLEEP, log=tmp_path / "log")))
    thread.start()
    thread.join()
    assert not children[0].wait(0.2)
    children[0].kill()


def test_a_child_is_killed_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from gateway_dev.processes import Child; "
        f"print(Child({SLEEP!r}, log=pathlib.Path(sys.argv[1])).pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not has_ended(pid)
        parent.kill()
    assert wait_until(lambda: has_ended(pid), 10)


def test_root_runs_a_child_as_nobody_and_other_users_as_themselves(tmp_path: Path) -> None:
    account = Account.unprivileged()
    log = tmp_path / "log"
    child = Child(["/bin/sh", "-c", "id -u"], log=log, account=account)
    assert child.wait(10)
    assert int(log.read_text()) == (account.uid if account else os.geteuid()) != 0


def test_a_claimed_port_is_not_given_again_until_its_claim_ends() -> None:
    with ExitStack() as first:
        port = claim_port(0, first)
        with ExitStack() as second:
            assert claim_port(port, second) != port
    with ExitStack() as third:
        assert claim_port(port, third) == port


def test_a_claimed_port_stays_taken_while_its_server_restarts() -> None:
    with ExitStack() as claims:
        port = claim_port(0, claims)
        for _ in range(2):
            socket.create_server(("127.0.0.1", port)).close()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))


def test_the_directory_is_created_and_locked_for_the_duration(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "b"
    with locked_data_dir(data_dir) as locked:
        assert locked == data_dir
        with pytest.raises(ServerError, match=r"already running on .*a/b.*--state"), locked_data_dir(data_dir):
            pass
    with locked_data_dir(data_dir):
        pass


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"file/data cannot be written: Not a directory"):
        locked_data_dir(tmp_path / "file" / "data").__enter__()


def test_the_link_key_is_created_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "link-key"
    key = load_link_key(file)
    assert len(key) >= 32
    assert load_link_key(file) == key
    assert load_link_key(tmp_path / "other") != key
    assert file.stat().st_mode & 0o777 == 0o600
