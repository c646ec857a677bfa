"""Look-ups in the settings model, for tests of files that name its keys."""

from typing import Any, get_args

from pydantic import BaseModel

from gateway.settings import Settings


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that a key holds, also where the key may be null; None if it holds a value."""
    candidates = (annotation, *get_args(annotation))
    return next(
        (candidate for candidate in candidates if isinstance(candidate, type) and issubclass(candidate, BaseModel)),
        None,
    )


def key_at(*path: str) -> bool:
    """Whether ``path`` leads to a key of the settings."""
    model: type[BaseModel] | None = Settings
    for name in path:
        if model is None or name not in model.model_fields:
            return False
        model = section_in(model.model_fields[name].annotation)
    return True
