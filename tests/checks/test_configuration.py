"""Placeholders that were not filled in, and the limit of open files."""

import pytest

from gateway.checks.configuration import PLACEHOLDERS, diagnose_open_files, diagnose_placeholders
from gateway.settings import CosSettings, PostgresSettings

CONFIGURED = {
    "postgres.dsn": "host=127.0.0.1 dbname=app",
    "cos.secret_id": "id",
    "cos.secret_key": "key",
    "cos.bucket": "photos-1250000000",
}


def sections(**changes: str) -> tuple[PostgresSettings, CosSettings]:
    """Return both sections, with some values changed."""
    values = CONFIGURED | changes
    cos = {name: values[f"cos.{name}"] for name in ("secret_id", "secret_key", "bucket")}
    return PostgresSettings.model_validate({"dsn": values["postgres.dsn"]}), CosSettings.model_validate(cos)


def test_placeholders_are_named_by_their_keys() -> None:
    assert diagnose_placeholders(*sections()).is_well
    for keys in ([*PLACEHOLDERS], *([key] for key in PLACEHOLDERS)):
        finding = diagnose_placeholders(*sections(**{key: PLACEHOLDERS[key] for key in keys}))
        assert not finding.is_well
        assert finding.what.startswith(f"{', '.join(keys)}: ")


@pytest.mark.parametrize(("limit", "warns"), [(1024, True), (2255, True), (2256, False), (None, False)])
def test_a_limit_of_open_files_below_what_is_needed_is_a_warning(limit: int | None, warns: bool) -> None:
    found = diagnose_open_files(limit, 2256)
    assert (found.is_well, found.is_warning) == (True, warns)
    assert str(limit or "no limit") in found.what
