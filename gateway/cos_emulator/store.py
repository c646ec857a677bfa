"""The buckets and objects that the emulator serves."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from gateway.cos_emulator.content import Content, FileContent, MemoryContent, SyntheticContent
from gateway.cos_emulator.mount import Mount

# A table of our own: the standard library's differs between Python versions and reads the system's files.
_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".txt": "text/plain",
    ".webp": "image/webp",
}


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object and what COS says about it."""

    content: Content
    content_type: str
    last_modified: float
    """Unix seconds; that of a file is the file's own."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Sent as they are: Cache-Control, Content-Encoding, x-cos-meta-*, x-cos-storage-class, x-cos-version-id ..."""
    archived: bool = False
    """In the archive storage class and not restored: reading it is refused (doc 7753)."""
    etag: str | None = None
    """Without quotes; None means the MD5. A multipart upload has "<hex>-<parts>" instead."""
    has_crc: bool = True
    """Old objects, and what image processing makes, come without x-cos-hash-crc64ecma."""

    async def quoted_etag(self) -> str:
        """The ETag header. Raises OSError when the bytes cannot be read."""
        return f'"{self.etag or (await self.content.digests()).md5}"'


class ObjectStore:
    """Buckets by name, objects by key. One store may be shared by several emulators (regions, domains)."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, StoredObject]] = {}
        self._mounts: dict[str, Mount] = {}
        self._files: dict[Path, FileContent] = {}

    def __contains__(self, bucket: str) -> bool:
        return bucket in self._buckets

    def create_bucket(self, bucket: str) -> None:
        """An empty bucket, if there is none; ``put`` and ``mount`` create it too."""
        self._buckets.setdefault(bucket, {})

    def put(
        self,
        bucket: str,
        key: str,
        source: bytes | Path | SyntheticContent,
        *,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        last_modified: float | None = None,
        archived: bool = False,
        etag: str | None = None,
        has_crc: bool = True,
    ) -> StoredObject:
        """Store or replace an object. A file is looked at again whenever it is asked for.

        ``content_type`` None is guessed from the key; ``last_modified`` None is now. Looking at a file blocks, for a
        moment; raises OSError if it is not there.
        """
        if isinstance(source, bytes):
            content: Content = MemoryContent(source)
        elif isinstance(source, Path):
            content = FileContent(source)
        else:
            content = source
        stored = StoredObject(
            content=content,
            content_type=content_type or guess_content_type(key),
            last_modified=time.time() if last_modified is None else last_modified,
            headers=MappingProxyType(dict(headers or {})),
            archived=archived,
            etag=etag,
            has_crc=has_crc,
        )
        self._buckets.setdefault(bucket, {})[key] = stored
        return stored

    def delete(self, bucket: str, key: str) -> bool:
        """Remove an object that was put; files of a mounted folder stay. Return whether there was one."""
        return self._buckets.get(bucket, {}).pop(key, None) is not None

    def mount(self, bucket: str, directory: Path) -> None:
        """Serve every file under the folder; objects that are put come before files of the same key."""
        self.create_bucket(bucket)
        self._mounts[bucket] = Mount(directory)

    def keys(self, bucket: str) -> Iterator[str]:
        """The keys of a bucket: those that were put, then those of its folder. Blocks on a large folder."""
        stored = self._buckets.get(bucket, {})
        yield from stored
        if mount := self._mounts.get(bucket):
            yield from (key for key in mount.walk() if key not in stored)

    async def find(self, bucket: str, key: str) -> StoredObject | None:
        """The object as it is now, or None."""
        stored = self._buckets.get(bucket, {}).get(key)
        if stored is not None and not isinstance(stored.content, FileContent):
            return stored
        return await asyncio.to_thread(self._look_on_disk, bucket, key, stored)

    def _look_on_disk(self, bucket: str, key: str, stored: StoredObject | None) -> StoredObject | None:
        if stored is not None and isinstance(stored.content, FileContent):
            try:
                file = self._remembered(FileContent(stored.content.path))
            except OSError:
                return None
            return replace(stored, content=file, last_modified=file.modified_at)
        mount = self._mounts.get(bucket)
        found = mount.find(key) if mount else None
        if found is None:
            return None
        file = self._remembered(found)
        return StoredObject(file, guess_content_type(key), file.modified_at)

    def _remembered(self, file: FileContent) -> FileContent:
        """The earlier look at an unchanged file: it knows the digests already."""
        known = self._files.get(file.path)
        if known is None or known.version != file.version:
            known = self._files[file.path] = file
        return known


def guess_content_type(key: str) -> str:
    """By the key's suffix, as upload tools do; ``application/octet-stream`` is what COS stores when not told."""
    return _TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")
