"""The unit tests of the web component, which vitest runs in node, and the build of the playground."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "gateway" / "web"


def run_node(*command: str) -> None:
    """Run a program of the npm packages of the component, which must succeed."""
    done = subprocess.run(
        ("node", *command),
        cwd=WEB,
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_tests_of_the_web_component_pass() -> None:
    run_node("node_modules/vitest/vitest.mjs", "run")


def test_the_script_of_the_playground_is_the_one_that_a_fresh_build_makes(tmp_path: Path) -> None:
    config = str(ROOT / "gateway_dev" / "web" / "vite.config.ts")
    run_node("node_modules/vite/bin/vite.js", "build", "--config", config, "--outDir", str(tmp_path))
    committed, fresh = (
        {file.name: file.read_bytes() for file in folder.iterdir()}
        for folder in (ROOT / "gateway_dev/static", tmp_path)
    )
    assert committed == fresh, "run make web"
