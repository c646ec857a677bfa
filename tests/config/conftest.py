"""Fixtures for the tests of the files around the code."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_gateway_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every ``GATEWAY_`` variable, so that only the files decide the settings."""
    for variable in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(variable)
