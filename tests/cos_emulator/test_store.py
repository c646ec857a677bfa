"""Objects of a store: put, replaced and deleted, and files of a mounted folder."""

import asyncio
import os
from pathlib import Path

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
    assert [store.delete("b", "a.png") for _ in range(2)] == [True, False]
    assert await store.find("b", "a.png") is None
    assert await store.find("other", "a.png") is None
    for key in ("a.zzz", "a", ".png", "a.png/b"):
        assert store.put("b", key, b"").content_type == "application/octet-stream"
    assert store.put("b", "a/b.JPG", b"").content_type == "image/jpeg"


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


async def test_the_files_below_a_folder_and_no_others_are_objects(tmp_path: Path) -> None:
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
    store = ObjectStore()
    store.mount("b", folder)
    for key, data in (("a.png", b"a"), ("图 集/b+c%.jpg", b"b"), ("inside.png", b"a")):
        found = await store.find("b", key)
        assert found is not None
        assert await read(found.content) == data
        assert found.content_type in {"image/png", "image/jpeg"}
    for key in (
        *(
            "../secret.png",
            "图 集/../../secret.png",
            "图 集/../a.png",
            "./a.png",
            "a.png/",
            "/a.png",
            "图 集//b+c%.jpg",
        ),
        *(
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
        ),
        str(tmp_path / "secret.png"),
    ):
        assert await store.find("b", key) is None, key
    stored = store.put("b", "a.png", b"put")
    assert await store.find("b", "a.png") is stored, "an object hides the file of the same key"
