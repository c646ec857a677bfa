"""The data directory has one user at a time, and its files are private."""

from pathlib import Path

import pytest

from gateway_dev.processes import ServerError, load_link_key, locked_data_dir


def test_the_directory_is_created_and_locked_for_the_duration(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "b"
    with locked_data_dir(data_dir) as locked:
        assert locked == data_dir
        with pytest.raises(ServerError, match=r"already running on .*a/b.*--state"), locked_data_dir(data_dir):
            pass
    with locked_data_dir(data_dir):
        pass


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerError, match=r"file/data cannot be written: Not a directory"):
        locked_data_dir(tmp_path / "file" / "data").__enter__()


def test_the_link_key_is_created_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "link-key"
    key = load_link_key(file)
    assert len(key) >= 32
    assert load_link_key(file) == key
    assert load_link_key(tmp_path / "other") != key
    assert file.stat().st_mode & 0o777 == 0o600
