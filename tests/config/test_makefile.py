"""The Makefile and ``.ci/run``."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.config.files import ROOT, read


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))


def run_make(tmp_path: Path, script: str, *arguments: str, **environment: str) -> str:
    """Return what a target prints whose interpreter is replaced by a script of the shell."""
    for name in ("python", "coverage"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "installed").touch()
    command = ["make", "--silent", f"BIN={tmp_path}", f"STAMP={tmp_path}/installed", *arguments]
    environment["PATH"] = os.environ["PATH"]  # without MAKEFLAGS, which `make test` sets
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("folder", ["", "with space", """it's $HOME $(id) "`#;'""", "~/照片"])
def test_make_run_passes_any_folder_name_on_unchanged(tmp_path: Path, folder: str) -> None:
    printed = run_make(tmp_path, 'printf "%s\\0" "$@"', "run", f"IMAGES={folder}")
    assert printed.split("\0") == ["-m", "gateway", "dev", *(["--images", folder] if folder else []), ""]


@pytest.mark.parametrize("missing", ["ensurepip", "venv"])
def test_make_install_names_the_package_of_debian_that_is_missing(tmp_path: Path, missing: str) -> None:
    """Debian's Python has no ``ensurepip`` and would leave an unusable environment behind."""
    (tmp_path / f"{missing}.py").write_text("raise ModuleNotFoundError\n")
    command = ["make", "install", f"PYTHON={sys.executable}", f"VENV={tmp_path}/venv"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, text=True)
    assert run.returncode != 0
    assert "apt install python3-venv" in run.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("target", ["test", "coverage"])
def test_the_suite_keeps_bytecode_where_the_environment_forbids_it(tmp_path: Path, target: str) -> None:
    """Python ignores an empty variable."""
    script = 'echo "forbidden=$PYTHONDONTWRITEBYTECODE"'
    printed = run_make(tmp_path, script, target, "NPM=", "CHROMIUM=", PYTHONDONTWRITEBYTECODE="1")
    assert "forbidden=\n" in printed


def test_the_newest_aiohttp_is_tried_in_front_of_the_installed_one_and_removed(tmp_path: Path) -> None:
    """The script "installs" into the folder, and prints what it finds there."""
    script = """case "$*" in
    *"pip install"*) for folder; do test "$last" = --target && touch "$folder/aiohttp"; last=$folder; done; echo "$@" ;;
    *pytest*) echo "tried with $(ls "$PYTHONPATH"): $*"; echo "$PYTHONPATH" >>"$(dirname "$0")/folder" ;;
esac"""
    printed = run_make(tmp_path, script, "newest", "AIOHTTP=aiohttp==3.99")
    assert re.search(r"--pre --target \S+ aiohttp==3\.99\n", printed)
    assert re.search(r"tried with aiohttp: -m pytest .*tests/server", printed)
    folders = re.findall(r"^USES_AIOHTTP = \$\(addprefix tests/,(.*)\)$", read("Makefile"), flags=re.MULTILINE)
    assert all((ROOT / "tests" / folder).is_dir() for folder in folders[0].split())
    assert not Path((tmp_path / "folder").read_text().strip()).exists()


def test_ci_is_executable_and_calls_lint_and_test() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    script = read(".ci/run").splitlines()
    assert script[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in script
    calls = [line.strip() for line in script if line.strip().startswith("make ") and "--silent" not in line]
    lint, *parts, test, soak = calls
    assert (lint, test, soak) == ("make lint", "make test", "make soak MINUTES=10 ARGS='--rate 20'")
    assert parts == ["make frameworks ARGS='-k next'", "make fronts", "make artefacts BUILDAH=", "make upgrade"]
    assert {"lint", "test", "soak"} <= make_targets()


@pytest.mark.parametrize(
    ("days", "depth", "runs"),
    [
        (["2026-01-01", "2026-01-02"], 0, True),
        (["2026-01-02", "2026-01-02"], 0, False),
        (["2026-01-02"], 0, True),
        # A clone of depth 1 does not know the commit before.
        (["2026-01-01", "2026-01-02"], 1, False),
    ],
)
def test_ci_soaks_for_the_first_commit_of_a_day_alone(tmp_path: Path, days: list[str], depth: int, runs: bool) -> None:
    script = read(".ci/run")
    lines = 'make() { echo "make $*"; }\n' + script[script.index("day() {") :]
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    commit = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "commit"]
    run(["git", "init", "--quiet", "history"], cwd=tmp_path)
    for day in days:
        # An hour before midnight, Greenwich; in Shanghai it is the next day.
        at = {"GIT_COMMITTER_DATE": f"{day}T23:00:00Z", "PATH": os.environ["PATH"]}
        run([*commit, "--quiet", "--allow-empty", "--message", "x"], cwd=tmp_path / "history", env=at)
    run(["git", "clone", "--quiet", *(["--depth=1"] * depth), f"file://{tmp_path}/history", "clone"], cwd=tmp_path)
    command = ["bash", "-euo", "pipefail", "-c", lines]
    said = run(command, cwd=tmp_path / "clone", env={"PATH": os.environ["PATH"], "TZ": "Asia/Shanghai"}).stdout
    assert said.startswith("make soak MINUTES=10") is runs
