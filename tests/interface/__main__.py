"""``python -m tests.interface`` writes the interface as it is: the change then shows in the commit."""

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

from tests.interface.described import DESCRIBED, WEB, lines_of, package_types, snapshot


def write(name: str, lines: Iterable[str]) -> None:
    """Write a snapshot."""
    snapshot(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


for name in DESCRIBED:
    write(name, lines_of(name))
if (WEB / "node_modules").exists():
    with tempfile.TemporaryDirectory() as folder:
        compiler = ("node", "node_modules/vue-tsc/bin/vue-tsc.js", "-p", "tsconfig.build.json", "--outDir", folder)
        subprocess.run(compiler, cwd=WEB, check=True)
        write("package-types", package_types(Path(folder)))
else:
    click.echo("package-types.txt stays as it is: npm's packages are missing")
