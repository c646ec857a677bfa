"""YAML file + environment + secrets directory -> ``Settings``, or one line for each mistake.

The environment (``GATEWAY_URL_CACHE__DEFAULT_TTL=600``) outranks the secrets directory (a file ``cos__secret_key`` in
``GATEWAY_SECRETS_DIR``), which outranks the file. Nothing else in the gateway reads the environment.
"""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSource

from gateway.settings import Settings

PREFIX = "GATEWAY_"
NESTED = "__"
SECRETS_DIR = "GATEWAY_SECRETS_DIR"


class SettingsError(Exception):
    """The configuration cannot be used; ``problems`` has one line per mistake, each naming its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
        del dotenv_settings, file_secret_settings
        folder = os.environ.get(SECRETS_DIR)
        secrets = SecretsSettingsSource(settings_cls, secrets_dir=folder)
        files = (NestedSecretsSettingsSource(secrets, secrets_prefix=prefix) for prefix in ("", PREFIX) if folder)
        return (env_settings, *files, init_settings)


def load_settings(file: Path | None) -> Settings:
    """Read ``file`` (None: environment and secrets alone) and what outranks it.

    Raises ``SettingsError`` with every mistake found.
    """
    values = _read_yaml(file) if file is not None else {}
    problems = list(_unknown_variables(os.environ)) + list(_unusable_secrets_dir(os.environ.get(SECRETS_DIR)))
    if problems:
        raise SettingsError(problems)
    try:
        return _SettingsFromSurroundings(**values)
    except ValidationError as error:
        raise SettingsError([_explain(mistake) for mistake in error.errors()]) from None
    except UnreadableSource as error:
        raise SettingsError([f"environment: {error}"]) from None


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read: {error.strerror}"]) from None
    except yaml.MarkedYAMLError as error:
        # The place alone: what the parser says of it quotes the line, and the line may hold a secret.
        mark = error.problem_mark
        where = f": look at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise SettingsError([f"{file}: is not YAML{where}"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: bytes that are no UTF-8, or a number or date that only begins like one.
        raise SettingsError([f"{file}: is not YAML: {type(error).__name__}"]) from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError([f"{file}: must be a mapping of sections, such as 'server:'"])
    return document


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that look like settings and name no section.

    Only those with the nesting delimiter: Kubernetes sets GATEWAY_PORT and the like beside a service called gateway.
    """
    for variable in environment:
        name = variable.upper()
        if name.startswith(PREFIX) and NESTED in name:
            section = name.removeprefix(PREFIX).split(NESTED)[0].lower()
            if section not in Settings.model_fields:
                yield f"{variable}: there is no section {section}{_suggestion(section, Settings)}"


def _unusable_secrets_dir(folder: str | None) -> Iterator[str]:
    if folder and not Path(folder).is_dir():
        yield f"{SECRETS_DIR}: {folder} is not a directory"


def _explain(mistake: ErrorDetails) -> str:
    """One mistake in an operator's words, the dotted key first; never the value, which may be a secret."""
    location = [_on_one_line(part) for part in mistake["loc"] if part != "[key]"]
    key = ".".join(location)
    match mistake["type"]:
        case "extra_forbidden":
            return f"{key}: there is no such key{_suggestion(location[-1], _model_at(location[:-1]))}"
        case "missing":
            return f"{key}: is required and not set"
        case "value_error":
            text = str(mistake.get("ctx", {}).get("error", mistake["msg"]))
            return f"{key}: {text}" if key else text
        case _:
            return f"{key}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"


def _on_one_line(part: int | str) -> str:
    """A key as it was written, which may be anything; a mistake is one line, and no terminal obeys it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(part))


def _model_at(location: list[str]) -> type[BaseModel] | None:
    """The section that ``location`` leads to; None where it does not lead to one."""
    model: type[BaseModel] = Settings
    for name in location:
        field = model.model_fields.get(name)
        found = _section_in(field.annotation) if field is not None else None
        if found is None:
            return None
        model = found
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _suggestion(name: str, model: type[BaseModel] | None) -> str:
    close = get_close_matches(name, model.model_fields if model is not None else (), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
