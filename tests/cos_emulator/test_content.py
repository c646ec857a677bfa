"""Contents in memory, on disk and synthetic."""

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway_dev.cos_emulator.content import Digests, SyntheticContent
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, Client, read


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


async def test_large_objects_are_streamed(client: Client, store: ObjectStore, tmp_path: Path) -> None:
    content = SyntheticContent(3_000_001)
    data = content.read(0, content.size)
    (tmp_path / "a.png").write_bytes(data)
    store.put(BUCKET, "synthetic.png", content)
    await asyncio.to_thread(store.put, BUCKET, "file.png", tmp_path / "a.png")
    for key in ("synthetic.png", "file.png"):
        whole = await client.get(key)
        assert whole.body == data
        assert whole.headers["x-cos-hash-crc64ecma"] == str(Digests.of([data]).crc64)
        part = await client.get(key, headers={"Range": "bytes=1000000-2500000"})
        assert part.body == data[1_000_000:2_500_001]
