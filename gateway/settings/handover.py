"""Settings as text, for another process of the same gateway.

The text contains the secrets. The other process does not read environment, secrets directory and file again: it has
the settings of this process, whatever those sources contain by now.
"""

import json
from typing import Any

from pydantic import SecretStr, ValidationError

from gateway.settings import Settings
from gateway.settings.mistakes import SettingsError, explain


def settings_to_text(settings: Settings) -> str:
    """Return the settings as JSON. Values that were not set are left out, since they are defaults."""
    return json.dumps(settings.model_dump(exclude_unset=True), default=_plain)


def settings_from_text(text: str) -> Settings:
    """Return the settings that ``settings_to_text`` wrote. Raises ``SettingsError`` if this version refuses them."""
    try:
        return Settings.model_validate(json.loads(text))
    except ValidationError as error:
        raise SettingsError([line for mistake in error.errors() for line in explain(mistake)]) from None


def _plain(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
