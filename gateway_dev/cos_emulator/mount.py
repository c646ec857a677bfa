"""A folder served as a bucket: the files below it, and no others, are objects."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway_dev.cos_emulator.content import FileContent


@dataclass(frozen=True, slots=True)
class Mount:
    """Mapping of keys to the files below ``directory``. Its methods block: call them in a thread."""

    directory: Path

    def find(self, key: str) -> FileContent | None:
        """Return the file of the key, or None. Symbolic links that lead outside the folder give None."""
        parts = key.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in key:
            return None  # keys are byte exact: "a//b" and "./a" are other objects than "a/b" and "a"
        try:
            root = self.directory.resolve(strict=True)
            path = root.joinpath(*parts).resolve(strict=True)
            return FileContent(path) if path.is_relative_to(root) and path.is_file() else None
        except (OSError, RuntimeError, UnicodeError):
            # The file is missing, its name is too long or cannot be encoded, or links form a loop: no such object.
            return None

    def walk(self) -> Iterator[str]:
        """Yield the key of every file that ``find`` returns, in order of the path."""
        for folder, subfolders, names in os.walk(self.directory):
            subfolders.sort()
            for name in sorted(names):
                key = (Path(folder) / name).relative_to(self.directory).as_posix()
                if self.find(key) is not None:
                    yield key
