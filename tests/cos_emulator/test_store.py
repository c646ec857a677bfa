"""Objects in memory, on disk and synthetic; folders as buckets."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cos_emulator.content import Content, Digests, FileContent, MemoryContent, SyntheticContent
from gateway.cos_emulator.store import ObjectStore

DOC_SAMPLE = b"[Object Content]"


async def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    pieces = [piece async for piece in content.pieces(start, content.size if stop is None else stop)]
    assert all(0 < len(piece) <= 65536 for piece in pieces)
    return b"".join(pieces)


def test_digests_are_those_of_the_documents_sample() -> None:
    assert Digests.of([DOC_SAMPLE[:5], DOC_SAMPLE[5:]]) == Digests(
        "ee8de918d05640145b18f70f4c3aa602", 16749565679157681890
    )


@given(
    size=st.integers(0, 200_000),
    pattern=st.binary(min_size=1, max_size=300),
    ends=st.tuples(st.integers(0, 200_000), st.integers(0, 200_000)),
)
async def test_synthetic_content_is_its_pattern_repeated(size: int, pattern: bytes, ends: tuple[int, int]) -> None:
    content = SyntheticContent(size, pattern)
    whole = (pattern * (size // len(pattern) + 1))[:size]
    start, stop = sorted(min(end, size) for end in ends)
    assert await read(content, start, stop) == whole[start:stop]
    assert content.read(start, stop + 1) == whole[start : stop + 1]
    assert await content.digests() == Digests.of([whole])


async def test_the_three_kinds_of_content_are_equal(tmp_path: Path) -> None:
    synthetic = SyntheticContent(150_000)
    data = synthetic.read(0, 150_000)
    path = tmp_path / "object"
    path.write_bytes(data)
    contents = [synthetic, MemoryContent(data), await asyncio.to_thread(FileContent, path)]
    for content in contents:
        assert await read(content) == data
        assert await read(content, 65_000, 140_001) == data[65_000:140_001]
        assert await content.digests() == Digests.of([data])


async def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "object"
    path.write_bytes(b"x" * 100_000)
    content = await asyncio.to_thread(FileContent, path)
    path.write_bytes(b"x" * 10)
    with pytest.raises(OSError, match="became shorter"):
        await read(content)


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


async def test_a_file_is_looked_at_again_and_its_digests_are_kept_while_it_stays_the_same(tmp_path: Path) -> None:
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


def test_a_file_that_is_not_there_cannot_be_put(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ObjectStore().put("b", "k", tmp_path / "missing")


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
async def test_nothing_else_is(mounted: ObjectStore, key: str) -> None:
    assert await mounted.find("b", key) is None


async def test_absolute_paths_are_not_objects(mounted: ObjectStore, tmp_path: Path) -> None:
    assert await mounted.find("b", str(tmp_path / "secret.png")) is None


async def test_what_is_put_comes_before_the_folder(mounted: ObjectStore) -> None:
    stored = mounted.put("b", "a.png", b"put")
    assert await mounted.find("b", "a.png") is stored
    assert await asyncio.to_thread(lambda: list(mounted.keys("b"))) == ["a.png", "inside.png", "图 集/b+c%.jpg"]


def test_keys_of_a_bucket_without_a_folder() -> None:
    store = ObjectStore()
    store.put("b", "k", b"")
    assert (list(store.keys("b")), list(store.keys("other"))) == (["k"], [])
