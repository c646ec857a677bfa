"""The finding on keys that still hold their placeholders."""

import pytest

from gateway.checks.placeholders import PLACEHOLDERS, diagnose_placeholders
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


def test_configured_values_are_not_a_failure() -> None:
    assert diagnose_placeholders(*sections()).is_well


@pytest.mark.parametrize("key", PLACEHOLDERS)
def test_a_placeholder_is_named_by_its_key(key: str) -> None:
    finding = diagnose_placeholders(*sections(**{key: PLACEHOLDERS[key]}))
    assert not finding.is_well
    assert finding.what.startswith(f"{key}: ")


def test_every_placeholder_is_named() -> None:
    finding = diagnose_placeholders(*sections(**PLACEHOLDERS))
    assert all(key in finding.what for key in PLACEHOLDERS)
