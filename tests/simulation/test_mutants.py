"""Each mutant of the code is found: a simulation that finds nothing proves nothing."""

import subprocess
import sys

import pytest

from tests.simulation.mutants import MUTANTS

MOST_RUNS = 300


@pytest.mark.parametrize("name", MUTANTS)
def test_the_simulation_finds_the_mutant(name: str) -> None:
    """Nor is a mutant found whose text is not in the code any more."""
    command = [sys.executable, "-m", "tests.simulation", "--mutant", name, "--first", "0"]
    command += ["--runs", str(MOST_RUNS), "--minutes", "4", "--most", "1", "--no-shrink"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "1 failures" in result.stdout, result.stdout + result.stderr
