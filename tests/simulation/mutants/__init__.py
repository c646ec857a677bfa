"""Mutants: small changes of the code, each of which the simulation must find.

A mutant replaces text of modules while they are imported: no file is changed, and no cached bytecode is read or
written. It fails loudly when the text is not there any more, or is there more than once.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple


class Edit(NamedTuple):
    """``before`` is once in the source of ``module``."""

    module: str
    before: str
    after: str


class Mutant(NamedTuple):
    """``what``: the mechanism that is missing."""

    what: str
    edits: tuple[Edit, ...]


def _mutant(what: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(what, tuple(Edit(*edit) for edit in edits))


MUTANTS: Final[dict[str, Mutant]] = {}


class _MutatedSource(SourceLoader):
    def __init__(self, path: str, edits: Sequence[Edit]) -> None:
        self._path = path
        self._edits = edits

    def get_filename(self, _fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        if path != self._path:
            raise OSError("no bytecode is kept")
        return mutated(Path(path).read_text(), self._edits).encode()


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        edits = [edit for edit in self._mutant.edits if edit.module == fullname]
        if not edits:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        return spec_from_loader(fullname, _MutatedSource(spec.origin, edits))


def mutated(source: str, edits: Sequence[Edit]) -> str:
    """Return the source with the edits. Raises ``LookupError`` if their text is not there once."""
    for edit in edits:
        if source.count(edit.before) != 1:
            raise LookupError(f"{edit.module} has this text {source.count(edit.before)} times: {edit.before!r}")
        source = source.replace(edit.before, edit.after)
    return source


def install(mutant: Mutant) -> None:
    """Change the modules that are imported from now on."""
    for edit in mutant.edits:
        if edit.module in sys.modules:
            raise RuntimeError(f"{edit.module} is imported already")
    sys.meta_path.insert(0, _Finder(mutant))
