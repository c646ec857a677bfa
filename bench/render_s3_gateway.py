"""Renders nginx-s3-gateway for the origin of the benchmarks, from a checkout, as its container would at its start.

``python -m bench.render_s3_gateway CHECKOUT FOLDER`` writes ``FOLDER/cached`` and ``FOLDER/relaying``, each with an
``nginx.conf`` for ``--s3-gateway``. nginx needs its modules ``ngx_http_js_module`` and ``ngx_http_xslt_filter_module``.

Changed against the container: addresses and folders; no access log, as every other nginx of the comparison;
``keepalive`` for the upstream, which makes it faster; no ``resolve``, which nginx has from 1.27.3 on and an address
does not need. ``relaying`` has no ``proxy_cache``.
"""

import argparse
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from bench.databases import BUCKET

ORIGIN_PORT: Final = 9999
_PORTS: Final = {"cached": 9981, "relaying": 9982}
# Dockerfile.oss and docker-entrypoint.d/01-set-defaults.envsh, where the container's user sets nothing.
_DEFAULTS: Final = {
    "PROXY_CACHE_MAX_SIZE": "10g",
    "PROXY_CACHE_INACTIVE": "60m",
    "PROXY_CACHE_SLICE_SIZE": "1m",
    "PROXY_CACHE_VALID_OK": "1h",
    "PROXY_CACHE_VALID_NOTFOUND": "1m",
    "PROXY_CACHE_VALID_FORBIDDEN": "30s",
    "PROXY_CACHE_USE_STALE": "error timeout http_500 http_502 http_503 http_504",
    "PROXY_CACHE_BYPASS_NO_CACHE": "0",
    "CORS_ENABLED": "0",
    "CORS_ALLOWED_ORIGIN": "*",
    "CORS_ALLOW_PRIVATE_NETWORK_ACCESS": "",
    "LIMIT_METHODS_TO": "GET HEAD",
    "LIMIT_METHODS_TO_CSV": "GET, HEAD",
    "DIRECTORY_LISTING_PATH_PREFIX": "",
    "STRIP_LEADING_DIRECTORY_PATH": "",
    "PREFIX_LEADING_DIRECTORY_PATH": "",
    "DNS_RESOLVERS": "127.0.0.1",
}


def variables(origin_port: int) -> dict[str, str]:
    """Return the environment of a container whose S3 server is the origin."""
    address = f"127.0.0.1:{origin_port}"
    return _DEFAULTS | {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_SIGS_VERSION": "4",
        "S3_BUCKET_NAME": BUCKET,
        "S3_SERVER": "127.0.0.1",
        "S3_SERVER_PORT": str(origin_port),
        "S3_SERVER_PROTO": "http",
        "S3_STYLE": "path",
        "S3_REGION": "us-east-1",
        "S3_SERVICE": "s3",
        "S3_UPSTREAM": address,
        "S3_HOST_HEADER": address,
        "ALLOW_DIRECTORY_LIST": "false",
        "PROVIDE_INDEX_PAGE": "false",
        "APPEND_SLASH_FOR_POSSIBLE_DIRECTORY": "false",
        "HEADER_PREFIXES_TO_STRIP": "",
        "HEADER_PREFIXES_ALLOWED": "",
        "DEBUG": "false",
    }


def render(checkout: Path, folder: Path, *, port: int, origin_port: int, has_cache: bool) -> Path:
    """Write the configuration and its scripts to ``folder``; return the path of ``nginx.conf``.

    Raises ``FileNotFoundError`` if the checkout has no such files, ``RuntimeError`` if a text to change is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Its worker is another user than root, and reads the scripts and the cache.
    folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    known = variables(origin_port)
    shutil.copytree(checkout / "common/etc/nginx/include", folder / "include", dirs_exist_ok=True)
    for templates in (checkout / "common/etc/nginx/templates", checkout / "oss/etc/nginx/templates"):
        for template in sorted(templates.rglob("*.template")):
            target = folder / "conf.d" / template.relative_to(templates).with_suffix("")
            target.parent.mkdir(parents=True, exist_ok=True)
            text = _moved(Template(template.read_text()).safe_substitute(known), folder)
            if not has_cache:
                text = re.sub(r"\bproxy_cache [a-z0-9_]+;", "proxy_cache off;", text)
            target.write_text(text)
    _change(folder / "conf.d/default.conf", r"listen +80;", f"listen 127.0.0.1:{port};")
    _change(folder / "conf.d/upstreams.conf", r"(server [0-9.:]+) resolve;", r"\1; keepalive 64;")
    conf = folder / "nginx.conf"
    conf.write_text(_main_file((checkout / "common/etc/nginx/nginx.conf").read_text(), known, folder))
    return conf


def _main_file(text: str, known: Mapping[str, str], folder: Path) -> str:
    """Return ``nginx.conf`` with the values of its environment, of which nginx itself needs none then."""
    text = re.sub(r"^env (\w+);\n", lambda match: _environment(match[1], known), text, flags=re.MULTILINE)
    text = re.sub(r"^user .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"error_log .*;", "error_log stderr warn;", text)
    text = re.sub(r"access_log .*;", "access_log off;", text)
    text = text.replace("/etc/nginx/mime.types", "/etc/nginx/MIME").replace("/var/run/nginx.pid", f"{folder}/nginx.pid")
    return _moved(text, folder).replace("/etc/nginx/MIME", "/etc/nginx/mime.types")


def _environment(name: str, known: Mapping[str, str]) -> str:
    return f'env "{name}={known[name]}";\n' if known.get(name) else ""


def _moved(text: str, folder: Path) -> str:
    text = text.replace("/var/cache/nginx", str(folder))
    return re.sub(r"/etc/nginx/(conf\.d|include)", rf"{folder}/\1", text)


def _change(file: Path, old: str, new: str) -> None:
    text, count = re.subn(old, new, file.read_text())
    if not count:
        raise RuntimeError(f"{file} has no {old}")
    file.write_text(text)


def main() -> None:
    """Write both configurations, and print the command that measures them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a checkout of nginx-s3-gateway")
    parser.add_argument("folder", type=Path, help="where both configurations go")
    parser.add_argument("--origin-port", type=int, default=ORIGIN_PORT)
    arguments = parser.parse_args()
    options = [f"--origin-port {arguments.origin_port}"]
    for name, port in _PORTS.items():
        conf = render(
            arguments.checkout,
            arguments.folder.resolve() / name,
            port=port,
            origin_port=arguments.origin_port,
            has_cache=name == "cached",
        )
        options.append(f"--s3-gateway {conf}")
    print(f'make bench ARGS="{" ".join(options)}"')


if __name__ == "__main__":
    main()
