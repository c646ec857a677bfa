"""Reads ``Settings`` from YAML file, environment and secrets directory. Each mistake is a line.

The environment (``GATEWAY_URL_CACHE__DEFAULT_TTL=600``) outranks the secrets directory (a file ``cos__secret_key`` in
``GATEWAY_SECRETS_DIR``), which outranks the file.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSource

from gateway.settings import Settings
from gateway.settings.mistakes import SettingsError, explain, suggestion
from gateway.settings.yaml_file import Document, read_yaml

__all__ = ["SettingsError", "load_settings"]

PREFIX = "GATEWAY_"
NESTED = "__"
SECRETS_DIR = "GATEWAY_SECRETS_DIR"


class _Environment(EnvSettingsSource):
    """Environment variables. Text that is not valid JSON is passed on, so that the model refuses it under its key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return the parsed JSON, or the text if it is not JSON."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class _SecretFiles(_Environment, NestedSecretsSettingsSource):
    """Files of the secrets directory, each read like a variable."""


class _LayeredSettings(Settings, BaseSettings):
    """``Settings`` that also reads the environment and the secrets directory."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        # Without this, GATEWAY_ADMIN__TOKEN=null would set the token "null" instead of turning it off.
        env_parse_none_str="null",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources by rank: environment, secrets, file. The name of a secret's file may have the prefix."""
        del env_settings, dotenv_settings, file_secret_settings
        folder = os.environ.get(SECRETS_DIR)
        secrets = SecretsSettingsSource(settings_cls, secrets_dir=folder)
        files = (_SecretFiles(secrets, secrets_prefix=prefix) for prefix in ("", PREFIX) if folder)
        return (_Environment(settings_cls), *files, init_settings)


def load_settings(file: Path | None) -> Settings:
    """Return the settings of ``file`` (None: no file), secrets directory and environment.

    Raises ``SettingsError`` with a line for each mistake.
    """
    document = read_yaml(file) if file is not None else Document({}, {})
    problems = list(_unknown_variables(os.environ)) + list(_unusable_secrets_dir(os.environ.get(SECRETS_DIR)))
    if problems:
        raise SettingsError(problems)
    try:
        return _LayeredSettings(**document.values)
    except ValidationError as error:
        raise SettingsError([line for mistake in error.errors() for line in explain(mistake, document.lines)]) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that looks like a setting and names no section.

    Variables without the nesting delimiter are ignored: Kubernetes sets GATEWAY_PORT and others for a service that is
    called gateway.
    """
    for variable in environment:
        name = variable.upper()
        if name.startswith(PREFIX) and NESTED in name:
            section = name.removeprefix(PREFIX).split(NESTED)[0].lower()
            if section not in Settings.model_fields:
                yield f"{variable}: there is no section {section}{suggestion(section, Settings)}"


def _unusable_secrets_dir(folder: str | None) -> Iterator[str]:
    if folder and not Path(folder).is_dir():
        yield f"{SECRETS_DIR}: is not a directory"
