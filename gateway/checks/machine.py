"""Findings on this machine: the limit of open files, and the disk of nginx's cache."""

import os
import re
from pathlib import Path

from gateway.checks.finding import Finding, warning

_CACHE_PATH = re.compile(r"^\s*proxy_cache_path\s+([^\s;]+)", flags=re.MULTILINE)
_LEAST_FREE = 2 * 1024**3  # bytes; min_free=2g of config/nginx


def diagnose_open_files(limit: int | None, needed: int) -> Finding:
    """Return whether a process may have as many open files as ``needed``. ``limit`` None: no limit."""
    if limit is None or limit >= needed:
        return Finding("open files", True, f"{'no limit' if limit is None else limit}, {needed} are needed")
    what = f"the hard limit is {limit}, and server.max_streams needs {needed}: connections will wait"
    return warning("open files", what, "raise it (LimitNOFILE=, --ulimit nofile=), or lower server.max_streams")


def diagnose_nginx_cache(folder: Path, least_free: int = _LEAST_FREE) -> Finding | None:
    """Return whether the disks of the caches that nginx's files name have ``least_free`` bytes left.

    None if ``folder`` (nginx's configuration) names no cache that is there. It blocks.
    """
    caches = []
    for path in sorted(_caches(folder)):
        try:
            space = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # nginx's folders are often closed to others
            what = f"{path} cannot be examined: {error.strerror}"
            return warning("nginx cache", what, "run check as a user who may enter that folder")
        caches.append(path)
        free = space.f_bavail * space.f_frsize
        if free < least_free:
            what = f"{free // 1024**2} MB are free at {path}: nginx cuts off every answer that it cannot store"
            return warning("nginx cache", what, "free the disk, and set min_free=2g in proxy_cache_path")
    return Finding("nginx cache", True, f"the disk has room: {', '.join(map(str, caches))}") if caches else None


def _caches(folder: Path) -> set[Path]:
    found: set[Path] = set()
    for place in ("", "conf.d", "http.d", "sites-enabled"):
        for file in (folder / place).glob("*"):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:  # a folder, a dangling link, or not for this user to read
                continue
            found.update(Path(path) for path in _CACHE_PATH.findall(text))
    return found
