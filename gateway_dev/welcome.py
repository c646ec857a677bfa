"""Output of `gateway dev`: addresses, commands to try, tokens and signed links."""

import csv
import shlex
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from gateway.net.printable import printable
from gateway.server.listener import Listening
from gateway_dev.database import ImageRow
from gateway_dev.folder import LeftOut
from gateway_dev.processes import write_privately
from gateway_dev.stack import ADMIN_TOKEN, DevStack, token_for
from gateway_dev.styles import EXAMPLES, TEASER

_ADDRESSES_PRINTED = 12
_NAMES_PRINTED = 3  # of the files left out for one reason
_VECTOR = "image/svg+xml"  # COS does not process it
_WIDEST = 60  # characters; a longer address has a line that is wider than the others

Line = tuple[str, str]  # markup of rich, and its style


def welcome(console: Console, ports: Listening, stack: DevStack) -> None:
    """Print the addresses, commands for the first image, and a token and a link for each private image."""
    console.print(Rule("image gateway"))
    for part in (_ports(ports, stack), _images(ports, stack), _private_images(ports, stack), _links(ports, stack)):
        for text, style in part:
            console.print(text, style=style, highlight=False, soft_wrap=True)
    console.print("\nCtrl-C stops everything.")


def _ports(ports: Listening, stack: DevStack) -> Iterator[Line]:
    yield f"playground  {ports.public}/       try images, and break things", ""
    yield f"gateway     {ports.public}        its API, and the images", ""
    yield f"console     {ports.admin}/       what is wrong now, and why; its token is {ADMIN_TOKEN}", ""
    yield f"admin       {ports.admin}        /docs, /metrics, /readyz", ""
    yield f"cos         {stack.cos.url}        the Tencent COS emulator", ""
    for usual, port in stack.moved.items():
        yield f"port {usual} is not free: {port} is used instead", "yellow"
    yield "", ""


def _images(ports: Listening, stack: DevStack) -> Iterator[Line]:
    public = [row for row in stack.rows if row.public]
    yield "open in a browser:" if public else "there are no images to show yet", "bold"
    addresses = [(image_address(ports.public, row), row.key) for row in public[:_ADDRESSES_PRINTED]]
    width = min(max((len(address) for address, _ in addresses), default=0), _WIDEST)
    for address, key in addresses:
        yield f"  {escape(address):<{width}}   {escape(printable(key))}", ""
    if len(public) > _ADDRESSES_PRINTED:
        yield f"  ... and {len(public) - _ADDRESSES_PRINTED} more", ""
    if stack.rows:
        write_id_list(stack.id_list, ports.public, stack.rows)
        yield f"  all {len(stack.rows)}, each with its file and its address: {escape(str(stack.id_list))}", ""
    if public:
        yield "in a style:", "bold"
        pictures = cycle([row for row in public if row.content_type != _VECTOR])
        for row, query in zip(pictures, EXAMPLES, strict=False):
            yield f"  {escape(image_address(ports.public, row))}?{query}", ""
    if stack.left_out:
        yield f"left out: {escape(describe_left_out(stack.left_out))}", "yellow"
    if public:
        path = f"/api/v1/images/{escape(public[0].image_id)}"
        image = f"{ports.public}{path}"
        yield "try:", "bold"
        yield f"  curl -o image {image}/proxy", ""
        yield f"  curl -i '{image}/proxy?redirect=true'", ""
        yield f"  curl {image}/url", ""
        yield f"  curl -X POST -H 'Authorization: Bearer {ADMIN_TOKEN}' {ports.admin}{path}/url/refresh", ""
        yield f"  curl {ports.admin}/metrics", ""


def _private_images(ports: Listening, stack: DevStack) -> Iterator[Line]:
    owned = [(image_address(ports.public, row), row.owner or "") for row in stack.rows if not row.public]
    if not owned:
        return
    yield "private; without the owner's token the answer is 404:", "bold"
    width = max(len(address) for address, _ in owned)
    for address, owner in owned:
        yield f"  {escape(address):<{width}}   {escape(owner)}'s", ""
    yield f"  {escape(owned[0][0])}?{TEASER}   a style that everybody may see", ""
    for owner in dict.fromkeys(owner for _, owner in owned):
        yield f"  {_variable(owner)}={token_for(owner)}", ""
        address = next(address for address, other in owned if other == owner)
        yield f'  curl -o image -H "Authorization: Bearer ${_variable(owner)}" {escape(address)}', ""


def _links(ports: Listening, stack: DevStack) -> Iterator[Line]:
    if not stack.links:
        return
    yield "signed links, valid for a day without a token, and the command that makes another one:", "bold"
    for link in stack.links.values():
        yield f"  {ports.public}{escape(link)}", ""
    config = escape(shlex.quote(str(stack.config)))
    yield f"  {escape(_this_program())} link {escape(next(iter(stack.links)))} --config {config}", ""


def _variable(owner: str) -> str:
    """Return the name of the shell variable for the token of this owner."""
    return f"{owner.upper()}_TOKEN"


def _this_program() -> str:
    """Return the command that runs the gateway from the current folder."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m gateway"


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
