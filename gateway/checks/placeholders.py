"""Finds the keys that still hold the placeholders of ``config/gateway.yaml``."""

from pydantic import SecretStr

from gateway.checks.finding import Finding
from gateway.settings import CosSettings, PostgresSettings

# The values in config/gateway.yaml of the keys that have no default.
PLACEHOLDERS = {
    "postgres.dsn": "postgresql://USER:PASSWORD@postgres.example:5432/DATABASE",
    "cos.secret_id": "YOUR-SECRET-ID",
    "cos.secret_key": "YOUR-SECRET-KEY",
    "cos.bucket": "your-bucket-1250000000",
}


def diagnose_placeholders(postgres: PostgresSettings, cos: CosSettings) -> Finding:
    """Return a finding that names the keys whose values are still placeholders."""
    values = {
        "postgres.dsn": postgres.dsn.get_secret_value(),
        "cos.secret_id": _text(cos.secret_id),
        "cos.secret_key": _text(cos.secret_key),
        "cos.bucket": cos.bucket,
    }
    unset = [key for key, placeholder in PLACEHOLDERS.items() if values[key] == placeholder]
    if not unset:
        return Finding("configuration", True, "every key is known, and none is missing")
    what = f"{', '.join(unset)}: still the placeholder of config/gateway.yaml"
    return Finding(
        "configuration", False, what, "set it there, in the environment or in the secrets directory", stops_start=True
    )


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
