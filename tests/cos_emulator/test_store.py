"""Objects of a store: put, find, replace, delete."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway_dev.cos_emulator.content import Digests
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import read


async def test_objects_are_put_found_replaced_and_deleted() -> None:
    store = ObjectStore()
    assert "b" not in store
    stored = store.put("b", "a.png", b"1", headers={"x-cos-meta-a": "1"}, last_modified=5)
    assert "b" in store
    assert await store.find("b", "a.png") is stored
    assert (stored.content_type, stored.last_modified, dict(stored.headers)) == ("image/png", 5, {"x-cos-meta-a": "1"})
    store.put("b", "a.png", b"2", content_type="image/webp")
    found = await store.find("b", "a.png")
    assert found is not None
    assert (await read(found.content), found.content_type) == (b"2", "image/webp")
    assert store.delete("b", "a.png")
    assert not store.delete("b", "a.png")
    assert await store.find("b", "a.png") is None
    assert await store.find("other", "a.png") is None


async def test_an_unknown_suffix_is_an_octet_stream() -> None:
    for key in ("a.zzz", "a", ".png", "a.png/b"):
        assert ObjectStore().put("b", key, b"").content_type == "application/octet-stream"
    assert ObjectStore().put("b", "a/b.JPG", b"").content_type == "image/jpeg"


async def test_an_unchanged_file_keeps_its_digests_and_a_changed_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    store = ObjectStore()
    await asyncio.to_thread(store.put, "b", "k.png", path)
    first, second = await store.find("b", "k.png"), await store.find("b", "k.png")
    assert first is not None
    assert second is not None
    assert first.content is second.content
    path.write_bytes(b"newer")
    os.utime(path, (7, 7))
    changed = await store.find("b", "k.png")
    assert changed is not None
    assert (await changed.quoted_etag(), changed.last_modified) == (f'"{Digests.of([b"newer"]).md5}"', 7)
    path.unlink()
    assert await store.find("b", "k.png") is None


def test_a_missing_file_cannot_be_put(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ObjectStore().put("b", "k", tmp_path / "missing")


def test_keys_of_a_bucket_without_a_folder() -> None:
    store = ObjectStore()
    store.put("b", "k", b"")
    assert (list(store.keys("b")), list(store.keys("other"))) == (["k"], [])
