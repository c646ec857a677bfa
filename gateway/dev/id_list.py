"""Which image is which file, and which files are none."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from gateway.dev.data_dir import write_privately
from gateway.dev.database import ImageRow
from gateway.dev.folder import LeftOut

_NAMED = 3


def image_address(base: str, row: ImageRow) -> str:
    """The short address of the image; ids need no quoting."""
    return f"{base}/i/{row.image_id}"


def readers(row: ImageRow) -> str:
    """Who may see the image: ``everyone``, or the user id of its owner."""
    return "everyone" if row.public else row.owner or "nobody"


def write_listing(file: Path, base: str, rows: Iterable[ImageRow]) -> None:
    """Id, file, address and readers of each image, separated by tabs; a name with a tab or a line's end is quoted.

    The readers are ``everyone``, or the owner's user id where the image is private.
    """
    text = StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(("id", "file", "address", "for"))
    table.writerows((row.image_id, row.key, image_address(base, row), readers(row)) for row in rows)
    write_privately(file, text.getvalue())


def told(left_out: LeftOut) -> str:
    """How many files were left out for each reason, and the first of them."""
    return "; ".join(
        f"{len(names)} ({reason}): {', '.join(map(printable, names[:_NAMED]))}{', ...' * (len(names) > _NAMED)}"
        for reason, names in left_out.items()
    )


def printable(name: str) -> str:
    """The name of a file, which may be anything, as a terminal can show it without obeying it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
