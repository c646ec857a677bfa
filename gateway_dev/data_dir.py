"""Data directory of the development stack: locked while a stack runs, with files that only their owner can read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

from gateway_dev.processes import ServerError, lock_folder


@contextmanager
def locked_data_dir(data_dir: Path) -> Iterator[Path]:
    """Create the directory if it does not exist, and lock it for the duration.

    Raises ``ServerError`` if another stack has the lock or the directory cannot be written.
    """
    try:
        lock = lock_folder(data_dir)
    except BlockingIOError:
        raise ServerError(
            f"`make run` or `gateway dev` is already running on {data_dir}: "
            "open an address that it printed, or stop it, or name another folder with --state"
        ) from None
    except OSError as error:
        raise ServerError(
            f"the folder {data_dir} cannot be written: {error.strerror}; name another one with --state"
        ) from error
    try:
        yield data_dir
    finally:
        os.close(lock)


def load_link_key(file: Path) -> str:
    """Return the key that signs links. Create it the first time, so that links stay valid after a restart."""
    if not file.exists():
        write_privately(file, token_urlsafe(32))
    return file.read_text(encoding="utf-8")


def write_privately(file: Path, text: str) -> None:
    """Write a file with mode 0600."""
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
