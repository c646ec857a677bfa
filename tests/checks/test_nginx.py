"""Versions of installed nginx files, what nginx needs to ask for changes, and the disk of its cache."""

from pathlib import Path

import pytest

from gateway.checks.nginx import diagnose_nginx, diagnose_nginx_cache, diagnose_nginx_changes
from gateway.delivery.nginx_files import VERSION
from tests.config.files import ROOT


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
    found = diagnose_nginx(installed, VERSION)
    assert found is not None
    assert (found.is_warning, found.what) == (False, f"20 files of version {VERSION} in {installed}")


@pytest.mark.parametrize(
    ("file", "text", "what"),
    [
        ("conf.d/gateway.conf", "# image-gateway nginx files, version 0\n", "conf.d/gateway.conf has 0"),
        ("image-gateway/to-cos.conf", "# Fetch one object from COS\n", "image-gateway/to-cos.conf has none"),
    ],
)
def test_an_older_file_is_named(installed: Path, file: str, text: str, what: str) -> None:
    (installed / file).write_text(text)
    found = diagnose_nginx(installed, VERSION)
    assert found is not None
    assert found.is_warning
    assert found.what.endswith(what)


def test_files_of_others_are_not_judged(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "default.conf").write_text("server { listen 80; }\n")
    (tmp_path / "conf.d" / "dangling.conf").symlink_to(tmp_path / "nowhere")
    (tmp_path / "conf.d" / "a-folder").mkdir()
    assert diagnose_nginx(tmp_path, VERSION) is None
    assert diagnose_nginx(tmp_path / "nowhere", VERSION) is None


def test_files_that_an_operator_asks_for_must_be_there(tmp_path: Path) -> None:
    for folder, what in (
        (tmp_path, f"no file of this project in conf.d, http.d, sites-enabled, image-gateway below {tmp_path}"),
        (tmp_path / "nowhere", f"no {tmp_path}/nowhere"),
    ):
        found = diagnose_nginx(folder, VERSION, is_required=True)
        assert found is not None
        assert (found.is_well, found.what) == (False, what)


@pytest.fixture
def asking(installed: Path) -> Path:
    """A folder of nginx that has all that it needs to ask for changes."""
    (installed / "modules-enabled").mkdir()
    (installed / "modules-enabled" / "50-mod-http-js.conf").write_text("load_module modules/ngx_http_js_module.so;\n")
    return installed


def test_an_nginx_that_asks_for_changes_has_the_module_and_the_zones(asking: Path) -> None:
    found = diagnose_nginx_changes(asking)
    assert found is not None
    assert (found.is_well, found.is_warning) == (True, False)
    assert found.what == (
        "by its files, nginx asks for changes: njs and zones image_changes, image_counts, image_decisions, "
        "image_epochs, image_floors are there; "
        "check --running asks nginx itself"
    )


def test_the_folders_of_alpine_are_known(asking: Path) -> None:
    before = diagnose_nginx(asking, VERSION), diagnose_nginx_changes(asking)
    (asking / "conf.d").rename(asking / "http.d")
    (asking / "modules-enabled").rename(asking / "modules")
    assert (diagnose_nginx(asking, VERSION), diagnose_nginx_changes(asking)) == before


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
    found = diagnose_nginx_changes(asking)
    assert found is not None
    assert found.is_warning
    assert missing in found.what


def test_an_nginx_that_asks_for_no_changes_says_so(tmp_path: Path) -> None:
    assert diagnose_nginx_changes(tmp_path) is None
    (tmp_path / "conf.d").mkdir()
    text = (ROOT / "config" / "nginx" / "accel.conf").read_text()
    (tmp_path / "conf.d" / "accel.conf").write_text(text)
    found = diagnose_nginx_changes(tmp_path)
    assert found is not None
    assert (found.is_warning, found.what) == (
        False,
        "nginx asks for no changes: no file includes image-gateway/changes.conf or decisions.conf",
    )


@pytest.fixture
def with_cache(tmp_path: Path) -> Path:
    """A configuration folder of nginx with one cache."""
    (tmp_path / "conf.d").mkdir()
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "conf.d" / "accel.conf").write_text(
        f"#proxy_cache_path /nowhere keys_zone=a:1m;\nproxy_cache_path {cache} levels=1:2 keys_zone=cos:20m;\n"
    )
    return tmp_path


def test_a_disk_with_too_little_room_is_a_warning(with_cache: Path) -> None:
    found = diagnose_nginx_cache(with_cache, least_free=2**80)
    assert found is not None
    assert found.is_warning
    assert f"MB are free at {with_cache / 'cache'}" in found.what
    assert "min_free" in found.advice


def test_a_disk_with_room_is_no_warning(with_cache: Path) -> None:
    found = diagnose_nginx_cache(with_cache, least_free=1)
    assert found is not None
    assert not found.is_warning


def test_a_cache_that_cannot_be_examined_is_a_warning(with_cache: Path) -> None:
    """Root may enter every folder: the name is too long for all users."""
    (with_cache / "conf.d" / "other.conf").write_text(f"proxy_cache_path /{'x' * 300} keys_zone=a:1m;\n")
    found = diagnose_nginx_cache(with_cache, least_free=1)
    assert found is not None
    assert found.is_warning
    assert "cannot be examined: File name too long" in found.what


def test_without_a_cache_there_is_nothing_to_say(tmp_path: Path, with_cache: Path) -> None:
    assert diagnose_nginx_cache(tmp_path / "nowhere") is None
    (with_cache / "cache").rmdir()
    assert diagnose_nginx_cache(with_cache) is None
