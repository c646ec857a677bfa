"""The limit of open files, each test in a separate process: a lowered hard limit cannot be raised again."""

import subprocess
import sys

import pytest

_SCRIPT = """
import logging, resource
from gateway.server.file_limit import raise_nofile_limit
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_nofile_limit({max_streams})
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def limits_after(soft: int, hard: int, max_streams: int) -> tuple[str, str]:
    """Return the limits afterwards, and the log."""
    script = _SCRIPT.format(soft=soft, hard=hard, max_streams=max_streams)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("soft", "hard", "max_streams"), [(256, 1024, 384), (1024, 1024, 384), (256, 1000, 10)])
def test_the_soft_limit_is_raised_to_the_hard_limit(soft: int, hard: int, max_streams: int) -> None:
    assert limits_after(soft, hard, max_streams) == (f"{hard} {hard}", "")


@pytest.mark.parametrize("soft", [256, 1024])
def test_a_hard_limit_that_is_too_low_is_logged_with_the_key(soft: int) -> None:
    limits, log = limits_after(soft, 1024, 385)
    assert limits == "1024 1024"
    assert log.count("\n") == 1
    assert "server.max_streams" in log
    assert "limit=1024 needed=1026" in log


@pytest.mark.parametrize(("limit", "public"), [(256, 67), (1024, 451), (100, 1)])
def test_clients_get_the_descriptors_that_redis_postgres_cos_and_the_admin_port_do_not_need(
    limit: int, public: int
) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "from gateway.server.file_limit import public_connections; print(public_connections(1000, 10))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert int(done.stdout) == public
