"""YAML file + environment + secrets directory -> ``Settings``, or one line for each mistake.

The environment (``GATEWAY_URL_CACHE__DEFAULT_TTL=600``) outranks the secrets directory (a file ``cos__secret_key`` in
``GATEWAY_SECRETS_DIR``), which outranks the file. Nothing else in the gateway reads the environment.
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
from gateway.settings.yaml_file import read_yaml

__all__ = ["SettingsError", "load_settings"]

PREFIX = "GATEWAY_"
NESTED = "__"
SECRETS_DIR = "GATEWAY_SECRETS_DIR"


class _Environment(EnvSettingsSource):
    """What should be JSON and is not stays text, for the model to refuse under its key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """What the JSON says, or the text."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


class _SecretFiles(_Environment, NestedSecretsSettingsSource):
    """As variables, from the files of a directory."""


class _SettingsFromSurroundings(Settings, BaseSettings):
    """``Settings`` that also looks at the environment and the secrets directory."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        # Or a token that somebody means to turn off would be the word "null", which anybody can guess.
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
        """What is nearest to the process wins. A secret's file may carry the prefix of the variable or not."""
        del env_settings, dotenv_settings, file_secret_settings
        folder = os.environ.get(SECRETS_DIR)
        secrets = SecretsSettingsSource(settings_cls, secrets_dir=folder)
        files = (_SecretFiles(secrets, secrets_prefix=prefix) for prefix in ("", PREFIX) if folder)
        return (_Environment(settings_cls), *files, init_settings)


def load_settings(file: Path | None) -> Settings:
    """Read ``file`` (None: environment and secrets alone) and what outranks it.

    Raises ``SettingsError`` with every mistake found.
    """
    values = read_yaml(file) if file is not None else {}
    problems = list(_unknown_variables(os.environ)) + list(_unusable_secrets_dir(os.environ.get(SECRETS_DIR)))
    if problems:
        raise SettingsError(problems)
    try:
        return _SettingsFromSurroundings(**values)
    except ValidationError as error:
        raise SettingsError([line for mistake in error.errors() for line in explain(mistake)]) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like settings and name no section.

    Only those with the nesting delimiter: Kubernetes sets GATEWAY_PORT and the like beside a service called gateway.
    """
    for variable in environment:
        name = variable.upper()
        if name.startswith(PREFIX) and NESTED in name:
            section = name.removeprefix(PREFIX).split(NESTED)[0].lower()
            if section not in Settings.model_fields:
                yield f"{variable}: there is no section {section}{suggestion(section, Settings)}"


def _unusable_secrets_dir(folder: str | None) -> Iterator[str]:
    if folder and not Path(folder).is_dir():
        yield f"{SECRETS_DIR}: {folder} is not a directory"
