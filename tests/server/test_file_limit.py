"""The limit of open files, in processes of their own: what was lowered cannot be raised again."""

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


def room(soft: int, hard: int, max_streams: int) -> tuple[str, str]:
    """The limits afterwards, and what was said."""
    script = _SCRIPT.format(soft=soft, hard=hard, max_streams=max_streams)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize(("soft", "hard", "max_streams"), [(256, 1024, 384), (1024, 1024, 384), (256, 1000, 10)])
def test_it_is_raised_as_far_as_it_may_be(soft: int, hard: int, max_streams: int) -> None:
    assert room(soft, hard, max_streams) == (f"{hard} {hard}", "")


@pytest.mark.parametrize("soft", [256, 1024])
def test_where_that_is_not_enough_a_line_names_the_key(soft: int) -> None:
    limits, said = room(soft, 1024, 385)
    assert limits == "1024 1024"
    assert said.count("\n") == 1
    assert "server.max_streams" in said
    assert "limit=1024 needed=1026" in said


@pytest.mark.parametrize(("limit", "public"), [(256, 67), (1024, 451), (100, 1)])
def test_clients_get_what_redis_postgres_cos_and_the_admin_port_leave(limit: int, public: int) -> None:
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        "from gateway.server.file_limit import connection_budget; print(*connection_budget(1000, 10))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.split() == [str(public), "16"]
