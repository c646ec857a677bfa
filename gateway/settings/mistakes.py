"""Mistakes in an operator's words: one line each, the dotted key first; never a value, which may be a secret."""

from collections.abc import Iterator, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.settings import Settings

_OF_THE_KEY = "[key]"  # where pydantic speaks of the key of a mapping and not of its value


class SettingsError(Exception):
    """The configuration cannot be used; ``problems`` has one line per mistake, each naming its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def explain(mistake: ErrorDetails) -> Iterator[str]:
    """What is wrong; a section that is missing is told by the keys that it must have."""
    location = [on_one_line(part) for part in mistake["loc"] if part != _OF_THE_KEY]
    key = ".".join(location)
    match mistake["type"]:
        case "extra_forbidden":
            yield f"{key}: there is no such key{suggestion(location[-1], _model_at(location[:-1]))}"
        case "missing":
            required = _required_in(_model_at(location))
            yield from (f"{'.'.join([key, *name])}: is required and not set" for name in required)
        case "value_error":
            text = str(mistake.get("ctx", {}).get("error", mistake["msg"]))
            yield f"{key}: {text}" if key else text
        case "model_type" | "dict_type" | "tuple_type" | "string_type" as kind if _wanted(kind, mistake):
            yield f"{key}: {_wanted(kind, mistake)}"
        case _:
            yield f"{key}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"


def on_one_line(part: int | str) -> str:
    """A key as it was written, which may be anything; a mistake is one line, and no terminal obeys it."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(part))


def suggestion(name: str, model: type[BaseModel] | None) -> str:
    """What ``name`` may have been meant to be, in brackets; empty when nothing is like it."""
    close = get_close_matches(name, model.model_fields if model is not None else (), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _wanted(kind: str, mistake: ErrorDetails) -> str:
    """What a value of the wrong kind should be; empty when pydantic says it as well."""
    match kind:
        case "model_type":
            return "must be a section, a mapping of its keys to values; in the environment a variable for each, or JSON"
        case "dict_type":
            return 'must be a mapping; in the environment as JSON, such as {"name": "value"}'
        case "tuple_type":
            return 'must be a list; in the environment as JSON, such as ["one", "two"]'
    # YAML takes 2026, yes and 2026-01-01 for something else than text.
    if not isinstance(mistake["input"], bool | int | float | date):
        return ""
    return f"must be text: put {'the key' if mistake['loc'][-1] == _OF_THE_KEY else 'the value'} in quotes"


def _required_in(model: type[BaseModel] | None) -> Sequence[tuple[str, ...]]:
    """The keys of a section that have no default; of what is no section, itself."""
    if model is None:
        return [()]
    return [(name,) for name, field in model.model_fields.items() if field.is_required()]


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
