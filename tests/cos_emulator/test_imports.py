"""Import rule of the emulator: it imports nothing of the gateway, and nothing of its own distribution."""

import ast
from pathlib import Path

import pytest

import gateway_dev.cos_emulator

FILES = sorted(Path(gateway_dev.cos_emulator.__path__[0]).glob("**/*.py"))


def foreign_imports(source: str) -> list[str]:
    """Return the imports from ``gateway`` and from outside of the emulator, and the relative ones."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    own = "gateway_dev.cos_emulator."
    return [n for n in names if n.split(".")[0] in ("", "gateway", "gateway_dev") and not f"{n}.".startswith(own)]


def test_the_emulator_imports_no_other_room() -> None:
    assert {"__main__.py", "server.py", "store.py"} <= {file.name for file in FILES}
    assert {file.name: found for file in FILES if (found := foreign_imports(file.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    ["import gateway.errors", "from gateway import errors", "from . import store", "from gateway_dev import stack"],
)
def test_the_rule_finds_foreign_imports(source: str) -> None:
    assert len(foreign_imports(source)) == 1
