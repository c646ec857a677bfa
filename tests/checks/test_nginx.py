"""Versions of installed nginx files."""

from pathlib import Path

import pytest

from gateway.api.nginx_files import VERSION
from gateway.checks.nginx import diagnose_nginx
from tests.config.files import ROOT


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of nginx with the files of this release."""
    source = ROOT / "config" / "nginx"
    for file in source.rglob("*.conf"):
        folder = tmp_path / ("image-gateway" if file.parent.name == "image-gateway" else "conf.d")
        folder.mkdir(exist_ok=True)
        (folder / file.name).write_text(file.read_text())
    return tmp_path


def test_the_files_of_this_release_are_of_its_version(installed: Path) -> None:
    found = diagnose_nginx(installed, VERSION)
    assert found is not None
    assert (found.is_warning, found.what) == (False, f"13 files of version {VERSION} in {installed}")


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
        (tmp_path, f"no file of this project in conf.d, sites-enabled, image-gateway below {tmp_path}"),
        (tmp_path / "nowhere", f"no {tmp_path}/nowhere"),
    ):
        found = diagnose_nginx(folder, VERSION, is_required=True)
        assert found is not None
        assert (found.is_well, found.what) == (False, what)
