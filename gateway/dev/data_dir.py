"""The folder in which the embedded stack keeps what it needs again: one stack at a time, for its owner's eyes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

from gateway.dev.processes import ServerError, lock_folder


@contextmanager
def held(folder: Path) -> Iterator[Path]:
    """The folder, made if need be, and nobody else's meanwhile. Raises ``ServerError`` when it cannot be had."""
    try:
        lock = lock_folder(folder)
    except BlockingIOError:
        raise ServerError(
            f"`make run` or `gateway dev` is already running here, on {folder}: "
            "open what it printed, or stop it, or name another folder with --state"
        ) from None
    except OSError as error:
        raise ServerError(
            f"the folder {folder} cannot be written: {error.strerror}; name another one with --state"
        ) from error
    try:
        yield folder
    finally:
        os.close(lock)


def kept_link_key(file: Path) -> str:
    """The key that signs this stack's links: made the first time, so that links outlast a restart as the data does."""
    if not file.exists():
        write_privately(file, token_urlsafe(32))
    return file.read_text(encoding="utf-8")


def write_privately(file: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
