"""The unit tests of the web component, which vitest runs in node, beside the other tests."""

import os
import subprocess
from pathlib import Path

WEB = Path(__file__).parents[1] / "gateway" / "web"


def test_the_unit_tests_of_the_web_component_pass() -> None:
    command = ("node", "node_modules/vitest/vitest.mjs", "run")
    done = subprocess.run(
        command,
        cwd=WEB,
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
