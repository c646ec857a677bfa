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
from gateway.settings.shown_names import shown
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

    @classmethod
    def load_secrets(cls, path: Path) -> dict[str, str]:
        """Return the text of each file by its name, also where the file is a link that leads out of the directory.

        Files that name no section belong to other programs. Raises ``SettingsError`` for the rest that is not text.
        """
        texts, problems = {}, []
        for file in _secret_files(path):
            keys = file.name.lower().removeprefix(PREFIX.lower()).split(NESTED)
            if keys[0] not in Settings.model_fields:
                continue
            try:
                texts[file.name] = file.read_text(encoding="utf-8-sig").strip()
            except OSError as error:
                problems.append(f"{shown(keys)}: its file in {SECRETS_DIR} cannot be read: {error.strerror}")
            except UnicodeDecodeError:
                problems.append(f"{shown(keys)}: its file in {SECRETS_DIR} is not text in UTF-8")
        if problems:
            raise SettingsError(problems)
        return texts


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
    problems = [*_unusable_variables(os.environ), *_unusable_secrets_dir(os.environ.get(SECRETS_DIR))]
    if problems:
        raise SettingsError(problems)
    try:
        return _LayeredSettings(**document.values)
    except ValidationError as error:
        raise SettingsError([line for mistake in error.errors() for line in explain(mistake, document.lines)]) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def _unusable_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable that looks like a setting and names no section, or that is not text.

    Variables without the nesting delimiter are ignored: Kubernetes sets GATEWAY_PORT and others for a service that is
    called gateway.
    """
    for variable, value in environment.items():
        name = variable.upper()
        if name.startswith(PREFIX) and NESTED in name:
            section = name.removeprefix(PREFIX).split(NESTED)[0].lower()
            if section not in Settings.model_fields:
                yield f"{variable}: there is no section {section}{suggestion(section, Settings)}"
            elif not _is_utf8(value):
                yield f"{variable}: is not text in UTF-8"


def _is_utf8(value: str) -> bool:
    """Whether a variable has no surrogates, by which Python replaces bytes that are not UTF-8 (PEP 383)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unusable_secrets_dir(folder: str | None) -> Iterator[str]:
    if not folder:
        return
    try:
        if not Path(folder).is_dir():
            yield f"{SECRETS_DIR}: is not a directory"
        else:
            _secret_files(Path(folder))
    except OSError as error:  # the gateway's user may not enter the directory, or one above it
        yield f"{SECRETS_DIR}: cannot be read: {error.strerror}"


def _secret_files(folder: Path) -> list[Path]:
    """Return the files of a folder. Kubernetes has its own below hidden names."""
    return sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())
