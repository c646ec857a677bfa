"""The configuration file: YAML, in which no key is given twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway.settings.mistakes import SettingsError, on_one_line


def read_yaml(file: Path) -> dict[str, Any]:
    """The sections of the file; raises ``SettingsError``."""
    try:
        document, problems = _load(file.read_text(encoding="utf-8"))
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
    if problems:
        raise SettingsError(problems)
    return document


def _load(text: str) -> tuple[Any, list[str]]:
    """The document as ``yaml.safe_load`` has it, and what that passes over."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, []
        problems = list(_given_twice(root, (), set()))
        return loader.construct_document(root), problems
    finally:
        loader.dispose()


def _given_twice(node: yaml.Node, path: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """A line for each key that its mapping has already; the last would win, and half of a section be lost."""
    if id(node) in seen:  # by another name (&, *), or within itself
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _given_twice(item, (*path, str(number)), seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            inner, line = (*path, on_one_line(key.value)), key.start_mark.line + 1
            if (key.tag, key.value) in first:
                before = first[key.tag, key.value]
                yield f"{'.'.join(inner)}: is given twice, in lines {before} and {line}"
            first.setdefault((key.tag, key.value), line)
            yield from _given_twice(value, inner, seen)
