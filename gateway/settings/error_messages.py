"""Error messages for mistakes in the configuration: one line each, the dotted key first, never a secret.

A secret may stand where a name belongs: ``secret_key:VALUE`` without a space after the colon is a name in YAML, and an
id and its secret are easily swapped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.net.printable import printable
from gateway.settings import Settings
from gateway.settings.base import Section
from gateway.settings.credentials import CREDENTIAL_SOURCES
from gateway.settings.images import FIXED_MARK, SIZED_MARK

HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 16  # characters; the sections refuse shorter ones
_BUCKET: Final = re.compile(r"[a-z0-9-]{1,50}-[0-9]{5,12}")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")  # the index of a list
_MOST_LETTERS_MORE: Final = 3  # of a misspelt name
_SOURCES: Final = frozenset({"credentials", "base"})  # keys with a choice of sections by their ``source``
_KEY_MARK: Final = "[key]"  # pydantic's mark in a location for the key of a mapping, as opposed to its value
_MARKS: Final = frozenset({_KEY_MARK, FIXED_MARK, SIZED_MARK})


class SettingsError(Exception):
    """The configuration is invalid. ``problems`` has a line for each mistake, and the line names the key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def refusal(error: ValidationError, lines: Mapping[tuple[str, ...], int] | None = None) -> SettingsError:
    """Return the mistakes that pydantic found. ``lines`` are the line numbers of the file's keys."""
    return SettingsError([line for mistake in error.errors() for line in _explain(mistake, lines)])


def shown(path: Sequence[str], lines: Mapping[tuple[str, ...], int] | None = None) -> str:
    """Return the dotted path, with ``***`` for each part that may be a secret, and its line if ``lines`` has it."""
    parts = [part if _is_safe(part, before) else HIDDEN for before, part in zip(["", *path], path, strict=False)]
    line = (lines or {}).get(tuple(path)) if HIDDEN in parts else None
    return ".".join(parts) + (f" (line {line})" if line is not None else "")


def suggestion(name: str, model: type[BaseModel] | None) -> str:
    """Return "did you mean" with the key most similar to ``name``, in brackets. Empty if none is similar."""
    close = _most_similar(name, model.model_fields if model is not None else ())
    return f" (did you mean {close}?)" if close else ""


def _explain(mistake: ErrorDetails, lines: Mapping[tuple[str, ...], int] | None) -> Iterator[str]:
    """Yield the lines that describe a mistake. A missing section yields a line for each of its required keys."""
    location = _without_tags([printable(str(part)) for part in mistake["loc"] if part not in _MARKS])
    key = shown(location, lines)
    match mistake["type"]:
        case "extra_forbidden":
            yield f"{key}: there is no such key{suggestion(location[-1], _model_at(location[:-1]))}"
        case "missing":
            required = _required_in(_model_at(location))
            yield from (f"{shown([*location, *name], lines)}: is required and not set" for name in required)
        case "union_tag_not_found":
            yield f"{shown([*location, 'source'], lines)}: is required and not set"
        case "union_tag_invalid":
            yield f"{shown([*location, 'source'], lines)}: must be one of {mistake['ctx']['expected_tags']}"
        case "value_error":
            text = str(mistake.get("ctx", {}).get("error", mistake["msg"]))
            yield f"{key}: {text}" if key else text
        case "model_type":
            yield (
                f"{key}: must be a section, a mapping of its keys to values; in the environment a variable for each, "
                "or JSON"
            )
        case "dict_type":
            yield f'{key}: must be a mapping; in the environment as JSON, such as {{"name": "value"}}'
        case "tuple_type":
            yield f'{key}: must be a list; in the environment as JSON, such as ["one", "two"]'
        # YAML reads 2026, yes and 2026-01-01 as a number, a truth value and a date.
        case "string_type" if isinstance(mistake["input"], bool | int | float | date):
            yield f"{key}: must be text: put {'the key' if mistake['loc'][-1] == _KEY_MARK else 'the value'} in quotes"
        case _:
            yield f"{key}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"


def _required_in(model: type[BaseModel] | None) -> Sequence[tuple[str, ...]]:
    """Return the paths of a section's required keys. ``model`` None is a plain key: return only the empty path."""
    if model is None:
        return [()]
    try:
        model.model_validate({})
    except ValidationError as error:
        return [tuple(map(str, mistake["loc"])) for mistake in error.errors()]
    return []


def _without_tags(location: list[str]) -> list[str]:
    """Return the location without the source that pydantic puts after ``credentials`` and ``base``."""
    pairs = zip(["", *location], location, strict=False)
    return [part for before, part in pairs if before not in _SOURCES or part not in CREDENTIAL_SOURCES]


def _model_at(location: list[str]) -> type[BaseModel] | None:
    model: type[BaseModel] = Settings
    names = iter(location)
    for name in names:
        field = model.model_fields.get(name)
        candidates = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        found = next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if field is None or found is None:
            return None
        if get_origin(field.annotation) is dict:
            next(names, None)  # the key of a mapping to sections
        model = found
    return model


def _is_safe(name: str, before: str) -> bool:
    """Return whether a message may print a name of the file, which follows the name ``before``."""
    fields, mappings = _known_names()
    if name in fields or _NUMBER.fullmatch(name):
        return True
    if before in mappings:
        return len(name) < _SHORTEST_SECRET or _BUCKET.fullmatch(name) is not None
    if {word for field in fields for word in field.split("_")}.issuperset(name.split("_")):
        return True
    close = _most_similar(name, fields)  # the name is misspelt
    has_letters_alone = re.fullmatch("[A-Za-z_-]+", name) is not None
    return bool(close) and has_letters_alone and len(name) - len(close) <= _MOST_LETTERS_MORE


def _most_similar(name: str, names: Any) -> str:
    """Return the most similar of ``names``, or empty text if none is similar."""
    from difflib import get_close_matches  # imported here: only mistakes need it, and it takes 1 MiB

    return next(iter(get_close_matches(name, names, n=1)), "")


@cache
def _known_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all keys, and the names of the keys whose value is a mapping from names."""
    fields = [(name, field) for section in _sections(Section) for name, field in section.model_fields.items()]
    mappings = frozenset(name for name, field in fields if get_origin(field.annotation) is dict)
    return frozenset(name for name, _ in fields), mappings


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)
