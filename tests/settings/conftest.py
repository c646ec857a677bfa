"""Settings read from files and the environment, without the variables of this machine."""

import os
from pathlib import Path

import pytest

from tests.settings.problems import REQUIRED


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of this machine."""
    for variable in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file with the required keys."""
    path = tmp_path / "gateway.yaml"
    path.write_text(REQUIRED)
    return path


@pytest.fixture
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configured secrets directory, empty at first."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(folder))
    return folder
