"""Reads ``Settings`` from YAML file, environment and secrets directory, or as another process hands them over.

The environment (``GATEWAY_URL_CACHE__DEFAULT_TTL=600``) outranks the secrets directory (a file ``cos__secret_key`` in
``GATEWAY_SECRETS_DIR``), which outranks the file.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import SecretStr, ValidationError
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

from gateway.net.printable import printable
from gateway.settings import Settings
from gateway.settings.error_messages import SettingsError, refusal, shown, suggestion

__all__ = ["SettingsError", "load_settings", "settings_from_text", "settings_to_text"]

PREFIX: Final = "GATEWAY_"
NESTED: Final = "__"
SECRETS_DIR: Final = "GATEWAY_SECRETS_DIR"
_MOST_BYTES: Final = 1 << 20  # of the file
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")  # in place of a byte that is not UTF-8 (PEP 383)


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
    document = _read_yaml(file) if file is not None else _Document({}, {})
    problems = [*_unusable_variables(os.environ), *_unusable_secrets_dir(os.environ.get(SECRETS_DIR))]
    if problems:
        raise SettingsError(problems)
    try:
        return _LayeredSettings(**document.values)
    except ValidationError as error:
        raise refusal(error, document.lines) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def settings_to_text(settings: Settings) -> str:
    """Return the settings as JSON with their secrets, for another process of the same gateway.

    That process reads no source again: it has the settings of this process, whatever the sources contain by now. Values
    that were not set are left out, since they are defaults.
    """
    return json.dumps(settings.model_dump(exclude_unset=True), default=_plain)


def settings_from_text(text: str) -> Settings:
    """Return the settings that ``settings_to_text`` wrote. Raises ``SettingsError`` if this version refuses them."""
    try:
        return Settings.model_validate(json.loads(text))
    except ValidationError as error:
        raise refusal(error) from None


def _plain(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


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
            elif _SURROGATE.search(value):
                yield f"{variable}: is not text in UTF-8"


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


class _Document(NamedTuple):
    """The sections of a file, and the line of each key by its path."""

    values: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]


def _read_yaml(file: Path) -> _Document:
    """Read a file of at most 1 MiB. Raises ``SettingsError`` if it cannot be read or is not a mapping.

    A repeated key is a mistake, too, because YAML keeps the last value: part of a section would be lost.
    """
    lines: dict[tuple[str, ...], int] = {}
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise SettingsError([f"{file}: is larger than 1 MiB"])
        loader = yaml.SafeLoader(text.decode())
        root = loader.get_single_node()  # in place of yaml.safe_load, since the nodes know their lines
        if root is None:
            return _Document({}, lines)
        problems = list(_repeated_keys(root, (), lines, set()))
        document = loader.construct_document(root)
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read: {error.strerror}"]) from None
    except yaml.MarkedYAMLError as error:
        # Only the position: the parser's message quotes the line, which may hold a secret.
        mark = error.problem_mark
        where = f": check line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise SettingsError([f"{file}: is not YAML{where}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: bytes that are not UTF-8, or an invalid number or date.
        raise SettingsError([f"{file}: is not YAML: {type(error).__name__}"]) from None
    if document is None:
        return _Document({}, lines)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError([f"{file}: must be a mapping of sections, such as 'server:'"])
    if problems:
        raise SettingsError(problems)
    return _Document(document, lines)


def _repeated_keys(
    node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], seen: set[int]
) -> Iterator[str]:
    """Yield a problem for each repeated key, and enter the line of each key into ``lines``."""
    if id(node) in seen:  # an alias (*) of an anchor (&), or a recursive node
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, str(number)), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            inner, line = (*path, printable(key.value)), key.start_mark.line + 1
            if (key.tag, key.value) in first:
                before = first[key.tag, key.value]
                yield f"{shown(inner)}: is set twice, in lines {before} and {line}"
            first.setdefault((key.tag, key.value), line)
            lines.setdefault(inner, line)
            yield from _repeated_keys(value, inner, lines, seen)
