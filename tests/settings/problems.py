"""The lines that an operator reads when settings are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from gateway.settings.sources import SettingsError, load_settings

SECRET = "hunter2-the-secret"
SECTION = "must be a section, a mapping of its keys to values; in the environment a variable for each, or JSON"
MISSING = [
    f"{key}: is required and not set" for key in ("postgres.dsn", "cos.secret_id", "cos.secret_key", "cos.bucket")
]
REQUIRED = f"""
postgres: {{dsn: host=localhost}}
cos: {{secret_id: AKID, secret_key: {SECRET}, bucket: photos-1250000000}}
"""


def problems(file: Path | None, more: str = "") -> list[str]:
    """Return the lines an operator reads; none contains the secret."""
    if file is not None:
        file.write_text(file.read_text() + more)
    with pytest.raises(SettingsError) as refused:
        load_settings(file)
    assert refused.value.problems == str(refused.value).split("\n")
    assert SECRET not in str(refused.value)
    return refused.value.problems


def refusal(model: Callable[..., object], key: str, value: str, *quoted: str) -> str:
    """Return the line by which ``model`` refuses a value of ``key``. It quotes no part of the value."""
    with pytest.raises(ValidationError) as refused:
        model(**{key: SecretStr(value)})
    (mistake,) = refused.value.errors()
    assert (mistake["loc"], mistake["type"]) == ((key,), "value_error")
    message = str(mistake["ctx"]["error"])
    assert "\n" not in message
    assert [part for part in quoted if part in message] == []
    return message
