"""Image files in a folder, with the image ids they get."""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.catalog.image_id import PATTERN
from gateway_dev.cos_emulator.store import CONTENT_TYPES

IMAGE_TYPES = {suffix: kind for suffix, kind in CONTENT_TYPES.items() if kind.startswith("image/")}
MAX_KEY_BYTES = 850  # COS's limit
_HASH_LENGTH = 12

# Names of files that are not served, by the reason.
LeftOut = defaultdict[str, list[str]]


@dataclass(frozen=True)
class FoundImage:
    """An image file of a folder. `key` is its path relative to that folder."""

    image_id: str
    key: str
    content_type: str


def scan_images(directory: Path, left_out: LeftOut) -> Iterator[FoundImage]:
    """Yield every image file below `directory`, recognized by its suffix. The same names always get the same ids.

    Every other file is added to `left_out`: hidden files, names without an image suffix, links that leave the folder
    or are broken, links to folders, other kinds of files, unreadable files, names that are not UTF-8, and keys that
    are too long for COS. A hidden folder is added once, without its contents.
    """
    root = directory.resolve()

    def unreadable(error: OSError) -> None:
        left_out["folder that cannot be read"].append(os.path.relpath(error.filename, root))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        for name in sorted(folders):
            key = Path(folder, name).relative_to(root).as_posix()
            if name.startswith("."):
                left_out["hidden folder"].append(key)
            elif Path(folder, name).is_symlink():  # os.walk does not follow it: it may lead back to a folder above
                left_out["link to a folder"].append(key)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            key = path.relative_to(root).as_posix()
            content_type = IMAGE_TYPES.get(path.suffix.lower())
            if name.startswith("."):
                left_out["hidden file"].append(key)
            elif content_type is None:
                left_out["name without an image's suffix"].append(key)
            elif reason := _unsuitable(path, key, root):
                left_out[reason].append(key)
            else:
                yield FoundImage(image_id_for(key), key, content_type)


def _unsuitable(path: Path, key: str, root: Path) -> str | None:
    """Return why the file cannot be an object of the bucket, or None if it can."""
    try:
        real = path.resolve()
        if not real.is_relative_to(root):
            return "link that leads out of the folder"
        if not real.exists():
            return "link that leads nowhere"
        if not real.is_file():
            return "not a regular file"
        with real.open("rb"):
            pass
        if len(key.encode()) > MAX_KEY_BYTES:
            return f"path of more than {MAX_KEY_BYTES} bytes"
    except UnicodeEncodeError:
        return "name that is not UTF-8"
    except RuntimeError:  # a loop of links, in Python before 3.13
        return "link that leads nowhere"
    except OSError:
        return "cannot be read"
    return None


def image_id_for(key: str) -> str:
    """Return the image id for an object key: the key itself if it is a valid id with an image suffix, else similar.

    A changed name ends in a hash of the key and an unchanged one in an image suffix, so the two never collide.
    """
    if re.fullmatch(PATTERN, key) and Path(key).suffix.lower() in IMAGE_TYPES:
        return key
    ascii_key = unicodedata.normalize("NFKD", key.removesuffix(Path(key).suffix)).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9._:@]+", "-", ascii_key).strip("-._:@") or "image"
    return f"{readable[: 127 - _HASH_LENGTH]}-{hashlib.sha256(key.encode()).hexdigest()[:_HASH_LENGTH]}"
