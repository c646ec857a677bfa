"""The names of a configuration that a message may print: a secret may stand where a name belongs.

``secret_key:VALUE`` without a space after the colon is a name in YAML, and an id and its secret are easily swapped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, get_origin

from gateway.settings.section import Section

HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 16  # characters; the sections refuse shorter ones
_BUCKET: Final = re.compile(r"[a-z0-9-]{1,50}-[0-9]{5,12}")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")  # the index of a list
_MOST_LETTERS_MORE: Final = 3  # of a misspelt name


def shown(path: Sequence[str], lines: Mapping[tuple[str, ...], int] | None = None) -> str:
    """Return the dotted path, with ``***`` for each part that may be a secret, and its line if ``lines`` has it."""
    parts = [part if _is_safe(part, before) else HIDDEN for before, part in zip(["", *path], path, strict=False)]
    line = (lines or {}).get(tuple(path)) if HIDDEN in parts else None
    return ".".join(parts) + (f" (line {line})" if line is not None else "")


def _is_safe(name: str, before: str) -> bool:
    fields, mappings = _known()
    if name in fields or _NUMBER.fullmatch(name):
        return True
    if before in mappings:
        return len(name) < _SHORTEST_SECRET or _BUCKET.fullmatch(name) is not None
    words = {word for field in fields for word in field.split("_")}
    return words.issuperset(name.split("_")) or _is_misspelt(name, fields)


def _is_misspelt(name: str, fields: frozenset[str]) -> bool:
    from difflib import get_close_matches  # imported here: only mistakes need it, and it takes 1 MiB

    close = get_close_matches(name, fields, n=1)
    return (
        bool(close)
        and re.fullmatch("[A-Za-z_-]+", name) is not None
        and len(name) - len(close[0]) <= _MOST_LETTERS_MORE
    )


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all keys, and the names of the keys whose value is a mapping from names."""
    sections = list(_sections(Section))
    fields = [(name, field) for section in sections for name, field in section.model_fields.items()]
    return (
        frozenset(name for name, _ in fields),
        frozenset(name for name, field in fields if get_origin(field.annotation) is dict),
    )


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)
