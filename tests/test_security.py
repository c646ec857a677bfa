"""Every promise of SECURITY.md has a test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
_TEST = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


def promises() -> dict[str, list[tuple[str, str]]]:
    """Return the last two tables of the page: each promise with the file and name of its tests."""
    _, _, tables = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("| promise | test |\n|---|---|\n")
    _, _, second = tables.partition("| promise | one part differs | test |\n|---|---|---|\n")
    assert second
    lines = [*tables.partition("\n## ")[0].splitlines(), *second.splitlines()]
    rows = [line.strip("|").rsplit(" | ", 1) for line in lines if line.startswith("|")]
    return {promise.strip(): _TEST.findall(tests) for promise, tests in rows}


def test_every_promise_has_a_test_that_exists() -> None:
    assert len(promises()) > 20
    for promise, tests in promises().items():
        assert tests, promise
        for file, name in tests:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in found, f"{promise}: {file}::{name}"
