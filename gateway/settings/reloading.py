"""The difference between two configurations: the keys that a reload applies, and the keys that need a restart."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gateway.settings import Settings
from gateway.settings.mistakes import SettingsError, explain
from gateway.settings.section import NewValue, Section


def _keys(model: type[Section], path: str = "") -> Iterator[tuple[str, NewValue]]:
    """Yield each key with the way to take its new value. `*` stands for the name of a bucket."""
    for name, field in model.model_fields.items():
        key, way = f"{path}{name}", _way_of(field)
        if way is not None:
            yield key, way
        for inner in _sections_in(field.annotation):
            # A section whose keys say nothing is one value, which the key that holds it speaks for.
            if way is None or any(map(_way_of, inner.model_fields.values())):
                yield from _keys(inner, f"{key}.*." if get_origin(field.annotation) is dict else f"{key}.")


def _way_of(field: FieldInfo) -> NewValue | None:
    return next((marker for marker in field.metadata if isinstance(marker, NewValue)), None)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections in the type of a key: itself, in a union with None, or as the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections_in(argument)


KEYS: Final[Mapping[str, NewValue]] = dict(_keys(Settings))
"""Every key, with the way to take its new value, as its model says."""

_BRANCHES: Final = frozenset(  # the keys that hold other keys
    key[:end] for key in KEYS for end, letter in enumerate(key) if letter == "."
)


class SettingsDifference(NamedTuple):
    """The new ``settings``, with the old values of the keys that ``need_restart``.

    ``changed`` are the other keys that differ.
    """

    settings: Settings
    changed: tuple[str, ...]
    need_restart: tuple[str, ...]


def difference(old: Settings, new: Settings) -> SettingsDifference:
    """Return the difference that a reload from ``old`` to ``new`` applies.

    Raises ``SettingsError`` if the new values that the reload applies are not valid together with the old values of the
    keys that need a restart.
    """
    keys = dict(_different(old, new))
    changed = tuple(name for name, key in keys.items() if KEYS[key] is NewValue.RELOADED)
    need_restart = tuple(name for name, key in keys.items() if KEYS[key] is NewValue.RESTARTED)
    try:
        settings = Settings(**_merged(old, new, ""))
    except ValidationError as error:
        reason = f"with the old values of what needs a restart ({', '.join(need_restart)})"
        lines = [line for mistake in error.errors() for line in explain(mistake)]
        raise SettingsError([f"{line}; {reason}" for line in lines]) from None
    return SettingsDifference(settings, changed, need_restart)


def _different(old: Any, new: Any, name: str = "", key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the full name of each key that differs, and its name in ``KEYS``."""
    if _is_branch(old, new, key):
        for part in _parts(old):
            named = f"{name}.{part}" if name else part
            in_table = f"{key}.{'*' if isinstance(old, Mapping) else part}" if key else part
            yield from _different(_part(old, part), _part(new, part), named, in_table)
    elif not _is_same(old, new):
        yield name, key


def _merged(old: Any, new: Any, key: str) -> Any:
    """Return ``new`` with the values of ``old`` for the keys that need a restart."""
    if not _is_branch(old, new, key):
        return new if KEYS[key] is NewValue.RELOADED else old
    values = {
        part: _merged(
            _part(old, part), _part(new, part), f"{key}.{'*' if isinstance(old, Mapping) else part}" if key else part
        )
        for part in _parts(old)
    }
    if isinstance(old, Section) and key:
        return old.model_copy(update=values)
    return values


def _is_branch(old: Any, new: Any, key: str) -> bool:
    """Return whether the key contains further keys in both configurations."""
    if not key:
        return True
    if key not in _BRANCHES:
        return False
    if isinstance(old, Mapping):
        return isinstance(new, Mapping) and old.keys() == new.keys()
    return isinstance(old, Section) and type(old) is type(new)


def _parts(branch: Any) -> list[str]:
    return list(branch) if isinstance(branch, Mapping) else list(type(branch).model_fields)


def _part(branch: Any, name: str) -> Any:
    return branch[name] if isinstance(branch, Mapping) else getattr(branch, name)


def _is_same(old: Any, new: Any) -> bool:
    """Return whether two values mean the same: the order counts, since the first link key signs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return list(old.items()) == list(new.items())
    return bool(old == new)
