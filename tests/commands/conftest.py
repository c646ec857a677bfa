"""The configuration file that the commands read, and a server that forks processes for them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.dev.processes import wait_until
from tests.limits import LIMIT
from tests.processes import FORK_SERVER

WriteConfig = Callable[..., Path]


@pytest.fixture(scope="session")
def fork_server(server_folder: Path) -> Iterator[Path]:
    """The socket of a server that forks a process for each command."""
    address = server_folder / "commands"
    command = (sys.executable, "-m", "tests.fork_server", str(address))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as server:
        assert wait_until(address.exists, timeout=LIMIT)
        yield address
        server.terminate()


@pytest.fixture(autouse=True)
def forked_commands(monkeypatch: pytest.MonkeyPatch, fork_server: Path) -> None:
    """The commands of these tests start without importing the gateway anew."""
    monkeypatch.setenv(FORK_SERVER, str(fork_server))


@pytest.fixture
def write_config(raw_settings: dict[str, dict[str, Any]], tmp_path: Path) -> WriteConfig:
    """Writes the test's configuration; keyword arguments change sections: ``url_cache={"default_ttl": 60}``."""

    def write(**changes: dict[str, Any]) -> Path:
        sections = {name: {**raw_settings.get(name, {}), **changes.get(name, {})} for name in raw_settings | changes}
        file = tmp_path / "gateway.yaml"
        file.write_text(yaml.safe_dump(sections))
        return file

    return write


@pytest.fixture
def config_file(write_config: WriteConfig) -> Path:
    """The test's configuration as a YAML file."""
    return write_config()
