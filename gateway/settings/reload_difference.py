"""The difference between two configurations: the keys that a reload applies, and the keys that need a restart."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from gateway.settings import Settings
from gateway.settings.base import NewValue, Section
from gateway.settings.error_messages import SettingsError, refusal


class SettingsDifference(NamedTuple):
    """The result of comparing old and new settings at a reload: what changed, and what needs a restart."""

    settings: Settings  # the new settings, with the old values of the keys that ``need_restart``
    changed: tuple[str, ...]  # the other keys that differ
    need_restart: tuple[str, ...]


def difference(old: Settings, new: Settings) -> SettingsDifference:
    """Return what a reload applies. Raises ``SettingsError`` if it is not valid with the old values that stay."""
    differing: dict[str, NewValue | None] = {}
    merged = {
        name: _merged(getattr(old, name), getattr(new, name), NewValue.of(field), name, differing)
        for name, field in Settings.model_fields.items()
    }
    changed = tuple(key for key, way in differing.items() if way is NewValue.RELOADED)
    need_restart = tuple(key for key, way in differing.items() if way is not NewValue.RELOADED)
    try:
        return SettingsDifference(Settings(**merged), changed, need_restart)
    except ValidationError as error:
        reason = f"with the old values of what needs a restart ({', '.join(need_restart)})"
        raise SettingsError([f"{line}; {reason}" for line in refusal(error).problems]) from None


def _merged(old: Any, new: Any, way: NewValue | None, key: str, differing: dict[str, NewValue | None]) -> Any:
    """Return ``new`` with the ``old`` values of keys that need a restart. Enter keys that differ into ``differing``."""
    if isinstance(old, Section) and type(old) is type(new) and old.says_how_keys_are_taken():
        values = {
            name: _merged(getattr(old, name), getattr(new, name), NewValue.of(field), f"{key}.{name}", differing)
            for name, field in type(old).model_fields.items()
        }
        return old.model_copy(update=values)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if old.keys() == new.keys() and all(
            isinstance(section, Section) and section.says_how_keys_are_taken() for section in old.values()
        ):
            return {name: _merged(old[name], new[name], way, f"{key}.{name}", differing) for name in old}
        is_same = list(old.items()) == list(new.items())  # the order counts, since the first link key signs
    else:
        is_same = bool(old == new)
    if not is_same:
        differing[key] = way
    return new if way is NewValue.RELOADED else old
