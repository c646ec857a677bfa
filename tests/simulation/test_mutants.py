"""Each mutant of the code is found: a simulation that finds nothing proves nothing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS, mutated

MOST_RUNS = 1500


@pytest.mark.parametrize("name", MUTANTS)
def test_the_text_that_a_mutant_replaces_is_in_the_code(name: str) -> None:
    for module in {edit.module for edit in MUTANTS[name].edits}:
        spec = find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        mutated(Path(spec.origin).read_text(), [edit for edit in MUTANTS[name].edits if edit.module == module])


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_finds_the_mutant(name: str) -> None:
    command = [sys.executable, "-m", "tests.simulation", "--mutant", name, "--first", str(MUTANTS[name].first)]
    command += ["--runs", str(MOST_RUNS), "--minutes", "4", "--most", "1", "--no-shrink"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failures" in result.stdout, result.stdout + result.stderr
