"""``config/nginx`` agrees with the gateway: addresses, time limits, log and error format."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from gateway.catalog.image_id import PATTERN
from gateway.delivery.accel import CONFIG_VERSION
from gateway.delivery.nginx_files import ACCEL_CONF, GATEWAY_CACHE_CONF, GATEWAY_CONF, PRIVATE_CACHE_CONF, VERSION
from gateway.settings import AdminSettings, ImageProxySettings, ServerSettings
from tests.config.files import ROOT, read
from tests.nginx.conftest import text_of

# Each is the whole configuration of nginx in front of the gateway.
SITES = ["gateway.conf", "gateway-cache.conf", "accel.conf", "private-cache.conf"]


def directive(file: str, name: str) -> list[str]:
    """Return the values of an nginx directive, without those in comments."""
    text = re.sub(r"#.*", "", read(f"config/nginx/{file}"))
    return re.findall(rf"^\s*{name}\s+([^;]+);", text, flags=re.MULTILINE)


@pytest.mark.parametrize("file", ["upstream.conf", "upstream.compose.conf"])
def test_nginx_names_the_port_of_the_gateway_and_closes_idle_connections_first(file: str) -> None:
    (address,) = directive("gateway.conf", "proxy_pass")
    assert f"upstream {address.removeprefix('http://')} {{" in read(f"config/nginx/{file}")
    public, admin = directive(file, "server")
    assert (f":{ServerSettings().port} " in public, f":{AdminSettings().port} " in admin) == (True, True)
    (idle,) = directive(file, "keepalive_timeout")
    assert int(idle.removesuffix("s")) < ServerSettings().keepalive_timeout


@pytest.mark.parametrize("file", SITES)
def test_a_site_waits_logs_stores_and_fails_as_the_gateway_needs_it(file: str) -> None:
    (seconds,) = directive(file, "proxy_read_timeout")
    assert int(seconds.removesuffix("s")) > ImageProxySettings().timeout, "the gateway reports a timeout"
    (log_format,) = directive(file, "log_format")
    assert directive(file, "access_log") == [f"/var/log/nginx/access.log {log_format.split()[0]}"]
    assert re.search(r"\$(request|request_uri|args|query_string)\b", log_format) is None, "signatures are not logged"
    # On a full disk nginx cuts off what it wants to store. ``check`` asks for the same room.
    (path,) = re.findall(r"^#?proxy_cache_path .+;", read(f"config/nginx/{file}"), flags=re.MULTILINE)
    assert " min_free=2g " in path
    answer = directive(file, "return")[-1]
    body = json.loads(answer.partition("'")[2].rpartition("'")[0])
    assert body.keys() == {"status", "message", "data", "code", "request_id"}
    assert f"`{body['code']}`" in read("docs/errors.md")


def test_nginx_sends_no_header_of_an_object_twice() -> None:
    """Each header that nginx adds to an object is hidden from the response of COS."""
    added, hidden = (
        {value.split()[0] for value in directive("image-gateway/to-cos.conf", name)}
        for name in ("add_header", "proxy_hide_header")
    )
    assert len(added) > 10
    assert added <= hidden


def test_nginx_buffers_no_images_on_disk_and_stops_when_the_client_disconnects() -> None:
    assert directive("gateway.conf", "proxy_max_temp_file_size") == ["0"]
    assert directive("gateway.conf", "proxy_ignore_client_abort") == ["off"]
    assert directive("gateway.conf", "proxy_http_version") == ["1.1"]


@pytest.mark.parametrize("file", ["gateway.conf", "image-gateway/to-gateway.conf"])
def test_no_trace_of_a_client_is_passed_on(file: str) -> None:
    """These files set the header fields of every request to the gateway."""
    sent = directive(file, "proxy_set_header")
    assert {'traceparent ""', 'tracestate ""'} <= set(sent)


@pytest.mark.parametrize(
    ("files", "also", "installed"),
    [
        (("gateway.conf", "accel.conf"), "image-gateway/to-cos.conf", {"accel.conf", "upstream.conf", "cos.conf"}),
        (("private-cache.conf",), "cdn-auth.conf", {"private-cache.conf", "upstream.conf"}),
        (("gateway-cache.conf",), "image-gateway/changes.conf", {"gateway-cache.conf", "upstream.conf"}),
        (("gateway-cache.conf", "private-cache.conf"), "cdn-auth.conf", {"private-cache.conf", "upstream.conf"}),
    ],
)
def test_the_commands_in_the_header_of_a_file_replace_an_installed_gateway_conf(
    tmp_path: Path, files: tuple[str, ...], also: str, installed: set[str]
) -> None:
    """Run the commands of the headers below a temporary root: it then holds exactly the files that are needed."""
    for folder in ("etc/nginx/conf.d", "etc/nginx/sites-enabled", "var/cache"):
        (tmp_path / folder).mkdir(parents=True)
    root = tmp_path / "etc/nginx"
    (root / "conf.d" / ("default.conf" if files[0] == "gateway.conf" else "gateway.conf")).touch()
    for file in files:
        header = read(f"config/nginx/{file}").partition("\n\n")[0]
        lines = re.findall(r"^#   (.+)", header, flags=re.MULTILINE)
        script = "\n".join(line for line in lines if not line.startswith("nginx "))
        script = re.sub(r"(?<=[ ,])/(?=etc|var)", f"{shlex.quote(str(tmp_path))}/", script)
        script = script.replace("=photos-1250000000", "=pictures-1251111111")
        subprocess.run(["sh", "-e", "-c", script], cwd=ROOT, env={"PATH": os.environ["PATH"]}, check=True)
    assert {file.name for file in (root / "conf.d").iterdir()} == installed
    text = (root / "conf.d" / files[-1]).read_text()
    included = re.findall(r"^\s*include (\S+);", text, flags=re.MULTILINE) + directive(also, "include")
    assert [file for file in included if not (root / file).is_file()] == []
    if "gateway-cache.conf" in files:
        assert included[0] == f"image-gateway/{'changes' if files[-1] == 'gateway-cache.conf' else 'decisions'}.conf"
        assert all((root / "image-gateway" / script).is_file() for script in ("changes.js", "decisions.js"))
    if "accel.conf" in files:
        host = "pictures-1251111111.cos.ap-guangzhou.myqcloud.com"
        assert f" server {host}:443;" in (root / "conf.d/cos.conf").read_text()


def test_every_file_names_its_version_and_those_that_send_it_agree() -> None:
    files = [path for path in (ROOT / "config/nginx").rglob("*") if path.is_file()]
    assert len(files) >= 13
    for path in files:
        comment = "//" if path.suffix == ".js" else "#"
        text = path.read_text()
        assert text.startswith(f"{comment} image-gateway nginx files, version {VERSION}\n"), path.name
        users, groups = (text.count(f"proxy_set_header {name} ") for name in ("X-User-Id", "X-User-Groups"))
        assert users == groups, f"{path.name}: a client names no groups, either"
    stored = f"stored-addresses.conf {VERSION}"
    for expected in (GATEWAY_CONF, GATEWAY_CACHE_CONF, stored):
        file = expected.partition(" ")[0]
        assert {'traceparent ""', 'tracestate ""'} <= set(directive(file, "proxy_set_header")), file
        (sent,) = [value for value in directive(file, "proxy_set_header") if value.startswith(CONFIG_VERSION)]
        assert sent == f'{CONFIG_VERSION} "{expected}"'
    for file, expected in (("accel.conf", ACCEL_CONF), ("private-cache.conf", PRIVATE_CACHE_CONF)):
        (config,) = [value for value in directive(file, "set") if value.startswith("$image_config")]
        (sent,) = [
            value for value in directive("image-gateway/to-gateway.conf", "proxy_set_header") if CONFIG_VERSION in value
        ]
        assert sent.replace("$image_config", config.split('"')[1]) == f'{CONFIG_VERSION} "{expected}"'


def test_the_port_at_which_nginx_asks_itself_stands_in_one_file() -> None:
    files = [path for path in (ROOT / "config/nginx").rglob("*") if path.is_file()]
    assert [path.name for path in files if "9089" in path.read_text()] == ["changes.conf"]
    (listened,) = directive("image-gateway/changes.conf", "listen")
    (asked,) = directive("image-gateway/changes.conf", "js_var")
    assert asked == f"$image_changes_address {listened}"


def test_gateway_cache_conf_is_gateway_conf_with_its_cache_and_epochs() -> None:
    """Whoever changes one of both files changes the other one."""
    cached = text_of("gateway.conf")
    with_epochs = read("config/nginx/gateway-cache.conf")
    added, removed = (
        {line.strip() for line in file.splitlines() if not line.lstrip().startswith("#")}
        - {line.strip() for line in other.splitlines()}
        for file, other in ((with_epochs, cached), (cached, with_epochs))
    )
    assert len(removed) == 6
    assert sorted(re.sub(r"\(.*", "", line).split()[0] for line in removed) == sorted(
        ['"~^GET', "map", "proxy_cache_key", "proxy_cache_use_stale", "proxy_pass_header", "proxy_set_header"]
    )
    # Copies that are current may be revalidated, and sent whatever the gateway answers.
    current = {"proxy_cache_revalidate on;", "proxy_cache_use_stale http_500 http_502 http_503 http_504;"}
    assert all(
        "epoch" in line or "image_id" in line or "gateway-cache" in line or "changes.conf" in line or "GET" in line
        for line in added - {'default "";', ""} - current
    )


def test_nginx_takes_an_id_from_an_address_if_the_gateway_does() -> None:
    """The check would else be about an id that the gateway refuses, or a valid one would never be cached."""
    for file in ("gateway-cache.conf", "accel.conf", "private-cache.conf", "cdn-auth.conf"):
        patterns = re.findall(r"\(\?<\w+_(?:short|long)>([^)]+)\)", read(f"config/nginx/{file}"))
        assert patterns == [PATTERN] * 2
