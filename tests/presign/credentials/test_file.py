"""Credentials in a file that another program replaces."""

import json
import os
from pathlib import Path

import pytest

from gateway.presign.credentials import Credentials, CredentialsUnavailable
from gateway.presign.credentials.file import FileSource

ONE = {"secret_id": "AKID1", "secret_key": "key1", "token": "token1", "expires_at": 1_800_000_000}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one set of credentials."""
    path = tmp_path / "cos.json"
    path.write_text(json.dumps(ONE))
    return path


async def test_the_credentials_are_those_of_the_file(file: Path) -> None:
    assert await FileSource(file).fetch() == Credentials("AKID1", "key1", "token1", 1_800_000_000)
    file.write_text('{"secret_id": "AKID", "secret_key": "key"}')
    assert await FileSource(file).fetch() == Credentials("AKID", "key")


async def test_a_replaced_file_is_read_even_with_the_same_time_and_size(file: Path, tmp_path: Path) -> None:
    source = FileSource(file)
    first = await source.fetch()
    seen = file.stat()
    other = tmp_path / "new.json"
    other.write_text(json.dumps(ONE | {"secret_id": "AKID2"}))
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    other.rename(file)
    assert file.stat().st_size == seen.st_size
    assert (await source.fetch()).secret_id == "AKID2" != first.secret_id


async def test_a_file_that_is_written_in_place_is_read_again_until_it_is_whole(file: Path) -> None:
    source = FileSource(file)
    await source.fetch()
    file.write_text('{"secret_id": "AKID2"')
    with pytest.raises(CredentialsUnavailable, match="not JSON"):
        await source.fetch()
    with file.open("a") as opened:
        opened.write(', "secret_key": "key2"}')
    assert await source.fetch() == Credentials("AKID2", "key2")


async def test_an_unchanged_file_gives_the_same_object(file: Path) -> None:
    source = FileSource(file)
    assert await source.fetch() is await source.fetch()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "7",
        "[" * 60_000,
        "{}",
        '{"secret_id": "a"}',
        '{"secret_id": "a", "secret_key": ""}',
        '{"secret_id": "a", "secret_key": "b c"}',
        '{"secret_id": "a\\n", "secret_key": "b"}',
        '{"secret_id": 1, "secret_key": "b"}',
        '{"secret_id": "a", "secret_key": "b", "token": ""}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": "2026-01-01"}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": true}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": NaN}',
        '{"secret_id": "a", "secret_key": "b", "expires_at": 1e300}',
        '{"secret_id": "a", "secret_key": "b", "expiry": 1}',
        '{"secret_id": "a", "secret_key": "b"}' + " " * 64 * 1024,
    ],
)
async def test_garbage_is_no_credentials_and_is_not_quoted(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(CredentialsUnavailable) as unavailable:
        await FileSource(file).fetch()
    assert "b c" not in str(unavailable.value)


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CredentialsUnavailable, match=r"nowhere\.json cannot be read: No such file"):
        await FileSource(tmp_path / "nowhere.json").fetch()
