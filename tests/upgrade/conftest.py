"""The previous release: its files out of git's history, and its program in an environment with its own dependencies."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time to install the previous release, whose packages are downloaded."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))


@dataclass(frozen=True)
class Release:
    """A release: the folder of its files, and the folder with its programs."""

    tree: Path
    programs: Path

    @property
    def gateway(self) -> list[str]:
        """The command that runs the gateway."""
        return [str(self.programs / "image-gateway")]

    def python(self, script: str, *arguments: str | Path) -> str:
        """Run a script with the modules of the release; return its output."""
        return _run(str(self.programs / "python"), "-I", "-c", script, *map(str, arguments))


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release that ``make upgrade`` names, installed as its document says: with its own versions."""
    folder = tmp_path_factory.mktemp("previous")
    tree, environment = folder / "tree", folder / "environment"
    tree.mkdir()
    commit = os.environ["GATEWAY_TEST_PREVIOUS"]
    archive = subprocess.run(("git", "archive", commit), cwd=ROOT, capture_output=True, check=False)
    assert archive.returncode == 0, f"git's history does not have {commit}: {archive.stderr.decode()}"
    subprocess.run(("tar", "-x", "-C", str(tree)), input=archive.stdout, check=True)
    _run(sys.executable, "-m", "venv", str(environment))
    pip = (str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--require-hashes", "-r", str(tree / "requirements.txt"))
    _run(*pip, "--no-deps", str(tree))
    return Release(tree, environment / "bin")


def _run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
