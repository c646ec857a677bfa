"""Real proxies: nginx with the files of ``config/nginx``, and others with the recipes of ``docs/fronts.md``.

`make test` runs the first, and `make fronts` the others, whose text is cut from the page. Debian has Varnish, Squid,
HAProxy, Apache and nginx. The wheels of the extra ``fronts`` bring Caddy, Traefik and Envoy.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway_dev.processes import free_port
from tests.certificates import write_certificate
from tests.conftest import RunningGateway, StartGateway
from tests.fronts.front import Front, running
from tests.nginx.conftest import MAIN, in_front_of, starting_nginx

PAGE = Path(__file__).parents[2] / "docs" / "fronts.md"
SITE = "img.example.com"

_APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
ErrorLog {folder}/error.log
Listen 127.0.0.1:{port}
User www-data
Group www-data
""" + "".join(
    f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
    for name in (
        *("mpm_event", "authz_core", "proxy", "proxy_http", "slotmem_shm", "proxy_balancer", "lbmethod_byrequests"),
        *("headers", "cache", "cache_disk", "ssl", "http2"),
    )
)
_CADDY = "{{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tstorage file_system {folder}\n}}\n"
_SQUID = """
pid_filename none
cache_log {folder}/cache.log
access_log none
netdb_filename none
shutdown_lifetime 0 seconds
visible_hostname squid
"""


@dataclass(frozen=True)
class Recipe:
    """How to start a proxy with a recipe.

    command: ``{folder}``, ``{file}`` and ``{port}`` are replaced.
    before, after: what the recipe leaves out: the modules, the files of the process.
    caches: whether it keeps public images.
    """

    command: str
    before: str = ""
    after: str = ""
    caches: bool = False


RECIPES: Mapping[str, Recipe] = {
    "varnish": Recipe(
        "varnishd -j none -F -n {folder}/varnish -a 127.0.0.1:{port} -s malloc,64m -f {file}", caches=True
    ),
    "squid": Recipe("squid -N -f {file}", after=_SQUID, caches=True),
    "haproxy": Recipe("haproxy -db -f {file}"),
    "apache": Recipe("apache2 -D FOREGROUND -f {file}", before=_APACHE, caches=True),
    "caddy": Recipe("caddy run --adapter caddyfile --config {file}", before=_CADDY),
    "traefik": Recipe("traefik --entrypoints.web.address=127.0.0.1:{port} --providers.file.filename={file}"),
    "envoy": Recipe("envoy --use-dynamic-base-id --concurrency 2 --log-level error -c {file}"),
    "nginx": Recipe("nginx -p {folder} -c {file}", before=MAIN.partition("    {http}")[0], after="}}", caches=True),
}
# The files of nginx that keep public images; those of ``accel`` have tests of their own.
FILES = ("gateway.conf", "private-cache.conf")
FRONTS = [*(RECIPES if (has_recipes := "GATEWAY_TEST_FRONTS" in os.environ) else FILES)]
CACHES = [name for name in FRONTS if name in FILES or RECIPES[name].caches]
collect_ignore = (
    [] if has_recipes else [f"test_{name}.py" for name in ("idle", "purge", "two_gateways", "versions", "warnings")]
)
_ENDINGS = {"caddy": "Caddyfile", "traefik": "traefik.yml", "envoy": "envoy.yaml"}


_LANGUAGES = {"varnish": "vcl"}


def recipe_of(name: str) -> str:
    """Return the one block of code of that language on the page."""
    (found,) = re.findall(rf"^```{_LANGUAGES.get(name, name)}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def _configured(name: str, text: str, gateway: str, port: int, folder: Path) -> str:
    """Return the recipe with the gateway's address, the front's own port and its folder."""
    host, gateway_port = gateway.rsplit(":", 1)
    text = re.sub(r"127\.0\.0\.1([: ]parent |:|, port_value: )?8080", rf"{host}\g<1>{gateway_port}", text)
    text = text.replace('.port = "8080"', f'.port = "{gateway_port}"').replace(
        " parent 8080 ", f" parent {gateway_port} "
    )
    text = text.replace("/var/cache/apache2/mod_cache_disk", f"{folder}/cache").replace("/var/cache/nginx", str(folder))
    for old, new in (
        ("http_port 80 ", f"http_port 127.0.0.1:{port} "),
        ("bind :80", f"bind 127.0.0.1:{port}"),
        ("VirtualHost *:80>", f"VirtualHost *:{port}>"),
        ("http://img.example.com {", f"http://img.example.com:{port} {{\n\tbind 127.0.0.1"),
        ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {port}}}"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("VirtualHost *:443>", f"VirtualHost *:{port}>"),
        ("https://img.example.com {", f"https://img.example.com:{port} {{\n\tbind 127.0.0.1"),
        ("/etc/ssl/images.pem", f"{folder}/images.pem"),
    ):
        text = text.replace(old, new)
    recipe = RECIPES[name]
    return recipe.before.format(folder=folder, port=port, main="") + text + recipe.after.format(folder=folder)


@asynccontextmanager
async def running_front(
    name: str,
    gateway: RunningGateway,
    changes: Mapping[str, str] | None = None,
    *,
    address: str | None = None,
    second: RunningGateway | None = None,
    has_tls: bool = False,
    readiness: int = 200,
) -> AsyncIterator[Front]:
    """Run a proxy with its recipe or file, in which ``changes`` replaces texts.

    address: where it finds the gateway.
    second: another gateway, of the lines of the recipe that are comments.
    has_tls: its clients speak TLS; a certificate is where the page has it.
    readiness: the status of ``/readyz`` that is waited for.
    """
    address = address or gateway.address
    if name in FILES:
        with tempfile.TemporaryDirectory() as temporary:
            async with starting_nginx(Path(temporary)) as start:
                yield await start(in_front_of(address, name), changes)
        return
    text = recipe_of(name)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    if second is not None:
        text = re.sub(r"^(\s*)# (.*(?:8081|gateway2))", r"\1\2", text, flags=re.MULTILINE)
        text = text.replace("8081", second.address.rpartition(":")[2])
    # Some proxies run as a user of their own, who cannot enter pytest's folders.
    with tempfile.TemporaryDirectory(prefix="image-gateway-front-", ignore_cleanup_errors=True) as temporary:
        folder, port = Path(temporary), free_port()
        (folder / "cache").mkdir()
        if has_tls:
            files = write_certificate(folder, SITE)
            (folder / "images.pem").write_bytes(b"".join(file.read_bytes() for file in files))
        for each in (folder, folder / "cache"):
            each.chmod(0o777)
        file = folder / _ENDINGS.get(name, "front.conf")
        file.write_text(_configured(name, text, address, port, folder))
        recipe = RECIPES[name]
        called, *arguments = recipe.command.format(folder=folder, file=file, port=port).split()
        program = shutil.which(called, path=f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin")
        assert program is not None, f"{called} is not installed: make fronts says from where"
        url = f"http{'s' * has_tls}://127.0.0.1:{port}"
        front = Front(name, url, folder, (program, *arguments), SITE, "/readyz", readiness)
        async with running(front):
            yield front


@pytest.fixture(params=FRONTS)
def front_name(request: pytest.FixtureRequest) -> str:
    """Each proxy in turn."""
    name: str = request.param
    return name


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that streams."""
    return await start_gateway()


@pytest.fixture
async def front(front_name: str, gateway: RunningGateway) -> AsyncIterator[Front]:
    """Each proxy in front of that gateway."""
    async with running_front(front_name, gateway) as front:
        yield front
