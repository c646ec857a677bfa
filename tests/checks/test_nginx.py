"""Versions of installed nginx files, what nginx needs to ask for changes, and the disk of its cache."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from gateway.checks.nginx import check_nginx, check_nginx_cache, upstreams
from gateway.delivery.nginx_files import VERSION
from gateway.findings.finding import Finding
from tests.config.files import ROOT


def said(findings: Iterable[Finding], where: str = "nginx") -> tuple[str, str]:
    """Return the level and the text of the finding that there is on this part."""
    (found,) = [finding for finding in findings if finding.where == where]
    return found.level, found.what


def changes(folder: Path) -> tuple[str, str]:
    """Return what is said of changes."""
    return said(check_nginx(folder, VERSION), "nginx changes")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of nginx with the files of this release."""
    source = ROOT / "config" / "nginx"
    for file in (path for path in source.rglob("*") if path.is_file()):
        folder = tmp_path / ("image-gateway" if file.parent.name == "image-gateway" else "conf.d")
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_text(file.read_text())
    return tmp_path


def test_the_files_of_this_release_are_of_its_version(installed: Path) -> None:
    assert said(check_nginx(installed, VERSION)) == ("ok", f"21 files of version {VERSION} in {installed}")


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("conf.d/gateway.conf", "# image-gateway nginx files, version 0\n", "conf.d/gateway.conf has 0"),
        ("image-gateway/to-cos.conf", "# Fetch one object from COS\n", "image-gateway/to-cos.conf has none"),
    ],
)
def test_an_older_file_is_named(installed: Path, file: str, text: str, what: str) -> None:
    (installed / file).write_text(text)
    verdict, found = said(check_nginx(installed, VERSION))
    assert verdict == "warning"
    assert found.endswith(what)


def test_a_header_that_names_callers_and_that_no_file_sets_is_named(installed: Path) -> None:
    found = partial(said, where="nginx users")
    assert found(check_nginx(installed, VERSION, ["x-user-id", "X-User-Groups"]))[0] == "ok"
    named = check_nginx(installed, VERSION, ["X-User-Id", "X-Team"])
    assert found(named) == ("bad", "no file of nginx sets X-Team: clients send their own, and the gateway believes it")
    (installed / "conf.d" / "gateway.conf").write_text("#proxy_set_header X-Team $team;\n")
    assert found(check_nginx(installed, VERSION, ["X-Team"]))[0] == "bad", "a comment"
    (installed / "image-gateway" / "to-gateway.conf").write_text(
        'location / { proxy_set_header "X-Team" $image_groups; }\n'
    )
    assert found(check_nginx(installed, VERSION, ["X-Team"]))[0] == "ok"


def test_files_of_others_are_not_judged(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "default.conf").write_text("server { listen 80; }\n")
    (tmp_path / "conf.d" / "dangling.conf").symlink_to(tmp_path / "nowhere")
    (tmp_path / "conf.d" / "a-folder").mkdir()
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert list(check_nginx(folder, VERSION, ["X-Team"])) == []


def test_files_that_nginx_does_not_include_are_not_read(installed: Path) -> None:
    """Such as the backup of a retired gateway's address: takedowns would ask that gateway for ever."""
    before = upstreams(installed), list(check_nginx(installed, VERSION))
    old = "# image-gateway nginx files, version 0\nupstream image_gateway_admin {\n    server 10.0.0.9:9090;\n}\n"
    (installed / "sites-enabled").mkdir()
    (installed / "image-gateway" / "to-cos.conf~").write_text(old)
    for name in ("nginx.conf.bak", "conf.d/upstream.conf.bak", "conf.d/.upstream.conf", "sites-enabled/.site.swp"):
        (installed / name).write_text(old)
    assert (upstreams(installed), list(check_nginx(installed, VERSION))) == before
    (installed / "sites-enabled" / "site").write_text(old)
    assert "10.0.0.9:9090" in upstreams(installed)["image_gateway_admin"]


def test_files_that_an_operator_asks_for_must_be_there(tmp_path: Path) -> None:
    for folder, what in (
        (tmp_path, f"no file of this project in conf.d, http.d, sites-enabled, image-gateway below {tmp_path}"),
        (tmp_path / "nowhere", f"no {tmp_path}/nowhere"),
    ):
        assert said(check_nginx(folder, VERSION, is_required=True)) == ("bad", what)


@pytest.fixture
def asking(installed: Path) -> Path:
    """A folder of nginx that has all that it needs to ask for changes."""
    (installed / "modules-enabled").mkdir()
    (installed / "modules-enabled" / "50-mod-http-js.conf").write_text("load_module modules/ngx_http_js_module.so;\n")
    return installed


def test_an_nginx_that_asks_for_changes_has_module_and_zones_also_in_the_folders_of_alpine(
    asking: Path,
) -> None:
    zones = "image_changes, image_counts, image_decisions, image_epochs, image_floors"
    what = f"by its files, nginx asks for changes: njs and zones {zones} are there; check --running asks nginx itself"
    assert changes(asking) == ("ok", what)
    before = list(check_nginx(asking, VERSION))
    (asking / "conf.d").rename(asking / "http.d")
    (asking / "modules-enabled").rename(asking / "modules")
    assert list(check_nginx(asking, VERSION)) == before


@pytest.mark.parametrize(
    ("file", "before", "after", "missing"),
    [
        ("modules-enabled/50-mod-http-js.conf", "load_module", "#load_module", "no module ngx_http_js_module"),
        ("image-gateway/changes.conf", "zone=image_epochs", "zone=another", "no js_shared_dict_zone of image_epochs"),
        ("conf.d/upstream.conf", "upstream image_gateway_admin", "upstream others", "no upstream image_gateway_admin"),
    ],
)
def test_what_an_nginx_that_asks_for_changes_lacks_is_named(
    asking: Path, file: str, before: str, after: str, missing: str
) -> None:
    text = (asking / file).read_text()
    (asking / file).write_text(text.replace(before, after))
    for compose in (asking / "conf.d").glob("upstream.compose.conf"):
        compose.unlink()
    verdict, found = changes(asking)
    assert verdict == "warning"
    assert missing in found


def test_an_nginx_that_asks_for_no_changes_says_so(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    text = (ROOT / "config" / "nginx" / "accel.conf").read_text()
    (tmp_path / "conf.d" / "accel.conf").write_text(text)
    expected = "nginx asks for no changes: no file includes image-gateway/changes.conf or decisions.conf"
    assert changes(tmp_path) == ("ok", expected)


def test_the_disk_of_a_cache_must_have_room_and_a_cache_that_can_be_examined(tmp_path: Path) -> None:
    assert list(check_nginx_cache(tmp_path / "nowhere")) == []
    (tmp_path / "conf.d").mkdir()
    cache = tmp_path / "cache"
    (tmp_path / "conf.d" / "accel.conf").write_text(
        f"#proxy_cache_path /nowhere keys_zone=a:1m;\nproxy_cache_path {cache} levels=1:2 keys_zone=cos:20m;\n"
    )
    assert list(check_nginx_cache(tmp_path)) == [], "the cache is not there"
    cache.mkdir()
    verdict, found = said(check_nginx_cache(tmp_path, least_free=2**80), "nginx cache")
    assert verdict == "warning"
    assert f"MB are free at {cache}" in found
    assert said(check_nginx_cache(tmp_path, least_free=1), "nginx cache")[0] == "ok"
    # Root may enter every folder: the name is too long for all users.
    (tmp_path / "conf.d" / "other.conf").write_text(f"proxy_cache_path /{'x' * 300} keys_zone=a:1m;\n")
    verdict, found = said(check_nginx_cache(tmp_path, least_free=1), "nginx cache")
    assert verdict == "warning"
    assert "cannot be examined: File name too long" in found
