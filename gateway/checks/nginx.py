"""Findings on installed nginx files: their version, the disk of the cache, and whether nginx can ask for changes."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.findings.finding import Finding, well

_VERSION = re.compile(r"(?:#|//) image-gateway nginx files, version ([0-9]{1,4})\n")
# Names that only this project's files have; an older file of such a name names no version.
_OWN_CONF = {"accel.conf", "to-cos.conf", "to-gateway.conf", "every-error.conf", "changes.conf", "decisions.conf"}
_OWN = _OWN_CONF | {"changes.js", "hearing.js", "cache_key_epoch.js", "decisions.js"}
_HTTP = ("conf.d", "http.d", "sites-enabled")  # http.d: of Alpine's package
_FOLDERS = (*_HTTP, "image-gateway")
# The names of files that nginx reads, by folder, else ``_CONF``: neither backups nor dotfiles.
_CONF = ("[!.]*.conf",)
_NAMES = {"sites-enabled": ("[!.]*",), "image-gateway": (*_CONF, "[!.]*.js")}
_CACHE_PATH = re.compile(r"^\s*proxy_cache_path\s+([^\s;]+)", re.MULTILINE)
_LEAST_FREE = 2 * 1024**3  # bytes; min_free=2g of config/nginx
_CHANGES = "nginx changes"
_CHANGES_CONF = "image-gateway/changes.conf"
_OURS = "# image-gateway nginx files"
_LARGEST = 1024 * 1024  # characters of a file
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_INCLUDED = re.compile(r"^\s*include\s+\S*image-gateway/(?:changes|decisions)\.conf\s*;", re.MULTILINE)
_MODULE = re.compile(r"^\s*load_module\s+\S*ngx_http_js_module\.so\"?\s*;", re.MULTILINE)
_ADMIN = re.compile(r"^\s*upstream\s+image_gateway_admin\b", re.MULTILINE)
_UPSTREAM = re.compile(r"^\s*upstream\s+(\w+)\s*\{([^}]*)\}", re.MULTILINE)
_SERVER = re.compile(r"(?:^|;)\s*server\s+([^\s;]+)", re.MULTILINE)
_LISTEN = re.compile(r"^\s*listen\s+([^\s;]+)", re.MULTILINE)
_ASKS = re.compile(r"^\s*js_var\s+\$image_changes_address\s+([^\s;]+)", re.MULTILINE)
_ZONE = re.compile(r"^\s*js_shared_dict_zone\s+zone=(\w+):", re.MULTILINE)
_SET_HEADER = re.compile(r"(?:^|[;{])\s*proxy_set_header\s+[\"']?([\w-]+)", re.MULTILINE)
_ZONES = {"image_changes", "image_counts", "image_floors", "image_epochs", "image_decisions"}


def check_nginx(
    folder: Path, expected: int, user_headers: Sequence[str] = (), *, is_required: bool = False
) -> Iterator[Finding]:
    """Yield findings on our files in nginx's ``folder``, which ``is_required`` if an operator has named it. Blocks.

    expected: the version of this release. user_headers: those in which a proxy names the caller.
    """
    yield from _of_versions(folder, expected, is_required=is_required)
    yield from _of_users(folder, user_headers)
    yield from _of_changes(folder)
    yield from check_nginx_cache(folder)


def _of_versions(folder: Path, expected: int, *, is_required: bool) -> Iterator[Finding]:
    found: dict[str, int | None] = {}  # None: older than the first version
    for path, text in _texts(folder, *_FOLDERS).items():
        version = _VERSION.match(text)
        if version is not None or Path(path).name in _OWN:
            found[path] = int(version[1]) if version is not None else None
    versions = {path: "none" if number is None else number for path, number in sorted(found.items())}
    if others := [f"{path} has {version}" for path, version in versions.items() if version != expected]:
        what = f"files of another version than {expected} in {folder}: {', '.join(others)}"
        yield Finding.of("nginx_files_old", "nginx", what)
    elif found:
        yield well("nginx", f"{len(found)} files of version {expected} in {folder}")
    elif is_required:
        what = f"no file of this project in {', '.join(_FOLDERS)} below {folder}" if folder.is_dir() else f"no {folder}"
        yield Finding.of("nginx_files_missing", "nginx", what)


def _of_users(folder: Path, headers: Sequence[str]) -> Iterator[Finding]:
    """Yield whether nginx sets the headers that name the caller. Nothing without such headers or files of ours."""
    texts = _texts(folder, "", *_FOLDERS).values()
    if not headers or not any(_OURS in text for text in texts):
        return
    known = {name.lower() for text in texts for name in _SET_HEADER.findall(text)}
    if unset := [header for header in headers if header.lower() not in known]:
        yield Finding.of("nginx_user_unset", "nginx users", headers=", ".join(unset))
    else:
        yield well("nginx users", f"nginx sets {', '.join(headers)}")


def check_nginx_cache(folder: Path, least_free: int = _LEAST_FREE) -> Iterator[Finding]:
    """Yield a finding on the disks of nginx's caches, which need ``least_free`` bytes. None without a cache. Blocks."""
    caches = []
    texts = _texts(folder, "", *_HTTP).values()
    for path in sorted({Path(path) for text in texts for path in _CACHE_PATH.findall(text)}):
        try:
            space = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # nginx's folders are often closed to others
            yield Finding.of("nginx_cache_unseen", "nginx cache", path=str(path), reason=error.strerror or "")
            return
        caches.append(path)
        free = space.f_bavail * space.f_frsize
        if free < least_free:
            yield Finding.of("nginx_cache_full", "nginx cache", megabytes=free // 1024**2, path=str(path))
            return
    if caches:
        yield well("nginx cache", f"the disk has room: {', '.join(map(str, caches))}")


def _of_changes(folder: Path) -> Iterator[Finding]:
    """Yield whether nginx asks for changes, and has what it needs for it. Nothing without files of ours."""
    texts = _texts(folder, *_HTTP).values()
    if not any(_OURS in text for text in texts):
        return
    if not any(map(_INCLUDED.search, texts)):
        yield well(_CHANGES, "nginx asks for no changes: no file includes image-gateway/changes.conf or decisions.conf")
        return
    own = _texts(folder, "image-gateway")
    main = _texts(folder, "").get("nginx.conf", ""), *_texts(folder, "modules-enabled", "modules").values()
    zones = _ZONES - set(_ZONE.findall(own.get(_CHANGES_CONF, "")))
    missing = {
        "module ngx_http_js_module, in nginx.conf or modules-enabled": not any(map(_MODULE.search, main)),
        **{path: path not in own for path in ("image-gateway/changes.js", "image-gateway/hearing.js")},
        f"js_shared_dict_zone of {', '.join(sorted(zones))}, in {_CHANGES_CONF}": bool(zones),
        "upstream image_gateway_admin, in upstream.conf": not any(map(_ADMIN.search, texts)),
    }
    if any(missing.values()):
        absent = "; no ".join(name for name, is_missing in missing.items() if is_missing)
        yield Finding.of("nginx_cannot_ask", _CHANGES, absent=absent)
        return
    names = ", ".join(sorted(_ZONES))
    what = f"by its files, nginx asks for changes: njs and zones {names} are there; check --running asks nginx itself"
    yield well(_CHANGES, what)


def upstreams(folder: Path) -> dict[str, list[str]]:
    """Return the addresses of each upstream in the files below nginx's configuration folder. It blocks."""
    found: dict[str, list[str]] = {}
    for text in _texts(folder, "", *_HTTP).values():
        for upstream, block in _UPSTREAM.findall(text):
            found.setdefault(upstream, []).extend(_SERVER.findall(block))
    return found


def list_addresses(folder: Path) -> tuple[str, str] | None:
    """Return where nginx's own list answers, and where nginx asks it. None without ``changes.conf``. It blocks."""
    text = _texts(folder, "image-gateway").get(_CHANGES_CONF, "")
    listens, asks = _LISTEN.search(text), _ASKS.search(text)
    return (listens[1], asks[1]) if listens is not None and asks is not None else None


def _texts(folder: Path, *places: str) -> dict[str, str]:
    """Return the texts of nginx's files in folders below ``folder`` by path, without commented lines, if readable."""
    found = {}
    patterns = [(folder / place, pattern) for place in places for pattern in _NAMES.get(place, _CONF)]
    for file in (file for within, pattern in patterns for file in sorted(within.glob(pattern))):
        try:
            with file.open(encoding="utf-8", errors="replace") as opened:
                text = opened.read(_LARGEST)
        except OSError:  # a folder, a dangling link, or not for this user to read
            continue
        first, _, rest = text.partition("\n")
        found[str(file.relative_to(folder))] = f"{first}\n{_COMMENT.sub('', rest)}"
    return found
