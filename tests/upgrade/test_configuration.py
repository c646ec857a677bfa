"""The configuration of the previous release."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings.error_messages import SettingsError
from gateway.settings.sources import load_settings
from tests.config.test_gateway_yaml import examples, uncommented
from tests.upgrade.conftest import Release

LOAD = """
import sys
from pathlib import Path
from gateway.settings.sources import load_settings
load_settings(Path(sys.argv[1]))
"""
VERSION = "import importlib.metadata; print(importlib.metadata.version('image-gateway'))"

# Values that a release takes, and this version refuses at the start, naming the keys.
REFUSED: dict[str, dict[str, dict[str, Any]]] = {"0.2.0": {"server": {"loop": "asyncio"}}}
NAMED = {"0.2.0": ("server.***",)}  # a key that there is no more may be anything, also a secret


@pytest.mark.parametrize("has_examples", [False, True])
def test_every_documented_key_of_the_previous_release_is_taken(
    previous: Release, tmp_path: Path, has_examples: bool
) -> None:
    documented = previous.tree / "config" / "gateway.yaml"
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(uncommented(documented) | (examples(documented) if has_examples else {})))
    previous.python(LOAD, file)
    load_settings(file)


def test_each_value_that_is_refused_now_is_named_in_a_line(previous: Release, tmp_path: Path) -> None:
    """All others of that configuration are taken. A release without an entry has no value that is refused."""
    release = previous.python(VERSION).strip()
    refused = REFUSED.get(release, {})
    sections: dict[str, dict[str, Any]] = {
        "postgres": {"dsn": "postgresql://gateway@localhost/app"},
        "cos": {"secret_id": "AKID", "secret_key": "the-secret-key", "bucket": "photos-1250000000"},
    }
    file = tmp_path / "gateway.yaml"
    file.write_text(
        yaml.safe_dump({name: sections.get(name, {}) | refused.get(name, {}) for name in sections | refused})
    )
    previous.python(LOAD, file)
    problems: list[str] = []
    try:
        load_settings(file)
    except SettingsError as error:
        problems = error.problems
    named = NAMED.get(release, ())
    assert [key for key in named if sum(line.startswith(key) for line in problems) != 1] == []
    assert len(problems) == len(named)
