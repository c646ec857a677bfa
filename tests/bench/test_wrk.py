"""Rates that wrk measures, with a program in its place."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.processes import Contender
from bench.wrk import rate


@dataclass(frozen=True)
class Server(Contender):
    """A server that has used so much processor time at each look, in seconds."""

    used: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """Return it."""
        return self.used.pop(0)


@pytest.fixture
def in_place_of_wrk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs wrk on a core answers as wrk does."""
    program = tmp_path / "taskset"
    program.write_text("#!/bin/sh\necho '  100 requests in 2.00s, 4.00KB read'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.parametrize(("per_cpu", "expected"), [(True, 200), (False, 50)])
def test_a_server_that_got_no_processor_time_is_measured_again(
    in_place_of_wrk: None, tmp_path: Path, per_cpu: bool, expected: float
) -> None:
    server = Server("http://127.0.0.1:1/", 1, used=[1.0, 1.0, 1.0, 1.5])
    assert rate(server, "4k", 2, tmp_path, per_cpu=per_cpu) == expected


def test_a_server_that_gets_no_processor_time_is_an_error(in_place_of_wrk: None, tmp_path: Path) -> None:
    server = Server("http://127.0.0.1:1/", 1, used=[1.0] * 6)
    with pytest.raises(RuntimeError, match="no processor time"):
        rate(server, "4k", 2, tmp_path)
