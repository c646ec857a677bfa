"""List of the served images as a file: id, source file, address and readers."""

import csv
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from gateway.net.printable import printable
from gateway_dev.data_dir import write_privately
from gateway_dev.database import ImageRow
from gateway_dev.folder import LeftOut

_NAMES_PRINTED = 3  # of the files left out for one reason


def image_address(base: str, row: ImageRow) -> str:
    """Return the short address of the image. Ids contain no character that needs percent-encoding."""
    return f"{base}/i/{row.image_id}"


def readers(row: ImageRow) -> str:
    """Return the audience of the image: ``everyone``, ``nobody``, or the user id of its owner."""
    return "everyone" if row.public else row.owner or "nobody"


def write_id_list(file: Path, base: str, rows: Iterable[ImageRow]) -> None:
    """Write id, file, address and readers of each image, separated by tabs.

    A file name that contains a tab or a line break is quoted as in CSV.
    """
    text = StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(("id", "file", "address", "for"))
    table.writerows((row.image_id, row.key, image_address(base, row), readers(row)) for row in rows)
    write_privately(file, text.getvalue())


def describe_left_out(left_out: LeftOut) -> str:
    """Return a line with the number of files left out for each reason, and the first of their names."""
    return "; ".join(
        f"{len(names)} ({reason}): {', '.join(map(printable, names[:_NAMES_PRINTED]))}"
        + ", ..." * (len(names) > _NAMES_PRINTED)
        for reason, names in left_out.items()
    )
