"""A folder of one image, and the servers of this run, for ``gateway dev``."""

from pathlib import Path

import pytest


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Arguments of dev, with a folder of one image."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.gif").write_bytes(b"GIF89a")
    return ["dev", "--images", str(tmp_path / "pictures"), "--state", str(tmp_path / "state")]


@pytest.fixture
def servers(redis_url: str, postgres_dsn: str) -> dict[str, str]:
    """Environment of a dev that starts no servers."""
    return {"GATEWAY_REDIS__URL": redis_url, "GATEWAY_POSTGRES__DSN": postgres_dsn, "COLUMNS": "200"}
