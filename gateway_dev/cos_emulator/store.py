"""Buckets and objects of the emulator: in memory, in files, or below a folder that is mounted."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from gateway_dev.cos_emulator.content import Content, FileContent, MemoryContent, SyntheticContent

# The table of the standard library differs between Python versions and reads files of the system.
CONTENT_TYPES = {
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
    """An object and its metadata."""

    content: Content
    content_type: str
    last_modified: float
    """Unix seconds; for a file, its modification time."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Sent unchanged: Cache-Control, Content-Encoding, x-cos-meta-*, x-cos-storage-class, x-cos-version-id ..."""
    archived: bool = False
    """In the archive storage class and not restored: COS refuses to read it (doc 7753)."""
    etag: str | None = None
    """Without quotes; None means the MD5. The ETag of a multipart upload is "<hex>-<parts>"."""
    has_etag: bool = True
    """False to send no ETag, as COS may do for processed images."""
    crc64: int | None = None
    """Sent instead of the CRC of the content."""
    has_crc: bool = True
    """False for old objects and processed images, which COS sends without x-cos-hash-crc64ecma."""

    async def quoted_etag(self) -> str | None:
        """Return the ETag header, or None if there is none. Raises OSError if the bytes cannot be read."""
        if not self.has_etag:
            return None
        return f'"{self.etag or (await self.content.digests()).md5}"'


class ObjectStore:
    """Buckets by name, objects by key. Several emulators (regions, domains) may share a store."""

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, StoredObject]] = {}
        self._mounts: dict[str, Mount] = {}
        self._files: dict[Path, FileContent] = {}

    def __contains__(self, bucket: str) -> bool:
        return bucket in self._buckets

    def create_bucket(self, bucket: str) -> None:
        """Create an empty bucket if there is none. ``put`` and ``mount`` also create their bucket."""
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
        """Store or replace an object. A file is checked for changes at every request.

        ``content_type`` None means a guess from the key. ``last_modified`` (Unix seconds) None means now. Blocks to
        read the size of a file. Raises OSError if there is no such file.
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
        """Remove an object added by ``put``. Return whether it existed. Files of a mounted folder stay."""
        return self._buckets.get(bucket, {}).pop(key, None) is not None

    def mount(self, bucket: str, directory: Path) -> None:
        """Serve every file below the folder. An object added by ``put`` hides the file of the same key."""
        self.create_bucket(bucket)
        self._mounts[bucket] = Mount(directory)

    async def find(self, bucket: str, key: str) -> StoredObject | None:
        """Return the object in its present version, or None."""
        stored = self._buckets.get(bucket, {}).get(key)
        if stored is not None and not isinstance(stored.content, FileContent):
            return stored
        return await asyncio.to_thread(self._find_on_disk, bucket, key, stored)

    def _find_on_disk(self, bucket: str, key: str, stored: StoredObject | None) -> StoredObject | None:
        if stored is not None and isinstance(stored.content, FileContent):
            try:
                file = self._cached(FileContent(stored.content.path))
            except OSError:
                return None
            return replace(stored, content=file, last_modified=file.modified_at)
        mount = self._mounts.get(bucket)
        found = mount.find(key) if mount else None
        if found is None:
            return None
        file = self._cached(found)
        return StoredObject(file, guess_content_type(key), file.modified_at)

    def _cached(self, file: FileContent) -> FileContent:
        """Return the cached FileContent of an unchanged file, which keeps its digests."""
        cached = self._files.get(file.path)
        if cached is None or cached.version != file.version:
            cached = self._files[file.path] = file
        return cached


def guess_content_type(key: str) -> str:
    """Guess by the key's suffix, as upload tools do, else ``application/octet-stream``, COS's default."""
    return CONTENT_TYPES.get(PurePosixPath(key).suffix.lower(), "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Mount:
    """Mapping of keys to the files below ``directory``."""

    directory: Path

    def find(self, key: str) -> FileContent | None:
        """Return the file of the key, or None; blocks. Symbolic links that lead outside the folder give None."""
        parts = key.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\0" in key:
            return None  # keys are byte exact: "a//b" and "./a" are other objects than "a/b" and "a"
        try:
            root = self.directory.resolve(strict=True)
            path = root.joinpath(*parts).resolve(strict=True)
            return FileContent(path) if path.is_relative_to(root) and path.is_file() else None
        except (OSError, RuntimeError, UnicodeError):
            # The file is missing, its name is too long or cannot be encoded, or links form a loop: no such object.
            return None
