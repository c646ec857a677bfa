"""The YAML configuration file; a repeated key is a mistake."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway.net.printable import printable
from gateway.settings.mistakes import SettingsError


def read_yaml(file: Path) -> dict[str, Any]:
    """Return the sections of the file; raise ``SettingsError`` if it cannot be read or is not a mapping."""
    try:
        document, problems = _load(file.read_text(encoding="utf-8"))
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
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError([f"{file}: must be a mapping of sections, such as 'server:'"])
    if problems:
        raise SettingsError(problems)
    return document


def _load(text: str) -> tuple[Any, list[str]]:
    """Return the document as ``yaml.safe_load`` does, and a line for each repeated key, which that accepts."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, []
        problems = list(_repeated_keys(root, (), set()))
        return loader.construct_document(root), problems
    finally:
        loader.dispose()


def _repeated_keys(node: yaml.Node, path: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Yield a line for each repeated key: YAML keeps the last value, so part of a section would be lost."""
    if id(node) in seen:  # an alias (*) of an anchor (&), or a recursive node
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _repeated_keys(item, (*path, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            inner, line = (*path, printable(key.value)), key.start_mark.line + 1
            if (key.tag, key.value) in first:
                before = first[key.tag, key.value]
                yield f"{'.'.join(inner)}: is set twice, in lines {before} and {line}"
            first.setdefault((key.tag, key.value), line)
            yield from _repeated_keys(value, inner, seen)
