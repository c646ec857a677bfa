"""The configuration of the previous release."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings.sources import load_settings
from tests.config.test_gateway_yaml import examples, uncommented
from tests.processes import run_gateway
from tests.upgrade.conftest import Release

pytestmark = pytest.mark.usefixtures("forked_commands")

LOAD = """
import sys
from pathlib import Path
from gateway.settings.sources import load_settings
load_settings(Path(sys.argv[1]))
"""

# Values that the previous release takes, and this version refuses at the start.
REFUSED: dict[str, dict[str, Any]] = {
    "server": {"trusted_proxies": ["0.0.0.0/0"]},
    "admin": {"token": "a-short-token"},
    "redis": {"prefix": "our images:"},
    "purge": {"target": "webhook", "url": "https://purge.example.com/a b", "base_urls": ["https://{host}.example.com"]},
}
NAMED = ("server.trusted_proxies", "admin.token", "redis.prefix", "purge.url", "purge.base_urls")


@pytest.mark.parametrize("has_examples", [False, True])
def test_every_documented_key_of_the_previous_release_is_taken(
    previous: Release, tmp_path: Path, has_examples: bool
) -> None:
    documented = previous.tree / "config" / "gateway.yaml"
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(uncommented(documented) | (examples(documented) if has_examples else {})))
    previous.python(LOAD, file)
    load_settings(file)


async def test_each_value_that_is_refused_now_is_named_in_a_line(previous: Release, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    sections: dict[str, dict[str, Any]] = {
        "postgres": {"dsn": "postgresql://gateway@localhost/app"},
        "cos": {"secret_id": "AKID", "secret_key": "the-secret-key", "bucket": "photos-1250000000"},
    }
    file.write_text(
        yaml.safe_dump({name: sections.get(name, {}) | REFUSED.get(name, {}) for name in sections | REFUSED})
    )
    previous.python(LOAD, file)
    for command in ("serve", "check"):
        code, output = await run_gateway(command, "--config", str(file))
        assert code == 2
        assert [key for key in NAMED if sum(key in line for line in output.splitlines()) != 1] == [], output
        assert "Traceback" not in output
