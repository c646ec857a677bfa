"""Credentials in a JSON file that another program replaces.

``{"secret_id": …, "secret_key": …, "token": …, "expires_at": Unix seconds}``; the last two may be left out.
"""

import json
import os
from pathlib import Path
from typing import Final

from gateway.presign.credentials import Credentials, CredentialsUnavailable, checked
from gateway.presign.credentials.file_reads import FileReads

_POLL: Final = 1.0  # seconds between two looks at the file
_MOST_BYTES: Final = 64 * 1024
_KEYS: Final = frozenset({"secret_id", "secret_key", "token", "expires_at"})

_Version = tuple[int, int, int]  # device and inode change when the file is replaced, mtime when it is written in place


class FileSource:
    """The credentials in a file, read again when the file was replaced or written."""

    name = "file"
    poll: float | None = _POLL

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reads = FileReads()
        self._version: _Version | None = None
        self._credentials: Credentials | None = None

    async def fetch(self) -> Credentials:
        """Return the credentials in the file. Raises ``CredentialsUnavailable``."""
        version, data = await self._reads.run(self._read)
        if data is not None:
            self._credentials = _parse(data)
            self._version = version  # only now: a file that is written in place is read again until it is whole
        if self._credentials is None:
            raise CredentialsUnavailable("the file was not read")
        return self._credentials

    def _read(self) -> tuple[_Version, bytes | None]:
        """Return the version of the file and its content, None if it was read before."""
        try:
            with self._path.open("rb") as file:
                version = _version_of(file.fileno())
                if version == self._version:
                    return version, None
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise CredentialsUnavailable(f"{self._path} cannot be read: {error.strerror}") from error
        if len(data) > _MOST_BYTES:
            raise CredentialsUnavailable(f"{self._path} has more than {_MOST_BYTES} bytes")
        return version, data


def _version_of(descriptor: int) -> _Version:
    seen = os.fstat(descriptor)
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns


def _parse(data: bytes) -> Credentials:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise CredentialsUnavailable("the file is not JSON") from None
    if not isinstance(found, dict) or not found.keys() <= _KEYS:
        raise CredentialsUnavailable(f"the file is not a mapping of {', '.join(sorted(_KEYS))}")
    return checked(*(found.get(name) for name in ("secret_id", "secret_key", "token", "expires_at")))
