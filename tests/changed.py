"""``python -m tests.changed [BASE]``: print the tests of what has changed since BASE, by default the last commit.

A module has its tests in the file that mirrors it, or else in the folder of its package, and those of ``_OF_ALL``.
``tests/dev`` and ``tests/cos_emulator`` mirror ``gateway_dev``. Tests that have changed are their own tests. Files of
the web component and documents have the tests of their folders.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

ROOT: Final = Path(__file__).parents[1]
# What a change of any module of the gateway may break.
_OF_ALL: Final = (
    "tests/test_imports.py",
    "tests/interface",
    "tests/commands/test_serve_imports.py",
    "tests/stories/test_request_path.py",
    "tests/reload/test_proofs.py",
)
# Folders without packages, and what tests them.
_OTHERS: Final = {
    "config/nginx": "tests/config/test_nginx_files.py",
    "config/prometheus": "tests/config/test_prometheus_files.py",
    "config/sql": "tests/config/test_sql_files.py",
    "config": "tests/config",
    "docs": "tests/test_documents.py",
    "bench": "tests/bench",
    "gateway/web/console": "tests/api/test_static_files.py",
    "gateway/web": "tests/test_web_units.py",
    "gateway_dev/web": "tests/test_web_units.py",
    "examples": "tests/web/test_package.py",
}


def mirrors_of(changed: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return the paths of the tests of these files, each once; empty without any."""
    return list(dict.fromkeys(test for path in changed for test in _of(PurePosixPath(path)) if (root / test).exists()))


def _of(path: PurePosixPath) -> Iterator[str]:
    if path.parts[0] == "tests":
        if path.name.startswith("test_"):
            yield str(path)
        elif path.suffix == ".py" and len(path.parts) > 2:  # a helper of the tests of one folder
            yield str(path.parent)
        return
    for folder, test in _OTHERS.items():
        if path.is_relative_to(folder):
            yield test
            return
    if path.parts[0] in {"gateway", "gateway_dev"} and path.suffix == ".py":
        folders = path.parts[1:-1]
        mirror = PurePosixPath("tests", *(folders or ("dev",) if path.parts[0] == "gateway_dev" else folders))
        named = mirror / f"test_{path.name}"
        yield str(named) if (ROOT / named).exists() else str(mirror)
        if path.parts[0] == "gateway":
            yield from _OF_ALL


def _changed_since(base: str) -> list[str]:
    """Return the files that differ from ``base``, and the new ones that git does not ignore."""
    lists = (("diff", "--name-only", "--diff-filter=d", base), ("ls-files", "--others", "--exclude-standard"))
    return [
        line
        for arguments in lists
        for line in subprocess.run(
            ("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    ]


if __name__ == "__main__":
    sys.stdout.write(" ".join(mirrors_of(_changed_since(sys.argv[1] if len(sys.argv) > 1 else "HEAD"))) + "\n")
