"""``RedisServer`` starts, stops and keeps its data. Stories kill and pause it."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from gateway_dev.processes import HOST, PORTS, Child, ServerError, free_port, processes_in, wait_until
from gateway_dev.redis_server import RedisServer, find_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_clients_need_the_password(server: RedisServer) -> None:
    with Redis.from_url(server.url) as client:
        assert client.ping()
    with socket.create_connection((HOST, server.port)) as client_socket:
        client_socket.sendall(b"PING\r\n")
        assert client_socket.recv(100).startswith(b"-NOAUTH")


def test_only_the_owner_can_read_the_password_and_the_data(server: RedisServer) -> None:
    assert (server.data_dir / "redis.conf").stat().st_mode & 0o077 == 0
    assert server.data.stat().st_mode & 0o077 == 0
    assert server.password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_a_server_that_does_not_stop_in_time_is_killed(server: RedisServer) -> None:
    server.stop_timeout = 0.2
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(f"AUTH {server.password}\r\n".encode())
        assert connection.recv(100) == b"+OK\r\n"
        connection.sendall(
            b"EVAL \"while true do redis.call('incr', KEYS[1]) end\" 1 key\r\n"
        )  # it has written: it cannot be stopped
        assert wait_until(lambda: not server.answers(), 10)
        server.stop()
    assert not server.is_running
    assert processes_in(server.data, server.programs) == set()


def test_the_error_for_an_invalid_option_has_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)ended with code 1 .*server\.log ends:.*no-such-option"):
        RedisServer(tmp_path, extra_args=["--no-such-option", "1"]).start()


def test_a_server_that_never_answers_is_stopped_and_reported(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, extra_args=["--port", str(free_port())])
    server.start_timeout = 0.2
    with pytest.raises(ServerError, match=r"(?s)did not answer within 0\.2 s; its log .*server\.log ends:"):
        server.start()
    assert processes_in(server.data, server.programs) == set()


def test_another_port_is_chosen_if_a_process_takes_the_first_one(tmp_path: Path) -> None:
    class LosesItsFirstPort(RedisServer):
        """A server whose first port is taken between its choice and the start."""

        other: socket.socket | None = None

        def command(self) -> list[str]:
            if self.other is None:
                self.other = socket.create_server((HOST, self.port))
            return super().command()

    with LosesItsFirstPort(tmp_path, ephemeral=True) as server:
        assert server.other is not None
        assert server.port != server.other.getsockname()[1]
        assert server.port in PORTS
        server.other.close()


def test_a_start_waits_until_its_given_port_is_free(tmp_path: Path) -> None:
    port = free_port()
    server = RedisServer(tmp_path, port=port, ephemeral=True)

    def close_after_the_first_attempt() -> None:
        wait_until(lambda: server.log.exists() and "in use" in server.log.read_text(), 10)
        other.close()

    with socket.create_server((HOST, port)) as other:
        thread = threading.Thread(target=close_after_the_first_attempt)
        thread.start()
        with server:
            assert server.port == port
        thread.join()


def test_a_start_kills_a_server_that_still_runs_in_its_folder(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    with server, Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    leftover = Child(server.command(), log=server.log)
    assert wait_until(lambda: processes_in(server.data, server.programs) == {leftover.pid}, 10)
    with server, Redis.from_url(server.url) as client:
        assert leftover.exit_code is not None
        assert client.get("kept") == b"yes"


@pytest.mark.parametrize("package", ["no_such_package", "json"])
def test_without_any_redis_the_error_names_three_ways_to_get_one(tmp_path: Path, package: str) -> None:
    with pytest.raises(ServerError, match=r"make install.*PATH.*GATEWAY_REDIS__URL"):
        find_redis(package=package, path=str(tmp_path))
