"""Folders served as buckets."""

import asyncio
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    (folder / "图 集").mkdir(parents=True)
    (folder / "a.png").write_bytes(b"a")
    (folder / "图 集" / "b+c%.jpg").write_bytes(b"b")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "folder-beside").mkdir()
    (tmp_path / "folder-beside" / "secret.png").write_bytes(b"secret")
    (folder / "inside.png").symlink_to("a.png")
    (folder / "outside.png").symlink_to(tmp_path / "secret.png")
    (folder / "beside").symlink_to(tmp_path / "folder-beside")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.fixture
def mounted(folder: Path) -> ObjectStore:
    store = ObjectStore()
    store.mount("b", folder)
    return store


@pytest.mark.parametrize(("key", "data"), [("a.png", b"a"), ("图 集/b+c%.jpg", b"b"), ("inside.png", b"a")])
async def test_files_of_a_folder_are_objects(mounted: ObjectStore, key: str, data: bytes) -> None:
    found = await mounted.find("b", key)
    assert found is not None
    assert await read(found.content) == data
    assert found.content_type in {"image/png", "image/jpeg"}


@pytest.mark.parametrize(
    "key",
    [
        "../secret.png",
        "图 集/../../secret.png",
        "图 集/../a.png",
        "./a.png",
        "a.png/",
        "/a.png",
        "图 集//b+c%.jpg",
        "outside.png",
        "beside/secret.png",
        "loop",
        "图 集",
        "missing",
        "a.png\0",
        "x" * 5000,
        "\ud800",
        "",
        ".",
        "..",
    ],
)
async def test_other_keys_of_a_folder_are_not_found(mounted: ObjectStore, key: str) -> None:
    assert await mounted.find("b", key) is None


async def test_absolute_paths_are_not_objects(mounted: ObjectStore, tmp_path: Path) -> None:
    assert await mounted.find("b", str(tmp_path / "secret.png")) is None


async def test_a_put_object_hides_the_file_of_the_same_key(mounted: ObjectStore) -> None:
    stored = mounted.put("b", "a.png", b"put")
    assert await mounted.find("b", "a.png") is stored
    assert await asyncio.to_thread(lambda: list(mounted.keys("b"))) == ["a.png", "inside.png", "图 集/b+c%.jpg"]
