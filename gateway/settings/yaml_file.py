"""The YAML configuration file. A repeated key is a mistake."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from gateway.net.printable import printable
from gateway.settings.mistakes import SettingsError
from gateway.settings.shown_names import shown

_MOST_BYTES: Final = 1 << 20


class Document(NamedTuple):
    """The sections of a file, and the line of each key by its path."""

    values: dict[str, Any]
    lines: Mapping[tuple[str, ...], int]


def read_yaml(file: Path) -> Document:
    """Read a file of at most 1 MiB. Raises ``SettingsError`` if it cannot be read or is not a mapping."""
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise SettingsError([f"{file}: is larger than 1 MiB"])
        document, lines, problems = _load(text.decode())
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
        return Document({}, lines)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError([f"{file}: must be a mapping of sections, such as 'server:'"])
    if problems:
        raise SettingsError(problems)
    return Document(document, lines)


def _load(text: str) -> tuple[Any, dict[tuple[str, ...], int], list[str]]:
    """Return the document as ``yaml.safe_load`` does, its lines, and a problem for each repeated key.

    A repeated key is a problem because YAML keeps the last value: part of a section would be lost.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        lines: dict[tuple[str, ...], int] = {}
        if root is None:
            return None, lines, []
        problems = list(_repeated_keys(root, (), lines, set()))
        return loader.construct_document(root), lines, problems
    finally:
        loader.dispose()


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
