"""Findings on installed nginx files: their version, the disk of the cache, and whether nginx can ask for changes."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from gateway.checks.finding import Finding, warning

_VERSION = re.compile(r"(?:#|//) image-gateway nginx files, version ([0-9]{1,4})\n")
# Names that only this project's files have; an older file of such a name names no version.
_OWN = frozenset(
    {
        "accel.conf",
        "to-cos.conf",
        "to-gateway.conf",
        "every-error.conf",
        "changes.conf",
        "changes.js",
        "hearing.js",
        "epoch.js",
        "decisions.conf",
        "decisions.js",
    }
)
_HTTP = ("conf.d", "http.d", "sites-enabled")  # http.d: of Alpine's package
_FOLDERS = (*_HTTP, "image-gateway")

_CACHE_PATH = re.compile(r"^\s*proxy_cache_path\s+([^\s;]+)", re.MULTILINE)
_LEAST_FREE = 2 * 1024**3  # bytes; min_free=2g of config/nginx
_CHANGES = "nginx changes"
_OURS = "# image-gateway nginx files"
_LARGEST = 1024 * 1024  # characters of a file
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_INCLUDED = re.compile(r"^\s*include\s+\S*image-gateway/(?:changes|decisions)\.conf\s*;", re.MULTILINE)
_MODULE = re.compile(r"^\s*load_module\s+\S*ngx_http_js_module\.so\"?\s*;", re.MULTILINE)
_ADMIN = re.compile(r"^\s*upstream\s+image_gateway_admin\b", re.MULTILINE)
_UPSTREAM = re.compile(r"^\s*upstream\s+(\w+)\s*\{([^}]*)\}", re.MULTILINE)
_SERVER = re.compile(r"^\s*server\s+([^\s;]+)", re.MULTILINE)
_LISTEN = re.compile(r"^\s*listen\s+([^\s;]+)", re.MULTILINE)
_ASKS = re.compile(r"^\s*js_var\s+\$image_changes_address\s+([^\s;]+)", re.MULTILINE)
_ZONE = re.compile(r"^\s*js_shared_dict_zone\s+zone=(\w+):", re.MULTILINE)
_ZONES = {"image_changes", "image_counts", "image_floors", "image_epochs", "image_decisions"}


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


def diagnose_nginx_cache(folder: Path, least_free: int = _LEAST_FREE) -> Finding | None:
    """Return whether the disks of the caches that nginx's files name have ``least_free`` bytes left.

    None if ``folder`` (nginx's configuration) names no cache that is there. It blocks.
    """
    caches = []
    texts = [text for name in ("", *_HTTP) for _, text in _texts(folder / name)]
    for path in sorted({Path(path) for text in texts for path in _CACHE_PATH.findall(text)}):
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


def diagnose_nginx_changes(folder: Path) -> Finding | None:
    """Return whether nginx asks for changes, and has what it needs for it. None without files of ours. It blocks."""
    files = {file: text for name in _HTTP for file, text in _texts(folder / name)}
    if not any(_OURS in text for text in files.values()):
        return None
    if not any(_INCLUDED.search(text) for text in files.values()):
        what = "nginx asks for no changes: no file includes image-gateway/changes.conf or decisions.conf"
        return Finding(_CHANGES, True, what)
    own = dict(_texts(folder / "image-gateway"))
    modules = [text for name in ("modules-enabled", "modules") for _, text in _texts(folder / name)]
    zones = _ZONES - set(_ZONE.findall(own.get("changes.conf", "")))
    missing = {
        "module ngx_http_js_module, in nginx.conf or modules-enabled": not any(
            _MODULE.search(text) for text in (dict(_texts(folder)).get("nginx.conf", ""), *modules)
        ),
        **{f"image-gateway/{file}": file not in own for file in ("changes.js", "hearing.js")},
        f"js_shared_dict_zone of {', '.join(sorted(zones))}, in image-gateway/changes.conf": bool(zones),
        "upstream image_gateway_admin, in upstream.conf": not any(_ADMIN.search(text) for text in files.values()),
    }
    if any(missing.values()):
        what = (
            f"nginx asks for changes, but there is no {'; no '.join(name for name, is_it in missing.items() if is_it)}"
        )
        return warning(_CHANGES, what, "install njs (Debian: libnginx-mod-http-js) and config/nginx, then run nginx -t")
    names = ", ".join(sorted(_ZONES))
    what = f"by its files, nginx asks for changes: njs and zones {names} are there; check --running asks nginx itself"
    return Finding(_CHANGES, True, what)


def upstreams(folder: Path) -> dict[str, list[str]]:
    """Return the addresses of each upstream in the files below nginx's configuration folder. It blocks."""
    found: dict[str, list[str]] = {}
    for name in _HTTP:
        for _, text in _texts(folder / name):
            for upstream, block in _UPSTREAM.findall(text):
                found.setdefault(upstream, []).extend(_SERVER.findall(block))
    return found


def list_addresses(folder: Path) -> tuple[str, str] | None:
    """Return where nginx's own list answers, and where nginx asks it. None without ``changes.conf``. It blocks."""
    text = dict(_texts(folder / "image-gateway")).get("changes.conf", "")
    listens, asks = _LISTEN.search(text), _ASKS.search(text)
    return (listens[1], asks[1]) if listens is not None and asks is not None else None


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names and the texts of the files in a folder that may be read, without commented lines."""
    for file in sorted(folder.glob("*")):
        try:
            with file.open(encoding="utf-8", errors="replace") as opened:
                text = opened.read(_LARGEST)
        except OSError:  # a folder, a dangling link, or not for this user to read
            continue
        first, _, rest = text.partition("\n")
        yield file.name, f"{first}\n{_COMMENT.sub('', rest)}"


def _versions(folder: Path) -> list[tuple[str, int | None]]:
    """Return the files of ours with their versions, or None for a file older than the first version."""
    versions: list[tuple[str, int | None]] = []
    for place in _FOLDERS:
        for file, text in _texts(folder / place):
            if (version := _VERSION.match(text)) is not None:
                versions.append((f"{place}/{file}", int(version[1])))
            elif file in _OWN:
                versions.append((f"{place}/{file}", None))
    return versions
