"""A folder served as a bucket: every file under it is an object, and nothing outside it is."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.cos_emulator.content import FileContent


@dataclass(frozen=True, slots=True)
class Mount:
    """Maps keys to files under ``directory`` by relative path. Its methods block: call them in a thread."""

    directory: Path

    def find(self, key: str) -> FileContent | None:
        """The file of that key, or None. Symbolic links count only while they stay inside the folder."""
        parts = key.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in key:
            return None  # keys are byte exact: "a//b" and "./a" are other objects than "a/b" and "a"
        try:
            root = self.directory.resolve(strict=True)
            path = root.joinpath(*parts).resolve(strict=True)
            return FileContent(path) if path.is_relative_to(root) and path.is_file() else None
        except (OSError, RuntimeError, UnicodeError):
            # Missing, name too long for the file system, a loop of links, not encodable: no such object.
            return None

    def walk(self) -> Iterator[str]:
        """The key of every file that ``find`` would find, in order of the path."""
        for folder, subfolders, names in os.walk(self.directory):
            subfolders.sort()
            for name in sorted(names):
                key = (Path(folder) / name).relative_to(self.directory).as_posix()
                if self.find(key) is not None:
                    yield key
