"""Findings on installed nginx files: the first line of each names its version."""

import re
from pathlib import Path

from gateway.checks.finding import Finding, warning

_VERSION = re.compile(r"(?:#|//) image-gateway nginx files, version ([0-9]{1,4})\n")
# Names that only this project's files have; an older file of such a name names no version.
_OWN = frozenset({"accel.conf", "to-cos.conf", "to-gateway.conf", "every-error.conf", "changes.conf", "changes.js"})
_FOLDERS = ("conf.d", "sites-enabled", "image-gateway")


def diagnose_nginx(folder: Path, expected: int, *, is_required: bool = False) -> Finding | None:
    """Return whether the files below nginx's configuration folder are of version ``expected``.

    None if there are none of ours, which is a failure if they are required. It blocks.
    """
    found = dict(_versions(folder))
    if not found and is_required:
        what = f"no file of this project in {', '.join(_FOLDERS)} below {folder}" if folder.is_dir() else f"no {folder}"
        return Finding("nginx", False, what, "name the folder of nginx.conf, and install config/nginx of this release")
    if not found:
        return None
    others = [
        f"{file} has {'none' if version is None else version}"
        for file, version in sorted(found.items())
        if version != expected
    ]
    if others:
        what = f"files of another version than {expected} in {folder}: {', '.join(others)}"
        return warning("nginx", what, "install config/nginx of this release, then reload nginx")
    return Finding("nginx", True, f"{len(found)} files of version {expected} in {folder}")


def _versions(folder: Path) -> list[tuple[str, int | None]]:
    """Return the files of ours with their versions, or None for a file older than the first version."""
    versions: list[tuple[str, int | None]] = []
    for place in _FOLDERS:
        for file in sorted((folder / place).glob("*")):
            try:
                with file.open(encoding="utf-8", errors="replace") as text:
                    version = _VERSION.fullmatch(text.readline(200))
            except OSError:  # a folder, a dangling link, or not for this user to read
                continue
            if version is not None:
                versions.append((f"{place}/{file.name}", int(version[1])))
            elif file.name in _OWN:
                versions.append((f"{place}/{file.name}", None))
    return versions
