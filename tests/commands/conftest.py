"""The configuration file that the commands read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import run_gateway

WriteConfig = Callable[..., Path]


@pytest.fixture(autouse=True)
def all_commands_are_forked(forked_commands: None) -> None:
    """No command of these tests imports the gateway anew."""


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


async def said(code: int, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that must exit with ``code`` and without a traceback. Return its output."""
    exit_code, output = await run_gateway(*map(str, arguments), environment=environment)
    assert exit_code == code, output
    assert "Traceback" not in output
    return output
