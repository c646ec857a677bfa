"""The Makefile and ``.ci/run``."""

import os
import re
import subprocess
import sys
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
    built = {"STAMP": tmp_path / "installed", "SITE": tmp_path / "site"}
    for file in built.values():
        file.touch()
    command = ["make", "--silent", f"BIN={tmp_path}", *(f"{name}={file}" for name, file in built.items()), *arguments]
    environment["PATH"] = os.environ["PATH"]  # without MAKEFLAGS, which `make test` sets
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize("folder", ["", "with space", """it's $HOME $(id) "`#;'""", "~/照片"])
def test_make_run_passes_any_folder_name_on_unchanged(tmp_path: Path, folder: str) -> None:
    printed = run_make(tmp_path, 'printf "%s\\0" "$@"', "run", f"IMAGES={folder}")
    assert printed.split("\0") == ["-m", "gateway", "dev", *(["--images", folder] if folder else []), ""]


def test_make_clean_removes_the_site_and_keeps_a_release() -> None:
    command = ["make", "--dry-run", "clean"]
    removed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert [folder in removed.split() for folder in ("site", ".venv", "dist")] == [True, True, False]


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
