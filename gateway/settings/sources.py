"""Reads ``Settings`` from YAML file, environment and secrets directory, or as another process hands them over.

The environment (``GATEWAY_URL_CACHE__DEFAULT_TTL=600``) outranks the secrets directory (a file ``cos__secret_key`` in
``GATEWAY_SECRETS_DIR``), which outranks the file.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as UnreadableSource

from gateway.net.printable import printable
from gateway.settings import Settings
from gateway.settings.error_messages import SettingsError, refusal, shown, suggestion

__all__ = ["SettingsError", "load_settings", "settings_from_text", "settings_to_text"]

PREFIX: Final = "GATEWAY_"
NESTED: Final = "__"
SECRETS_DIR: Final = "GATEWAY_SECRETS_DIR"
_MOST_BYTES: Final = 1 << 20  # of a file
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")  # in place of a byte that is not UTF-8 (PEP 383)


class _Variables(EnvSettingsSource):
    """Reads settings from the environment. Text that is no valid JSON is passed on: the model refuses it under its key.

    instead: other texts, by the names of variables in lower case. There ``null`` is a text as any other.
    """

    def __init__(self, instead: Mapping[str, str] | None = None) -> None:
        fields: Any = Settings  # of a class of settings, the source reads the fields alone
        # Without a text for null, GATEWAY_ADMIN__TOKEN=null would set the token "null" instead of turning it off.
        super().__init__(fields, env_prefix=PREFIX, env_nested_delimiter=NESTED, env_parse_none_str="null")
        if instead is not None:
            self.env_vars = instead

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


def load_settings(file: Path | None) -> Settings:
    """Return the settings of ``file`` (None: no file), secrets directory and environment. Raises ``SettingsError``."""
    values, lines = _read_yaml(file) if file is not None else ({}, {})
    problems = list(_unusable_variables(os.environ))
    secrets = _read_secrets(os.environ.get(SECRETS_DIR), problems)
    if problems:
        raise SettingsError(problems)
    try:
        return Settings.model_validate(_merged(_merged(values, _Variables(secrets)()), _Variables()()))
    except ValidationError as error:
        raise refusal(error, lines) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of both, and of ``high`` where both have a value that is not a mapping."""
    return {**low} | {
        key: _merged(low[key], value) if isinstance(value, dict) and isinstance(low.get(key), dict) else value
        for key, value in high.items()
    }


def settings_to_text(settings: Settings) -> str:
    """Return the settings as JSON with their secrets, for a process that must not read the sources, as they change."""
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

    Variables without the nesting delimiter are ignored: Kubernetes sets GATEWAY_PORT for a service called gateway.
    """
    for variable, value in environment.items():
        name = variable.upper()
        if name.startswith(PREFIX) and NESTED in name:
            section = name.removeprefix(PREFIX).split(NESTED)[0].lower()
            if section not in Settings.model_fields:
                yield f"{variable}: there is no section {section}{suggestion(section, Settings)}"
            elif _SURROGATE.search(value):
                yield f"{variable}: is not text in UTF-8"


def _read_secrets(folder: str | None, problems: list[str]) -> Mapping[str, str]:
    """Return the text of each file of a secrets directory, by the name of a variable in lower case.

    Mistakes go into ``problems``. Files that name no section belong to other programs, or to Kubernetes.
    """
    texts: dict[str, str] = {}
    try:
        files = [file for file in Path(folder).iterdir() if file.is_file()] if folder else []
    except (FileNotFoundError, NotADirectoryError):
        problems.append(f"{SECRETS_DIR}: is not a directory")
        return texts
    except OSError as error:  # the gateway's user may not enter the directory, or one above it
        problems.append(f"{SECRETS_DIR}: cannot be read: {error.strerror}")
        return texts
    # Of two files for a setting, the file without the prefix is the last, and counts.
    for file in sorted(files, key=lambda file: (not file.name.upper().startswith(PREFIX), file.name)):
        name = file.name.lower().removeprefix(PREFIX.lower())
        keys = name.split(NESTED)
        if keys[0] not in Settings.model_fields:
            continue
        try:
            if (content := _content(file)) is None:
                problems.append(f"{shown(keys)}: its file in {SECRETS_DIR} is larger than 1 MiB")
            else:
                texts[PREFIX.lower() + name] = content.decode("utf-8-sig").strip()
        except OSError as error:
            problems.append(f"{shown(keys)}: its file in {SECRETS_DIR} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{shown(keys)}: its file in {SECRETS_DIR} is not text in UTF-8")
    return texts


def _content(file: Path) -> bytes | None:
    """Return the content of a file, None if it is larger than 1 MiB. Raises ``OSError``."""
    with file.open("rb") as opened:
        content = opened.read(_MOST_BYTES + 1)
    return content if len(content) <= _MOST_BYTES else None


def _read_yaml(file: Path) -> tuple[dict[str, Any], Mapping[tuple[str, ...], int]]:
    """Return the sections of a file of at most 1 MiB, and the line of each key by its path.

    Raises ``SettingsError`` if it cannot be read or is not a mapping.
    A repeated key is a mistake, too, because YAML keeps the last value: part of a section would be lost.
    """
    lines: dict[tuple[str, ...], int] = {}
    try:
        if (content := _content(file)) is None:
            raise SettingsError([f"{file}: is larger than 1 MiB"])
        loader = yaml.SafeLoader(content.decode())
        root = loader.get_single_node()  # in place of yaml.safe_load, since the nodes know their lines
        if root is None:
            return {}, lines
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
        return {}, lines
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError([f"{file}: must be a mapping of sections, such as 'server:'"])
    if problems:
        raise SettingsError(problems)
    return document, lines


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
            if (before := first.get((key.tag, key.value))) is not None:
                yield f"{shown(inner)}: is set twice, in lines {before} and {line}"
            first.setdefault((key.tag, key.value), line)
            lines.setdefault(inner, line)
            yield from _repeated_keys(value, inner, lines, seen)
