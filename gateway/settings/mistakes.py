"""Error messages for mistakes in the configuration: one line each, the dotted key first, never a secret."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.net.printable import printable
from gateway.settings import Settings
from gateway.settings.shown_names import shown
from gateway.settings.styles import FIXED_MARK, SIZED_MARK

_SOURCES = frozenset({"credentials", "base"})  # keys with a choice of sections by their ``source``
_SOURCE_NAMES = frozenset({"static", "environment", "file", "cvm_role", "tke_oidc", "assume_role"})
_KEY_MARK = "[key]"  # pydantic's mark in a location for the key of a mapping, as opposed to its value
_MARKS = frozenset({_KEY_MARK, FIXED_MARK, SIZED_MARK})


class SettingsError(Exception):
    """The configuration is invalid. ``problems`` has a line for each mistake, and the line names the key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def explain(mistake: ErrorDetails, lines: Mapping[tuple[str, ...], int] | None = None) -> Iterator[str]:
    """Yield the lines that describe a mistake. A missing section yields a line for each of its required keys.

    ``lines`` are the line numbers of the file's keys.
    """
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
        case "model_type" | "dict_type" | "tuple_type" | "string_type" as kind if _expectation(kind, mistake):
            yield f"{key}: {_expectation(kind, mistake)}"
        case _:
            yield f"{key}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"


def suggestion(name: str, model: type[BaseModel] | None) -> str:
    """Return "did you mean" with the key most similar to ``name``, in brackets. Empty if none is similar."""
    from difflib import get_close_matches  # imported here: only suggestions need it, and it takes 1 MiB

    close = get_close_matches(name, model.model_fields if model is not None else (), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _expectation(kind: str, mistake: ErrorDetails) -> str:
    """Return the expected type of a value of the wrong type. Empty if pydantic's own message is clear."""
    match kind:
        case "model_type":
            return "must be a section, a mapping of its keys to values; in the environment a variable for each, or JSON"
        case "dict_type":
            return 'must be a mapping; in the environment as JSON, such as {"name": "value"}'
        case "tuple_type":
            return 'must be a list; in the environment as JSON, such as ["one", "two"]'
    # YAML reads 2026, yes and 2026-01-01 as a number, a truth value and a date.
    if not isinstance(mistake["input"], bool | int | float | date):
        return ""
    return f"must be text: put {'the key' if mistake['loc'][-1] == _KEY_MARK else 'the value'} in quotes"


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
    before = ["", *location][: len(location)]
    return [
        part
        for previous, part in zip(before, location, strict=True)
        if previous not in _SOURCES or part not in _SOURCE_NAMES
    ]


def _model_at(location: list[str]) -> type[BaseModel] | None:
    """Return the section at ``location``, or None if there is none."""
    model: type[BaseModel] = Settings
    names = iter(location)
    for name in names:
        field = model.model_fields.get(name)
        found = _section_in(field.annotation) if field is not None else None
        if found is None:
            return None
        if field is not None and get_origin(field.annotation) is dict:
            next(names, None)  # the key of a mapping to sections
        model = found
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
