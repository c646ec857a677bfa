"""The program of workers: a folder for each version, and a link to the current one."""

import shutil
from pathlib import Path

import pytest

from gateway.workers.worker import kept, resolved, started_by


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link to the older one of two versions; each has a script and an interpreter, which is a link itself."""
    python = tmp_path / "usr" / "python3"
    python.parent.mkdir()
    python.touch(0o755)
    for version in ("old", "new"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "image-gateway").touch(0o755)
        (tmp_path / version / "bin" / "python").symlink_to(python)
    made = tmp_path / "current"
    made.symlink_to(tmp_path / "old")
    return made


def test_a_script_is_started_again_by_its_own_path_and_not_by_its_interpreter(link: Path, tmp_path: Path) -> None:
    shortcut = tmp_path / "image-gateway"
    shortcut.symlink_to(link / "bin" / "image-gateway")
    for script in (link / "bin" / "image-gateway", shortcut):
        command = started_by(str(script), str(tmp_path / "old" / "bin" / "python"))
        assert command == (str(script),)
        assert resolved(command) == (str(tmp_path / "old" / "bin" / "image-gateway"),)


def test_a_module_is_started_again_by_the_interpreter_of_its_environment(link: Path, tmp_path: Path) -> None:
    command = started_by("/anywhere/gateway/__main__.py", str(link / "bin" / "python"))
    assert command == (str(link / "bin" / "python"), "-m", "gateway")
    assert resolved(command) == (str(tmp_path / "old" / "bin" / "python"), "-m", "gateway")


def test_a_version_is_kept_when_the_link_moves_until_it_is_removed(link: Path, tmp_path: Path) -> None:
    command = started_by(str(link / "bin" / "image-gateway"), "")
    old = resolved(command)
    link.unlink()
    link.symlink_to(tmp_path / "new")
    assert kept(old, command) == old
    shutil.rmtree(tmp_path / "old")
    assert kept(old, command) == (str(tmp_path / "new" / "bin" / "image-gateway"),)
