"""Import rule of the emulator: it imports nothing of the gateway, and nothing of its own distribution."""

import ast
from pathlib import Path

import pytest

import gateway_dev.cos_emulator

PACKAGE = "gateway_dev.cos_emulator"
PACKAGES = ("gateway", "gateway_dev")
FILES = sorted(Path(gateway_dev.cos_emulator.__path__[0]).glob("**/*.py"))


def foreign_imports(source: str) -> list[str]:
    """The imports of a source text from `gateway` and from outside of the emulator, and the relative ones."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names += [f"{module}.{alias.name}" for alias in node.names] if module in PACKAGES else [module]
    return [
        n for n in names if n.startswith(".") or (n.split(".")[0] in PACKAGES and not f"{n}.".startswith(f"{PACKAGE}."))
    ]


def test_the_rule_sees_every_file() -> None:
    assert {"__main__.py", "server.py", "store.py"} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_emulator_imports_no_other_room(file: Path) -> None:
    assert foreign_imports(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import gateway.errors",
        "from gateway import errors",
        "from gateway.errors import X",
        "from . import store",
        "from .. import errors",
        "from gateway_dev import stack",
        "from gateway_dev.cos_emulator_more import x",
    ],
)
def test_the_rule_finds_foreign_imports(source: str) -> None:
    assert len(foreign_imports(source)) == 1
