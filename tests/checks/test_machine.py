"""The limit of open files, and the disk of nginx's cache."""

from pathlib import Path

import pytest

from gateway.checks.machine import diagnose_nginx_cache, diagnose_open_files


@pytest.mark.parametrize(("limit", "warns"), [(1024, True), (2255, True), (2256, False), (None, False)])
def test_a_limit_of_open_files_below_what_is_needed_is_a_warning(limit: int | None, warns: bool) -> None:
    found = diagnose_open_files(limit, 2256)
    assert (found.is_well, found.is_warning) == (True, warns)
    assert str(limit or "no limit") in found.what


@pytest.fixture
def nginx(tmp_path: Path) -> Path:
    """A configuration folder of nginx with one cache."""
    (tmp_path / "conf.d").mkdir()
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "conf.d" / "accel.conf").write_text(
        f"#proxy_cache_path /nowhere keys_zone=a:1m;\nproxy_cache_path {cache} levels=1:2 keys_zone=cos:20m;\n"
    )
    return tmp_path


def test_a_disk_with_too_little_room_is_a_warning(nginx: Path) -> None:
    found = diagnose_nginx_cache(nginx, least_free=2**80)
    assert found is not None
    assert found.is_warning
    assert f"MB are free at {nginx / 'cache'}" in found.what
    assert "min_free" in found.advice


def test_a_disk_with_room_is_no_warning(nginx: Path) -> None:
    found = diagnose_nginx_cache(nginx, least_free=1)
    assert found is not None
    assert not found.is_warning


def test_a_cache_that_cannot_be_examined_is_a_warning(nginx: Path) -> None:
    """Root may enter every folder: the name is too long for all users."""
    (nginx / "conf.d" / "other.conf").write_text(f"proxy_cache_path /{'x' * 300} keys_zone=a:1m;\n")
    found = diagnose_nginx_cache(nginx, least_free=1)
    assert found is not None
    assert found.is_warning
    assert "cannot be examined: File name too long" in found.what


def test_without_a_cache_there_is_nothing_to_say(tmp_path: Path, nginx: Path) -> None:
    assert diagnose_nginx_cache(tmp_path / "nowhere") is None
    (nginx / "cache").rmdir()
    assert diagnose_nginx_cache(nginx) is None
